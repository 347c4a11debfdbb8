#pragma once

// bench::Histogram: latencies in nanoseconds, none of them more than 0.8 % off.
//
// The idea of HDR histograms: exact below 256, then 128 buckets per doubling, so that the relative
// error is the same at a microsecond and at a minute. Fixed size (59 KiB), adding is a shift and an
// increment, nothing is ever sorted. A percentile is the top of its bucket, so it never flatters;
// the maximum is exact.
//
//     0 1 … 255 | 256-257 258-259 … 510-511 | 512-515 … | … up to 2^64
//
// The broker's own base/histogram.h is coarser (a quarter of a value) because it is kept per
// turn; here the second digit is what two brokers are compared by.

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace mqttd::bench {

class Histogram {
  public:
    static constexpr uint32_t kExact = 256;
    static constexpr uint32_t kPerOctave = 128;
    static constexpr uint32_t kBuckets = kExact + (64 - 8) * kPerOctave;

    void add(uint64_t value) {
        ++counts_[bucket_of(value)];
        ++values_;
        max_ = std::max(max_, value);
    }

    void clear() { *this = Histogram(); }

    uint64_t values() const { return values_; }

    uint64_t max() const { return max_; }

    // At or below which this share (0 to 1) of the values were; 0 without values.
    uint64_t percentile(double share) const {
        if (values_ == 0) return 0;
        const double exact = share * static_cast<double>(values_);
        uint64_t wanted = static_cast<uint64_t>(exact);
        if (static_cast<double>(wanted) < exact || wanted == 0) ++wanted;
        uint64_t seen = 0;
        for (uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
            seen += counts_[bucket];
            if (seen >= wanted) return std::min(bucket_end(bucket), max_);
        }
        return max_;
    }

    static uint32_t bucket_of(uint64_t value) {
        if (value < kExact) return static_cast<uint32_t>(value);
        const auto octave = static_cast<uint32_t>(std::bit_width(value)) - 1;  // 8 and above
        const auto step = static_cast<uint32_t>(value >> (octave - 7)) & (kPerOctave - 1);
        return std::min(kExact + (octave - 8) * kPerOctave + step, kBuckets - 1);
    }

    // The largest value in a bucket.
    static uint64_t bucket_end(uint32_t bucket) {
        if (bucket < kExact) return bucket;
        const uint32_t octave = 8 + (bucket - kExact) / kPerOctave;
        const uint32_t step = (bucket - kExact) % kPerOctave;
        return (uint64_t{kPerOctave + step + 1} << (octave - 7)) - 1;
    }

  private:
    std::array<uint64_t, kBuckets> counts_{};
    uint64_t values_ = 0;
    uint64_t max_ = 0;
};

}  // namespace mqttd::bench
