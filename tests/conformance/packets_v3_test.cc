// MQTT 3.1.1, what holds for all packets alike: texts, header bits, identifiers.   §1.5, §2.2, §2.3

#include "support/packets.h"
#include "support/texts.h"
#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <functional>
#include <set>
#include <string>

using namespace mqttd;
using namespace mqttd::packets;
using packets5::sub3;

namespace {

std::string byte(int value) {
    return {static_cast<char>(value)};
}

// A CONNECT by hand: flags, then the payload.
std::string connect_by_hand(int flags, const std::string& payload) {
    return raw(0x10, text("MQTT") + byte(4) + byte(flags) + number(0) + payload);
}

// One text field of one packet.
struct Field {
    const char* name;
    bool opens;  // its packet is a CONNECT
    std::function<std::string(const std::string&)> packet;
};

// clang-format off
const Field kFields[] = {
    {"client identifier",  true,  [](auto& t) { return connect_by_hand(2, text(t)); }},
    {"will topic",         true,  [](auto& t) { return connect_by_hand(6, text("c") + text(t) + text("w")); }},
    {"user name",          true,  [](auto& t) { return connect_by_hand(0x82, text("c") + text(t)); }},
    {"topic at QoS 0",     false, [](auto& t) { return publish({.topic = t}); }},
    {"topic at QoS 1",     false, [](auto& t) { return publish({.topic = t, .qos = 1, .packet_id = 1}); }},
    {"topic at QoS 2",     false, [](auto& t) { return publish({.topic = t, .qos = 2, .packet_id = 1}); }},
    {"retained topic",     false, [](auto& t) { return publish({.topic = t, .retain = true}); }},
    {"filter",             false, [](auto& t) { return sub3(t, 0); }},
    {"second filter",      false, [](auto& t) { return raw(0x82, number(1) + text("f") + byte(0) + text(t) + byte(0)); }},
    {"filter to leave",    false, [](auto& t) { return unsubscribe(1, {t}); }},
};

// clang-format on

// Whether the link is still there after the packet, which nobody else notices.
bool survives(const Field& field, const std::string& value) {
    World world;
    auto& bystander = world.client("bystander");
    bystander.send(sub3("#", 0));
    bystander.take_output();
    auto& peer = field.opens ? world.connection() : world.client("c");
    peer.send(field.packet(value));
    if (!peer.open()) {
        CHECK(peer.received().empty());
        CHECK(bystander.received().empty());
    }
    bystander.send(pingreq());
    CHECK(bystander.received().ends_with("PINGRESP"));
    const bool open = peer.open();
    CHECK(world.end() == 0);
    return open;
}

}  // namespace

// Bad text in any field ends the connection it came on, and none but it; good text nowhere does.
TEST_CASE("3.1.1: every text field of every packet is checked",
          "[conformance][MQTT-1.5.3-1][MQTT-1.5.3-2][MQTT-3.1.3-4][MQTT-3.1.3-10][MQTT-3.1.3-11]"
          "[MQTT-3.3.2-1][MQTT-3.8.3-1][MQTT-3.10.3-1][MQTT-4.7.3-2][MQTT-4.8.0-1]") {
    for (const Field& field : kFields) {
        CAPTURE(field.name);
        for (const std::string& bad : bad_texts()) {
            CAPTURE(bad);
            CHECK_FALSE(survives(field, bad));
        }
        for (const std::string& good : good_texts()) {
            CAPTURE(good);
            CHECK(survives(field, good));
        }
    }
}

