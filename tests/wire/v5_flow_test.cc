// Flow control of MQTT 5.0, both ways.   §3.3.4, §4.3, §4.9

#include "base/prng.h"
#include "support/flow5.h"
#include "support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

using namespace mqttd;
using namespace mqttd::packets5;

using P = Property;

// Exactly as many as the smaller of both windows are under way; each acknowledgement lets one more
// go, and what needs no acknowledgement goes all the time.
TEST_CASE("never more than Receive Maximum under way",
          "[wire][v5][MQTT5-3.3.4-9][MQTT5-3.3.4-10][MQTT5-4.9.0-1][MQTT5-4.9.0-2]"
          "[MQTT5-4.9.0-3]") {
    for (const int qos : {1, 2}) {
        for (const uint32_t most : {1u, 2u, 3u, 19u, 20u, 21u, 65'535u, 0u}) {
            CAPTURE(qos, most);
            World world;
            auto& reader = world.client5(reader_with(most));
            subscribe_to_t(reader);
            auto& writer = world.client5({.client_id = "w"});
            publish_numbers(writer, 0, 30, qos);
            const int window = static_cast<int>(most == 0 ? 20 : std::min(most, 20u));
            REQUIRE(reader.received() == publishes(0, window, qos));
            // Nothing else waits for it.
            reader.send(packets::pingreq() +
                        subscribe(2,
                                  {
                                      {"u", 1}
            }) +
                        unsubscribe(3, {"u"}));
            REQUIRE(reader.received() == "PINGRESP SUBACK(2,1) UNSUBACK(3,0)");
            writer.send(publish({.topic = "t", .payload = "free"}));
            REQUIRE(reader.received() == "PUBLISH(t,free,q0)");
            reader.send(publish({.topic = "x", .qos = 1, .packet_id = 9}));
            REQUIRE(reader.received() == "PUBACK(9,x10)");
            for (int i = 0; i < 30; ++i) {
                const auto id = static_cast<uint16_t>(i + 1);
                const std::string next =
                    i + window < 30 ? publishes(i + window, i + window + 1, qos) : "";
                if (qos == 1) {
                    reader.send(ack(PacketType::kPuback, id));
                } else {
                    reader.send(ack(PacketType::kPubrec, id));
                    REQUIRE(reader.received() == "PUBREL(" + std::to_string(id) + ")");
                    reader.send(ack(PacketType::kPubcomp, id));
                }
                REQUIRE(reader.received() == next);
            }
            REQUIRE(world.stats().inflight_out == 0);
            REQUIRE(world.end() == 0);
        }
    }
}

// An error ends a flow and frees its place and identifier, without PUBREL; a success of PUBREC
// frees nothing yet.
TEST_CASE("acknowledgements with errors end the flow",
          "[wire][v5][MQTT5-4.3.3-4][MQTT5-4.4.0-2][MQTT5-3.5.2-1]") {
    for (const int code : {0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}) {
        for (const int qos : {1, 2}) {
            CAPTURE(code, qos);
            World world;
            auto& reader = world.client5(reader_with(1));
            subscribe_to_t(reader);
            auto& writer = world.client5({.client_id = "w"});
            publish_numbers(writer, 0, 2, qos);
            REQUIRE(reader.received() == publishes(0, 1, qos));
            reader.send(ack(qos == 1 ? PacketType::kPuback : PacketType::kPubrec, 1, code));
            REQUIRE(reader.received() == publishes(1, 2, qos));
            reader.hang_up();
            auto& back = world.client5(reader_with(1));
            REQUIRE(back.received() == publishes(1, 2, qos, ",dup"));
            back.send(ack(PacketType::kPubrec, 1, code));  // again: long forgotten
            REQUIRE(back.received().empty());
            REQUIRE(world.end() == 0);
        }
    }
    World world;
    auto& reader = world.client5(reader_with(1));
    subscribe_to_t(reader);
    auto& writer = world.client5({.client_id = "w"});
    publish_numbers(writer, 0, 2, 2);
    reader.take_output();
    for (int i = 0; i < 3; ++i) {
        reader.send(ack(PacketType::kPubrec, 1, i == 0 ? 0x10 : 0));
        REQUIRE(reader.received() == "PUBREL(1)");
    }
    reader.send(ack(PacketType::kPubcomp, 1, 0x92));
    REQUIRE(reader.received() == publishes(1, 2, 2));
    REQUIRE(world.end() == 0);
}

// What a client cannot take is dropped as if it had been delivered: nothing is stuck behind it.
TEST_CASE("what is too large for its reader blocks nothing",
          "[wire][v5][MQTT5-3.1.2-24][MQTT5-3.1.2-25]") {
    for (const int qos : {0, 1, 2}) {
        for (const int more : {-1, 0, 1}) {
            CAPTURE(qos, more);
            World world;
            Connect fields = reader_with(1);
            fields.properties += property(P::kMaximumPacketSize, 100);
            auto& reader = world.client5(fields);
            subscribe_to_t(reader);
            auto& writer = world.client5({.client_id = "w"});
            // Fixed header 2, topic 3, identifier 2 if any, property length 1.
            const auto payload = static_cast<size_t>(100 - 6 - (qos > 0 ? 2 : 0) + more);
            const auto send = [&](const std::string& text) {
                writer.send(publish({.topic = "t", .payload = text, .qos = qos, .packet_id = 1}));
                if (qos == 2) writer.send(ack(PacketType::kPubrel, 1));
            };
            send(std::string(payload, 'x'));
            const std::string got = reader.take_output();
            REQUIRE(got.size() == (more <= 0 ? 100u + static_cast<unsigned>(more) : 0u));
            REQUIRE(dropped(world, Drop::kReceiverSize) == (more <= 0 ? 0 : 1));
            if (more > 0) {
                send("next");
                REQUIRE(reader.received().starts_with("PUBLISH(t,next"));
            }
            REQUIRE(world.end() == 0);
        }
    }
}

// max_inflight_bytes: as many as fit, at least one however large.
TEST_CASE("max_inflight_bytes bounds what is under way", "[wire][v5]") {
    BrokerOptions options = World::test_options();
    options.max_inflight_bytes = 100;
    for (const int more : {-1, 0, 1}) {
        CAPTURE(more);
        World world(options);
        auto& reader = world.client5(reader_with(0));
        subscribe_to_t(reader);
        auto& writer = world.client5({.client_id = "w"});
        const auto send = [&](size_t size) {
            writer.send(publish(
                {.topic = "t", .payload = std::string(size, 'x'), .qos = 1, .packet_id = 1}));
        };
        const auto size = static_cast<size_t>(50 + more);
        send(50);
        send(size);
        const std::string first = "PUBLISH(t,50B,q1,id1)";
        const std::string second = "PUBLISH(t," + std::to_string(size) + "B,q1,id2)";
        REQUIRE(reader.received() == (more <= 0 ? first + " " + second : first));
        reader.send(ack(PacketType::kPuback, 1));
        REQUIRE(reader.received() == (more <= 0 ? "" : second));
        reader.send(ack(PacketType::kPuback, 2));
        send(500);  // alone it may go
        send(1);
        REQUIRE(reader.received() == "PUBLISH(t,500B,q1,id3)");
        reader.send(ack(PacketType::kPuback, 3));
        REQUIRE(reader.received() == "PUBLISH(t,x,q1,id4)");
        send(500);  // behind another it waits
        REQUIRE(reader.received().empty());
        reader.send(ack(PacketType::kPuback, 4));
        REQUIRE(reader.received() == "PUBLISH(t,500B,q1,id5)");
        REQUIRE(world.end() == 0);
    }
}

// Our Receive Maximum: QoS 2 flows without PUBREL.  5.0 was told and is cut off, 3.1.1 was not and
// is left waiting.
TEST_CASE("more than our Receive Maximum is told 0x93", "[wire][v5][MQTT5-3.3.4-7]") {
    for (const uint32_t most : {1u, 3u, 100u}) {
        BrokerOptions options = World::test_options();
        options.max_awaiting_rel = most;
        World world(options);
        auto& client = world.client5(
            {.client_id = "c", .properties = property(P::kSessionExpiryInterval, 100)});
        const auto send = [](FakeConnection& to, uint32_t id) {
            to.send(publish({.topic = "t", .qos = 2, .packet_id = static_cast<uint16_t>(id)}));
        };
        for (uint32_t id = 1; id <= most; ++id)
            send(client, id);
        // Neither a repetition nor another QoS counts.
        client.send(publish({.topic = "t", .qos = 2, .packet_id = 1, .dup = true}));
        client.send(publish({.topic = "t", .qos = 1, .packet_id = 1'000}));
        client.send(ack(PacketType::kPubrel, 1));
        send(client, 1);
        REQUIRE(client.open());
        client.take_output();
        send(client, most + 1);
        REQUIRE(client.received() == "DISCONNECT(x93){why=receive maximum exceeded}");
        REQUIRE_FALSE(client.open());
        REQUIRE(dropped(world, Drop::kAwaitRel) == 1);
        REQUIRE(world.stats().inflight_in == most);
        // A new connection has its whole quota; all in all there are never more than twice as many.
        auto& back = world.client5({.client_id = "c",
                                    .clean = false,
                                    .properties = property(P::kSessionExpiryInterval, 100)});
        for (uint32_t id = 1; id <= most; ++id)
            send(back, 500 + id);
        REQUIRE(back.open());
        back.take_output();
        REQUIRE(world.stats().inflight_in == 2 * most);
        back.hang_up();
        auto& third = world.client5({.client_id = "c",
                                     .clean = false,
                                     .properties = property(P::kSessionExpiryInterval, 100)});
        send(third, 900);
        REQUIRE(third.received() == "PUBREC(900,x97)");
        third.send(ack(PacketType::kPubrel, 501));
        REQUIRE(third.received() == "PUBCOMP(501)");
        send(third, 900);
        REQUIRE(third.received() == "PUBREC(900)");
        REQUIRE(world.stats().inflight_in == 2 * most);

        auto& old = world.client("old");
        for (uint32_t id = 1; id <= most + 1; ++id) {
            old.send(
                packets::publish({.topic = "t", .qos = 2, .packet_id = static_cast<uint16_t>(id)}));
        }
        const std::string words = old.received();
        REQUIRE(std::count(words.begin(), words.end(), 'P') == static_cast<int>(most));
        REQUIRE(old.open());
        REQUIRE(world.end() == 0);
    }
}

// What nobody knows is answered so that the other side can let go of it; in 3.1.1 without a word.
TEST_CASE("unknown identifiers are answered 0x92",
          "[wire][v5][MQTT5-3.7.2-1][MQTT5-3.6.2-1][MQTT5-2.2.1-5]") {
    World world;
    auto& five = world.client5({.client_id = "five"});
    auto& three = world.client("three");
    for (const uint16_t id : {uint16_t{1}, uint16_t{77}, uint16_t{65'535}}) {
        const std::string n = std::to_string(id);
        five.send(ack(PacketType::kPubrel, id) + ack(PacketType::kPubrec, id) +
                  ack(PacketType::kPubrec, id, 0x91) + ack(PacketType::kPuback, id) +
                  ack(PacketType::kPubcomp, id) + ack(PacketType::kPubrel, id, 0x92));
        REQUIRE(five.received() ==
                "PUBCOMP(" + n + ",x92) PUBREL(" + n + ",x92) PUBCOMP(" + n + ",x92)");
        three.send(packets::pubrel(id) + packets::pubrec(id) + packets::puback(id) +
                   packets::pubcomp(id));
        REQUIRE(three.received() == "PUBCOMP(" + n + ") PUBREL(" + n + ")");
    }
    REQUIRE(five.open());
    REQUIRE(world.end() == 0);
}

// An acknowledgement of the wrong kind is an error that is told.
TEST_CASE("acknowledgements of the wrong kind are protocol errors", "[wire][v5]") {
    struct Case {
        int qos;
        bool released;
        PacketType type;
    };

    for (const Case& each : {
             Case{1, false, PacketType::kPubrec },
             Case{1, false, PacketType::kPubcomp},
             Case{2, false, PacketType::kPuback },
             Case{2, false, PacketType::kPubcomp},
             Case{2, true,  PacketType::kPuback }
    }) {
        World world;
        auto& reader = world.client5(reader_with(0));
        subscribe_to_t(reader);
        auto& writer = world.client5({.client_id = "w"});
        publish_numbers(writer, 0, 1, each.qos);
        if (each.released) reader.send(ack(PacketType::kPubrec, 1));
        reader.take_output();
        reader.send(ack(each.type, 1));
        REQUIRE(reader.received() == "DISCONNECT(x82){why=protocol error}");
        // The flow is as it was.
        auto& back = world.client5(reader_with(0));
        REQUIRE(back.received() ==
                (each.released ? "PUBREL(1)" : publishes(0, 1, each.qos, ",dup")));
        REQUIRE(world.end() == 0);
    }
}
