// Sessions of MQTT 5.0: how long they stay, who takes them up, what comes back with them.
//   §3.1.2.4, §3.1.2.11.2, §4.1

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

constexpr uint32_t kForEver = 0xffff'ffff;

std::string expiry(uint32_t seconds) {
    return property(P::kSessionExpiryInterval, seconds);
}

// The CONNACK of a client that comes back, without what follows it.
std::string comes_back(World& world, const Connect& fields) {
    auto& connection = world.connection();
    connection.speak_v5();
    connection.send(connect(fields));
    const std::string words = connection.received();
    connection.send(disconnect());  // with the interval it came with
    return words.substr(0, words.find(' '));
}

// A client with a subscription to "t" at QoS 2.
FakeConnection& subscriber(World& world, const Connect& fields) {
    auto& client = world.client5(fields);
    client.send(subscribe(1,
                          {
                              {"t", 2}
    }));
    REQUIRE(client.received() == "SUBACK(1,2)");
    return client;
}

void publish_one(FakeConnection& writer, const char* payload, int qos = 1) {
    writer.send(publish({.topic = "t", .payload = payload, .qos = qos, .packet_id = 1}));
    if (qos == 2) writer.send(ack(PacketType::kPubrel, 1));
    writer.take_output();
}

}  // namespace

