// Sessions: what is kept, what is thrown away, and who takes over from whom.   MQTT 3.1.1 §3.1.2.4.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

// Connects and returns all that came, CONNACK included.
std::string reconnect(World& world,
                      std::string_view id,
                      bool clean,
                      FakeConnection** out = nullptr) {
    auto& connection = world.connection();
    connection.send(connect(id, clean));
    if (out != nullptr) *out = &connection;
    return connection.received();
}

void publish_to(World& world, const std::string& topic, const std::string& payload, int qos = 1) {
    auto& publisher = world.client("publisher");
    publisher.send(publish({.topic = topic, .payload = payload, .qos = qos, .packet_id = 1}));
    if (qos == 2) publisher.send(pubrel(1));
    publisher.send(disconnect());
}

}  // namespace

// Session present says whether there was a durable session to come back to: every pair of clean
// flags, with an orderly end and a broken one.
TEST_CASE("session present tells whether a session was resumed",
          "[wire][MQTT-3.1.2-4][MQTT-3.1.2-6][MQTT-3.2.2-1][MQTT-3.2.2-2][MQTT-3.2.2-3]"
          "[MQTT-3.1.4-3]") {
    for (const bool orderly : {true, false}) {
        for (const bool first_clean : {true, false}) {
            for (const bool then_clean : {true, false}) {
                World world;
                auto& first = world.client("c", first_clean);
                if (orderly) first.send(disconnect());
                first.hang_up();
                const bool present = !first_clean && !then_clean;
                REQUIRE(reconnect(world, "c", then_clean) ==
                        (present ? "CONNACK(0,present)" : "CONNACK(0)"));
                REQUIRE(world.end() == 0);
            }
        }
    }
}

// CONNACK of 3.1 has a reserved byte where 3.1.1 has session present.
TEST_CASE("a 3.1 client never sees session present", "[wire]") {
    World world;
    world.client({.client_id = "c", .clean = false, .level = 3}).send(disconnect());
    auto& again = world.connection();
    again.send(connect({.client_id = "c", .clean = false, .level = 3}));
    REQUIRE(again.received() == "CONNACK(0)");
    REQUIRE(world.stats().sessions_resumed == 1);
    REQUIRE(world.end() == 0);
}

// The subscriptions of a durable session collect QoS 1 and 2 while it is away, and not QoS 0; a
// clean start throws all of it away.
TEST_CASE("a durable session keeps subscriptions and messages of QoS 1 and 2",
          "[wire][MQTT-3.1.2-5][MQTT-4.1.0-1][MQTT-3.2.0-1][MQTT-4.5.0-1]") {
    for (const bool clean_at_last : {false, true}) {
        World world;
        auto& first = world.client("c", false);
        first.send(subscribe(1,
                             {
                                 {"t", 2}
        }));
        first.send(disconnect());
        for (int qos = 0; qos <= 2; ++qos)
            publish_to(world, "t", "m" + std::to_string(qos), qos);
        FakeConnection* second = nullptr;
        const std::string words = reconnect(world, "c", clean_at_last, &second);
        if (clean_at_last) {
            REQUIRE(words == "CONNACK(0)");
            publish_to(world, "t", "x");
            REQUIRE(second->received().empty());
            REQUIRE(world.stats().drops[static_cast<int>(Drop::kSessionEnded)] == 2);
        } else {
            REQUIRE(words == "CONNACK(0,present) PUBLISH(t,m1,q1,id1) PUBLISH(t,m2,q2,id2)");
        }
        REQUIRE(world.stats().drops[static_cast<int>(Drop::kOffline)] == 1);
        REQUIRE(world.end() == 0);
    }
}

// A clean session ends with its connection, and so does everything it had.
TEST_CASE("a clean session leaves nothing behind", "[wire][MQTT-3.1.2-6]") {
    World world;
    auto& first = world.client("c");
    first.send(subscribe(1,
                         {
                             {"t",   2},
                             {"u/+", 1}
    }));
    publish_to(world, "t", "unacknowledged");
    first.hang_up();
    REQUIRE(world.stats().sessions == 0);
    REQUIRE(world.stats().inflight_out == 0);
    REQUIRE(world.stats().messages_stored == 0);
    FakeConnection* second = nullptr;
    REQUIRE(reconnect(world, "c", false, &second) == "CONNACK(0)");
    publish_to(world, "t", "x");
    REQUIRE(second->received().empty());
    REQUIRE(world.end() == 0);
}

