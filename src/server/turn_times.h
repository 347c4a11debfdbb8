#pragma once

// TurnTimes: how long turns take, how long the loop sleeps, how long a publication is under way.
//
// Microseconds, in histograms that begin anew with every $SYS interval; the turns are counted since
// the start as well.
//
// The time of a publication, `latency/publish_us`: the core has no clock, so the shell takes it
// around the phases of a turn, from the moment it begins to read from sockets to the end of the
// writes. That is an upper bound for whatever was read and written in that turn: its first byte was
// parsed after the first moment and its last write returned before the second. If something is
// still to be written at the end of the turn (its share was used up, or a fan-out goes on as a
// job), the time runs on until a turn ends with nothing left. Not in it: what waits in the kernel
// before the read and after the write, and receivers that do not read. One QoS 0 fan-out in 64 is a
// sample, so that busy turns count for more than idle ones.

#include "mqttd/host_stats.h"

#include "base/histogram.h"

#include <cstdint>

namespace mqttd {

class TurnTimes {
  public:
    static constexpr uint64_t kSampleEvery = 64;

    using Turns = Histogram<64>;

    explicit TurnTimes(uint64_t now_us);

    // A turn that woke at `began_us`; before it the loop had slept since the last one ended.
    void add_turn(uint64_t began_us, uint64_t ended_us);

    // What it read from `reading_us` on had been written at `written_us`, all of it if `all`.
    // `fanouts`: at QoS 0, since the start.
    void add_writes(uint64_t reading_us, uint64_t written_us, uint64_t fanouts, bool all);

    // Fills in turn_us_*, wait_us_*, publish_us_* and busy_permille and begins a new interval.  The
    // spans point into this object.
    void sample(uint64_t now_us, HostStats& out);

  private:
    Turns turns_;      // last interval
    Turns all_turns_;  // since the start
    uint64_t ends_[Turns::kBuckets - 1];
    Histogram<120> waits_;     // up to 36 minutes
    Histogram<96> publishes_;  // up to 34 s
    uint64_t since_us_;        // beginning of the interval
    uint64_t ended_us_;        // of the last turn
    uint64_t fanouts_ = 0;     // counted so far
    uint64_t samples_ = 0;     // not wholly written yet
    uint64_t reading_us_ = 0;  // of the oldest of them
};

}  // namespace mqttd
