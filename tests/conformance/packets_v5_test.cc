// MQTT 5.0, what holds for all packets alike: texts, lengths, header bits, identifiers, reason
// codes.   §1.5, §2.1, §2.2, §2.4

#include "support/answer5.h"
#include "support/texts.h"
#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <functional>
#include <set>
#include <string>

using namespace mqttd;
using namespace mqttd::packets5;
using packets::number;
using packets::pingreq;
using packets::raw;
using packets::text;

namespace {

using P = Property;
using T = PacketType;

std::string byte(int value) {
    return {static_cast<char>(value)};
}

std::string bytes(std::initializer_list<int> list) {
    std::string out;
    for (const int each : list)
        out += static_cast<char>(each);
    return out;
}

// A property list with its length, which is below 128.
std::string listed(const std::string& properties) {
    return static_cast<char>(properties.size()) + properties;
}

// An acknowledgement, DISCONNECT or AUTH with a reason and properties.
std::string ended(int first, const std::string& properties, int reason = 0) {
    const std::string id = first < 0xe0 ? number(7) : "";
    return raw(static_cast<uint8_t>(first), id + byte(reason) + listed(properties));
}

std::string filter(const std::string& name, int first = 0x82, const std::string& properties = {}) {
    return raw(static_cast<uint8_t>(first),
               number(1) + listed(properties) + text(name) + (first == 0x82 ? byte(0) : ""));
}

struct Field {
    const char* name;
    bool opens;  // its packet is a CONNECT
    std::function<std::string(const std::string&)> packet;
};

// clang-format off
const Field kFields[] = {
    {"client identifier",        true,  [](auto& t) { return connect({.client_id = t}); }},
    {"user name",                true,  [](auto& t) { return connect({.user_name = t}); }},
    {"will topic",               true,  [](auto& t) { return connect({.will_topic = t}); }},
    {"will content type",        true,  [](auto& t) { return connect({.will_topic = "w", .will_properties = property(P::kContentType, t)}); }},
    {"will response topic",      true,  [](auto& t) { return connect({.will_topic = "w", .will_properties = property(P::kResponseTopic, t)}); }},
    {"name in will",             true,  [](auto& t) { return connect({.will_topic = "w", .will_properties = user(t, "v")}); }},
    {"value in will",            true,  [](auto& t) { return connect({.will_topic = "w", .will_properties = user("n", t)}); }},
    {"name in CONNECT",          true,  [](auto& t) { return connect({.properties = user(t, "v")}); }},
    {"value in CONNECT",         true,  [](auto& t) { return connect({.properties = user("n", t)}); }},
    {"topic at QoS 0",           false, [](auto& t) { return publish({.topic = t}); }},
    {"topic at QoS 1",           false, [](auto& t) { return publish({.topic = t, .qos = 1, .packet_id = 1}); }},
    {"topic with an alias",      false, [](auto& t) { return pub(t, "", alias(1)); }},
    {"content type",             false, [](auto& t) { return pub("t", "", property(P::kContentType, t)); }},
    {"response topic",           false, [](auto& t) { return pub("t", "", property(P::kResponseTopic, t)); }},
    {"name in PUBLISH",          false, [](auto& t) { return pub("t", "", user(t, "v")); }},
    {"value in PUBLISH",         false, [](auto& t) { return pub("t", "", user("n", t)); }},
    {"filter",                   false, [](auto& t) { return filter(t); }},
    {"shared filter",            false, [](auto& t) { return filter("$share/g/" + t); }},
    {"name in SUBSCRIBE",        false, [](auto& t) { return filter("f", 0x82, user(t, "v")); }},
    {"value in SUBSCRIBE",       false, [](auto& t) { return filter("f", 0x82, user("n", t)); }},
    {"filter to leave",          false, [](auto& t) { return filter(t, 0xa2); }},
    {"name in UNSUBSCRIBE",      false, [](auto& t) { return filter("f", 0xa2, user(t, "v")); }},
    {"reason of PUBACK",         false, [](auto& t) { return ended(0x40, property(P::kReasonString, t)); }},
    {"reason of PUBREC",         false, [](auto& t) { return ended(0x50, property(P::kReasonString, t)); }},
    {"reason of PUBREL",         false, [](auto& t) { return ended(0x62, property(P::kReasonString, t)); }},
    {"reason of PUBCOMP",        false, [](auto& t) { return ended(0x70, property(P::kReasonString, t)); }},
    {"value in PUBACK",          false, [](auto& t) { return ended(0x40, user("n", t)); }},
};

// clang-format on

// The end of a link after this packet: what it was told, "" if it is still there.
std::string told(const Field& field, const std::string& value) {
    World world;
    auto& bystander = world.client5({.client_id = "bystander"});
    bystander.send(sub("#", 0));
    bystander.take_output();
    auto& peer = field.opens ? world.connection() : world.client5({.client_id = "c"});
    peer.speak_v5();
    peer.send(field.packet(value));
    const std::string words = peer.received();
    if (!peer.open()) CHECK(bystander.received().empty());
    bystander.send(pingreq());
    CHECK(bystander.received().ends_with("PINGRESP"));
    const bool open = peer.open();
    CHECK(world.end() == 0);
    return open ? "" : head(words);
}

}  // namespace