// All sixteen nibbles of all sixteen types, with a body that is right for the type.
TEST_CASE("3.1.1: each packet type has its header bits and no others",
          "[conformance][MQTT-2.2.2-2][MQTT-3.3.1-2][MQTT-3.3.1-4][MQTT-3.6.1-1][MQTT-3.8.1-1]"
          "[MQTT-3.10.1-1][MQTT-3.14.1-1]") {
    const std::string filter = number(1) + text("t");
    // clang-format off
    const std::string bodies[16] = {
        "",        connect("c").substr(2), std::string(2, '\0'), text("t") + number(1),
        number(1), number(1),              number(1),            number(1),
        filter + byte(0), number(1) + byte(0), filter,           number(1),
        "",        "",                     "",                   ""};
    // clang-format on
    for (int type = 0; type < 16; ++type) {
        for (int flags = 0; flags < 16; ++flags) {
            CAPTURE(type, flags);
            bool legal = flags == (type == 6 || type == 8 || type == 10 ? 2 : 0);
            if (type == 3) legal = (flags & 6) != 6 && flags != 8 && flags != 9;
            if (type == 0 || type == 2 || type == 9 || type == 11 || type == 13 || type == 15)
                legal = false;
            World world;
            auto& watcher = world.client("watcher");
            watcher.send(sub3("will", 0));
            watcher.take_output();
            auto& peer = type == 1 ? world.connection()
                                   : world.client({.client_id = "c", .will_topic = "will"});
            peer.send(raw(static_cast<uint8_t>(type << 4 | flags), bodies[type]));
            if (type == 14) {  // the good one closes, too, but takes the will back
                CHECK_FALSE(peer.open());
                CHECK(watcher.received() == (legal ? "" : "PUBLISH(will,,q0)"));
            } else {
                CHECK(peer.open() == legal);
            }
            if (!legal) CHECK(peer.received().empty());
            CHECK(world.end() == 0);
        }
    }
}

// A conversation that has the broker send everything it can, compared byte for byte: reserved bits,
// no identifier and no DUP at QoS 0, the identifiers of the requests.
TEST_CASE("3.1.1: what the broker sends has the form of the standard",
          "[conformance][MQTT-2.2.2-1][MQTT-2.3.1-5][MQTT-3.3.1-2][MQTT-4.3.1-1][MQTT-3.1.4-4]"
          "[MQTT-3.8.4-1][MQTT-3.10.4-4][MQTT-3.12.4-1]") {
    World world;
    auto& peer = world.connection();
    const auto says = [&](const std::string& bytes) {
        peer.send(bytes);
        return peer.take_output();
    };
    const auto bytes = [](std::initializer_list<int> list) {
        std::string out;
        for (const int each : list)
            out += static_cast<char>(each);
        return out;
    };
    CHECK(says(connect("c")) == bytes({0x20, 2, 0, 0}));
    CHECK(says(subscribe(0x1234, Filters(1, {"t", 2}))) == bytes({0x90, 3, 0x12, 0x34, 2}));
    CHECK(says(publish({.topic = "t", .payload = "x"})) == bytes({0x30, 4, 0, 1, 't', 'x'}));
    CHECK(says(publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 0x201})) ==
          bytes({0x32, 6, 0, 1, 't', 0, 1, 'x', 0x40, 2, 2, 1}));
    CHECK(says(publish({.topic = "t", .payload = "x", .qos = 2, .packet_id = 0x301})) ==
          bytes({0x50, 2, 3, 1}));
    CHECK(says(pubrel(0x301)) == bytes({0x34, 6, 0, 1, 't', 0, 2, 'x', 0x70, 2, 3, 1}));
    CHECK(says(pubrec(2)) == bytes({0x62, 2, 0, 2}));
    CHECK(says(unsubscribe(0xfedc, {"t"})) == bytes({0xb0, 2, 0xfe, 0xdc}));
    CHECK(says(pingreq()) == bytes({0xd0, 0}));
    CHECK(says(disconnect()).empty());
    CHECK(world.end() == 0);
}

