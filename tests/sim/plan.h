#pragma once

// Plan: everything about a world that can be said before it begins, made from its seed.
//
// The actions are a list, so that a failing world can be made smaller by leaving some out.

#include "mqttd/broker.h"

#include "net/net.h"
#include "sim/kernel.h"
#include "sim/model.h"
#include "store/scribe_journal.h"
#include "support/fake_disk.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mqttd::sim {

struct Action {
    enum class Kind : uint8_t {
        kConnect,
        kSubscribe,
        kUnsubscribe,
        kPublish,
        kPing,
        kDisconnect,
        kDrop,
        kHalfClose,
        kHangUp,
        kGarbage,
        kStall,
        kHold,
        kSilence,
        kJump,    // of the clocks
        kReload,  // of the configuration
        kRefuse,  // the n-th allocation from now on
        kPowerCut,
        kKill,  // of the broker; its scribe goes on or dies, too
    };

    uint32_t step = 0;
    uint32_t client = 0;
    Kind kind = Kind::kPing;
    uint64_t dice = 0;  // decides about the rest
};

// A seed from here on is a durable world: that of the seed without it, with a journal.
constexpr uint64_t kDurableSeeds = 1'000'000'000;

// The journal of a durable world, its scribe, and how bad the disk is. Chances are in 1000.
struct DiskPlan {
    uint64_t ring = 0;  // bytes; 0: nothing outlives the process
    uint32_t file_bytes = 0;
    SyncRule rule;
    uint32_t pace = 1000;  // that the scribe comes to it, each time it has something to do
    uint32_t stall = 0;    // that it sleeps for a while, per step
    uint32_t deaths = 0;   // that it dies at work
    uint32_t spells = 0;   // that the disk begins to fail, per step
    FakeDisk::Faults faults;
    bool full = false;  // … or is full
    bool cuts = false;  // lives end
};

struct Plan {
    uint64_t seed = 0;
    uint32_t clients = 0;
    uint32_t steps = 0;
    bool bare = false;  // no model
    bool unix_too = false;
    bool refusals = false;
    bool expiries = false;
    uint32_t big = 0;    // largest payload, bytes
    uint32_t files = 0;  // descriptors
    size_t memory = 0;   // bytes of the arena
    uint32_t accept_batch = 64;
    uint32_t levels = 7;        // bit n: protocol level 3 + n
    uint32_t slow_readers = 0;  // chance in 1000 that a client reads a few bytes at a time
    Weather weather;
    DiskPlan disk;
    BrokerOptions broker;
    NetOptions net;
    Rules rules;
    std::vector<Action> actions;

    bool durable() const { return disk.ring != 0; }

    std::string describe() const;
};

Plan make_plan(uint64_t seed);
// The same without a network to speak of and without a model: how fast the simulation is.
Plan make_bulk_plan(uint64_t seed, bool with_model);

const char* name_of(Action::Kind kind);

}  // namespace mqttd::sim
