#pragma once

// Every bound that is not a configuration key, and what an idle client costs.
//
// The idle sum is the promise "half a kilobyte per idle client" written out: one connected client
// with one subscription to a topic of its own. The sizes are checked against the real types where
// they are defined (net/connection.h, broker/core.cc), the sum right here. All later fields have
// their place in these figures.

#include <cstdint>

namespace mqttd::limits {

// --- bytes of the broker's own memory per idle client ------------------------------------------

constexpr uint32_t kConnectionBytes = 112;   // socket, outbox, peer, input state (net)
constexpr uint32_t kLinkBytes = 80;          // protocol state of the connection
constexpr uint32_t kSessionBytes = 112;      // what outlives it
constexpr uint32_t kClientIdBytes = 48;      // identifier of up to 28 bytes, counted
constexpr uint32_t kSubscriptionBytes = 48;  // the relation session ↔ filter
constexpr uint32_t kOwnTopicBytes = 64;      // filter node with its text of up to 16 bytes
constexpr uint32_t kHashBytes = 3 * 8;       // buckets of sessions, subscriptions, filters: 4 … 8
constexpr uint32_t kFileBytes = 8;           // descriptor table entry

constexpr uint32_t kIdleClientBytes = kConnectionBytes + kLinkBytes + kSessionBytes +
                                      kClientIdBytes + kSubscriptionBytes + kOwnTopicBytes +
                                      kHashBytes + kFileBytes;
static_assert(kIdleClientBytes <= 512);

constexpr uint32_t kMeterBytes = 32;  // on top, for one of a listener with a rate (net/meter.h)

// --- bounds of the core ------------------------------------------------------------------------

constexpr uint32_t kLargestPacket = 268'435'460;   // bytes, as MQTT can say it
constexpr uint32_t kMatchedFilters = 1'024;        // filters matched at once; more become a job
constexpr uint32_t kMatchSteps = 2'048;            // trie nodes walked at once; more become a job
constexpr uint32_t kReplaysPerSession = 64;        // retained replays that run at a time
constexpr uint32_t kUnknownLinksWhenScarce = 256;  // links without CONNECT while memory is short
constexpr uint32_t kFiltersPerSlice = 512;         // of one SUBSCRIBE or UNSUBSCRIBE per visit
constexpr uint32_t kAnswersPending = 64 * 1024;    // unsent bytes above which a blocked link stops
constexpr uint32_t kPumpBytes = 128 * 1024;        // outbox fill up to which a queue is emptied
constexpr uint32_t kPumpSlice = 256;               // messages from a queue per visit
constexpr uint32_t kFiltersWhenScarce = 1'000;     // subscriptions a session may still make
constexpr uint32_t kReplayLowMark = 32;            // queue length below which a replay goes on
constexpr uint32_t kIdsBytes = 5 * 1024;       // encoded Subscription Identifiers of one delivery
constexpr uint32_t kTailCopyBytes = 2 * 1024;  // shorter tails are copied behind their head
constexpr uint32_t kScratchBytes = 256 * 1024 - 16;  // the turn's own encodings

// --- what a step costs of the turn's budget, in units of about 0.1 µs ---------------------------
// A packet and a delivery at QoS 0 cost one. Counted, never timed, so that a run can be replayed.

constexpr uint32_t kConnectUnits = 32;
constexpr uint32_t kCloseUnits = 16;
constexpr uint32_t kSubscribeUnits = 8;  // one filter; also UNSUBSCRIBE
constexpr uint32_t kTeardownUnits = 8;   // one subscription or message of a dead session
constexpr uint32_t kCountedUnits = 2;    // one delivery at QoS 1 or 2, or from a queue
constexpr uint32_t kWriteUnits = 32;     // a write in mid-turn, per 8 KiB
constexpr uint32_t kWriteBytes = 8 * 1024;
constexpr uint32_t kMatchNear = 64;       // trie nodes of a match that are cheap: four a unit
constexpr uint32_t kMatchFarUnits = 2;    // each of the others: as many are not in the cache
constexpr uint32_t kFanoutStep = 64;      // receivers of a job between looks at the budget
constexpr uint32_t kVisitUnitsMin = 64;   // of one link's visit when very many are ready
constexpr uint32_t kTimersMin = 64;       // timers looked at per turn even when units are used up
constexpr uint32_t kJobShareDivisor = 4;  // jobs get at least this part of a turn's units

}  // namespace mqttd::limits
