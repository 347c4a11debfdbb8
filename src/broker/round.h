#pragma once

// Round: everything durable that is there is said once more, so that the begin of the journal can
// go.
//
// The journal only grows at its end. When what it keeps is more than twice what lives, plus
// `journal_slack_bytes`, a round begins at position P: all sessions, all retained messages, then of
// each session what is under way, what it subscribed to, its queue; then the pages of queues that
// are not in memory. Once the last of it is durable
// nothing before P is needed. It goes in slices, a few hundred kilobytes a turn and only while the
// journal has room, so that nobody waits for it; the journal never keeps more than three times what
// lives, the slack, and what came while the round went on.
//
// Why nothing is lost on the way. Everything that changes is said when it changes, and a thing is
// said again as it is then; so whoever reads from P on, in order, comes to what is there:
//   - what was said before P and is still there has been said again;
//   - what is said about a thing that is not known yet (it comes later in this round) is skipped:
//     what it changed will be in what is said of the thing itself;
//   - sessions are known before the first body that they refer to: bodies said earlier count as not
//     said in this round.
// Broken off anywhere it has done nothing but repeat: the begin is kept until the end is safe.
//
// It also mends: what could not be said for lack of room (Recorder::missed) is said, or is gone.

#include "broker/session.h"
#include "topics/retained_store.h"

#include <cstdint>

namespace mqttd {

struct Round {
    static constexpr uint32_t kSliceBytes = 256 * 1024;  // said in one turn, about

    enum class Phase : uint8_t { kNone, kSessions, kRetained, kFlows, kPages, kSyncing };

    Phase phase = Phase::kNone;
    uint64_t begin = 0;   // P
    uint64_t until = 0;   // where this slice ends
    uint64_t end = 0;     // of what it said
    uint64_t missed = 0;  // Recorder::missed_count() when it began
    uint64_t bucket = 0;  // of the table of sessions
    RetainedCursor retained;

    // The session that is being said, and how far.
    enum class Part : uint8_t { kUnderWay, kSubscriptions, kQueue };

    Session* session = nullptr;
    Part part = Part::kUnderWay;
    Subscription* subscription = nullptr;  // the next one
    QueuePlace place;

    bool running() const { return phase != Phase::kNone; }

    // They go.
    void leave(Session& gone) {
        if (session == &gone) session = nullptr;
    }

    void leave(Subscription& gone) {
        if (subscription == &gone) subscription = gone.next.get();
    }
};

}  // namespace mqttd
