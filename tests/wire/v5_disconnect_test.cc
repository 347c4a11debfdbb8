// DISCONNECT of MQTT 5.0 from the broker: every reason to end a connection, said once and last.
//   §3.14, §4.13

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <functional>

using namespace mqttd;
using namespace mqttd::packets5;
using packets::number;
using packets::raw;
using packets::text;

namespace {

using P = Property;

// What a 5.0 client is told that sends this after its CONNACK; a 3.1.1 client gets nothing at all.
void check_told(const BrokerOptions& options, const std::string& bytes, const std::string& told) {
    CAPTURE(describe(bytes.substr(0, std::min<size_t>(bytes.size(), 60))), told);
    World world(options);
    auto& client = world.client5({.client_id = "c"});
    client.send(bytes + packets::pingreq());
    CHECK(client.received() == told);
    CHECK_FALSE(client.open());
    CHECK(world.stats().packets_sent[static_cast<int>(PacketType::kPingresp)] == 0);
    CHECK(world.stats().malformed == 1);
    CHECK(world.end() == 0);
}

void check_taken(const BrokerOptions& options, const std::string& bytes) {
    World world(options);
    auto& client = world.client5({.client_id = "c"});
    client.send(bytes + packets::pingreq());
    CHECK(client.received().ends_with("PINGRESP"));
    CHECK(client.open());
    CHECK(world.end() == 0);
}

constexpr const char* kMalformed = "DISCONNECT(x81){why=malformed packet}";
constexpr const char* kProtocol = "DISCONNECT(x82){why=protocol error}";
constexpr const char* kTopic = "DISCONNECT(x90){why=topic name invalid}";

}  // namespace

// Every low nibble that a packet must not have.
TEST_CASE("wrong header bits of any packet are told 0x81",
          "[wire][v5][MQTT5-2.1.3-1][MQTT5-3.6.1-1][MQTT5-3.8.1-1][MQTT5-3.10.1-1]"
          "[MQTT5-3.14.1-1][MQTT5-4.13.1-1]") {
    struct Packet {
        PacketType type;
        std::string body;
        int flags;
    };

    const std::string filter = number(1) + '\0' + text("t");
    for (const Packet& packet : {
             Packet{PacketType::kPuback,      number(1),     0},
             Packet{PacketType::kPubrec,      number(1),     0},
             Packet{PacketType::kPubrel,      number(1),     2},
             Packet{PacketType::kPubcomp,     number(1),     0},
             Packet{PacketType::kSubscribe,   filter + '\0', 2},
             Packet{PacketType::kUnsubscribe, filter,        2},
             Packet{PacketType::kPingreq,     "",            0},
             Packet{PacketType::kDisconnect,  "",            0}
    }) {
        for (int flags = 0; flags < 16; ++flags) {
            const auto first = static_cast<uint8_t>(static_cast<int>(packet.type) << 4 | flags);
            if (flags != packet.flags) {
                check_told(World::test_options(), raw(first, packet.body), kMalformed);
            } else if (packet.type != PacketType::kDisconnect) {
                check_taken(World::test_options(), raw(first, packet.body));
            }
        }
    }
    // QoS 3, and DUP at QoS 0.
    for (const unsigned flags : {6u, 7u, 8u, 9u, 14u, 15u}) {
        check_told(World::test_options(),
                   raw(static_cast<uint8_t>(0x30 | flags), text("t") + number(1) + '\0'),
                   kMalformed);
    }
    // What only a server sends, and what does not exist.
    for (const int first : {0x00, 0x20, 0x90, 0xb0, 0xd0}) {
        check_told(World::test_options(), raw(static_cast<uint8_t>(first), "ab"), kMalformed);
    }
}

