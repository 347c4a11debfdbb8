#pragma once

// bench::Histogram: latencies in nanoseconds, none of them more than 3 % off.
//
// The idea of HDR histograms: exact below 64, then thirty-two buckets per doubling, so that the
// relative error is the same at a microsecond and at a minute. Fixed size (15 KiB), adding is a
// shift and an increment, nothing is ever sorted. A percentile is the top of its bucket, so it
// never flatters; the maximum is exact.
//
//     0 1 … 63 | 64-65 66-67 … 126-127 | 128-131 … | … up to 2^63
//
// The broker's own server/histogram.h is coarser (a quarter of a value) because it is kept per
// turn; here the third digit is what two brokers are compared by.

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace mqttd::bench {

class Histogram {
  public:
    static constexpr uint32_t kExact = 64;
    static constexpr uint32_t kPerOctave = 32;
    static constexpr uint32_t kBuckets = kExact + (63 - 6) * kPerOctave;

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
        const auto octave = static_cast<uint32_t>(std::bit_width(value)) - 1;  // 6 and above
        const auto step = static_cast<uint32_t>(value >> (octave - 5)) & (kPerOctave - 1);
        return std::min(kExact + (octave - 6) * kPerOctave + step, kBuckets - 1);
    }

    // The largest value in a bucket.
    static uint64_t bucket_end(uint32_t bucket) {
        if (bucket < kExact) return bucket;
        const uint32_t octave = 6 + (bucket - kExact) / kPerOctave;
        const uint32_t step = (bucket - kExact) % kPerOctave;
        return (uint64_t{kPerOctave + step + 1} << (octave - 5)) - 1;
    }

  private:
    std::array<uint64_t, kBuckets> counts_{};
    uint64_t values_ = 0;
    uint64_t max_ = 0;
};

}  // namespace mqttd::bench
