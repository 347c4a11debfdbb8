// New options for those who are there already.

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <string>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

BrokerOptions expiring(uint64_t seconds) {
    BrokerOptions options = World::test_options();
    options.persistent_client_expiration_s = seconds;
    return options;
}

}  // namespace

// persistent_client_expiration by a reload: whoever is away is judged by the new value, counted
// from when he went; who wanted less still gets less, and who is connected stays.
TEST_CASE("a new persistent_client_expiration holds for who is away already", "[wire]") {
    struct Row {
        uint32_t before;  // 0: never
        uint32_t after;
        uint32_t lives;  // seconds from when it went, of those who want to stay for ever
    };

    constexpr uint32_t kForEver = ~uint32_t{0};
    const Row rows[] = {
        {0,   60, 60      },
        {0,   10, 30      }, // it is away for 30 seconds when the reload comes
        {100, 60, 60      },
        {60,  90, 90      },
        {60,  0,  kForEver},
        {90,  90, 90      },
    };
    for (const Row& row : rows) {
        CAPTURE(row.before, row.after);
        World world(expiring(row.before));
        auto& stays = world.client("stays", false);
        auto& old = world.client("old", false);
        auto& five = world.client5({.client_id = "five",
                                    .clean = false,
                                    .properties = property(P::kSessionExpiryInterval, 0xffffffff)});
        auto& year = world.client5({.client_id = "year",
                                    .clean = false,
                                    .properties = property(P::kSessionExpiryInterval, 31'536'000)});
        auto& brief = world.client5({.client_id = "brief",
                                     .clean = false,
                                     .properties = property(P::kSessionExpiryInterval, 50)});
        for (auto* each : {&old, &five, &year, &brief})
            each->hang_up();
        world.advance(30'000);
        REQUIRE(world.stats().sessions == 5);
        world.broker().reconfigure(expiring(row.after));
        world.settle();
        const bool at_once = row.lives == 30;
        world.advance(5'000);
        CHECK(world.stats().sessions == (at_once ? 1 : 5));
        world.advance(18'000);
        CHECK(world.stats().sessions == (at_once ? 1 : 4));
        if (row.lives > 53 && row.lives != kForEver) {
            // What the year was cut to at its CONNECT is not made longer.
            const bool cut = row.before != 0 && row.before < row.lives;
            world.advance((row.lives - 54) * 1'000);
            CHECK(world.stats().sessions == (cut ? 3 : 4));
            world.advance(3'000);
            CHECK(world.stats().sessions == 1);
        }
        world.advance(100'000);
        CHECK(stays.open());
        const uint64_t for_ever = row.before == 0 ? 4 : 3;
        CHECK(world.stats().sessions == (row.lives == kForEver ? for_ever : 1));
        CHECK(world.end() == 0);
    }
}

// It is done in slices and reaches everybody, also while the table of sessions grows and shrinks,
// and the loop does not go to sleep in the middle of it.
TEST_CASE("a new persistent_client_expiration reaches very many sessions", "[wire]") {
    World world(expiring(0));
    constexpr int kSessions = 3'000;
    for (int i = 0; i < kSessions; ++i)
        world.connection().push(packets::connect("c" + std::to_string(i), false) +
                                packets::disconnect());
    world.settle();
    REQUIRE(world.stats().sessions == kSessions);
    world.broker().reconfigure(expiring(60));
    REQUIRE_FALSE(world.broker().idle());
    world.turn();
    CHECK_FALSE(world.broker().idle());
    for (int i = 0; i < 100; ++i)
        world.connection().push(packets::connect("more" + std::to_string(i), false) +
                                packets::disconnect());
    world.turn();
    world.broker().reconfigure(expiring(20));  // before the first round is done
    world.settle();
    CHECK(world.broker().idle());
    world.advance(15'000);
    CHECK(world.stats().sessions == kSessions + 100);
    world.advance(10'000);
    CHECK(world.stats().sessions == 0);
    CHECK(world.end() == 0);
}
