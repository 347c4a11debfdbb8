#pragma once

// Plan: everything about a world that can be said before it begins, made from its seed.
//
// The actions are a list, so that a failing world can be made smaller by leaving some out.

#include "mqttd/broker.h"

#include "net/net.h"
#include "sim/kernel.h"
#include "sim/model.h"

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
    };

    uint32_t step = 0;
    uint32_t client = 0;
    Kind kind = Kind::kPing;
    uint64_t dice = 0;  // decides about the rest
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
    BrokerOptions broker;
    NetOptions net;
    Rules rules;
    std::vector<Action> actions;

    std::string describe() const;
};

Plan make_plan(uint64_t seed);
// The same without a network to speak of and without a model: how fast the simulation is.
Plan make_bulk_plan(uint64_t seed, bool with_model);

const char* name_of(Action::Kind kind);

}  // namespace mqttd::sim
