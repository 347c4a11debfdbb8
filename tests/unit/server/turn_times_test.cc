#include "server/turn_times.h"

#include <catch2/catch.hpp>
#include <numeric>

using namespace mqttd;

TEST_CASE("a sample tells turns, sleep and the busy share, and begins a new interval", "[sys]") {
    // Each $SYS interval stands for itself; the histogram alone goes on.
    TurnTimes times(1'000'000);
    times.add_turn(1'100'000, 1'200'000);
    times.add_turn(1'300'000, 1'450'000);
    HostStats stats;
    times.sample(2'000'000, stats);
    REQUIRE(stats.busy_permille == 250);
    REQUIRE(stats.turn_us_max == 150'000);
    REQUIRE(stats.turn_us_p999 == 150'000);
    REQUIRE(stats.wait_us_p50 == 100'000);
    REQUIRE(stats.turn_us_ends.size() + 1 == stats.turn_us_counts.size());
    times.sample(3'000'000, stats);
    REQUIRE(stats.busy_permille == 0);
    REQUIRE(stats.turn_us_max == 0);
    REQUIRE(stats.turn_us_p50 == 0);
    REQUIRE(stats.wait_us_p50 == 0);
    REQUIRE(stats.turn_us_sum == 250'000);
    REQUIRE(std::accumulate(
                stats.turn_us_counts.begin(), stats.turn_us_counts.end(), uint64_t{0}) == 2);
}

TEST_CASE("one fan-out in 64 is a sample of the publish time", "[sys]") {
    // Whatever the turns are that they come in.
    TurnTimes times(0);
    HostStats stats;
    times.add_writes(100, 150, 63, true);
    times.sample(1'000, stats);
    REQUIRE(stats.publish_us_max == 0);
    times.add_writes(1'100, 1'160, 64, true);
    times.add_writes(1'200, 1'900, 127, true);  // no multiple of 64 among them
    times.sample(2'000, stats);
    REQUIRE(stats.publish_us_p50 == 60);
    REQUIRE(stats.publish_us_max == 60);
    times.add_writes(2'100, 2'110, 64 * 101, true);
    times.add_writes(2'200, 2'700, 64 * 102, true);
    times.sample(3'000, stats);
    REQUIRE(stats.publish_us_p50 <= 11);
    REQUIRE(stats.publish_us_p99 <= 11);  // 100 samples in one turn count for more than one
    REQUIRE(stats.publish_us_max == 500);
}

TEST_CASE("what could not be written in its turn is timed until it has been", "[sys]") {
    // Else the worst cases would be the ones that are not seen.
    TurnTimes times(0);
    HostStats stats;
    times.add_writes(100, 200, 64, false);
    times.add_writes(300, 400, 70, false);
    times.add_writes(500, 700, 70, true);
    times.add_writes(800, 950, 128, true);
    times.sample(1'000, stats);
    REQUIRE(stats.publish_us_max == 600);
    REQUIRE(stats.publish_us_p50 >= 150);
    REQUIRE(stats.publish_us_p50 < 600);
}
