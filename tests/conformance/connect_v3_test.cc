// MQTT 3.1.1, CONNECT and CONNACK.   §3.1, §3.2

#include "support/packets.h"
#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <string>

using namespace mqttd;
using namespace mqttd::packets;
using packets5::sub3;

namespace {

std::string connect_by_hand(int flags, const std::string& payload) {
    return raw(0x10, text("MQTT") + '\4' + static_cast<char>(flags) + number(0) + payload);
}

}  // namespace

// Every set of fields behind every set of flags that is legal in itself: let in if and only if they
// are the same set.
TEST_CASE("3.1.1: the payload of CONNECT has the fields that its flags announce",
          "[conformance][MQTT-3.1.2-9][MQTT-3.1.2-11][MQTT-3.1.2-18][MQTT-3.1.2-19]"
          "[MQTT-3.1.2-20][MQTT-3.1.2-21][MQTT-3.1.2-22][MQTT-3.1.4-1]") {
    for (int said = 0; said < 8; ++said) {
        for (int sent = 0; sent < 8; ++sent) {
            CAPTURE(said, sent);
            const int flags = 2 | ((said & 1) != 0 ? 4 : 0) | ((said & 2) != 0 ? 0x80 : 0) |
                              ((said & 4) != 0 ? 0x40 : 0);
            std::string payload = text("c");
            if ((sent & 1) != 0) payload += text("w") + text("gone");
            if ((sent & 2) != 0) payload += text("user");
            if ((sent & 4) != 0) payload += text("word");
            World world;
            auto& peer = world.connection();
            peer.send(connect_by_hand(flags, payload));
            const bool alone = (said & 6) == 4;  // a password without a user name
            // One text is like another: only their number tells user name from password.
            const auto texts = [](int set) {
                return (set & 1) * 2 + (set >> 1 & 1) + (set >> 2 & 1);
            };
            const bool legal = !alone && texts(said) == texts(sent);
            CHECK(peer.open() == legal);
            CHECK(peer.received() == (legal ? "CONNACK(0)" : ""));
            CHECK(world.end() == 0);
        }
    }
}

// Where each field went can be seen: the identifier by a takeover, the will by its subscriber, the
// user name where it takes the place of the identifier.
TEST_CASE("3.1.1: the fields of CONNECT are taken in their order",
          "[conformance][MQTT-3.1.3-1][MQTT-3.1.3-3]") {
    const std::string whole = connect_by_hand(
        0xee, text("identifier") + text("will/topic") + text("gone") + text("user") + text("word"));
    for (const bool by_name : {false, true}) {
        BrokerOptions options = World::test_options();
        options.listener.use_username_as_clientid = by_name;
        World world(options);
        auto& peer = world.connection();
        peer.send(whole);
        CHECK(peer.received() == "CONNACK(0)");
        auto& watcher = world.client({.client_id = "watcher", .user_name = "watcher"});
        watcher.send(sub3("#", 2));
        CHECK(watcher.received() == "SUBACK(1,2)");
        const char* const strangers[] = {"user", "identifier", "will/topic", "gone", "word"};
        for (const char* id : strangers) {
            if (id == strangers[by_name ? 0 : 1]) continue;
            world.client({.client_id = id, .user_name = id}).send(disconnect());
        }
        CHECK(peer.open());
        CHECK(watcher.received().empty());
        const char* const own = strangers[by_name ? 0 : 1];
        world.client({.client_id = own, .user_name = own});
        CHECK_FALSE(peer.open());
        CHECK(watcher.received() == "PUBLISH(will/topic,gone,q1,id1)");
        watcher.send(puback(1) + sub3("will/+", 1));
        CHECK(watcher.received() == "SUBACK(1,1) PUBLISH(will/topic,gone,q1,id2,retain)");
        CHECK(world.end() == 0);
    }
}

// Each length from 1 to 23, each letter and digit, also in a broker that takes no longer ones.
TEST_CASE("3.1.1: identifiers of up to 23 letters and digits are accepted",
          "[conformance][MQTT-3.1.3-5][MQTT-3.1.4-4]") {
    const std::string all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (const uint32_t most : {23u, 1'024u}) {
        BrokerOptions options = World::test_options();
        options.max_clientid_len = most;
        World world(options);
        for (size_t size = 1; size <= 23; ++size) {
            for (size_t at = 0; at < all.size(); ++at) {
                const std::string id = (all + all).substr(at, size);
                auto& peer = world.connection();
                peer.send(connect(id));
                if (peer.received() != "CONNACK(0)") FAIL(id);
                peer.send(disconnect());
            }
        }
        CHECK(world.end() == 0);
    }
}

// A refusal ends the connection and says nothing of the session that is there, which stays.
TEST_CASE("3.1.1: a refusal never says that a session is present",
          "[conformance][MQTT-3.2.2-4][MQTT-3.2.2-5][MQTT-3.1.4-5]") {
    BrokerOptions options = World::test_options();
    World world(options);
    world.client("durable", false).send(sub3("t", 1));
    options.listener.allow_anonymous = false;
    world.broker().reconfigure(options);
    for (const char* user : {"", "user"}) {
        auto& refused = world.connection();
        refused.send(connect({.client_id = "durable", .clean = false, .user_name = user}) +
                     unsubscribe(1, {"t"}) + pingreq());
        CHECK(refused.take_output() ==
              std::string("\x20\x02\x00", 3) + static_cast<char>(*user == '\0' ? 5 : 4));
        CHECK_FALSE(refused.open());
    }
    auto& old_level = world.connection();
    old_level.send(raw(0x10, text("MQTT") + '\3' + '\0' + number(0) + text("durable")));
    CHECK(old_level.take_output() == std::string("\x20\x02\x00\x01", 4));
    CHECK_FALSE(old_level.open());
    options.listener.allow_anonymous = true;
    world.broker().reconfigure(options);
    auto& back = world.connection();
    back.send(connect("durable", false));
    CHECK(back.received() == "CONNACK(0,present)");
    back.send(publish({.topic = "t", .payload = "x"}));
    CHECK(back.received() == "PUBLISH(t,x,q0)");  // nobody unsubscribed it
    CHECK(world.end() == 0);
}

// Two clients with the same subscriptions: what one acknowledges, leaves or throws away is its own.
TEST_CASE("3.1.1: each identifier has a session of its own", "[conformance][MQTT-3.1.3-2]") {
    World world;
    for (const char* id : {"a", "b"}) {
        auto& peer = world.client(id, false);
        peer.send(sub3("t", 1));
        peer.hang_up();
    }
    auto& writer = world.client("w");
    writer.send(publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}));
    auto& a = world.client("a", false);
    CHECK(a.received() == "PUBLISH(t,x,q1,id1)");
    a.send(puback(1) + unsubscribe(2, {"t"}));
    a.hang_up();
    world.client("a", true).hang_up();
    writer.send(publish({.topic = "t", .payload = "y", .qos = 1, .packet_id = 1}));
    auto& b = world.client("b", false);
    CHECK(b.received() == "PUBLISH(t,x,q1,id1) PUBLISH(t,y,q1,id2)");
    CHECK(world.end() == 0);
}
