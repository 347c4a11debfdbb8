#include "server/turn_times.h"

#include <algorithm>
#include <bit>

namespace mqttd {

// Below 8 each value has a bucket; from there on four per doubling:
//   8 9 | 10 11 | 12 13 | 14 15 | 16-19 | 20-23 | ...
uint32_t TurnTimes::bucket_of(uint64_t us) {
    if (us < 8) return static_cast<uint32_t>(us);
    const auto octave = static_cast<uint32_t>(std::bit_width(us)) - 1;  // 3 and above
    const auto quarter = static_cast<uint32_t>(us >> (octave - 2)) & 3;
    return std::min(8 + (octave - 3) * 4 + quarter, kBuckets - 1);
}

uint64_t TurnTimes::bucket_end_us(uint32_t bucket) {
    if (bucket < 8) return bucket;
    const uint32_t octave = 3 + (bucket - 8) / 4;
    const uint32_t quarter = (bucket - 8) % 4;
    return (uint64_t{4 + quarter + 1} << (octave - 2)) - 1;
}

void TurnTimes::add(uint64_t turn_us) {
    ++counts_[bucket_of(turn_us)];
    ++turns_;
    busy_us_ += turn_us;
    max_us_ = std::max(max_us_, turn_us);
}

uint64_t TurnTimes::percentile_us(uint32_t permille) const {
    if (turns_ == 0) return 0;
    const uint64_t wanted = (turns_ * permille + 999) / 1000;
    uint64_t seen = 0;
    for (uint32_t bucket = 0; bucket + 1 < kBuckets; ++bucket) {
        seen += counts_[bucket];
        if (seen >= wanted) return std::min(bucket_end_us(bucket), max_us_);
    }
    return max_us_;
}

void TurnTimes::sample(uint64_t now_us, HostStats& out) {
    out.turn_us_p50 = percentile_us(500);
    out.turn_us_p90 = percentile_us(900);
    out.turn_us_p99 = percentile_us(990);
    out.turn_us_p999 = percentile_us(999);
    out.turn_us_max = max_us_;
    const uint64_t interval_us = std::max<uint64_t>(now_us - since_us_, 1);
    out.busy_permille = std::min<uint64_t>(busy_us_ * 1000 / interval_us, 1000);
    *this = TurnTimes(now_us);
}

}  // namespace mqttd
