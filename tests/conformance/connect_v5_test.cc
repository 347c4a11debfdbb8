// MQTT 5.0, CONNECT and CONNACK.   §3.1, §3.2, §4.12

#include "support/answer5.h"
#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
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

std::string connect_by_hand(int flags, const std::string& payload) {
    return raw(0x10, text("MQTT") + '\5' + static_cast<char>(flags) + number(0) + '\0' + payload);
}

}  // namespace

// Every set of fields behind every set of flags: let in if and only if they are the same set. A
// password may come alone in 5.0.
TEST_CASE("5.0: the payload of CONNECT has the fields that its flags announce",
          "[conformance][MQTT5-3.1.2-9][MQTT5-3.1.2-16][MQTT5-3.1.2-17][MQTT5-3.1.2-18]"
          "[MQTT5-3.1.2-19][MQTT5-3.1.4-1]") {
    for (int said = 0; said < 8; ++said) {
        for (int sent = 0; sent < 8; ++sent) {
            CAPTURE(said, sent);
            const int flags = 2 | ((said & 1) != 0 ? 4 : 0) | ((said & 2) != 0 ? 0x80 : 0) |
                              ((said & 4) != 0 ? 0x40 : 0);
            std::string payload = text("c");
            if ((sent & 1) != 0) payload += '\0' + text("w") + text("gone");
            if ((sent & 2) != 0) payload += text("user");
            if ((sent & 4) != 0) payload += text("word");
            World world;
            const std::string words = answer_to(world, connect_by_hand(flags, payload));
            // Only their number tells user name from password.
            const bool legal = (said & 1) == (sent & 1) &&
                               (said >> 1 & 1) + (said >> 2) == (sent >> 1 & 1) + (sent >> 2);
            CHECK(words == (legal ? "CONNACK(0)" : "CONNACK(x81){why=malformed packet}"));
            CHECK(world.stats().clients_connected == (legal ? 1 : 0));
            CHECK(world.end() == 0);
        }
    }
}

// All 256 bytes of flags, each with the fields that it announces.
TEST_CASE("5.0: every byte of connect flags is judged",
          "[conformance][MQTT5-3.1.2-3][MQTT5-3.1.2-11][MQTT5-3.1.2-12][MQTT5-3.1.2-13]") {
    for (int flags = 0; flags < 256; ++flags) {
        CAPTURE(flags);
        const bool will = (flags & 4) != 0;
        std::string payload = text("c");
        if (will) payload += '\0' + text("w") + text("gone");
        if ((flags & 0x80) != 0) payload += text("user");
        if ((flags & 0x40) != 0) payload += text("word");
        const bool legal =
            (flags & 1) == 0 && (flags & 0x18) != 0x18 && (will || (flags & 0x38) == 0);
        World world;
        CHECK(answer_to(world, connect_by_hand(flags, payload)) ==
              (legal ? "CONNACK(0)" : "CONNACK(x81){why=malformed packet}"));
        CHECK(world.stats().clients_connected == (legal ? 1 : 0));
        CHECK(world.end() == 0);
    }
}

TEST_CASE("5.0: the fields of CONNECT are taken in their order",
          "[conformance][MQTT5-3.1.3-1][MQTT5-3.1.3-3][MQTT5-3.1.2-7]") {
    const std::string whole =
        connect_by_hand(0xee,
                        text("identifier") + '\4' + '\x08' + text("r") + text("will/topic") +
                            text("gone") + text("user") + text("word"));
    for (const bool by_name : {false, true}) {
        BrokerOptions options = World::test_options();
        options.listener.use_username_as_clientid = by_name;
        World world(options);
        auto& peer = world.connection();
        peer.speak_v5();
        peer.send(whole);
        CHECK(peer.received() == "CONNACK(0)");
        auto& watcher = world.client5({.client_id = "watcher", .user_name = "watcher"});
        watcher.send(sub("#", 2));
        CHECK(watcher.received() == "SUBACK(1,2)");
        for (const char* id : {"r", "will/topic", "gone", "word"})
            world.client5({.client_id = id, .user_name = id}).send(disconnect());
        CHECK(peer.open());
        CHECK(watcher.received().empty());
        const char* const own = by_name ? "user" : "identifier";
        world.client5({.client_id = own, .user_name = own});
        CHECK(peer.received() == "DISCONNECT(x8e){why=session taken over}");
        CHECK(watcher.received() == "PUBLISH(will/topic,gone,q1,id1){response=r}");
        CHECK(world.end() == 0);
    }
}

