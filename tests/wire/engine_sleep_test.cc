// The loop sleeps when the broker says that it is idle, and nobody wakes it but an event: whatever
// takes more than one turn has to keep it awake.   DESIGN §2

#include "support/bare_loop.h"
#include "support/packets.h"
#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

constexpr int kMessages = 3'000;  // more than a slice of anything

void open(BareLoop& loop, uint32_t link, const Connect& fields) {
    loop.open(link);
    loop.feed(link, connect(fields));
    loop.sleep();
}

}  // namespace

TEST_CASE("nothing is slept over: a replay", "[wire][MQTT-3.3.1-6]") {
    BareLoop loop(World::test_options(), 64 << 20, 2);
    open(loop, 0, {.client_id = "pub"});
    open(loop, 1, {.client_id = "sub"});
    for (int i = 0; i < kMessages; ++i) {
        loop.feed(0, publish({.topic = "r/" + std::to_string(i), .payload = "x", .retain = true}));
    }
    loop.sleep();
    loop.feed(1,
              subscribe(1,
                        {
                            {"r/#", 0}
    }));
    loop.sleep();
    REQUIRE(loop.stats().publish_sent == kMessages);
}

TEST_CASE("nothing is slept over: a queue, and a session's end", "[wire][MQTT-4.1.0-1]") {
    BrokerOptions options = World::test_options();
    options.max_queued_messages = 0;
    options.max_inflight_messages = 60'000;
    BareLoop loop(options, 64 << 20, 3);
    open(loop, 0, {.client_id = "pub"});
    open(loop, 1, {.client_id = "sub", .clean = false});
    const Filters one = {
        {"t", 1}
    };
    loop.feed(1, subscribe(1, one));
    loop.sleep();
    loop.hang_up(1);
    for (int i = 0; i < kMessages; ++i)
        loop.feed(0, publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}));
    loop.sleep();
    REQUIRE(loop.stats().queued == kMessages);

    SECTION("drained") {
        open(loop, 2, {.client_id = "sub", .clean = false});
        REQUIRE(loop.stats().publish_sent == kMessages);
    }
    SECTION("thrown away") {
        const uint64_t live = loop.arena().live();
        open(loop, 2, {.client_id = "sub"});
        REQUIRE(loop.stats().queued == 0);
        REQUIRE(loop.arena().live() < live - kMessages);
    }
}

TEST_CASE("nothing is slept over: a fan-out", "[wire][MQTT-3.3.5-1]") {
    constexpr uint32_t kReceivers = 2'000;
    BrokerOptions options = World::test_options();
    options.fanout_slice = 100;
    BareLoop loop(options, 64 << 20, kReceivers + 1);
    open(loop, 0, {.client_id = "pub"});
    for (uint32_t i = 1; i <= kReceivers; ++i) {
        open(loop, i, {.client_id = "c" + std::to_string(i)});
        loop.feed(i,
                  subscribe(1,
                            {
                                {"t", 0}
        }));
    }
    loop.feed(0, publish({.topic = "t", .payload = "x"}));
    loop.sleep();
    REQUIRE(loop.stats().publish_sent == kReceivers);
}