// The same identifier again: the old connection is closed, its will sent, and the new one goes on;
// with durable sessions on both sides the state is the new one's.
TEST_CASE("a second connection of the same client takes over", "[wire][MQTT-3.1.4-2]") {
    for (const bool old_clean : {true, false}) {
        for (const bool new_clean : {true, false}) {
            World world;
            auto& watcher = world.client("watcher");
            watcher.send(subscribe(1,
                                   {
                                       {"will", 1}
            }));
            Connect fields{
                .client_id = "c", .clean = old_clean, .will_topic = "will", .will_payload = "old"};
            auto& old = world.client(fields);
            old.send(subscribe(1,
                               {
                                   {"t", 1}
            }));
            FakeConnection* taker = nullptr;
            const bool present = !old_clean && !new_clean;
            REQUIRE(reconnect(world, "c", new_clean, &taker) ==
                    (present ? "CONNACK(0,present)" : "CONNACK(0)"));
            REQUIRE_FALSE(old.open());
            REQUIRE(old.close_reason() == Error::kSessionTakenOver);
            REQUIRE(watcher.received() == "SUBACK(1,1) PUBLISH(will,old,q0)");
            publish_to(world, "t", "x");
            REQUIRE(taker->received() == (present ? "PUBLISH(t,x,q1,id1)" : ""));
            REQUIRE(taker->open());
            REQUIRE(world.stats().sessions_taken_over == 1);
            taker->send(disconnect());
            REQUIRE(watcher.received().empty());
            REQUIRE(world.end() == 0);
        }
    }
}

// A will to a topic that the session itself wants reaches the connection that took over.
TEST_CASE("the will of a taken-over connection reaches its own session", "[wire]") {
    World world;
    auto& old = world.client(Connect{.client_id = "c",
                                     .clean = false,
                                     .will_topic = "will",
                                     .will_payload = "x",
                                     .will_qos = 1});
    old.send(subscribe(1,
                       {
                           {"will", 1}
    }));
    REQUIRE(reconnect(world, "c", false) == "CONNACK(0,present) PUBLISH(will,x,q1,id1)");
    REQUIRE(world.end() == 0);
}

// When a connection is taken over, what lies in its outbox may still be sent before it closes: that
// it comes again to the new one must then show.
TEST_CASE("what a taken-over connection still got comes again with DUP", "[wire][MQTT-3.3.1-1]") {
    World world;
    auto& old = world.client("c", false);
    old.send(subscribe(1,
                       {
                           {"t", 1}
    }));
    old.take_output();
    auto& publisher = world.client("publisher");
    auto& taker = world.connection();
    publisher.push(publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}));
    taker.push(connect("c", false));
    world.settle();
    const std::string to_old = old.received();
    INFO("old connection got: " << to_old);
    REQUIRE(taker.received() == (to_old.empty() ? "CONNACK(0,present) PUBLISH(t,x,q1,id1)"
                                                : "CONNACK(0,present) PUBLISH(t,x,q1,id1,dup)"));
    REQUIRE(world.end() == 0);
}

// A crowd that fights for one identifier: at each moment one of them is connected.
TEST_CASE("hundred connections of one client leave one session", "[wire][MQTT-3.1.4-2]") {
    World world;
    for (int i = 0; i < 100; ++i) {
        auto& connection = world.connection();
        connection.push(connect("c", i % 3 == 0));
    }
    world.settle();
    REQUIRE(world.stats().clients_connected == 1);
    REQUIRE(world.stats().sessions == 1);
    REQUIRE(world.stats().sessions_taken_over == 99);
    REQUIRE(world.end() == 0);
}

// Identifiers are compared byte by byte, and a NUL-free prefix is somebody else.
TEST_CASE("clients with similar identifiers are different clients", "[wire][MQTT-3.1.3-2]") {
    World world;
    for (const std::string id : {"c", "C", "cc", "c ", "\xc3\xa9", "e\xcc\x81"}) {
        world.client(id, false);
    }
    REQUIRE(world.stats().sessions == 6);
    REQUIRE(world.stats().sessions_taken_over == 0);
    REQUIRE(world.end() == 0);
}

// persistent_client_expiration: away for that long ends a session, not a moment sooner.
TEST_CASE("a durable session expires when it was away long enough", "[wire]") {
    BrokerOptions options = World::test_options();
    options.persistent_client_expiration_s = 60;
    {
        World world(options);
        world.client("c", false).hang_up();
        world.advance(59'000);
        REQUIRE(reconnect(world, "c", false) == "CONNACK(0,present)");
        REQUIRE(world.end() == 0);
    }
    {
        World world(options);
        auto& first = world.client("c", false);
        first.send(subscribe(1,
                             {
                                 {"t", 1}
        }));
        first.hang_up();
        publish_to(world, "t", "x");
        world.advance(61'500);
        REQUIRE(world.stats().sessions_expired == 1);
        REQUIRE(world.stats().sessions == 0);
        REQUIRE(world.stats().queued == 0);
        REQUIRE(reconnect(world, "c", false) == "CONNACK(0)");
        REQUIRE(world.end() == 0);
    }
}

// The clock begins anew with each disconnection and does not run while the client is there.
TEST_CASE("coming back resets the expiry of a session", "[wire][MQTT-4.1.0-2]") {
    BrokerOptions options = World::test_options();
    options.persistent_client_expiration_s = 60;
    World world(options);
    world.client("c", false).hang_up();
    for (int i = 0; i < 3; ++i) {
        world.advance(50'000);
        FakeConnection* back = nullptr;
        REQUIRE(reconnect(world, "c", false, &back) == "CONNACK(0,present)");
        world.advance(100'000);
        REQUIRE(back->open());
        back->hang_up();
    }
    world.advance(62'000);
    REQUIRE(world.stats().sessions == 0);
    REQUIRE(world.end() == 0);
}