// Bad text in any field, own or of a property, is a malformed packet; good text nowhere is.
TEST_CASE("5.0: every text field of every packet is checked",
          "[conformance][MQTT5-1.5.4-1][MQTT5-1.5.4-2][MQTT5-1.5.7-1][MQTT5-3.1.3-4]"
          "[MQTT5-3.1.3-11][MQTT5-3.1.3-12][MQTT5-3.3.2-1][MQTT5-3.3.2-13][MQTT5-3.3.2-19]"
          "[MQTT5-3.8.3-1][MQTT5-3.10.3-1][MQTT5-4.7.3-2][MQTT5-4.13.1-1]") {
    for (const Field& field : kFields) {
        CAPTURE(field.name);
        for (const std::string& bad : bad_texts()) {
            CAPTURE(bad);
            CHECK(told(field, bad) == (field.opens ? "CONNACK(x81)" : "DISCONNECT(x81)"));
        }
        for (const std::string& good : good_texts()) {
            CAPTURE(good);
            CHECK(told(field, good) == "");
        }
    }
    const std::string leaves = ended(0xe0, property(P::kReasonString, "\xc0\x80"));
    World world;
    auto& peer = world.client5({.client_id = "c"});
    peer.send(leaves);
    CHECK(head(peer.received()) == "DISCONNECT(x81)");
    CHECK(world.end() == 0);
}

// A byte order mark is a character: a topic with it is another topic, an identifier another client.
TEST_CASE("5.0: a byte order mark is kept",
          "[conformance][MQTT5-1.5.4-3][MQTT-1.5.3-3][MQTT5-4.7.3-4]") {
    const std::string mark = "\xef\xbb\xbf";
    World world;
    auto& with = world.client5({.client_id = mark + "c"});
    auto& without = world.client5({.client_id = "c"});
    CHECK(with.open());
    with.send(sub(mark + "t", 0));
    without.send(sub("t", 0));
    with.take_output();
    without.take_output();
    auto& writer = world.client5({.client_id = "w"});
    auto& old = world.client("old");
    for (const std::string& packet :
         {pub(mark + "t", mark + "x", user(mark + "n", mark + "v")), pub("t", "y")})
        writer.send(packet);
    CHECK(with.received() ==
          "PUBLISH(" + mark + "t," + mark + "x,q0){user=" + mark + "n:" + mark + "v}");
    CHECK(without.received() == "PUBLISH(t,y,q0)");
    old.send(packets::publish({.topic = mark + "t"}));
    CHECK(with.received() == "PUBLISH(" + mark + "t,,q0)");
    CHECK(without.received().empty());
    CHECK(world.end() == 0);
}