TEST_CASE("errors in a packet are told by their code",
          "[wire][v5][MQTT5-2.2.1-3][MQTT5-3.1.0-2][MQTT5-3.3.2-2][MQTT5-3.3.2-8]"
          "[MQTT5-3.3.2-14][MQTT5-3.3.4-6][MQTT5-3.4.2-1][MQTT5-3.6.2-1][MQTT5-3.8.3-2]"
          "[MQTT5-3.8.3-5][MQTT5-3.14.2-1][MQTT5-3.2.0-2][MQTT5-3.5.2-1][MQTT5-3.7.2-1]"
          "[MQTT5-4.13.1-1][MQTT5-4.7.0-1]") {
    const BrokerOptions options = World::test_options();
    const std::string filter = '\0' + text("t") + '\0';
    const auto with = [](std::string_view properties, std::string_view topic = "t") {
        return publish({.topic = std::string(topic), .properties = std::string(properties)});
    };
    check_told(options, connect({.client_id = "c"}), kProtocol);
    check_told(options, with("", ""), kProtocol);
    check_told(options, with(property(P::kSubscriptionIdentifier, 1)), kProtocol);
    check_told(options, with(property(P::kTopicAlias, 1) + property(P::kTopicAlias, 1)), kProtocol);
    check_told(options, with(property(P::kResponseTopic, "a/#")), kProtocol);
    check_told(
        options, with(property(P::kTopicAlias, 0)), "DISCONNECT(x94){why=topic alias invalid}");
    check_told(options, with(property(P::kSessionExpiryInterval, 1)), kMalformed);
    check_told(options, with(property(P::kContentType, "\xff")), kMalformed);
    check_told(options, raw(0x30, text("t") + "\x05"), kMalformed);  // properties cut short
    check_told(options, raw(0x30, text("t")), kMalformed);           // no property length
    check_told(options, with("", "\xff"), kMalformed);
    for (const char* topic : {"#", "+", "a/#", "a/+/b", "a+"}) {
        check_told(options, with("", topic), kTopic);
    }
    for (const int first : {0x32, 0x34}) {
        check_told(options,
                   raw(static_cast<uint8_t>(first), text("t") + number(0) + '\0'),
                   "DISCONNECT(x82){why=packet id invalid}");
    }
    check_told(options, raw(0x82, number(0) + filter), "DISCONNECT(x82){why=packet id invalid}");
    check_told(options, raw(0x82, number(1) + '\0'), kProtocol);                     // no filter
    check_told(options, raw(0x82, number(1) + '\0' + text("t") + '\3'), kProtocol);  // QoS 3
    check_told(options, raw(0x82, number(1) + '\0' + text("t") + '\x30'), kProtocol);
    check_told(options, raw(0x82, number(1) + '\0' + text("t") + '\x40'), kMalformed);
    check_told(options, raw(0x82, number(1) + '\0' + text("t") + '\x80'), kMalformed);
    for (const char* bad : {"a/#/b", "a#", "a+"}) {
        check_told(options,
                   subscribe(1,
                             {
                                 {bad, 0}
        }),
                   "DISCONNECT(x8f){why=topic filter invalid}");
    }
    for (const int type : {4, 5, 6, 7}) {
        const auto first = static_cast<uint8_t>(type * 16 + (type == 6 ? 2 : 0));
        check_told(options, raw(first, number(1) + '\x55'), kProtocol);
        check_told(options, raw(first, number(0)), "DISCONNECT(x82){why=packet id invalid}");
        check_told(options, raw(first, "\1"), kMalformed);
    }
    check_told(options, raw(0x62, number(1) + '\x10'), kProtocol);  // not of PUBREL
    check_told(options, raw(0xe0, "\x55"), kProtocol);
    check_told(options, raw(0xe0, std::string("\0\1", 2)), kMalformed);
    check_told(options, raw(0xc0, "x"), kMalformed);
    check_told(options, std::string("\x30\xff\xff\xff\xff\x01", 6), kMalformed);
}