// Whatever part of a second it is when the client leaves: the session is there until its interval
// has passed and gone soon after; with Clean Start it is not taken up in either case.
TEST_CASE("a session stays for its expiry interval and no less",
          "[wire][v5][MQTT5-3.1.2-23][MQTT5-4.1.0-2][MQTT5-3.2.2-2][MQTT5-3.2.2-3]"
          "[MQTT5-3.1.2-4][MQTT5-3.1.2-5][MQTT5-3.1.2-6]") {
    struct Case {
        std::string properties;
        Duration away_ms;
        bool present;
    };

    const Case cases[] = {
        {"",                   0,       false},
        {expiry(0),            0,       false},
        {expiry(1),            0,       true },
        {expiry(1),            950,     true },
        {expiry(1),            2'200,   false},
        {expiry(5),            4'000,   true },
        {expiry(5),            4'950,   true },
        {expiry(5),            6'200,   false},
        {expiry(kForEver - 1), 600'000, true },
        {expiry(kForEver),     600'000, true },
    };
    for (const Duration part : {0u, 50u, 500u, 950u}) {
        for (const bool clean : {false, true}) {
            for (const Case& each : cases) {
                World world;
                world.advance(part);
                auto& client = world.client5({.client_id = "c", .properties = each.properties});
                REQUIRE(world.stats().sessions_persistent ==
                        (each.properties.empty() || each.properties == expiry(0) ? 0 : 1));
                client.hang_up();
                world.advance(each.away_ms);
                CAPTURE(part, clean, static_cast<int>(&each - cases));
                REQUIRE(world.stats().sessions == (each.present ? 1 : 0));
                const bool expired = !each.present && each.away_ms > 0;
                REQUIRE(world.stats().sessions_expired == (expired ? 1 : 0));
                REQUIRE(comes_back(world, {.client_id = "c", .clean = clean}) ==
                        (each.present && !clean ? "CONNACK(0,present)" : "CONNACK(0)"));
                REQUIRE(world.stats().sessions_discarded == (each.present && clean ? 1 : 0));
                REQUIRE(world.stats().sessions == 0);  // it came back without an interval
                REQUIRE(world.end() == 0);
            }
        }
    }
}

// The time away counts from the end of the connection, each time anew.
TEST_CASE("the interval counts from the last disconnection", "[wire][v5][MQTT5-4.1.0-1]") {
    World world;
    const Connect fields{.client_id = "c", .clean = false, .properties = expiry(5)};
    for (int i = 0; i < 4; ++i) {
        auto& client = world.connection();
        client.speak_v5();
        client.send(connect(fields));
        REQUIRE(client.received() == (i == 0 ? "CONNACK(0)" : "CONNACK(0,present)"));
        world.advance(20'000);  // connected: nothing runs out
        client.hang_up();
        world.advance(4'900);
    }
    world.advance(1'300);
    REQUIRE(world.stats().sessions == 0);
    REQUIRE(world.end() == 0);
}

// DISCONNECT may change the interval in any way but from 0 to more.
TEST_CASE("DISCONNECT changes the interval", "[wire][v5][MQTT5-3.1.2-23]") {
    struct Case {
        uint32_t before;
        uint32_t after;
        Duration away_ms;
        bool present;
    };

    for (const Case& each : {
             Case{0,        0,        0,       false},
             Case{5,        0,        0,       false},
             Case{kForEver, 0,        0,       false},
             Case{5,        1,        950,     true },
             Case{5,        1,        2'200,   false},
             Case{1,        5,        4'950,   true },
             Case{1,        5,        6'200,   false},
             Case{kForEver, 2,        3'200,   false},
             Case{1,        kForEver, 100'000, true }
    }) {
        CAPTURE(each.before, each.after, each.away_ms);
        World world;
        world.advance(650);
        auto& client = world.client5({.client_id = "c", .properties = expiry(each.before)});
        client.send(disconnect(0, expiry(each.after)));
        REQUIRE(client.received().empty());
        REQUIRE_FALSE(client.open());
        REQUIRE(world.stats().sessions_persistent == (each.after != 0 ? 1 : 0));
        world.advance(each.away_ms);
        REQUIRE(world.stats().sessions == (each.present ? 1 : 0));
        REQUIRE(comes_back(world, {.client_id = "c", .clean = false}) ==
                (each.present ? "CONNACK(0,present)" : "CONNACK(0)"));
        REQUIRE(world.end() == 0);
    }
}

TEST_CASE("DISCONNECT cannot give a session life that had none", "[wire][v5][MQTT5-3.1.2-23]") {
    for (const std::string& before : {std::string(), expiry(0)}) {
        for (const uint32_t after : {1u, 5u, kForEver}) {
            World world;
            auto& client = world.client5({.client_id = "c", .properties = before});
            client.send(disconnect(0, expiry(after)));
            REQUIRE(client.received() == "DISCONNECT(x82){why=protocol error}");
            REQUIRE_FALSE(client.open());
            REQUIRE(world.stats().sessions == 0);
            REQUIRE(world.end() == 0);
        }
    }
    // It counts what holds now: taken up without an interval the session ends with this connection.
    World world;
    world.client5({.client_id = "c", .properties = expiry(50)}).hang_up();
    auto& back = world.client5({.client_id = "c", .clean = false});
    back.send(disconnect(0, expiry(50)));
    REQUIRE(back.received() == "DISCONNECT(x82){why=protocol error}");
    REQUIRE(world.stats().sessions == 0);
    REQUIRE(world.end() == 0);
}

// persistent_client_expiration is above everybody's wish, of both versions.
TEST_CASE("the broker's own expiry caps every session", "[wire][v5]") {
    struct Case {
        uint32_t wish;
        uint32_t at_disconnect;  // 1: none
        Duration away_ms;
        bool present;
    };

    for (const Case& each : {
             Case{9,        1,        9'900,  false},
             Case{9,        1,        8'950,  true },
             Case{10,       1,        9'950,  true },
             Case{10,       1,        11'200, false},
             Case{11,       1,        9'950,  true },
             Case{11,       1,        11'200, false},
             Case{kForEver, 1,        9'950,  true },
             Case{kForEver, 1,        11'200, false},
             Case{5,        60,       9'950,  true },
             Case{5,        60,       11'200, false},
             Case{5,        kForEver, 11'200, false}
    }) {
        BrokerOptions options = World::test_options();
        options.persistent_client_expiration_s = 10;
        World world(options);
        CAPTURE(each.wish, each.at_disconnect, each.away_ms);
        auto& client = world.client5({.client_id = "c", .properties = expiry(each.wish)});
        auto& old = world.client("old", false);
        if (each.at_disconnect == 1) {
            client.hang_up();
        } else {
            client.send(disconnect(0, expiry(each.at_disconnect)));
        }
        old.hang_up();
        world.advance(each.away_ms);
        REQUIRE(comes_back(world, {.client_id = "c", .clean = false}) ==
                (each.present ? "CONNACK(0,present)" : "CONNACK(0)"));
        auto& old_back = world.connection();
        old_back.send(packets::connect("old", false));
        REQUIRE(old_back.received() ==
                (each.away_ms < 10'000 ? "CONNACK(0,present)" : "CONNACK(0)"));
        REQUIRE(world.end() == 0);
    }
}

// A session is nobody's version: 3.1.1 takes it up with everything in it, and 5.0 after it.
TEST_CASE("a session goes from 5.0 to 3.1.1 and back", "[wire][v5][MQTT5-4.4.0-1]") {
    World world;
    auto& writer = world.client5({.client_id = "w"});
    auto& first = world.client5({.client_id = "c", .clean = false, .properties = expiry(100)});
    first.send(subscribe(1,
                         {
                             {"t", 2}
    },
                         property(P::kSubscriptionIdentifier, 7)));
    first.take_output();
    const auto message = [](const char* payload, int qos) {
        return publish({.topic = "t",
                        .payload = payload,
                        .qos = qos,
                        .packet_id = 1,
                        .properties = property(P::kContentType, "x") +
                                      property(P::kMessageExpiryInterval, 60)});
    };
    writer.send(message("1", 1));
    writer.send(message("2", 2) + ack(PacketType::kPubrel, 1));
    writer.send(message("3", 2) + ack(PacketType::kPubrel, 1));
    REQUIRE(
        first.received() ==
        "PUBLISH(t,1,q1,id1){sub=7,expiry=60,type=x} PUBLISH(t,2,q2,id2){sub=7,expiry=60,type=x} "
        "PUBLISH(t,3,q2,id3){sub=7,expiry=60,type=x}");
    first.send(ack(PacketType::kPubrec, 3));
    REQUIRE(first.received() == "PUBREL(3)");
    first.hang_up();
    writer.send(message("4", 1));
    world.advance(10'000);
    packets::Connect fields;
    fields.client_id = "c";
    fields.clean = false;
    auto& old = world.connection();
    old.send(packets::connect(fields));
    REQUIRE(old.received() ==
            "CONNACK(0,present) PUBLISH(t,1,q1,id1,dup) PUBLISH(t,2,q2,id2,dup) PUBREL(3) "
            "PUBLISH(t,4,q1,id4)");
    old.send(packets::puback(1) + packets::pubcomp(3));
    old.hang_up();
    world.advance(10'000);
    auto& back = world.connection();
    back.speak_v5();
    back.send(connect({.client_id = "c", .clean = false, .properties = expiry(3)}));
    REQUIRE(back.received() ==
            "CONNACK(0,present) PUBLISH(t,2,q2,id2,dup){sub=7,expiry=40,type=x} "
            "PUBLISH(t,4,q1,id4,dup){sub=7,expiry=40,type=x}");
    back.hang_up();
    world.advance(4'200);
    REQUIRE(world.stats().sessions == 1);  // the writer's
    REQUIRE(world.stats().inflight_out == 0);
    REQUIRE(world.end() == 0);
}

// Clean Session 0 of 3.1.1 means for ever, 1 means until the end: whoever came last decides.
TEST_CASE("each version's word on expiry replaces the other's", "[wire][v5]") {
    World world;
    world.client5({.client_id = "c", .properties = expiry(2)}).hang_up();
    world.client("c", false).hang_up();
    world.advance(60'000);
    REQUIRE(comes_back(world, {.client_id = "c", .clean = false, .properties = expiry(2)}) ==
            "CONNACK(0,present)");
    world.advance(3'200);
    REQUIRE(world.stats().sessions == 0);
    world.client("c", false).hang_up();
    REQUIRE(comes_back(world, {.client_id = "c", .clean = false}) == "CONNACK(0,present)");
    REQUIRE(world.stats().sessions == 0);
    world.client5({.client_id = "c", .properties = expiry(kForEver)}).hang_up();
    REQUIRE(world.stats().sessions_persistent == 1);
    world.client("c", true);
    REQUIRE(world.stats().sessions_persistent == 0);
    REQUIRE(world.stats().sessions_discarded == 1);
    REQUIRE(world.end() == 0);
}

// The older connection is told why, if its version can be; the session goes on or ends.
TEST_CASE("a second connection takes over and the first is told 0x8E",
          "[wire][v5][MQTT5-3.1.4-3][MQTT5-3.14.4-1][MQTT5-3.14.4-2]") {
    for (const bool clean : {false, true}) {
        for (const uint32_t stays : {0u, 100u}) {
            CAPTURE(clean, stays);
            World world;
            auto& first = subscriber(world, {.client_id = "c", .properties = expiry(stays)});
            auto& second = world.connection();
            second.speak_v5();
            second.send(connect({.client_id = "c", .clean = clean, .properties = expiry(stays)}));
            const bool present = !clean && stays != 0;
            REQUIRE(second.received() == (present ? "CONNACK(0,present)" : "CONNACK(0)"));
            REQUIRE(first.received() == "DISCONNECT(x8e){why=session taken over}");
            REQUIRE_FALSE(first.open());
            REQUIRE(first.close_reason() == Error::kSessionTakenOver);
            auto& writer = world.client5({.client_id = "w"});
            publish_one(writer, "x");
            REQUIRE(second.received() == (present ? "PUBLISH(t,x,q1,id1)" : ""));
            REQUIRE(first.received().empty());
            REQUIRE(world.stats().sessions_taken_over == 1);
            // The other way round 3.1.1 is only closed.
            auto& old = world.client("c", false);
            REQUIRE(second.received() == "DISCONNECT(x8e){why=session taken over}");
            old.take_output();  // what it took over
            world.client5({.client_id = "c"});
            REQUIRE(old.received().empty());
            REQUIRE_FALSE(old.open());
            REQUIRE(world.end() == 0);
        }
    }
}

// A client too small for the reason is told the code; too small for that it is only closed.
TEST_CASE("the farewell keeps to the client's Maximum Packet Size",
          "[wire][v5][MQTT5-3.14.2-3][MQTT5-3.1.2-24]") {
    const std::string why = "session taken over";
    const auto whole = static_cast<uint32_t>(2 + 2 + 3 + why.size());
    for (const auto& [most, told] : {
             std::pair(whole + 1, "DISCONNECT(x8e){why=session taken over}"),
             {whole,        "DISCONNECT(x8e){why=session taken over}"},
             {whole - 1,    "DISCONNECT(x8e)"                        },
             {uint32_t{16}, "DISCONNECT(x8e)"                        }
    }) {
        World world;
        auto& client =
            world.client5({.client_id = "c", .properties = property(P::kMaximumPacketSize, most)});
        world.client5({.client_id = "c"});
        CAPTURE(most);
        REQUIRE(client.received() == told);
        REQUIRE(world.end() == 0);
    }
}

// The same for SUBACK: what cannot be told ends the link, with the reason that fits.
TEST_CASE("SUBACK and UNSUBACK keep to the client's Maximum Packet Size",
          "[wire][v5][MQTT5-3.1.2-24]") {
    for (const bool subscribing : {true, false}) {
        for (const size_t filters : {24u, 25u, 26u}) {  // 5 bytes and one for each
            CAPTURE(subscribing, filters);
            World world;
            auto& client = world.client5(
                {.client_id = "c", .properties = property(P::kMaximumPacketSize, 30)});
            Filters all;
            std::vector<std::string> names;
            for (size_t i = 0; i < filters; ++i) {
                names.push_back("f" + std::to_string(i));
                all.push_back({names.back(), 0});
            }
            client.send(subscribing ? subscribe(1, all) : unsubscribe(1, names));
            const std::string bytes = client.take_output();
            if (filters <= 25) {
                REQUIRE(bytes.size() == 5 + filters);
                REQUIRE(client.open());
            } else {
                REQUIRE(describe(bytes) == "DISCONNECT(x95){why=packet too large}");
                REQUIRE_FALSE(client.open());
            }
            REQUIRE(world.end() == 0);
        }
    }
}

// Clean Start throws away subscriptions, what waits, what is in flight both ways.
TEST_CASE("Clean Start begins from nothing", "[wire][v5][MQTT5-3.1.2-4][MQTT5-3.1.4-4]") {
    World world;
    auto& writer = world.client5({.client_id = "w"});
    auto& client = subscriber(world, {.client_id = "c", .properties = expiry(100)});
    publish_one(writer, "1");
    publish_one(writer, "2", 2);
    client.send(publish({.topic = "t", .payload = "mine", .qos = 2, .packet_id = 9}));
    client.hang_up();
    publish_one(writer, "3");
    REQUIRE(world.stats().inflight_out == 2);
    REQUIRE(world.stats().inflight_in == 1);
    REQUIRE(world.stats().queued == 1);
    auto& fresh = world.client5({.client_id = "c", .clean = true});
    REQUIRE(fresh.received().empty());
    REQUIRE(world.stats().inflight_out == 0);
    REQUIRE(world.stats().inflight_in == 0);
    REQUIRE(world.stats().queued == 0);
    REQUIRE(world.stats().messages_stored == 0);
    publish_one(writer, "4");
    fresh.send(ack(PacketType::kPubrel, 9));
    REQUIRE(fresh.received() == "PUBCOMP(9,x92)");
    REQUIRE(world.end() == 0);
}

// An inbound QoS 2 flow outlives its connection and is passed on once, whatever comes twice.
TEST_CASE("an inbound QoS 2 flow of 5.0 goes on after a reconnect",
          "[wire][v5][MQTT5-4.3.3-10][MQTT5-4.3.3-11][MQTT5-4.3.3-12]") {
    World world;
    auto& reader = subscriber(world, {.client_id = "r"});
    auto& client = world.client5({.client_id = "c", .properties = expiry(100)});
    const Publish message{.topic = "t", .payload = "x", .qos = 2, .packet_id = 5};
    Publish again = message;
    again.dup = true;
    client.send(publish(message));
    REQUIRE(client.received() == "PUBREC(5)");
    client.hang_up();
    auto& back = world.client5({.client_id = "c", .clean = false, .properties = expiry(100)});
    REQUIRE(reader.received().empty());
    back.send(publish(again));
    REQUIRE(back.received() == "PUBREC(5)");
    back.send(publish(message));  // a new one, under a name that is taken
    REQUIRE(back.received() == "PUBREC(5,x91)");
    back.send(publish({.topic = "t", .payload = "y", .qos = 1, .packet_id = 5}));
    REQUIRE(back.received() == "PUBACK(5,x91)");
    back.send(ack(PacketType::kPubrel, 5));
    REQUIRE(back.received() == "PUBCOMP(5)");
    REQUIRE(reader.received() == "PUBLISH(t,x,q2,id1)");
    back.send(ack(PacketType::kPubrel, 5));
    REQUIRE(back.received() == "PUBCOMP(5,x92)");
    back.send(publish(message) + ack(PacketType::kPubrel, 5));
    REQUIRE(back.received() == "PUBREC(5) PUBCOMP(5)");
    REQUIRE(reader.received() == "PUBLISH(t,x,q2,id2)");
    REQUIRE(world.stats().inflight_in == 0);
    REQUIRE(world.end() == 0);
}
