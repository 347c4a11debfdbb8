#include "base/histogram.h"

#include "base/prng.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

using namespace mqttd;

TEST_CASE("buckets cover every value, in order and without gaps", "[sys]") {
    // A turn in the wrong bucket is a wrong percentile.
    using Turns = Histogram<64>;
    uint32_t last = 0;
    for (uint64_t us = 0; us < 200'000; ++us) {
        const uint32_t bucket = Turns::bucket_of(us);
        REQUIRE((bucket == last || bucket == last + 1));
        REQUIRE(bucket < Turns::kBuckets);
        if (bucket + 1 < Turns::kBuckets) REQUIRE(us <= Turns::bucket_end(bucket));
        if (bucket > 0) REQUIRE(us > Turns::bucket_end(bucket - 1));
        last = bucket;
    }
    REQUIRE(last == Turns::kBuckets - 1);
    REQUIRE(Turns::bucket_of(~uint64_t{0}) == Turns::kBuckets - 1);
}

TEST_CASE("percentiles are never too low and at most a quarter too high", "[sys]") {
    // Against the sorted list of all values.
    const uint64_t seed = GENERATE(61u, 62u, 63u);
    INFO("seed " << seed);
    Prng prng(seed);
    Histogram<64> times;
    std::vector<uint64_t> all;
    for (int i = 0; i < 5000; ++i) {
        const uint64_t us = 1 + (prng.next() & ((uint64_t{1} << prng.below(17)) - 1));
        all.push_back(us);
        times.add(us);
    }
    std::sort(all.begin(), all.end());
    for (const uint32_t permille : {1u, 500u, 900u, 990u, 999u, 1000u}) {
        const uint64_t exact = all[(all.size() * permille + 999) / 1000 - 1];
        REQUIRE(times.percentile(permille) >= exact);
        REQUIRE(times.percentile(permille) <= exact + exact / 4);
    }
    REQUIRE(times.max() == all.back());
}