// At each place where a length takes one byte more, in every length that the broker writes; and a
// length in more bytes than needed is not passed on, nor taken inside a packet.
TEST_CASE("5.0: lengths and numbers take as few bytes as possible",
          "[conformance][MQTT5-1.5.5-1]") {
    BrokerOptions options = World::test_options();
    options.max_packet_size = 4'000'000;
    World world(options);
    auto& plain = world.client5({.client_id = "plain"});
    auto& named = world.client5({.client_id = "named"});
    plain.send(sub("t", 0));
    plain.take_output();
    auto& writer = world.client5({.client_id = "w"});
    for (const uint32_t id :
         {1u, 127u, 128u, 16'383u, 16'384u, 2'097'151u, 2'097'152u, 268'435'455u}) {
        CAPTURE(id);
        named.send(sub("t", 0, identifier(id)));
        named.take_output();
        for (const size_t edge : {128u, 16'384u, 2'097'152u}) {
            for (size_t body = edge - 8; body <= edge + 2; ++body) {
                const std::string payload(body - 4, 'x');
                writer.send(pub("t", payload));
                CHECK((plain.take_output() == pub("t", payload)));
                CHECK((named.take_output() == pub("t", payload, identifier(id))));
                if (edge != 128u) break;
            }
        }
        for (size_t value = 110; value < 130; ++value) {  // the property list passes 127 bytes
            const std::string own = user("n", std::string(value, 'v'));
            writer.send(pub("t", "x", own));
            CHECK((plain.take_output() == pub("t", "x", own)));
            CHECK((named.take_output() == pub("t", "x", identifier(id) + own)));
        }
    }
    writer.send(std::string("\xc0\x80\x00", 3));  // a Remaining Length may be padded: it stays here
    CHECK(writer.received() == "PINGRESP");
    writer.send(std::string("\x30\x85\x80\x00\x00\x01t\x00x", 9));
    CHECK(plain.take_output() == pub("t", "x"));
    for (const std::string& padded :
         {raw(0x30, text("t") + bytes({0x80, 0}) + "x"),
          raw(0x82, number(1) + bytes({3, 0x0b, 0x81, 0}) + text("f") + byte(0)),
          raw(0x82, number(1) + bytes({0x80, 0}) + text("f") + byte(0))}) {
        auto& peer = world.client5({.client_id = "p"});
        peer.send(padded);
        CHECK(head(peer.received()) == "DISCONNECT(x81)");
    }
    CHECK(world.end() == 0);
}

// All sixteen nibbles of all sixteen types, with a body that is right for the type.
TEST_CASE("5.0: each packet type has its header bits and no others",
          "[conformance][MQTT5-2.1.3-1][MQTT5-3.3.1-2][MQTT5-3.3.1-4][MQTT5-3.6.1-1]"
          "[MQTT5-3.8.1-1][MQTT5-3.10.1-1][MQTT5-3.14.1-1][MQTT5-3.15.1-1]") {
    const std::string some = number(1) + byte(0) + text("t");
    // clang-format off
    const std::string bodies[16] = {
        "",        connect({}).substr(2), bytes({0, 0, 0}), text("t") + number(1) + byte(0),
        number(1), number(1),             number(1),        number(1),
        some + byte(0), number(1) + bytes({0, 0}), some,    number(1) + bytes({0, 0}),
        "",        "",                    "",               ""};
    // clang-format on
    for (int type = 0; type < 16; ++type) {
        for (int flags = 0; flags < 16; ++flags) {
            CAPTURE(type, flags);
            bool legal = flags == (type == 6 || type == 8 || type == 10 ? 2 : 0);
            if (type == 3) legal = (flags & 6) != 6 && flags != 8 && flags != 9;
            if (type == 0 || type == 2 || type == 9 || type == 11 || type == 13) legal = false;
            World world;
            auto& peer = type == 1 ? world.connection() : world.client5({.client_id = "c"});
            peer.speak_v5();
            peer.send(raw(static_cast<uint8_t>(type << 4 | flags), bodies[type]));
            const std::string words = head(peer.received());
            if (!legal) {
                CHECK(words == (type == 1 ? "CONNACK(x81)" : "DISCONNECT(x81)"));
                CHECK_FALSE(peer.open());
            } else if (type == 14) {
                CHECK(words == "");
                CHECK_FALSE(peer.open());
            } else if (type == 15) {  // well formed, and all the same nobody asked for it
                CHECK(words == "DISCONNECT(x82)");
            } else {
                CHECK(peer.open());
            }
            CHECK(world.end() == 0);
        }
    }
}

// The same conversation as in 3.1.1, with its property lengths and without a word too many.
TEST_CASE("5.0: what the broker sends has the form of the standard",
          "[conformance][MQTT5-2.1.3-1][MQTT5-2.2.1-2][MQTT5-2.2.2-1][MQTT5-3.3.1-2]"
          "[MQTT5-4.3.1-1][MQTT5-3.1.4-5][MQTT5-3.2.2-1][MQTT5-3.8.4-1][MQTT5-3.10.4-4]"
          "[MQTT5-3.12.4-1]") {
    BrokerOptions options = World::test_options();
    options.max_awaiting_rel = 0;
    options.max_packet_size = 268'435'460;
    options.listener.max_topic_alias = 0;
    World world(options);
    auto& peer = world.connection();
    const auto says = [&](const std::string& packet) {
        peer.send(packet);
        return peer.take_output();
    };
    CHECK(says(connect({.client_id = "c"})) == bytes({0x20, 3, 0, 0, 0}));
    CHECK(says(raw(0x82, bytes({0x12, 0x34, 0, 0, 1, 't', 2}))) ==
          bytes({0x90, 4, 0x12, 0x34, 0, 2}));
    CHECK(says(pub("t", "x")) == bytes({0x30, 5, 0, 1, 't', 0, 'x'}));
    CHECK(says(pub("t", "x", 1, 0x201)) ==
          bytes({0x32, 7, 0, 1, 't', 0, 1, 0, 'x', 0x40, 2, 2, 1}));
    CHECK(says(pub("t", "x", 2, 0x301)) == bytes({0x50, 2, 3, 1}));
    CHECK(says(ack(T::kPubrel, 0x301)) == bytes({0x34, 7, 0, 1, 't', 0, 2, 0, 'x', 0x70, 2, 3, 1}));
    CHECK(says(ack(T::kPubrec, 2)) == bytes({0x62, 2, 0, 2}));
    CHECK(says(unsubscribe(0xfedc, {"t"})) == bytes({0xb0, 4, 0xfe, 0xdc, 0, 0}));
    CHECK(says(pingreq()) == bytes({0xd0, 0}));
    CHECK(says(disconnect()).empty());
    CHECK(world.end() == 0);
}

// Both bytes of an identifier come back, with and without a reason code behind them.
TEST_CASE("5.0: an answer has the identifier of its request",
          "[conformance][MQTT5-2.2.1-5][MQTT5-2.2.1-6][MQTT5-3.8.4-2][MQTT5-3.10.4-5]") {
    World world;
    auto& peer = world.client5({.client_id = "c"});
    for (const int value : {1, 2, 0xff, 0x100, 0x101, 0x7fff, 0x8000, 0xabcd, 0xfffe, 0xffff}) {
        const auto id = static_cast<uint16_t>(value);
        const std::string n = "(" + std::to_string(value);
        peer.send(pub("t", "", 1, id) + pub("t", "", 2, id) + ack(T::kPubrel, id) +
                  ack(T::kPubrel, id) + ack(T::kPubrec, id));
        CHECK(peer.received() == "PUBACK" + n + ",x10) PUBREC" + n + ") PUBCOMP" + n + ") PUBCOMP" +
                                     n + ",x92) PUBREL" + n + ",x92)");
        peer.send(subscribe(id, Filters(1, {"f", 1})) + unsubscribe(id, {"f", "g"}));
        CHECK(peer.received() == "SUBACK" + n + ",1) UNSUBACK" + n + ",0,x11)");
    }
    CHECK(world.end() == 0);
}

// Twice round all identifiers, while one flow after the other is held open for 20,000 messages:
// none of what is under way shares its identifier, and 0 is nobody's.
TEST_CASE("5.0: a new message gets an identifier that is free and not 0",
          "[conformance][MQTT5-2.2.1-4][MQTT5-4.3.2-1][MQTT5-4.3.3-1]") {
    for (const int qos : {1, 2}) {
        World world;
        auto& reader =
            world.client5({.client_id = "r", .properties = property(P::kReceiveMaximum, 6)});
        reader.send(sub("t", qos));
        reader.take_output();
        auto& writer = world.client5({.client_id = "w"});
        std::string five;
        for (int i = 0; i < 5; ++i)
            five += pub("t", "x", qos, 9) + (qos == 2 ? ack(T::kPubrel, 9) : "");
        uint16_t held = 0;
        uint32_t seen = 0;
        std::set<uint16_t> open;
        for (int round = 0; round < 28'000; ++round) {
            writer.send(five);
            writer.take_output();
            const std::string got = reader.take_output();
            std::string acks;
            for (size_t at = 0; at < got.size(); at += packets::packet_size(got.substr(at))) {
                const auto id = static_cast<uint16_t>(static_cast<uint8_t>(got[at + 5]) << 8 |
                                                      static_cast<uint8_t>(got[at + 6]));
                if (got[at] != (qos == 1 ? 0x32 : 0x34) || id == 0 || !open.insert(id).second)
                    FAIL("message " << seen << " has identifier " << id);
                if (qos == 2) acks += ack(T::kPubrec, id);
                uint16_t done = id;
                if (seen++ % 20'000 == 0) std::swap(done, held);
                if (done == 0) continue;
                acks += qos == 1 ? ack(T::kPuback, done) : ack(T::kPubcomp, done);
                open.erase(done);
            }
            reader.send(acks);
            reader.take_output();
        }
        CHECK(seen == 140'000);
        CHECK(world.stats().inflight_out == 1);
        CHECK(world.end() == 0);
    }
}

TEST_CASE("5.0: nothing is said or done before CONNECT",
          "[conformance][MQTT5-3.1.0-1][MQTT5-3.14.0-1]") {
    World world;
    for (const std::string& packet : {pub("t", "x"),
                                      pub("t", "x", 1, 1),
                                      keep("t", "x"),
                                      ack(T::kPuback, 1),
                                      ack(T::kPubrel, 1),
                                      sub("#", 0),
                                      unsubscribe(1, {"#"}),
                                      pingreq(),
                                      disconnect(4),
                                      raw(0xf0, ""),
                                      ended(0xf0, property(P::kAuthenticationMethod, "x"), 0x18)}) {
        auto& stranger = world.connection();
        stranger.send(packet + connect({.client_id = "late"}));
        CHECK_FALSE(stranger.open());
        CHECK(stranger.take_output().empty());
    }
    CHECK(world.stats().sessions == 0);
    CHECK(world.stats().messages_stored == 0);
    CHECK(world.end() == 0);
}

// All 256 codes in the five packets that have one; the tables are those of the standard, not ours.
TEST_CASE("5.0: reason codes from a client are those of the packet's table",
          "[conformance][MQTT5-3.4.2-1][MQTT5-3.5.2-1][MQTT5-3.6.2-1][MQTT5-3.7.2-1]"
          "[MQTT5-3.14.2-1][MQTT5-3.15.2-1][MQTT5-4.12.0-7]") {
    const std::string answers = bytes({0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99});
    const std::string releases = bytes({0, 0x92});
    // Those that a client may send; 0x8D and other words of a server are taken from it as well.
    const std::string leaves =
        bytes({0, 4, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99});
    const std::string servers = bytes({0x87,
                                       0x89,
                                       0x8b,
                                       0x8c,
                                       0x8d,
                                       0x8e,
                                       0x8f,
                                       0x9a,
                                       0x9b,
                                       0x9c,
                                       0x9d,
                                       0x9e,
                                       0x9f,
                                       0xa0,
                                       0xa1,
                                       0xa2});
    World world;
    for (const int first : {0x40, 0x50, 0x62, 0x70, 0xe0, 0xf0}) {
        for (int code = 0; code < 256; ++code) {
            CAPTURE(first, code);
            const bool answer = first == 0x40 || first == 0x50;
            const std::string& table = first == 0xe0 ? leaves : answer ? answers : releases;
            const bool legal = first != 0xf0 && table.find(byte(code)) != std::string::npos;
            if (first == 0xe0 && servers.find(byte(code)) != std::string::npos) continue;
            auto& peer = world.client5({.client_id = "c"});
            peer.send(ended(first, "", code));
            CHECK(peer.open() == (legal && first != 0xe0));
            const std::string words = head(peer.received());
            if (!legal) CHECK(words == "DISCONNECT(x82)");
            if (legal && first == 0xe0) CHECK(words == "");
        }
    }
    CHECK(world.end() == 0);
}

// Failures of every kind towards a client that takes 16 bytes and no more: each answer comes, as
// short as can be, and so does the last one.
TEST_CASE("5.0: no answer grows beyond what its receiver takes",
          "[conformance][MQTT5-3.4.2-2][MQTT5-3.4.2-3][MQTT5-3.5.2-2][MQTT5-3.5.2-3]"
          "[MQTT5-3.6.2-2][MQTT5-3.6.2-3][MQTT5-3.7.2-2][MQTT5-3.7.2-3][MQTT5-3.9.2-1]"
          "[MQTT5-3.9.2-2][MQTT5-3.11.2-1][MQTT5-3.11.2-2][MQTT5-3.14.2-3][MQTT5-3.14.2-4]") {
    for (const uint32_t most : {16u, 17u, 1'000u}) {
        World world;
        auto& peer =
            world.client5({.client_id = "c", .properties = property(P::kMaximumPacketSize, most)});
        peer.send(pub("$SYS/x", "", 1, 1) + pub("$SYS/x", "", 2, 2) + ack(T::kPubrel, 3) +
                  ack(T::kPubrec, 4) + sub("$share/+/t", 1) + unsubscribe(6, {"none"}));
        CHECK(peer.take_output() ==
              bytes({0x40, 3, 0, 1,    0x87, 0x50, 3, 0, 2, 0x87, 0x70, 3, 0, 3, 0x92, 0x62,
                     3,    0, 4, 0x92, 0x90, 4,    0, 1, 0, 0x8f, 0xb0, 4, 0, 6, 0,    0x11}));
        peer.send(raw(0xc1, ""));
        const std::string last = peer.take_output();
        CHECK(last.size() <= most);
        CHECK(last.starts_with(bytes({0xe0, most < 20 ? 1 : 21, 0x81})));
        CHECK(world.end() == 0);
    }
}
