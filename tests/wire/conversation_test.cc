#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

// The smallest whole conversation: what is published arrives, and nothing is left when all are
// gone.
TEST_CASE("a subscriber gets what is published, at every QoS", "[wire][MQTT-4.3.3-1]") {
    World world;
    auto& subscriber = world.client("sub");
    subscriber.send(subscribe(1,
                              {
                                  {"t/+", 2}
    }));
    REQUIRE(subscriber.received() == "SUBACK(1,2)");
    auto& publisher = world.client("pub");
    publisher.send(publish({.topic = "t/0", .payload = "zero"}));
    publisher.send(publish({.topic = "t/1", .payload = "one", .qos = 1, .packet_id = 7}));
    REQUIRE(publisher.received() == "PUBACK(7)");
    publisher.send(publish({.topic = "t/2", .payload = "two", .qos = 2, .packet_id = 8}));
    REQUIRE(publisher.received() == "PUBREC(8)");
    publisher.send(pubrel(8));
    REQUIRE(publisher.received() == "PUBCOMP(8)");
    REQUIRE(subscriber.received() ==
            "PUBLISH(t/0,zero,q0) PUBLISH(t/1,one,q1,id1) PUBLISH(t/2,two,q2,id2)");
    subscriber.send(puback(1) + pubrec(2));
    REQUIRE(subscriber.received() == "PUBREL(2)");
    subscriber.send(pubcomp(2));
    REQUIRE(world.stats().inflight_out == 0);
    REQUIRE(world.end() == 0);
}

// What was in flight when the connection broke comes again, with DUP where its bytes had left.
TEST_CASE("unacknowledged messages are repeated at reconnect", "[wire][MQTT-4.4.0-1]") {
    World world;
    auto& first = world.client("sub", false);
    first.send(subscribe(1,
                         {
                             {"t", 1}
    }));
    auto& publisher = world.client("pub");
    publisher.send(publish({.topic = "t", .payload = "a", .qos = 1, .packet_id = 1}));
    REQUIRE(first.received() == "SUBACK(1,1) PUBLISH(t,a,q1,id1)");
    first.hang_up();
    publisher.send(publish({.topic = "t", .payload = "b", .qos = 1, .packet_id = 2}));
    auto& second = world.connection();
    second.send(connect("sub", false));
    REQUIRE(second.received() == "CONNACK(0,present) PUBLISH(t,a,q1,id1,dup) PUBLISH(t,b,q1,id2)");
    REQUIRE(world.end() == 0);
}

// Retained messages come with the flag set; a will comes when its client breaks off.
TEST_CASE("retained messages and wills reach those who subscribe", "[wire]") {
    World world;
    Connect fields;
    fields.client_id = "dying";
    fields.will_topic = "will";
    fields.will_payload = "gone";
    fields.will_retain = true;
    auto& dying = world.client(fields);
    dying.send(publish({.topic = "state/x", .payload = "1", .retain = true}));
    dying.hang_up();
    auto& subscriber = world.client("sub");
    subscriber.send(subscribe(1,
                              {
                                  {"#", 0}
    }));
    REQUIRE(subscriber.received() ==
            "SUBACK(1,0) PUBLISH(state/x,1,q0,retain) PUBLISH(will,gone,q0,retain)");
    REQUIRE(world.end() == 0);
}
