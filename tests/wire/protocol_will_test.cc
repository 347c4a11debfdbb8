// Wills: sent exactly once for every end but DISCONNECT.   MQTT 3.1.1 §3.1.2.5.

#include "support/world.h"

#include <catch2/catch.hpp>
#include <functional>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

Connect with_will(std::string_view id, int qos = 0, bool retain = false) {
    Connect fields;
    fields.client_id = id;
    fields.will_topic = "will";
    fields.will_payload = "gone";
    fields.will_qos = qos;
    fields.will_retain = retain;
    return fields;
}

FakeConnection& watch(World& world, int qos = 2) {
    auto& watcher = world.client("watcher");
    watcher.send(subscribe(1,
                           {
                               {"will/#", qos}
    }));
    watcher.take_output();
    return watcher;
}

}  // namespace

// Each way in which a connection can end other than by DISCONNECT.
TEST_CASE("a will is sent exactly once for every end but DISCONNECT",
          "[wire][MQTT-3.1.2-8][MQTT-3.1.2-10][MQTT-3.1.2-24]") {
    struct Cause {
        const char* name;
        std::function<void(World&, FakeConnection&)> end;
    };

    const Cause causes[] = {
        {"end of file",      [](World&,   auto& c) { c.hang_up(Error::kEndOfFile); }},
        {"reset",            [](World&,   auto& c) { c.hang_up(Error::kReset); }    },
        {"malformed packet", [](World&,   auto& c) { c.send(raw(0xf0, "")); }       },
        {"second CONNECT",   [](World&,   auto& c) { c.send(connect("c")); }        },
        {"keep-alive",       [](World& w, auto&) { w.advance(16'000); }             },
        {"takeover",         [](World& w, auto&) { w.client("c"); }                 },
        {"half a packet",
         [](World&,                       auto& c) {
             c.send("\xc0");
             c.hang_up();
         }                                                       },
        {"shutdown",
         [](World& w,                     auto&) {
             while (!w.broker().shut_down())
                 w.settle();
         }                                                     },
    };
    for (const Cause& cause : causes) {
        INFO(cause.name);
        World world;
        auto& watcher = watch(world);
        Connect fields = with_will("c");
        fields.keep_alive_s = 10;
        auto& client = world.client(fields);
        cause.end(world, client);
        world.settle();
        client.hang_up();  // what is left of the connection goes as well
        world.advance(60'000);
        REQUIRE(watcher.received() == "PUBLISH(will,gone,q0)");
        REQUIRE(world.end() == 0);
    }
}

// DISCONNECT throws the will away; that holds also if the bytes come with the end of the
// connection.
TEST_CASE("no will is sent after DISCONNECT",
          "[wire][MQTT-3.14.4-3][MQTT-3.1.2-10][MQTT-3.14.4-2]") {
    World world;
    auto& watcher = watch(world);
    auto& orderly = world.client(with_will("a"));
    orderly.send(disconnect());
    orderly.hang_up();
    auto& hasty = world.client(with_will("b"));
    hasty.push(disconnect());
    hasty.hang_up();
    auto& talkative = world.client(with_will("c"));
    talkative.send(disconnect() + raw(0xf0, "") + publish({.topic = "will", .payload = "late"}));
    REQUIRE_FALSE(talkative.open());
    REQUIRE(watcher.received().empty());
    REQUIRE(world.end() == 0);
}

// A DISCONNECT that is not one is a malformed packet, so the will goes out.
TEST_CASE("a malformed DISCONNECT sends the will", "[wire][MQTT-3.14.1-1]") {
    for (const std::string& packet :
         {raw(0xe0, "x"), raw(0xe1, ""), raw(0xe2, ""), raw(0xe8, ""), raw(0xef, "")}) {
        World world;
        auto& watcher = watch(world);
        auto& client = world.client(with_will("c"));
        client.send(packet);
        REQUIRE_FALSE(client.open());
        REQUIRE(watcher.received() == "PUBLISH(will,gone,q0)");
        REQUIRE(world.end() == 0);
    }
}

// Without the flag there is no will, and the next CONNECT of a durable session brings its own.
TEST_CASE("a will belongs to its connection, not to the session", "[wire][MQTT-3.1.2-12]") {
    World world;
    auto& watcher = watch(world);
    Connect fields = with_will("c");
    fields.clean = false;
    world.client(fields).send(disconnect());
    world.client("c", false).hang_up();
    REQUIRE(watcher.received().empty());
    fields.will_payload = "second";
    world.client(fields).hang_up();
    REQUIRE(watcher.received() == "PUBLISH(will,second,q0)");
    REQUIRE(world.end() == 0);
}

// A will is a publication like others: its QoS is lowered to the subscription's, each level runs
// its whole flow.
TEST_CASE("a will is delivered at the lower of both QoS", "[wire][MQTT-3.8.4-6]") {
    for (int will_qos = 0; will_qos <= 2; ++will_qos) {
        for (int qos = 0; qos <= 2; ++qos) {
            World world;
            auto& watcher = watch(world, qos);
            world.client(with_will("c", will_qos)).hang_up();
            const int both = std::min(will_qos, qos);
            REQUIRE(watcher.received() ==
                    "PUBLISH(will,gone,q" + std::to_string(both) + (both > 0 ? ",id1)" : ")"));
            if (both == 1) watcher.send(puback(1));
            if (both == 2) {
                watcher.send(pubrec(1));
                REQUIRE(watcher.received() == "PUBREL(1)");
                watcher.send(pubcomp(1));
            }
            REQUIRE(world.stats().inflight_out == 0);
            REQUIRE(world.end() == 0);
        }
    }
}

// Will retain decides whether it is kept for later subscribers; an empty one clears what was there.
TEST_CASE("a will is retained if it says so", "[wire][MQTT-3.1.2-16][MQTT-3.1.2-17]") {
    World world;
    world.client(with_will("a", 1, false)).hang_up();
    auto& early = world.client("early");
    early.send(subscribe(1,
                         {
                             {"will", 2}
    }));
    REQUIRE(early.received() == "SUBACK(1,2)");
    world.client(with_will("b", 1, true)).hang_up();
    REQUIRE(early.received() == "PUBLISH(will,gone,q1,id1)");
    auto& late = world.client("late");
    late.send(subscribe(1,
                        {
                            {"will", 2}
    }));
    REQUIRE(late.received() == "SUBACK(1,2) PUBLISH(will,gone,q1,id1,retain)");
    Connect empty = with_will("c", 0, true);
    empty.will_payload = "";
    world.client(empty).hang_up();
    auto& last = world.client("last");
    last.send(subscribe(1,
                        {
                            {"will", 2}
    }));
    REQUIRE(last.received() == "SUBACK(1,2)");
    REQUIRE(world.end() == 0);
}

// A will for a durable subscriber that is away waits in its queue.
TEST_CASE("a will waits for a durable subscriber that is away", "[wire][MQTT-3.1.2-5]") {
    World world;
    auto& watcher = world.client("watcher", false);
    watcher.send(subscribe(1,
                           {
                               {"will", 1}
    }));
    watcher.hang_up();
    world.client(with_will("c", 2)).hang_up();
    auto& back = world.connection();
    back.send(connect("watcher", false));
    REQUIRE(back.received() == "CONNACK(0,present) PUBLISH(will,gone,q1,id1)");
    REQUIRE(world.end() == 0);
}

// What a client may not publish it may not publish by dying either.
TEST_CASE("a will cannot be published below $SYS", "[wire]") {
    World world;
    auto& watcher = world.client("watcher");
    watcher.send(subscribe(1,
                           {
                               {"$SYS/#", 0}
    }));
    watcher.take_output();
    Connect fields = with_will("c", 0, true);
    fields.will_topic = "$SYS/broker/version";
    auto& client = world.connection();
    client.send(connect(fields));
    client.hang_up();
    REQUIRE(watcher.received().empty());
    auto& late = world.client("late");
    late.send(subscribe(1,
                        {
                            {"$SYS/#", 0}
    }));
    REQUIRE(late.received() == "SUBACK(1,0)");
    REQUIRE(world.end() == 0);
}

// A will that could never be sent is refused with its CONNECT: too many levels, too long, or
// retained where nothing is.
TEST_CASE("a will beyond the limits is refused at CONNECT", "[wire]") {
    BrokerOptions options = World::test_options();
    options.max_topic_levels = 3;
    options.max_topic_len = 10;
    options.retain_available = false;
    World world(options);
    const auto answer = [&](const std::string& topic, bool retain) {
        Connect fields = with_will("c", 0, retain);
        fields.will_topic = topic;
        auto& connection = world.connection();
        connection.send(connect(fields));
        return connection.received();
    };
    REQUIRE(answer("a/b/c", false) == "CONNACK(0)");
    REQUIRE(answer("a/b/c/d", false) == "CONNACK(5)");
    REQUIRE(answer("///", false) == "CONNACK(5)");
    REQUIRE(answer("0123456789", false) == "CONNACK(0)");
    REQUIRE(answer("0123456789a", false) == "CONNACK(5)");
    REQUIRE(answer("a", true) == "CONNACK(5)");
    REQUIRE(world.end() == 0);
}

// An orderly stop of the server sends every will once, also when the links are told in several
// calls between which the first of them have gone.
TEST_CASE("shutdown sends each will exactly once", "[wire]") {
    World world;
    auto& keeper = world.client("keeper", false);
    keeper.send(subscribe(1,
                          {
                              {"will/#", 1}
    }));
    constexpr uint32_t kClients = 2'500;
    for (uint32_t i = 0; i < kClients; ++i) {
        Connect fields = with_will("c" + std::to_string(i), 1);
        fields.will_topic = "will/" + std::to_string(i % 10);
        auto& connection = world.connection();
        connection.push(connect(fields));
    }
    world.settle();
    REQUIRE(world.stats().clients_connected == kClients + 1);
    while (!world.broker().shut_down())
        world.settle();
    world.settle();
    REQUIRE(world.stats().clients_connected == 0);
    REQUIRE(world.stats().queued + world.stats().inflight_out +
                world.stats().drops[static_cast<int>(Drop::kQueueFull)] ==
            kClients);
    auto& late = world.connection();
    late.send(connect("late"));
    REQUIRE(late.received() == "CONNACK(3)");
    REQUIRE(world.end() == 0);
}
