// PUBLISH: what is acknowledged but not passed on, and what is passed on as it came.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

// Remaining Length in more bytes than needed is legal, and what comes out is not what came in.
TEST_CASE("a padded Remaining Length is understood and not passed on", "[wire]") {
    World world;
    auto& subscriber = world.client("sub");
    subscriber.send(subscribe(1,
                              {
                                  {"t", 0}
    }));
    subscriber.take_output();
    auto& publisher = world.client("pub");
    publisher.send(std::string("\x30\x84\x80\x00\x00\x01t1", 8));
    publisher.send(std::string("\xc0\x80\x80\x00", 4));
    REQUIRE(publisher.received() == "PINGRESP");
    REQUIRE(subscriber.take_output() == publish({.topic = "t", .payload = "1"}));
    REQUIRE(world.end() == 0);
}

// message_size_limit caps payloads: the flow is completed, the message goes nowhere and is counted.
TEST_CASE("a payload above message_size_limit is acknowledged and dropped", "[wire]") {
    BrokerOptions options = World::test_options();
    options.message_size_limit = 10;
    World world(options);
    auto& subscriber = world.client("sub");
    subscriber.send(subscribe(1,
                              {
                                  {"t", 2}
    }));
    subscriber.take_output();
    auto& publisher = world.client("pub");
    for (const size_t size : {9u, 10u, 11u}) {
        for (int qos = 0; qos <= 2; ++qos) {
            publisher.send(publish({.topic = "t",
                                    .payload = std::string(size, 'x'),
                                    .qos = qos,
                                    .packet_id = 1,
                                    .retain = size == 11}));
        }
        publisher.send(pubrel(1));
        REQUIRE(publisher.received() == "PUBACK(1) PUBREC(1) PUBCOMP(1)");
        REQUIRE(subscriber.received().empty() == (size == 11));
    }
    REQUIRE(world.stats().drops[static_cast<int>(Drop::kTooLarge)] == 3);
    REQUIRE(world.end() == 0);
}

// Below $SYS only the broker publishes; the client's flow is completed all the same.
TEST_CASE("clients cannot publish below $SYS", "[wire][MQTT-3.3.5-2]") {
    World world;
    auto& subscriber = world.client("sub");
    subscriber.send(subscribe(1,
                              {
                                  {"$SYS/#", 2},
                                  {"$own/#", 2}
    }));
    subscriber.take_output();
    auto& publisher = world.client("pub");
    for (const std::string topic : {"$SYS/x", "$SYS"}) {
        for (const bool retain : {false, true}) {
            publisher.send(publish({.topic = topic, .retain = retain}));
            publisher.send(publish({.topic = topic, .qos = 1, .packet_id = 1, .retain = retain}));
            publisher.send(publish({.topic = topic, .qos = 2, .packet_id = 2, .retain = retain}));
            publisher.send(pubrel(2));
            REQUIRE(publisher.received() == "PUBACK(1) PUBREC(2) PUBCOMP(2)");
        }
    }
    REQUIRE(subscriber.received().empty());
    REQUIRE(world.stats().drops[static_cast<int>(Drop::kSystemTopic)] == 12);
    publisher.send(publish({.topic = "$own/x", .payload = "1"}));
    REQUIRE(subscriber.received() == "PUBLISH($own/x,1,q0)");
    REQUIRE(world.end() == 0);
}

// flags, another size, an empty payload.
TEST_CASE("many small messages in one read arrive complete and in order", "[wire][MQTT-4.6.0-6]") {
    for (const bool queue_qos0 : {false, true}) {
        BrokerOptions options = World::test_options();
        options.queue_qos0_messages = queue_qos0;
        World world(options);
        auto& subscriber = world.client("sub");
        subscriber.send(subscribe(1,
                                  {
                                      {"a", 0},
                                      {"b", 0}
        }));
        subscriber.take_output();
        std::string bytes;
        std::string expected;
        for (int i = 0; i < 300; ++i) {
            Publish fields{.topic = i % 7 == 3 ? "b" : "a", .payload = std::to_string(i)};
            if (i % 11 == 5) fields.payload = "";
            expected += publish(fields);
            fields.retain = i % 13 == 6;
            bytes += publish(fields);
        }
        world.client("pub").send(bytes);
        REQUIRE(subscriber.take_output() == expected);
        REQUIRE(world.stats().publish_received == 300);
        REQUIRE(world.stats().publish_sent == 300);
        REQUIRE(world.end() == 0);
    }
}
