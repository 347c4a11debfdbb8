// Queues: what waits for a session, up to which limit, and what is dropped by which name.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

uint64_t dropped(const World& world, Drop reason) {
    return world.stats().drops[static_cast<int>(reason)];
}

std::string numbered(int number, int qos, size_t size = 0) {
    std::string payload = std::to_string(number);
    if (size > payload.size()) payload.append(size - payload.size(), '.');
    return publish({.topic = "t", .payload = payload, .qos = qos, .packet_id = 1}) +
           (qos == 2 ? pubrel(1) : "");
}

void leave(World& world, int qos) {
    auto& subscriber = world.client("sub", false);
    subscriber.send(subscribe(1,
                              {
                                  {"t", qos}
    }));
    subscriber.hang_up();
}

FakeConnection& back(World& world) {
    auto& subscriber = world.connection();
    subscriber.send(connect("sub", false));
    return subscriber;
}

}  // namespace

// max_queued_messages at limit-1, limit and limit+1: the newest is dropped and counted, and what
// waits comes in order; 0 is no limit.
TEST_CASE("max_queued_messages drops what comes above it", "[wire]") {
    for (const uint32_t limit : {0u, 1u, 10u, 200u}) {
        for (const int more : {-1, 0, 1, 5}) {
            const int count = static_cast<int>(limit) + more + (limit == 0 ? 2'000 : 0);
            BrokerOptions options = World::test_options();
            options.max_queued_messages = limit;
            options.max_inflight_messages = 1'000;
            World world(options);
            leave(world, 2);
            auto& publisher = world.client("pub");
            for (int i = 1; i <= count; ++i)
                publisher.send(numbered(i, 1 + i % 2));
            const int kept = limit == 0 ? count : std::min(count, static_cast<int>(limit));
            REQUIRE(world.stats().queued == static_cast<uint64_t>(kept));
            REQUIRE(dropped(world, Drop::kQueueFull) == static_cast<uint64_t>(count - kept));
            REQUIRE(world.stats().dropped == static_cast<uint64_t>(count - kept));
            auto& subscriber = back(world);
            std::string expected = "CONNACK(0,present)";
            for (int i = 1; i <= std::min(kept, 1'000); ++i) {
                expected += " PUBLISH(t," + std::to_string(i) + ",q" + std::to_string(1 + i % 2) +
                            ",id" + std::to_string(i) + ")";
            }
            REQUIRE(subscriber.received() == expected);
            REQUIRE(world.end() == 0);
        }
    }
}

// max_queued_bytes counts payload: what fits exactly is kept.
TEST_CASE("max_queued_bytes drops what does not fit", "[wire]") {
    for (const size_t last : {29u, 30u, 31u}) {
        BrokerOptions options = World::test_options();
        options.max_queued_bytes = 100;
        World world(options);
        leave(world, 1);
        auto& publisher = world.client("pub");
        publisher.send(numbered(1, 1, 50) + numbered(2, 1, 20) + numbered(3, 1, last));
        REQUIRE(dropped(world, Drop::kQueueFull) == (last > 30 ? 1 : 0));
        REQUIRE(world.stats().queued_bytes == 70 + (last > 30 ? 0 : last));
        publisher.send(numbered(4, 1, 1));  // a smaller one may still find its place
        REQUIRE(world.stats().queued_bytes <= 100);
        publisher.send(publish({.topic = "t", .qos = 1, .packet_id = 1}));  // and an empty one will
        REQUIRE(back(world).received().ends_with("PUBLISH(t,,q1,id" +
                                                 std::to_string(last == 30  ? 4
                                                                : last > 30 ? 4
                                                                            : 5) +
                                                 ")"));
        REQUIRE(world.stats().queued_bytes == 0);
        REQUIRE(world.end() == 0);
    }
}

// The window is not part of the queue: both are full before anything is dropped.
TEST_CASE("a connected client has its window and its queue", "[wire]") {
    BrokerOptions options = World::test_options();
    options.max_inflight_messages = 3;
    options.max_queued_messages = 4;
    World world(options);
    auto& subscriber = world.client("sub");
    subscriber.send(subscribe(1,
                              {
                                  {"t", 1}
    }));
    subscriber.take_output();
    auto& publisher = world.client("pub");
    for (int i = 1; i <= 9; ++i)
        publisher.send(numbered(i, 1));
    REQUIRE(world.stats().inflight_out == 3);
    REQUIRE(world.stats().queued == 4);
    REQUIRE(dropped(world, Drop::kQueueFull) == 2);
    subscriber.take_output();
    for (uint16_t id = 1; id <= 7; ++id) {
        subscriber.send(puback(id));
        const std::string next = id <= 4 ? "PUBLISH(t," + std::to_string(id + 3) + ",q1,id" +
                                               std::to_string(id + 3) + ")"
                                         : "";
        REQUIRE(subscriber.received() == next);
    }
    REQUIRE(world.stats().messages_stored == 0);
    REQUIRE(world.end() == 0);
}

// queue_qos0_messages decides what becomes of QoS 0 for a durable client that is away: of the
// publisher's QoS 0, and of the subscription's.
TEST_CASE("QoS 0 waits for an absent client only with queue_qos0_messages", "[wire]") {
    for (const bool queue : {false, true}) {
        for (const int subscribed : {0, 2}) {
            BrokerOptions options = World::test_options();
            options.queue_qos0_messages = queue;
            World world(options);
            leave(world, subscribed);
            auto& publisher = world.client("pub");
            publisher.send(numbered(1, 0) + numbered(2, 1) + numbered(3, 0));
            std::string expected = "CONNACK(0,present)";
            if (queue) expected += " PUBLISH(t,1,q0)";
            if (subscribed == 2) expected += " PUBLISH(t,2,q1,id1)";
            if (queue && subscribed == 0) expected += " PUBLISH(t,2,q0)";
            if (queue) expected += " PUBLISH(t,3,q0)";
            REQUIRE(dropped(world, Drop::kOffline) == (queue ? 0u : subscribed == 0 ? 3u : 2u));
            auto& subscriber = back(world);
            REQUIRE(subscriber.received() == expected);
            publisher.send(numbered(4, 0));  // and from now on directly
            REQUIRE(subscriber.received() == "PUBLISH(t,4,q0)");
            REQUIRE(world.end() == 0);
        }
    }
}

// A clean session has nothing that waits: its client is there or it is not.
TEST_CASE("nothing is queued for a clean session that is gone", "[wire]") {
    BrokerOptions options = World::test_options();
    options.queue_qos0_messages = true;
    World world(options);
    auto& subscriber = world.client("sub");
    subscriber.send(subscribe(1,
                              {
                                  {"t", 1}
    }));
    subscriber.hang_up();
    world.client("pub").send(numbered(1, 0) + numbered(2, 1));
    REQUIRE(world.stats().queued == 0);
    REQUIRE(world.stats().messages_stored == 0);
    REQUIRE(world.end() == 0);
}

// A receiver that does not read: QoS 0 is dropped (or queued), QoS 1 queued, both counted; when it
// reads again it gets what was kept, in order, and nobody else noticed.
TEST_CASE("a receiver that does not read loses only its own QoS 0", "[wire]") {
    for (const bool queue : {false, true}) {
        BrokerOptions options = World::test_options();
        options.queue_qos0_messages = queue;
        options.max_inflight_messages = 100;
        World world(options);
        auto& stuck = world.client("sub");
        auto& other = world.client("other");
        for (auto* client : {&stuck, &other}) {
            client->send(subscribe(1,
                                   {
                                       {"t", 1}
            }));
            client->take_output();
        }
        auto& publisher = world.client("pub");
        stuck.set_room(3);
        publisher.send(numbered(0, 0));  // comes short
        for (int i = 1; i <= 6; ++i)
            publisher.send(numbered(i, i % 2));
        REQUIRE(other.received() ==
                "PUBLISH(t,0,q0) PUBLISH(t,1,q1,id1) PUBLISH(t,2,q0) PUBLISH(t,3,q1,id2) "
                "PUBLISH(t,4,q0) PUBLISH(t,5,q1,id3) PUBLISH(t,6,q0)");
        REQUIRE(dropped(world, Drop::kBlocked) == (queue ? 0 : 3));
        REQUIRE(world.stats().queued == (queue ? 6 : 3));
        stuck.set_room(~uint64_t{0});
        world.settle();
        REQUIRE(stuck.received() ==
                (queue ? "PUBLISH(t,0,q0) PUBLISH(t,1,q1,id1) PUBLISH(t,2,q0) PUBLISH(t,3,q1,id2) "
                         "PUBLISH(t,4,q0) PUBLISH(t,5,q1,id3) PUBLISH(t,6,q0)"
                       : "PUBLISH(t,0,q0) PUBLISH(t,1,q1,id1) PUBLISH(t,3,q1,id2) "
                         "PUBLISH(t,5,q1,id3)"));
        REQUIRE(world.stats().queued == 0);
        publisher.send(numbered(7, 0));
        REQUIRE(stuck.received() == "PUBLISH(t,7,q0)");
        REQUIRE(world.end() == 0);
    }
}

// QoS 0 that comes while QoS 0 waits behind a full window waits as well: its order is kept.
TEST_CASE("queued QoS 0 is not overtaken", "[wire][MQTT-4.6.0-6]") {
    BrokerOptions options = World::test_options();
    options.queue_qos0_messages = true;
    options.max_inflight_messages = 1;
    World world(options);
    leave(world, 1);
    auto& publisher = world.client("pub");
    publisher.send(numbered(1, 1) + numbered(2, 1) + numbered(3, 0));
    auto& subscriber = back(world);
    REQUIRE(subscriber.received() == "CONNACK(0,present) PUBLISH(t,1,q1,id1)");
    publisher.send(numbered(4, 0));
    REQUIRE(subscriber.received().empty());
    subscriber.send(puback(1));
    REQUIRE(subscriber.received() == "PUBLISH(t,2,q1,id2) PUBLISH(t,3,q0) PUBLISH(t,4,q0)");
    REQUIRE(world.end() == 0);
}

// A long queue and a large one leave in slices and arrive whole.
TEST_CASE("a queue longer than any slice arrives whole and in order", "[wire][MQTT-4.6.0-6]") {
    BrokerOptions options = World::test_options();
    options.max_queued_messages = 0;
    options.max_inflight_messages = 20'000;
    World world(options);
    leave(world, 1);
    auto& publisher = world.client("pub");
    std::string expected = raw(0x20, std::string("\1\0", 2));
    for (int i = 1; i <= 5'000; ++i) {
        publisher.send(numbered(i, 1, 200));
        std::string payload = std::to_string(i);
        payload.append(200 - payload.size(), '.');
        expected += publish(
            {.topic = "t", .payload = payload, .qos = 1, .packet_id = static_cast<uint16_t>(i)});
    }
    REQUIRE((back(world).take_output() == expected));
    REQUIRE(world.end() == 0);
}

// A retained replay fills the queue and does not count against its limit; so a full queue drops
// none of it, and no more than it has to.
TEST_CASE("drop_old drops only what counts against the limit", "[wire]") {
    for (const int live : {1, 2, 3, 5}) {
        CAPTURE(live);
        BrokerOptions options = World::test_options();
        options.queue_full = QueueFull::kDropOld;
        options.max_queued_messages = 2;
        options.max_inflight_messages = 1;
        World world(options);
        auto& writer = world.client("w");
        for (int i = 0; i < 10; ++i) {
            writer.send(publish({.topic = "k/" + std::to_string(i),
                                 .payload = "r",
                                 .qos = 1,
                                 .packet_id = 1,
                                 .retain = true}));
        }
        auto& reader = world.client("r");
        reader.send(subscribe(1,
                              {
                                  {"#", 1}
        }));
        for (int i = 1; i <= live; ++i)
            writer.send(numbered(i, 1));
        CHECK(dropped(world, Drop::kQueueFull) == static_cast<uint64_t>(std::max(0, live - 2)));
        std::string heard = reader.received();
        for (uint16_t id = 1; id <= 12; ++id) {
            reader.send(puback(id));
            heard += " " + reader.received();
        }
        for (int i = 0; i < 10; ++i)
            CHECK(heard.find("(k/" + std::to_string(i) + ",r,") != std::string::npos);
        for (int i = 1; i <= live; ++i) {
            CHECK((heard.find("(t," + std::to_string(i) + ",") != std::string::npos) ==
                  (i > live - 2));
        }
        CHECK(world.end() == 0);
    }
}

// The alarm about a queue: begins above the high mark, ends below the low one, counted in messages
// and in bytes; at the marks nothing changes, shares of a message count, and empty is always below.
TEST_CASE("a queue's alarm begins above its high mark and ends below its low one", "[wire]") {
    struct Row {
        uint32_t messages;  // max_queued_messages
        uint64_t bytes;     // max_queued_bytes; a message has one
        uint16_t low;       // permille
        uint16_t high;
        uint64_t begins;  // how many wait then
        uint64_t ends;
    };

    const Row rows[] = {
        {10, 0,  200, 600,   7,  1},
        {0,  10, 200, 600,   7,  1},
        {10, 10, 200, 600,   7,  1},
        {20, 10, 200, 600,   7,  1},
        {10, 0,  250, 650,   7,  2},
        {0,  10, 250, 650,   7,  2},
        {10, 0,  0,   0,     1,  0},
        {10, 0,  0,   100,   2,  0},
        {10, 0,  999, 1'000, 99, 0}, // never
        {10, 0,  890, 900,   10, 8},
    };
    for (const Row& row : rows) {
        INFO(row.messages << " messages, " << row.bytes << " bytes, low " << row.low << ", high "
                          << row.high);
        BrokerOptions options = World::test_options();
        options.max_inflight_messages = 1;
        options.max_queued_messages = row.messages;
        options.max_queued_bytes = row.bytes;
        options.queue_low_permille = row.low;
        options.queue_high_permille = row.high;
        World world(options);
        auto& subscriber = world.client("sub");
        subscriber.send(subscribe(1,
                                  {
                                      {"t", 1}
        }));
        auto& publisher = world.client("pub");
        publisher.send(numbered(0, 1));  // in the window
        for (uint64_t waiting = 1; waiting <= 10; ++waiting) {
            publisher.send(numbered(0, 1));
            REQUIRE(world.stats().queued == waiting);
            REQUIRE(world.stats().queue_alarms == (waiting >= row.begins ? 1 : 0));
        }
        for (uint16_t id = 1; id <= 10; ++id) {
            subscriber.send(puback(id));
            const uint64_t waiting = world.stats().queued;
            REQUIRE(waiting == 10u - id);
            REQUIRE(world.stats().queue_alarms == (row.begins <= 10 && waiting > row.ends ? 1 : 0));
        }
        REQUIRE(world.end() == 0);
    }
}
