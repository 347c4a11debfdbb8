#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

constexpr uint64_t kEndless = ~uint64_t{0};

}  // namespace

// Somebody who sends requests and reads no answers is stopped at a packet boundary after 64 KiB of
// answers, and goes on where he was when he reads again; every request is answered once.
TEST_CASE("unread answers stop the link that asked, and only it", "[wire][engine]") {
    World world;
    auto& rude = world.client("rude");
    auto& other = world.client("other");
    rude.set_room(0);
    const uint64_t used = world.arena().bytes_used();
    std::string pings;
    for (int i = 0; i < 100'000; ++i)
        pings += pingreq();
    rude.send(pings);
    REQUIRE(rude.stopped() == StopReason::kDraining);
    REQUIRE(rude.unread() > 100'000);
    REQUIRE(world.arena().bytes_used() - used < 200'000);
    const uint64_t pending = rude.pending();
    REQUIRE(pending >= 64 * 1024);
    REQUIRE(pending <= 64 * 1024 + 8 * 1024);
    other.send(pingreq());
    REQUIRE(other.received() == "PINGRESP");
    rude.set_room(100);
    world.settle();
    REQUIRE(rude.stopped() == StopReason::kDraining);
    rude.set_room(kEndless);
    world.settle();
    REQUIRE(rude.stopped() == StopReason::kNone);
    REQUIRE(rude.unread() == 0);
    REQUIRE(rude.take_output().size() == 200'000);
    REQUIRE(world.end() == 0);
}

// Acknowledgements make no output: they are taken even from a link that reads nothing, so that its
// window and our memory come free.
TEST_CASE("PUBACK is taken from a blocked link", "[wire][engine]") {
    World world;
    auto& subscriber = world.client("s");
    subscriber.send(subscribe(1,
                              {
                                  {"t", 1}
    }));
    auto& publisher = world.client("p");
    publisher.send(publish({.topic = "t", .payload = "m", .qos = 1, .packet_id = 1}));
    REQUIRE(world.stats().inflight_out == 1);
    subscriber.set_room(0);
    std::string pings;
    for (int i = 0; i < 50'000; ++i)
        pings += pingreq();
    subscriber.send(puback(1) + pings);
    REQUIRE(subscriber.stopped() == StopReason::kDraining);
    REQUIRE(world.stats().inflight_out == 0);
    REQUIRE(world.end() == 0);
}
