#include "tools/bench_histogram.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

using mqttd::bench::Histogram;

TEST_CASE("the load generator's buckets cover every value without gaps", "[tools]") {
    uint32_t last = 0;
    for (uint64_t value = 0; value < 300'000; ++value) {
        const uint32_t bucket = Histogram::bucket_of(value);
        REQUIRE((bucket == last || bucket == last + 1));
        REQUIRE(value <= Histogram::bucket_end(bucket));
        if (bucket > 0) REQUIRE(value > Histogram::bucket_end(bucket - 1));
        last = bucket;
    }
    for (uint32_t shift = 18; shift < 64; ++shift) {
        for (const uint64_t value : {(uint64_t{1} << shift) - 1, uint64_t{1} << shift}) {
            const uint32_t bucket = Histogram::bucket_of(value);
            REQUIRE(bucket < Histogram::kBuckets);
            REQUIRE(value <= Histogram::bucket_end(bucket));
            REQUIRE(value > Histogram::bucket_end(bucket - 1));
        }
    }
    REQUIRE(Histogram::bucket_of(~uint64_t{0}) == Histogram::kBuckets - 1);
}

TEST_CASE("its percentiles never flatter and are at most 0.8 % too high", "[tools]") {
    // Against the sorted list of all values.
    const uint32_t seed = GENERATE(11u, 12u, 13u);
    INFO("seed " << seed);
    std::mt19937_64 random(seed);
    std::vector<uint64_t> values;
    Histogram histogram;
    for (int i = 0; i < 20'000; ++i) {
        values.push_back(random() >> (20 + random() % 40));
        histogram.add(values.back());
    }
    std::sort(values.begin(), values.end());
    for (const double share : {0.01, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
        const double rank = std::ceil(share * static_cast<double>(values.size()));
        const uint64_t exact = values[static_cast<size_t>(rank) - 1];
        const uint64_t shown = histogram.percentile(share);
        INFO(share);
        REQUIRE(shown >= exact);
        REQUIRE(static_cast<double>(shown) <= static_cast<double>(exact) * 1.008 + 1);
    }
    REQUIRE(histogram.percentile(1.0) == values.back());
    REQUIRE(histogram.max() == values.back());
    REQUIRE(histogram.values() == values.size());
}

TEST_CASE("an empty histogram says 0, and is empty again after clear", "[tools]") {
    Histogram histogram;
    REQUIRE(histogram.percentile(0.5) == 0);
    histogram.add(5'000);
    REQUIRE(histogram.percentile(0) == 5'000);  // one value is every percentile
    histogram.clear();
    REQUIRE(histogram.values() == 0);
    REQUIRE(histogram.percentile(0.99) == 0);
}
