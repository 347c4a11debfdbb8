// QoS 2 in both directions: exactly once, whatever is repeated, lost or unknown.   MQTT 3.1.1
// §4.3.3.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

std::string two(uint16_t packet_id, const std::string& payload, bool dup = false) {
    return publish(
        {.topic = "t", .payload = payload, .qos = 2, .packet_id = packet_id, .dup = dup});
}

FakeConnection& subscriber_of(World& world, const char* id, int qos, bool clean = true) {
    auto& subscriber = world.client(id, clean);
    subscriber.send(subscribe(1,
                              {
                                  {"t", qos}
    }));
    subscriber.take_output();
    return subscriber;
}

}  // namespace

// The publisher repeats at every point of its flow, with and without DUP: one delivery.
TEST_CASE("a repeated PUBLISH of QoS 2 is answered and not delivered again",
          "[wire][MQTT-4.3.3-2]") {
    World world;
    auto& subscriber = subscriber_of(world, "sub", 0);
    auto& publisher = world.client("pub");
    publisher.send(two(7, "x") + two(7, "x", true) + two(7, "another"));
    REQUIRE(publisher.received() == "PUBREC(7) PUBREC(7) PUBREC(7)");
    REQUIRE(world.stats().inflight_in == 1);
    REQUIRE(subscriber.received().empty());
    publisher.send(pubrel(7) + pubrel(7));
    REQUIRE(publisher.received() == "PUBCOMP(7) PUBCOMP(7)");
    REQUIRE(subscriber.received() == "PUBLISH(t,x,q0)");
    publisher.send(two(7, "new") + pubrel(7));  // the identifier is free again
    REQUIRE(publisher.received() == "PUBREC(7) PUBCOMP(7)");
    REQUIRE(subscriber.received() == "PUBLISH(t,new,q0)");
    REQUIRE(world.stats().inflight_in == 0);
    REQUIRE(world.end() == 0);
}

