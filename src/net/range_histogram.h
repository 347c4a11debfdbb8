#pragma once

// RangeHistogram: how many ranges the writes had, in sixteen classes.
//
//     up to 1  2  3  4  6  8  12  16  24  32  48  64  96  128  192  256
//
// Two classes per doubling: a quantile is right within a third, for 128 bytes.

#include <algorithm>
#include <cstdint>

namespace mqttd {

class RangeHistogram {
  public:
    static constexpr uint32_t kClasses = 16;

    // `ranges` >= 1; more than 256 count as 256.
    void add(uint32_t ranges) {
        ++counts_[class_of(ranges)];
        ++total_;
    }

    // The upper end of the class that the given part of all writes does not exceed; 0 if there was
    // none.
    uint32_t quantile(uint32_t permille) const {
        uint64_t rank = (total_ * permille + 999) / 1000;
        for (uint32_t i = 0; i < kClasses; ++i) {
            if (counts_[i] >= rank) return rank == 0 ? 0 : end_of(i);
            rank -= counts_[i];
        }
        return 0;
    }

    void clear() { *this = {}; }

    static constexpr uint32_t class_of(uint32_t ranges) {
        if (ranges <= 2) return ranges == 2 ? 1 : 0;
        const auto doubling = static_cast<uint32_t>(32 - __builtin_clz(ranges - 1));  // >= 2
        const uint32_t upper = ranges > uint32_t{3} << (doubling - 2) ? 1 : 0;
        return std::min(2 * (doubling - 1) + upper, kClasses - 1);
    }

    static constexpr uint32_t end_of(uint32_t index) {
        if (index < 2) return index + 1;
        return index % 2 == 0 ? uint32_t{3} << (index / 2 - 1) : uint32_t{4} << (index / 2 - 1);
    }

  private:
    uint64_t counts_[kClasses] = {};
    uint64_t total_ = 0;
};

}  // namespace mqttd
