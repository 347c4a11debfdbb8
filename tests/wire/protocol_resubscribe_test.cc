// Subscriptions that change: again, no more, or several at once.   MQTT 3.1.1 §3.8.4, §3.10.4.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

// The same filter again changes its QoS, sends retained messages again and interrupts nothing.
TEST_CASE("subscribing again replaces the QoS and repeats retained messages",
          "[wire][MQTT-3.8.4-3]") {
    World world;
    auto& publisher = world.client("pub");
    publisher.send(
        publish({.topic = "t", .payload = "r", .qos = 1, .packet_id = 1, .retain = true}));
    auto& client = world.client("c");
    client.send(subscribe(1,
                          {
                              {"t", 1}
    }));
    REQUIRE(client.received() == "SUBACK(1,1) PUBLISH(t,r,q1,id1,retain)");
    client.send(subscribe(2,
                          {
                              {"t", 0}
    }));
    REQUIRE(client.received() == "SUBACK(2,0) PUBLISH(t,r,q0,retain)");
    publisher.send(publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}));
    REQUIRE(client.received() == "PUBLISH(t,x,q0)");  // one subscription, at its new QoS
    client.send(puback(1));
    REQUIRE(world.stats().inflight_out == 0);
    REQUIRE(world.end() == 0);
}

// UNSUBSCRIBE takes exactly the equal filter, and is answered even if there was none.
TEST_CASE("UNSUBSCRIBE removes only an equal filter",
          "[wire][MQTT-3.10.4-1][MQTT-3.10.4-2][MQTT-3.10.4-4][MQTT-3.10.4-5]") {
    World world;
    auto& client = world.client("c");
    client.send(subscribe(1,
                          {
                              {"a/b", 0}
    }));
    client.send(unsubscribe(2, {"a/+", "a/#", "#", "A/b", "a/b/", "a"}) + unsubscribe(3, {"none"}));
    REQUIRE(client.received() == "SUBACK(1,0) UNSUBACK(2) UNSUBACK(3)");
    auto& publisher = world.client("pub");
    publisher.send(publish({.topic = "a/b", .payload = "1"}));
    REQUIRE(client.received() == "PUBLISH(a/b,1,q0)");
    client.send(unsubscribe(4, {"a/b", "a/b"}));
    publisher.send(publish({.topic = "a/b", .payload = "2"}));
    REQUIRE(client.received() == "UNSUBACK(4)");
    REQUIRE(world.end() == 0);
}

// What was begun before UNSUBSCRIBE is finished: in flight and, at the next connection, repeated.
TEST_CASE("deliveries begun before UNSUBSCRIBE are completed", "[wire][MQTT-3.10.4-3]") {
    World world;
    auto& client = world.client("c", false);
    client.send(subscribe(1,
                          {
                              {"t", 2}
    }));
    auto& publisher = world.client("pub");
    publisher.send(publish({.topic = "t", .payload = "x", .qos = 2, .packet_id = 1}) + pubrel(1));
    client.send(unsubscribe(2, {"t"}));
    REQUIRE(client.received() == "SUBACK(1,2) PUBLISH(t,x,q2,id1) UNSUBACK(2)");
    client.hang_up();
    auto& back = world.connection();
    back.send(connect("c", false));
    REQUIRE(back.received() == "CONNACK(0,present) PUBLISH(t,x,q2,id1,dup)");
    back.send(pubrec(1) + pubcomp(1));
    REQUIRE(back.received() == "PUBREL(1)");
    REQUIRE(world.stats().inflight_out == 0);
    REQUIRE(world.end() == 0);
}

// Overlapping filters: one copy each with its own QoS, or one copy at the highest.
TEST_CASE("overlapping subscriptions give one copy each, or one at the highest QoS",
          "[wire][MQTT-3.3.5-1]") {
    for (const bool duplicates : {true, false}) {
        BrokerOptions options = World::test_options();
        options.allow_duplicate_messages = duplicates;
        World world(options);
        auto& client = world.client("c");
        client.send(subscribe(1,
                              {
                                  {"a/b", 0},
                                  {"a/+", 2},
                                  {"#",   1},
                                  {"b",   2}
        }));
        auto& other = world.client("other");
        other.send(subscribe(1,
                             {
                                 {"a/#", 1}
        }));
        client.take_output();
        other.take_output();
        auto& publisher = world.client("pub");
        for (int qos = 0; qos <= 2; ++qos) {
            publisher.send(publish({.topic = "a/b", .payload = "x", .qos = qos, .packet_id = 1}));
            if (qos == 2) publisher.send(pubrel(1));
            const std::string words = client.received();
            const auto copies = [&](int of) {
                size_t count = 0;
                const std::string mark = "PUBLISH(a/b,x,q" + std::to_string(of);
                for (size_t at = 0; (at = words.find(mark, at)) != words.npos; ++at)
                    ++count;
                return count;
            };
            INFO(words);
            size_t expected[3] = {};
            for (const int of : {0, 2, 1})
                ++expected[std::min(of, qos)];
            for (int of = 0; of <= 2; ++of) {
                REQUIRE(copies(of) == (duplicates ? expected[of] : of == qos ? 1 : 0));
            }
            REQUIRE(other.received().starts_with("PUBLISH(a/b,x,q"));
        }
        REQUIRE(world.end() == 0);
    }
}