// A PUBREL for a flow that is not known is answered, so that the client can finish.
TEST_CASE("an unknown PUBREL gets its PUBCOMP", "[wire][MQTT-4.3.3-2]") {
    World world;
    auto& client = world.client("c");
    for (const uint16_t id : {uint16_t{1}, uint16_t{2}, uint16_t{65'535}}) {
        client.send(pubrel(id));
        REQUIRE(client.received() == "PUBCOMP(" + std::to_string(id) + ")");
    }
    REQUIRE(world.end() == 0);
}

// The identifiers taken are part of the session: a repeat after reconnect is still a repeat.
TEST_CASE("an inbound QoS 2 flow goes on after a reconnect", "[wire][MQTT-4.1.0-1]") {
    for (const bool clean : {false, true}) {
        World world;
        auto& subscriber = subscriber_of(world, "sub", 1);
        auto& first = world.client("pub", false);
        first.send(two(7, "x"));
        first.hang_up();
        REQUIRE(subscriber.received().empty());
        auto& second = world.client("pub", clean);
        second.send(two(7, "x", true) + pubrel(7));
        REQUIRE(second.received() == "PUBREC(7) PUBCOMP(7)");
        REQUIRE(subscriber.received() == "PUBLISH(t,x,q1,id1)");
        REQUIRE(world.stats().inflight_in == 0);
        REQUIRE(world.end() == 0);
    }
}

// A flow that its session does not outlive has delivered nothing.
TEST_CASE("an unreleased message goes with its clean session", "[wire][MQTT-3.1.2-6]") {
    World world;
    auto& subscriber = subscriber_of(world, "sub", 1);
    auto& publisher = world.client("pub");
    publisher.send(two(7, "x"));
    publisher.hang_up();
    REQUIRE(subscriber.received().empty());
    REQUIRE(world.stats().inflight_in == 0);
    REQUIRE(world.stats().messages_stored == 0);
    REQUIRE(world.end() == 0);
}

// Many flows at once, released in another order than begun: each message once, in the order of the
// PUBRELs; PUBRECs in the order of the PUBLISHes.
TEST_CASE("interleaved QoS 2 flows keep their identifiers apart",
          "[wire][MQTT-4.6.0-3][MQTT-2.3.1-6]") {
    World world;
    auto& subscriber = subscriber_of(world, "sub", 0);
    auto& publisher = world.client("pub");
    std::string sent;
    std::string answers;
    for (uint16_t i = 0; i < 90; ++i) {
        const auto id = static_cast<uint16_t>(i * 719 + 1);
        sent += two(id, std::to_string(id));
        answers += pubrec(id);
    }
    publisher.send(sent);
    REQUIRE(publisher.take_output() == answers);
    std::string expected;
    for (uint16_t i = 90; i-- > 0;) {
        const auto id = static_cast<uint16_t>(i * 719 + 1);
        publisher.send(pubrel(id));
        expected += publish({.topic = "t", .payload = std::to_string(id)});
    }
    REQUIRE(subscriber.take_output() == expected);
    REQUIRE(world.stats().inflight_in == 0);
    REQUIRE(world.end() == 0);
}

// Outbound: PUBLISH, PUBREC, PUBREL, PUBCOMP; a repeated PUBREC is answered again, and after PUBREC
// no PUBLISH is ever sent again.
TEST_CASE("after PUBREC only PUBREL is repeated", "[wire][MQTT-4.3.3-1][MQTT-4.4.0-1]") {
    World world;
    auto* subscriber = &subscriber_of(world, "sub", 2, false);
    world.client("pub").send(two(9, "x") + pubrel(9));
    REQUIRE(subscriber->received() == "PUBLISH(t,x,q2,id1)");
    subscriber->send(pubrec(1) + pubrec(1));
    REQUIRE(subscriber->received() == "PUBREL(1) PUBREL(1)");
    for (int i = 0; i < 3; ++i) {
        subscriber->hang_up();
        subscriber = &world.connection();
        subscriber->send(connect("sub", false));
        REQUIRE(subscriber->received() == "CONNACK(0,present) PUBREL(1)");
    }
    subscriber->send(pubcomp(1) + pubcomp(1));
    REQUIRE(subscriber->received().empty());
    REQUIRE(subscriber->open());
    REQUIRE(world.stats().inflight_out == 0);
    subscriber->hang_up();
    subscriber = &world.connection();
    subscriber->send(connect("sub", false));
    REQUIRE(subscriber->received() == "CONNACK(0,present)");
    REQUIRE(world.end() == 0);
}

// Before PUBREC it is the PUBLISH that comes again, with its identifier and DUP.
TEST_CASE("before PUBREC the PUBLISH is repeated", "[wire][MQTT-4.4.0-1][MQTT-3.3.1-1]") {
    World world;
    auto* subscriber = &subscriber_of(world, "sub", 2, false);
    world.client("pub").send(two(9, "x") + pubrel(9));
    REQUIRE(subscriber->received() == "PUBLISH(t,x,q2,id1)");
    for (int i = 0; i < 3; ++i) {
        subscriber->hang_up();
        subscriber = &world.connection();
        subscriber->send(connect("sub", false));
        REQUIRE(subscriber->received() == "CONNACK(0,present) PUBLISH(t,x,q2,id1,dup)");
    }
    REQUIRE(world.end() == 0);
}

// Acknowledgements of what was never sent change nothing: PUBACK and PUBCOMP are ignored, PUBREC is
// answered with PUBREL so that the client can let go.
TEST_CASE("an acknowledgement for nothing is harmless", "[wire]") {
    World world;
    auto& client = subscriber_of(world, "sub", 2);
    client.send(puback(1) + pubcomp(1) + puback(65'535));
    REQUIRE(client.received().empty());
    client.send(pubrec(5));
    REQUIRE(client.received() == "PUBREL(5)");
    client.send(pubcomp(5));
    REQUIRE(client.open());
    world.client("pub").send(two(9, "x") + pubrel(9));
    REQUIRE(client.received() == "PUBLISH(t,x,q2,id1)");
    REQUIRE(world.stats().inflight_out == 1);
    REQUIRE(world.end() == 0);
}

// The wrong acknowledgement for a QoS is a violation of its sender alone; what it did not
// acknowledge stays in its session.
TEST_CASE("the wrong kind of acknowledgement closes the link", "[wire][MQTT-4.8.0-1]") {
    for (const int qos : {1, 2}) {
        for (const auto& wrong : {puback(1), pubrec(1), pubcomp(1)}) {
            if (wrong == (qos == 1 ? puback(1) : pubrec(1))) continue;
            World world;
            auto& subscriber = subscriber_of(world, "sub", qos, false);
            world.client("pub").send(two(9, "x") + pubrel(9));
            subscriber.take_output();
            subscriber.send(wrong);
            REQUIRE_FALSE(subscriber.open());
            REQUIRE(subscriber.close_reason() == Error::kProtocolError);
            auto& back = world.connection();
            back.send(connect("sub", false));
            REQUIRE(back.received() ==
                    "CONNACK(0,present) PUBLISH(t,x,q" + std::to_string(qos) + ",id1,dup)");
            REQUIRE(world.end() == 0);
        }
    }
}

// All flag nibbles and sizes of the four acknowledgements; 3.1 lets a client repeat PUBREL with
// DUP.
TEST_CASE("an acknowledgement with wrong flags or size closes the link",
          "[wire][MQTT-2.2.2-2][MQTT-3.6.1-1]") {
    for (const int level : {3, 4}) {
        for (int type = 4; type <= 7; ++type) {
            for (int flags = 0; flags < 16; ++flags) {
                for (size_t size = 0; size <= 5; ++size) {
                    INFO("level " << level << " type " << type << " flags " << flags << " size "
                                  << size);
                    World world;
                    auto& client = world.client(Connect{.level = level});
                    client.send(raw(static_cast<uint8_t>(type << 4 | flags),
                                    std::string("\0\1\0\0\0", 5).substr(0, size)));
                    const int fixed = type == 6 ? 2 : 0;
                    const bool dup = level == 3 && type == 6 && flags == 10;
                    REQUIRE(client.open() == (size == 2 && (flags == fixed || dup)));
                    REQUIRE(world.end() == 0);
                }
            }
        }
    }
}

// max_awaiting_rel: 3.x cannot be told, so the PUBLISH above it gets no PUBREC; repeats of what is
// known do, and a PUBREL makes room.
TEST_CASE("a flow above max_awaiting_rel is dropped without PUBREC", "[wire]") {
    for (const uint32_t limit : {1u, 2u, 100u}) {
        BrokerOptions options = World::test_options();
        options.max_awaiting_rel = limit;
        World world(options);
        auto& subscriber = subscriber_of(world, "sub", 0);
        auto& publisher = world.client("pub");
        for (uint16_t id = 1; id <= limit; ++id) {
            publisher.send(two(id, "x"));
            REQUIRE(publisher.received() == "PUBREC(" + std::to_string(id) + ")");
        }
        const auto above = static_cast<uint16_t>(limit + 1);
        publisher.send(two(above, "y"));
        REQUIRE(publisher.received().empty());
        REQUIRE(publisher.open());
        REQUIRE(world.stats().drops[static_cast<int>(Drop::kAwaitRel)] == 1);
        publisher.send(two(1, "x", true));
        REQUIRE(publisher.received() == "PUBREC(1)");
        publisher.send(pubrel(1) + two(above, "y", true) + pubrel(above));
        REQUIRE(publisher.received() == "PUBCOMP(1) PUBREC(" + std::to_string(above) +
                                            ") PUBCOMP(" + std::to_string(above) + ")");
        REQUIRE(subscriber.received() == "PUBLISH(t,x,q0) PUBLISH(t,y,q0)");
        REQUIRE(world.end() == 0);
    }
}

// Under slow_consumer pause a PUBREL comes again and again until somebody reads; each time the
// message is held anew, and has to be let go when it was not passed on.
TEST_CASE("a PUBREL that waits for a reader holds its message once", "[wire][memory]") {
    BrokerOptions options = World::test_options();
    options.slow_consumer = SlowConsumer::kPause;
    World world(options);
    auto& subscriber = subscriber_of(world, "sub", 0);
    auto& publisher = world.client("pub");
    publisher.send(two(1, "x"));
    REQUIRE(publisher.received() == "PUBREC(1)");
    subscriber.set_room(0);
    subscriber.send(pingreq());
    publisher.send(pubrel(1));
    REQUIRE(publisher.stopped() == StopReason::kSlowConsumer);
    for (int tries = 0; tries < 10; ++tries) {
        world.advance(100);
        REQUIRE(world.stats().message_holders == 1);
    }
    subscriber.set_room(~uint64_t{0});
    world.settle();
    REQUIRE(publisher.received() == "PUBCOMP(1)");
    REQUIRE(subscriber.received() == "PINGRESP PUBLISH(t,x,q0)");
    REQUIRE(world.stats().message_holders == 0);
    REQUIRE(world.stats().messages_stored == 0);
    REQUIRE(world.end() == 0);
}
