#include "io/clock.h"
#include "io/random.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

using namespace mqttd;

TEST_CASE("the clocks do not go back") {
    // The core asserts that `now` never does.
    Instant boot = boot_ms();
    uint64_t fine = monotonic_us();
    for (int i = 0; i < 10'000; ++i) {
        REQUIRE(boot_ms() >= boot);
        REQUIRE(monotonic_us() >= fine);
        boot = boot_ms();
        fine = monotonic_us();
    }
    REQUIRE(wall_s() > 1'600'000'000);  // later than 2020
}

TEST_CASE("random bytes fill the whole and differ each time") {
    // The key of every hash table.
    std::vector<uint8_t> first(1000);
    std::vector<uint8_t> second(1000);
    REQUIRE(random_bytes(first) == Error::kNone);
    REQUIRE(random_bytes(second) == Error::kNone);
    REQUIRE((first != second));
    REQUIRE(std::count(first.begin() + 900, first.end(), 0) < 20);
    REQUIRE(random_bytes({}) == Error::kNone);
}
