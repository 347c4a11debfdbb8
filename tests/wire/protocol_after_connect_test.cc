// What follows a CONNECT, good or refused, and how many may come.   MQTT 3.1.1 §3.1.4.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

// After a refusal nothing more is acted on, although the bytes are there.
TEST_CASE("what follows a refused CONNECT is ignored", "[wire][MQTT-3.1.4-5]") {
    World world;
    auto& watcher = world.client("watcher");
    watcher.send(subscribe(1,
                           {
                               {"t", 0}
    }));
    auto& refused = world.connection();
    refused.send(connect({.client_id = "", .clean = false}) + publish({.topic = "t"}) +
                 connect("again") + pingreq());
    REQUIRE(refused.received() == "CONNACK(2)");
    REQUIRE(watcher.received() == "SUBACK(1,0)");
    REQUIRE(world.stats().sessions == 1);
    REQUIRE(world.end() == 0);
}

// A client need not wait for CONNACK; the answer to CONNECT is still the first packet.
TEST_CASE("packets sent right behind CONNECT are served after it", "[wire][MQTT-3.2.0-1]") {
    World world;
    auto& client = world.connection();
    client.send(connect("c") +
                subscribe(1,
                          {
                              {"t", 1}
    }) +
                publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 9}) + pingreq());
    REQUIRE(client.received() == "CONNACK(0) SUBACK(1,1) PUBLISH(t,x,q1,id1) PUBACK(9) PINGRESP");
    REQUIRE(world.end() == 0);
}

// global_max_clients counts sessions; a client that has one is not a new one.
TEST_CASE("global_max_clients refuses the session above it", "[wire]") {
    BrokerOptions options = World::test_options();
    options.global_max_clients = 2;
    World world(options);
    world.client("a");
    world.client("b", false).hang_up();
    auto& third = world.connection();
    third.send(connect("c"));
    REQUIRE(third.received() == "CONNACK(3)");
    REQUIRE_FALSE(third.open());
    auto& again = world.connection();
    again.send(connect("b", false));
    REQUIRE(again.received() == "CONNACK(0,present)");
    REQUIRE(world.end() == 0);
}