TEST_CASE("5.0: identifiers of up to 23 letters and digits are accepted",
          "[conformance][MQTT5-3.1.3-5][MQTT5-3.1.4-5]") {
    const std::string all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (const uint32_t most : {23u, 1'024u}) {
        BrokerOptions options = World::test_options();
        options.max_clientid_len = most;
        World world(options);
        for (size_t size = 1; size <= 23; ++size) {
            for (size_t at = 0; at < all.size(); ++at) {
                const std::string id = (all + all).substr(at, size);
                if (answer(world, {.client_id = id}) != "CONNACK(0)") FAIL(id);
            }
        }
        CHECK(world.stats().sessions == world.stats().clients_connected);
        CHECK(world.end() == 0);
    }
}

// Thousands of nameless clients, some of which ask for a session that lasts: no name comes twice.
TEST_CASE("5.0: assigned identifiers are all different",
          "[conformance][MQTT5-3.1.3-6][MQTT5-3.1.3-7][MQTT5-3.2.2-16]") {
    World world;
    std::set<std::string> names;
    for (uint32_t i = 0; i < 2'000; ++i) {
        const std::string words =
            answer(world,
                   {.client_id = "",
                    .clean = i % 2 == 0,
                    .properties = property(P::kSessionExpiryInterval, i % 3 * 100)});
        REQUIRE(words.starts_with("CONNACK(0){id="));
        REQUIRE(names.insert(words).second);
    }
    CHECK(world.stats().sessions == 2'000);
    CHECK(world.stats().clients_connected == 2'000);
    const std::string name = names.begin()->substr(14, names.begin()->size() - 15);
    CHECK(answer(world, {.client_id = name}) == "CONNACK(0)");
    CHECK(world.stats().sessions_taken_over == 1);
    CHECK(world.end() == 0);
}

TEST_CASE("5.0: each identifier has a session of its own", "[conformance][MQTT5-3.1.3-2]") {
    World world;
    const auto durable = [](const char* id, bool clean = false) {
        return Connect{.client_id = id,
                       .clean = clean,
                       .properties = property(P::kSessionExpiryInterval, 1'000)};
    };
    const char* const ids[] = {"c", "C", "cc", "c ", "\xc3\xa9", "e\xcc\x81"};
    for (const char* id : ids) {
        auto& peer = world.client5(durable(id));
        peer.send(sub("t", 1));
        peer.hang_up();
    }
    CHECK(world.stats().sessions == 6);
    CHECK(world.stats().sessions_taken_over == 0);
    world.client5(durable("c", true)).hang_up();  // throws away its own and no other
    world.client5({.client_id = "w"}).send(pub("t", "x", 1, 1));
    for (const char* id : ids) {
        const bool lost = std::string(id) == "c";
        CHECK(world.client5(durable(id)).received() == (lost ? "" : "PUBLISH(t,x,q1,id1)"));
    }
    CHECK(world.end() == 0);
}

// The first packet to a client is its CONNACK, there is one, and its flags are 0 or 1: new, taken
// up with messages that wait, refused, asked for twice, spoken behind before it came.
TEST_CASE("5.0: one CONNACK comes before everything else",
          "[conformance][MQTT5-3.2.0-1][MQTT5-3.2.0-2][MQTT5-3.2.2-1][MQTT5-3.2.2-2]"
          "[MQTT5-3.2.2-3][MQTT5-3.2.2-6][MQTT5-3.1.4-4]") {
    World world;
    const auto durable = [](bool clean) {
        return connect({.client_id = "c",
                        .clean = clean,
                        .properties = property(P::kSessionExpiryInterval, 1'000)});
    };
    auto& writer = world.client5({.client_id = "w"});

    struct Row {
        std::string bytes;
        int flags;
        int code;
    };

    // clang-format off
    const Row rows[] = {
        {durable(false) + sub("t", 1) + pingreq(), 0, 0},
        {durable(false) + pingreq(), 1, 0},
        {durable(false) + durable(false), 1, 0},
        {connect({.client_id = "c", .clean = false, .properties = property(P::kAuthenticationMethod, "x")}), 0, 0x8c},
        {connect({.client_id = "c", .clean = false, .properties = property(P::kAuthenticationData, "x")}), 0, 0x82},
        {durable(true) + sub("t", 1), 0, 0},
        {durable(false), 1, 0},
    };
    // clang-format on
    for (const Row& row : rows) {
        CAPTURE(&row - rows);
        auto& peer = world.connection();
        peer.speak_v5();
        peer.send(row.bytes);
        writer.send(pub("t", "x", 1, 1));
        const std::string output = peer.take_output();
        CHECK(output[0] == 0x20);
        CHECK(output[2] == row.flags);
        CHECK(static_cast<uint8_t>(output[3]) == row.code);
        const std::string words = describe(output);
        CHECK(words.find("CONNACK", 1) == std::string::npos);
        CHECK(peer.open() == (row.code == 0 && &row != &rows[2]));
        peer.hang_up();
        writer.send(pub("t", "waits", 1, 1));
    }
    CHECK(world.end() == 0);
}

// No method is known: who names one is refused and cut off, who names none never sees AUTH.
TEST_CASE("5.0: an authentication method that nobody knows ends the connection",
          "[conformance][MQTT5-4.12.0-1][MQTT5-4.12.0-4][MQTT5-4.12.0-6][MQTT5-3.2.2-7]"
          "[MQTT5-4.13.2-1]") {
    World world;
    for (const std::string& data : {std::string(), property(P::kAuthenticationData, "x")}) {
        for (const char* method : {"x", "SCRAM-SHA-256", ""}) {
            auto& peer = world.connection();
            peer.speak_v5();
            peer.send(connect({.properties = property(P::kAuthenticationMethod, method) + data}) +
                      raw(0xf0, "") + pub("t", "x", 1, 1));
            CHECK(peer.received() == "CONNACK(x8c){why=bad authentication method}");
            CHECK_FALSE(peer.open());
        }
    }
    CHECK(world.stats().publish_received == 0);
    auto& plain = world.client5({.client_id = "c", .user_name = "u"});
    plain.send(sub("#", 2) + pub("t", "x", 2, 1) + ack(PacketType::kPubrel, 1) + pingreq());
    CHECK(plain.received().find("TYPE15") == std::string::npos);
    CHECK(world.stats().packets_sent[15] == 0);
    CHECK(world.end() == 0);
}

// A broker without QoS 2, or 1, takes subscriptions of every QoS and gives what it has.
TEST_CASE("5.0: a lower Maximum QoS refuses no subscription",
          "[conformance][MQTT5-3.2.2-9][MQTT5-3.2.2-10][MQTT5-3.2.2-11][MQTT5-3.2.2-12]") {
    for (int most = 0; most <= 2; ++most) {
        for (int asked = 0; asked <= 2; ++asked) {
            CAPTURE(most, asked);
            BrokerOptions options = World::test_options();
            options.listener.max_qos = static_cast<uint8_t>(most);
            World world(options);
            CHECK(answer(world, {.client_id = "c"}) ==
                  "CONNACK(0)" + (most < 2 ? "{max-qos=" + std::to_string(most) + "}" : ""));
            auto& reader = world.client5({.client_id = "r"});
            const int granted = std::min(most, asked);
            reader.send(sub("t", asked));
            CHECK(reader.received() == "SUBACK(1," + std::to_string(granted) + ")");
            auto& writer = world.client5({.client_id = "w"});
            writer.send(asked == 0 ? pub("t", "x") : pub("t", "x", asked, 1));
            if (asked == 2) writer.send(ack(PacketType::kPubrel, 1));
            CHECK(writer.open() == (asked <= most));
            const std::string words = reader.received();
            CHECK(words.starts_with("PUBLISH(t,x,q" + std::to_string(asked)) == (asked <= most));
            const std::string will =
                answer(world, {.client_id = "m", .will_topic = "will", .will_qos = asked});
            CHECK(will.starts_with(asked <= most ? "CONNACK(0)" : "CONNACK(x9b)"));
            CHECK(world.end() == 0);
        }
    }
}