// Each limit just kept, met and passed.
TEST_CASE("what is above a limit is told by its code",
          "[wire][v5][MQTT5-3.2.2-11][MQTT5-3.2.2-14][MQTT5-3.2.2-15]") {
    BrokerOptions options = World::test_options();
    options.max_packet_size = 1'000;
    const auto sized = [](size_t size) {
        return publish({.topic = "t", .payload = std::string(size - 7, 'x')});
    };
    REQUIRE(sized(1'000).size() == 1'000);
    check_taken(options, sized(999));
    check_taken(options, sized(1'000));
    check_told(options, sized(1'001), "DISCONNECT(x95){why=packet too large}");
    // By its length field alone: nothing of it has to come.
    check_told(options, sized(1'001).substr(0, 3), "DISCONNECT(x95){why=packet too large}");

    options = World::test_options();
    options.max_topic_len = 10;
    check_taken(options, publish({.topic = "123456789"}));
    check_taken(options, publish({.topic = "1234567890"}));
    check_told(options, publish({.topic = "12345678901"}), kTopic);
    options = World::test_options();
    options.max_topic_levels = 3;
    check_taken(options, publish({.topic = "a/b"}));
    check_taken(options, publish({.topic = "a/b/c"}));
    check_told(options, publish({.topic = "a/b/c/d"}), kTopic);

    for (int most = 0; most <= 2; ++most) {
        options = World::test_options();
        options.listener.max_qos = static_cast<uint8_t>(most);
        for (int qos = 0; qos <= 2; ++qos) {
            const std::string packet =
                publish({.topic = "t", .qos = qos, .packet_id = static_cast<uint16_t>(qos)});
            if (qos <= most) {
                check_taken(options, packet);
            } else {
                check_told(options, packet, "DISCONNECT(x9b){why=QoS not supported}");
            }
        }
    }
    options = World::test_options();
    options.retain_available = false;
    for (int qos = 0; qos <= 2; ++qos) {
        Publish message{.topic = "t", .qos = qos, .packet_id = 1};
        check_taken(options, publish(message));
        message.retain = true;
        check_told(options, publish(message), "DISCONNECT(x9a){why=retain not supported}");
    }
}

// 3.1.1 has no word for any of this: the connection just ends.
TEST_CASE("a 3.1.1 client is told nothing", "[wire][v5]") {
    BrokerOptions options = World::test_options();
    options.max_packet_size = 1'000;
    options.retain_available = false;
    options.listener.max_qos = 1;
    for (const std::string& bytes :
         {raw(0xf0, ""),
          packets::connect("c"),
          packets::publish({.topic = "a/#"}),
          packets::publish({.topic = "t", .retain = true}),
          packets::publish({.topic = "t", .qos = 2, .packet_id = 1}),
          packets::publish({.topic = "t", .payload = std::string(1'000, 'x')})}) {
        World world(options);
        auto& client = world.client("c");
        client.send(bytes);
        REQUIRE(client.take_output().empty());
        REQUIRE_FALSE(client.open());
        REQUIRE(world.end() == 0);
    }
}

// The keep alive of both versions, at one and a half times its length.
TEST_CASE("silence ends the connection with 0x8D",
          "[wire][v5][MQTT5-3.1.2-22][MQTT5-3.2.2-22][MQTT5-3.12.4-1]") {
    World world;
    packets::Connect fields;
    fields.client_id = "old";
    fields.keep_alive_s = 10;
    auto& old = world.client(fields);
    auto& client = world.client5({.client_id = "c", .keep_alive_s = 10});
    auto& lively = world.client5({.client_id = "l", .keep_alive_s = 10});
    auto& patient = world.client5({.client_id = "p", .keep_alive_s = 0});
    world.advance(9'950);
    lively.send(packets::pingreq());
    REQUIRE(lively.received() == "PINGRESP");
    world.advance(5'000);
    REQUIRE(client.open());
    REQUIRE(old.open());
    world.advance(300);
    REQUIRE(client.received() == "DISCONNECT(x8d){why=keep-alive timeout}");
    REQUIRE(old.take_output().empty());
    REQUIRE_FALSE(client.open());
    REQUIRE_FALSE(old.open());
    REQUIRE(world.stats().keep_alive_timeouts == 2);
    REQUIRE(lively.open());
    world.advance(10'000);
    REQUIRE(lively.received() == "DISCONNECT(x8d){why=keep-alive timeout}");
    REQUIRE(patient.open());
    REQUIRE(world.end() == 0);
}

TEST_CASE("shutting down is told to everybody who can be told", "[wire][v5]") {
    World world;
    auto& five = world.client5({.client_id = "five"});
    auto& small =
        world.client5({.client_id = "small", .properties = property(P::kMaximumPacketSize, 16)});
    auto& three = world.client("three");
    auto& silent = world.connection();
    while (!world.broker().shut_down())
        world.settle();
    world.settle();
    REQUIRE(five.received() == "DISCONNECT(x8b){why=shutting down}");
    REQUIRE(small.received() == "DISCONNECT(x8b)");
    REQUIRE(three.take_output().empty());
    REQUIRE(silent.take_output().empty());  // [MQTT5-3.14.0-1]
    for (auto* each : {&five, &small, &three, &silent})
        REQUIRE_FALSE(each->open());
    auto& late = world.connection();
    late.speak_v5();
    late.send(connect({.client_id = "late"}));
    REQUIRE(late.received() == "CONNACK(x89){why=server busy}");
    REQUIRE(world.end() == 0);
}

// queue_full disconnect: who takes too little is told 0x97, at one above its queue.
TEST_CASE("a full queue ends its reader with 0x97", "[wire][v5]") {
    for (const int extra : {-1, 0, 1}) {
        BrokerOptions options = World::test_options();
        options.queue_full = QueueFull::kDisconnect;
        options.max_queued_messages = 5;
        World world(options);
        auto& five =
            world.client5({.client_id = "five", .properties = property(P::kReceiveMaximum, 2)});
        five.send(subscribe(1,
                            {
                                {"t", 1}
        }));
        five.take_output();
        auto& writer = world.client5({.client_id = "w"});
        for (int i = 0; i < 2 + 5 + extra; ++i)
            writer.send(publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}));
        CAPTURE(extra);
        const std::string two = "PUBLISH(t,x,q1,id1) PUBLISH(t,x,q1,id2)";
        REQUIRE(five.received() ==
                (extra <= 0 ? two : two + " DISCONNECT(x97){why=quota exceeded}"));
        REQUIRE(five.open() == (extra <= 0));
        REQUIRE(writer.open());
        REQUIRE(world.stats().slow_closed == (extra <= 0 ? 0 : 1));
        REQUIRE(world.end() == 0);
    }
}

// DISCONNECT is the last packet: what was owed comes before it, nothing after it; who says goodbye
// or goes without a word is answered nothing.
TEST_CASE("DISCONNECT is the last word", "[wire][v5][MQTT5-3.14.4-1][MQTT5-3.14.4-2]") {
    World world;
    auto& client = world.client5({.client_id = "c"});
    client.send(subscribe(1,
                          {
                              {"t", 1}
    }) +
                publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}) + raw(0xc1, "") +
                packets::pingreq() + publish({.topic = "t", .payload = "y"}));
    REQUIRE(client.received() ==
            "SUBACK(1,1) PUBLISH(t,x,q1,id1) PUBACK(1) " + std::string(kMalformed));
    auto& other = world.client5({.client_id = "o"});
    other.send(publish({.topic = "t", .payload = "z"}));
    REQUIRE(client.received().empty());
    other.send(disconnect() + packets::pingreq());
    REQUIRE(other.received().empty());
    REQUIRE_FALSE(other.open());
    auto& third = world.client5({.client_id = "o"});
    third.hang_up();
    REQUIRE(third.received().empty());
    REQUIRE(world.stats().packets_sent[static_cast<int>(PacketType::kDisconnect)] == 1);
    REQUIRE(world.end() == 0);
}

// Who publishes to himself may be the one whose queue is full: what would acknowledge that packet
// is not sent behind the DISCONNECT.
TEST_CASE("no acknowledgement comes behind DISCONNECT", "[wire][v5][MQTT5-3.14.4-1]") {
    for (const int qos : {1, 2}) {
        CAPTURE(qos);
        BrokerOptions options = World::test_options();
        options.queue_full = QueueFull::kDisconnect;
        options.max_queued_messages = 1;
        options.max_inflight_messages = 1;
        World world(options);
        auto& client = world.client5({.client_id = "c"});
        client.send(sub("t", 1));
        client.take_output();
        std::string input;
        for (uint16_t id = 1; id <= 3; ++id) {
            input += pub("t", "x", qos, id);
            if (qos == 2) input += ack(PacketType::kPubrel, id);
        }
        client.send(input);
        const std::string got = client.received();
        CAPTURE(got);
        CHECK(got.ends_with(" DISCONNECT(x97){why=quota exceeded}"));
        CHECK(got.find(qos == 1 ? "PUBACK(2)" : "PUBCOMP(2)") != std::string::npos);
        CHECK(got.find(qos == 1 ? "PUBACK(3)" : "PUBCOMP(3)") == std::string::npos);
        CHECK(world.stats().packets_sent[static_cast<int>(PacketType::kPuback)] ==
              (qos == 1 ? 2u : 0u));
        CHECK(world.end() == 0);
    }
}

// No Session Expiry Interval and no property but the reason in what we send.
TEST_CASE("DISCONNECT of the broker holds a reason string only",
          "[wire][v5][MQTT5-3.14.2-2][MQTT5-3.14.2-4]") {
    World world;
    auto& client =
        world.client5({.client_id = "c", .properties = property(P::kSessionExpiryInterval, 100)});
    client.send(raw(0xc1, ""));
    const std::string why = property(P::kReasonString, "malformed packet");
    REQUIRE(client.take_output() ==
            raw(0xe0, "\x81" + std::string(1, static_cast<char>(why.size())) + why));
    REQUIRE(world.end() == 0);
}
