#include "server/turn_times.h"

#include "base/prng.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

using namespace mqttd;

TEST_CASE("buckets cover every duration, in order and without gaps") {
    // A turn in the wrong bucket is a wrong percentile.
    uint32_t last = 0;
    for (uint64_t us = 0; us < 200'000; ++us) {
        const uint32_t bucket = TurnTimes::bucket_of(us);
        REQUIRE((bucket == last || bucket == last + 1));
        REQUIRE(bucket < TurnTimes::kBuckets);
        if (bucket + 1 < TurnTimes::kBuckets) REQUIRE(us <= TurnTimes::bucket_end_us(bucket));
        if (bucket > 0) REQUIRE(us > TurnTimes::bucket_end_us(bucket - 1));
        last = bucket;
    }
    REQUIRE(last == TurnTimes::kBuckets - 1);
    REQUIRE(TurnTimes::bucket_of(~uint64_t{0}) == TurnTimes::kBuckets - 1);
}

TEST_CASE("percentiles are never too low and at most a quarter too high") {
    // Against the sorted list of all turns.
    const uint64_t seed = GENERATE(61u, 62u, 63u);
    INFO("seed " << seed);
    Prng prng(seed);
    TurnTimes times(0);
    std::vector<uint64_t> all;
    for (int i = 0; i < 5000; ++i) {
        const uint64_t us = 1 + (prng.next() & ((uint64_t{1} << prng.below(17)) - 1));
        all.push_back(us);
        times.add(us);
    }
    std::sort(all.begin(), all.end());
    for (const uint32_t permille : {1u, 500u, 900u, 990u, 999u, 1000u}) {
        const uint64_t exact = all[(all.size() * permille + 999) / 1000 - 1];
        REQUIRE(times.percentile_us(permille) >= exact);
        REQUIRE(times.percentile_us(permille) <= exact + exact / 4);
    }
}

TEST_CASE("a sample tells the busy share and begins a new interval") {
    // Each $SYS interval stands for itself.
    TurnTimes times(1'000'000);
    times.add(100'000);
    times.add(150'000);
    HostStats stats;
    times.sample(2'000'000, stats);
    REQUIRE(stats.busy_permille == 250);
    REQUIRE(stats.turn_us_max == 150'000);
    REQUIRE(stats.turn_us_p999 == 150'000);
    times.sample(3'000'000, stats);
    REQUIRE(stats.busy_permille == 0);
    REQUIRE(stats.turn_us_max == 0);
    REQUIRE(stats.turn_us_p50 == 0);
}
