#pragma once

// How long turns take: a histogram of microseconds, read and reset once per $SYS interval.
//
// 64 buckets: one for each value below 8, then four per doubling, so that a percentile is at most a
// quarter too high; the last one begins at 114 ms. The longest turn is kept exactly. Adding is a
// few operations, for it happens every turn; percentiles walk the buckets.

#include "mqttd/host_stats.h"

#include <cstdint>

namespace mqttd {

class TurnTimes {
  public:
    static constexpr uint32_t kBuckets = 64;

    explicit TurnTimes(uint64_t now_us) : since_us_(now_us) {}

    void add(uint64_t turn_us);

    // Fills in the turn_us_* and busy_permille fields and begins a new interval.
    void sample(uint64_t now_us, HostStats& out);

    // Below which `permille` of the turns were; 0 without turns.
    uint64_t percentile_us(uint32_t permille) const;

    static uint32_t bucket_of(uint64_t us);
    static uint64_t bucket_end_us(uint32_t bucket);  // the largest value in it

  private:
    uint64_t counts_[kBuckets] = {};
    uint64_t turns_ = 0;
    uint64_t busy_us_ = 0;
    uint64_t max_us_ = 0;
    uint64_t since_us_;
};

}  // namespace mqttd
