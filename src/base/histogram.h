#pragma once

// Histogram: how often which value, on a scale that grows with the value.
//
// One bucket for each value below 8, then four per doubling, so that a percentile is at most a
// quarter too high; the last bucket takes all the rest. The largest value is kept exactly. Adding
// is a few operations, for it happens every turn; percentiles walk the buckets.
//
//     0 1 … 7 | 8 9 | 10 11 | 12 13 | 14 15 | 16-19 | 20-23 | …     64 buckets: up to 114 ms in µs

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>

namespace mqttd {

template <uint32_t kCount>
class Histogram {
  public:
    static constexpr uint32_t kBuckets = kCount;

    void add(uint64_t value, uint64_t times = 1) {
        counts_[bucket_of(value)] += times;
        values_ += times;
        sum_ += value * times;
        max_ = std::max(max_, value);
    }

    uint64_t values() const { return values_; }

    uint64_t sum() const { return sum_; }

    uint64_t max() const { return max_; }

    std::span<const uint64_t> counts() const { return counts_; }

    // At or below which `permille` of the values were; 0 without values.
    uint64_t percentile(uint32_t permille) const {
        if (values_ == 0) return 0;
        const uint64_t wanted = (values_ * permille + 999) / 1000;
        uint64_t seen = 0;
        for (uint32_t bucket = 0; bucket + 1 < kBuckets; ++bucket) {
            seen += counts_[bucket];
            if (seen >= wanted) return std::min(bucket_end(bucket), max_);
        }
        return max_;
    }

    static uint32_t bucket_of(uint64_t value) {
        if (value < 8) return static_cast<uint32_t>(value);
        const auto octave = static_cast<uint32_t>(std::bit_width(value)) - 1;  // 3 and above
        const auto quarter = static_cast<uint32_t>(value >> (octave - 2)) & 3;
        return std::min(8 + (octave - 3) * 4 + quarter, kBuckets - 1);
    }

    // The largest value in a bucket that is not the last.
    static uint64_t bucket_end(uint32_t bucket) {
        if (bucket < 8) return bucket;
        const uint32_t octave = 3 + (bucket - 8) / 4;
        const uint32_t quarter = (bucket - 8) % 4;
        return (uint64_t{4 + quarter + 1} << (octave - 2)) - 1;
    }

  private:
    uint64_t counts_[kBuckets] = {};
    uint64_t values_ = 0;
    uint64_t sum_ = 0;
    uint64_t max_ = 0;
};

}  // namespace mqttd