// Both bytes of an identifier come back in the answer, in each pair of request and answer.
TEST_CASE("3.1.1: an answer has the identifier of its request",
          "[conformance][MQTT-2.3.1-6][MQTT-2.3.1-7][MQTT-3.8.4-2][MQTT-3.10.4-4]") {
    World world;
    auto& peer = world.client("c");
    for (const int value : {1, 2, 0xff, 0x100, 0x101, 0x7fff, 0x8000, 0xabcd, 0xfffe, 0xffff}) {
        const auto id = static_cast<uint16_t>(value);
        const std::string n = "(" + std::to_string(value);
        peer.send(publish({.topic = "t", .qos = 1, .packet_id = id}));
        peer.send(publish({.topic = "t", .qos = 2, .packet_id = id}));
        peer.send(pubrel(id));
        peer.send(sub3("f", 1).replace(2, 2, number(id)));
        peer.send(unsubscribe(id, {"f"}));
        CHECK(peer.received() == "PUBACK" + n + ") PUBREC" + n + ") PUBCOMP" + n + ") SUBACK" + n +
                                     ",1) UNSUBACK" + n + ")");
    }
    CHECK(world.end() == 0);
}

// Twice round all identifiers, while one flow after the other is held open for 20,000 messages:
// none of what is under way shares its identifier, and 0 is nobody's.
TEST_CASE("3.1.1: a new message gets an identifier that is free and not 0",
          "[conformance][MQTT-2.3.1-1][MQTT-2.3.1-4][MQTT-4.3.2-1][MQTT-4.3.3-1]") {
    for (const int qos : {1, 2}) {
        BrokerOptions options = World::test_options();
        options.max_inflight_messages = 6;
        World world(options);
        auto& reader = world.client("r");
        reader.send(sub3("t", qos));
        reader.take_output();
        auto& writer = world.client("w");
        std::string five;
        for (int i = 0; i < 5; ++i)
            five += publish({.topic = "t", .payload = "x", .qos = qos, .packet_id = 9}) +
                    (qos == 2 ? pubrel(9) : "");
        uint16_t held = 0;
        uint32_t seen = 0;
        std::set<uint16_t> open;
        for (int round = 0; round < 28'000; ++round) {
            writer.send(five);
            writer.take_output();
            const std::string got = reader.take_output();
            std::string acks;
            for (size_t at = 0; at < got.size(); at += packet_size(got.substr(at))) {
                const auto id = static_cast<uint16_t>(static_cast<uint8_t>(got[at + 5]) << 8 |
                                                      static_cast<uint8_t>(got[at + 6]));
                if (got[at] != (qos == 1 ? 0x32 : 0x34) || id == 0 || !open.insert(id).second)
                    FAIL("message " << seen << " has identifier " << id);
                if (qos == 2) acks += pubrec(id);
                uint16_t done = id;
                if (seen++ % 20'000 == 0) std::swap(done, held);
                if (done == 0) continue;
                acks += qos == 1 ? puback(done) : pubcomp(done);
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

// Whatever other packet comes first, whole and well formed, is the last one and is not acted on.
TEST_CASE("3.1.1: nothing is said or done before CONNECT", "[conformance][MQTT-3.1.0-1]") {
    World world;
    auto& watcher = world.client("watcher");
    watcher.send(sub3("#", 2));
    watcher.take_output();
    for (const std::string& packet : {publish({.topic = "t", .payload = "x", .retain = true}),
                                      publish({.topic = "t", .qos = 1, .packet_id = 1}),
                                      publish({.topic = "t", .qos = 2, .packet_id = 1}) + pubrel(1),
                                      puback(1),
                                      pubrec(1),
                                      pubrel(1),
                                      pubcomp(1),
                                      sub3("#", 0),
                                      unsubscribe(1, {"#"}),
                                      pingreq(),
                                      disconnect()}) {
        auto& stranger = world.connection();
        stranger.send(packet + connect("late"));
        CHECK_FALSE(stranger.open());
        CHECK(stranger.take_output().empty());
    }
    CHECK(watcher.received().empty());
    CHECK(world.stats().sessions == 1);
    CHECK(world.stats().messages_stored == 0);
    CHECK(world.end() == 0);
}
