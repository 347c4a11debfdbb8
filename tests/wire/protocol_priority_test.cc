// queue_priority: what waits for a session in front of what.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

BrokerOptions with(std::span<const TopicPriority> rows) {
    BrokerOptions options = World::test_options();
    options.priorities = rows;
    return options;
}

// A session that wants everything and is away.
void leave(World& world) {
    auto& reader = world.client("r", false);
    reader.send(subscribe(1,
                          {
                              {"#", 2}
    }));
    reader.hang_up();
}

// What it finds when it is back.
std::string back(World& world) {
    auto& reader = world.connection();
    reader.send(connect("r", false));
    return reader.received();
}

}  // namespace

// Whichever way a message comes, its topic decides: at QoS 1, at QoS 2, as a will.
TEST_CASE("queue_priority holds for QoS 2 and for wills", "[wire]") {
    static const TopicPriority rows[] = {
        {"high", 9}
    };
    World world(with(rows));
    leave(world);
    auto& writer = world.client("w");
    writer.send(publish({.topic = "low", .payload = "1", .qos = 1, .packet_id = 1}));
    writer.send(publish({.topic = "high", .payload = "2", .qos = 2, .packet_id = 2}) + pubrel(2));
    auto& dying = world.client(
        {.client_id = "d", .will_topic = "high", .will_payload = "will", .will_qos = 1});
    dying.hang_up();
    CHECK(back(world) ==
          "CONNACK(0,present) PUBLISH(high,2,q2,id1) PUBLISH(high,will,q1,id2) "
          "PUBLISH(low,1,q1,id3)");
    CHECK(world.end() == 0);
}

// As the manual says: a line for one topic in front of one for many makes it an exception, also
// downwards, and 0 is as good as any other priority.
TEST_CASE("the first queue_priority that matches counts", "[wire]") {
    static const TopicPriority rows[] = {
        {"a/test", 1},
        {"a/none", 0},
        {"a/#",    9}
    };
    World world(with(rows));
    leave(world);
    auto& writer = world.client("w");
    for (const char* topic : {"a/none", "a/test", "b", "a/b"})
        writer.send(publish({.topic = topic, .payload = "x", .qos = 1, .packet_id = 1}));
    CHECK(back(world) ==
          "CONNACK(0,present) PUBLISH(a/b,x,q1,id1) PUBLISH(a/test,x,q1,id2) "
          "PUBLISH(a/none,x,q1,id3) PUBLISH(b,x,q1,id4)");
    CHECK(world.end() == 0);
}

// A will takes the priority of the hour it is sent in, not that of its CONNECT.
TEST_CASE("queue_priority changed by a reload holds for a will that waits", "[wire]") {
    static const TopicPriority rows[] = {
        {"will", 9}
    };
    World world(with({}));
    leave(world);
    auto& dying =
        world.client({.client_id = "d", .will_topic = "will", .will_payload = "x", .will_qos = 1});
    auto& writer = world.client("w");
    writer.send(publish({.topic = "t", .payload = "1", .qos = 1, .packet_id = 1}));
    world.broker().reconfigure(with(rows));
    dying.hang_up();
    CHECK(back(world) == "CONNACK(0,present) PUBLISH(will,x,q1,id1) PUBLISH(t,1,q1,id2)");
    CHECK(world.end() == 0);
}
