// CONNECT: who may come in, and what everyone else is told.   MQTT 3.1.1 §3.1, §3.2.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

std::string byte(int value) {
    return {static_cast<char>(value)};
}

// A CONNECT put together by hand: protocol name, level, flags, then the payload.
std::string connect_by_hand(const std::string& name,
                            int level,
                            int flags,
                            const std::string& payload) {
    return raw(0x10, text(name) + byte(level) + byte(flags) + number(0) + payload);
}

struct Answer {
    std::string words;
    std::string bytes;
    bool open = false;
};

// What a fresh connection gets for `bytes` in a world of its own, whose books must balance.
Answer ask(const std::string& bytes, const BrokerOptions& options = World::test_options()) {
    World world(options);
    auto& connection = world.connection();
    connection.send(bytes);
    Answer answer;
    answer.open = connection.open();
    answer.bytes = connection.take_output();
    answer.words = describe(answer.bytes);
    REQUIRE(world.end() == 0);
    return answer;
}

void require_silent_close(const std::string& bytes) {
    const Answer answer = ask(bytes);
    REQUIRE(answer.words.empty());
    REQUIRE_FALSE(answer.open);
}

void require_refused(const std::string& bytes,
                     int code,
                     const BrokerOptions& options = World::test_options()) {
    const Answer answer = ask(bytes, options);
    REQUIRE(answer.words == "CONNACK(" + std::to_string(code) + ")");
    REQUIRE_FALSE(answer.open);
}

void require_accepted(const std::string& bytes,
                      const BrokerOptions& options = World::test_options()) {
    const Answer answer = ask(bytes, options);
    REQUIRE(answer.words == "CONNACK(0)");
    REQUIRE(answer.open);
}

}  // namespace

// Nothing may be said before CONNECT: each other first byte ends the connection, and nobody waits
// for the rest of such a packet.
TEST_CASE("whatever comes before CONNECT closes without an answer", "[wire][MQTT-3.1.0-1]") {
    for (int first = 0; first < 256; ++first) {
        if (first >> 4 == 1) continue;
        INFO("first byte " << first);
        require_silent_close(byte(first) + byte(0));
        require_silent_close(byte(first) + byte(100) + byte(0));
    }
    require_silent_close(publish({.topic = "t", .payload = "x"}));
    require_silent_close(subscribe(1,
                                   {
                                       {"t", 0}
    }));
    require_silent_close(pingreq() + connect("late"));
}

// The low bits of CONNECT's first byte are reserved.
TEST_CASE("a CONNECT with header flags closes without an answer", "[wire][MQTT-2.2.2-2]") {
    for (int flags = 1; flags < 16; ++flags) {
        std::string packet = connect("c");
        packet[0] = static_cast<char>(0x10 | flags);
        require_silent_close(packet);
    }
}

// A client is connected once; the second CONNECT is a violation, also when it is only half there.
TEST_CASE("a second CONNECT closes the link and sends its will", "[wire][MQTT-3.1.0-2]") {
    for (const bool whole : {true, false}) {
        World world;
        auto& watcher = world.client("watcher");
        watcher.send(subscribe(1,
                               {
                                   {"will", 0}
        }));
        Connect fields;
        fields.client_id = "c";
        fields.will_topic = "will";
        fields.will_payload = "x";
        auto& client = world.client(fields);
        client.send(whole ? connect("c") : connect("c").substr(0, 2));
        REQUIRE(client.received().empty());
        REQUIRE_FALSE(client.open());
        REQUIRE(client.close_reason() == Error::kProtocolError);
        REQUIRE(watcher.received() == "SUBACK(1,0) PUBLISH(will,x,q0)");
        REQUIRE(world.stats().clients_connected == 1);
        REQUIRE(world.end() == 0);
    }
}

// Every pair of name and level: the spoken ones are let in, all others get code 1 and the end;
// level 5 is answered in the words of 5.0 once it is understood as such.
TEST_CASE("each pair of protocol name and level has its answer",
          "[wire][MQTT-3.1.2-1][MQTT-3.1.2-2][MQTT-3.1.4-4]") {
    for (const std::string name : {"MQTT", "MQIsdp", "MQTt", "mqtt", "MQTTT", "MQT", "", "HTTP"}) {
        for (int level = 0; level < 256; ++level) {
            INFO(name << " level " << level);
            if (name == "MQTT" && level == 5) continue;
            const std::string packet = connect_by_hand(name, level, 2, text("c"));
            const bool spoken =
                name == "MQTT" ? (level & 127) == 4 : name == "MQIsdp" && (level & 127) == 3;
            if (spoken) {
                require_accepted(packet);
            } else if (name == "MQTT" && level > 5 && level < 128) {
                // From a later version: in the form that is likelier to be understood.
                const Answer answer = ask(packet);
                REQUIRE(answer.bytes.substr(2, 2) == byte(0) + byte(0x84));
                REQUIRE_FALSE(answer.open);
            } else {
                require_refused(packet, 1);
            }
        }
    }
}

// The connect flags: the reserved bit, QoS 3, will bits without a will, a password without a user.
TEST_CASE("every byte of connect flags is judged as the standard says",
          "[wire][MQTT-3.1.2-3][MQTT-3.1.2-13][MQTT-3.1.2-14][MQTT-3.1.2-15][MQTT-3.1.2-22]"
          "[MQTT-3.1.2-11][MQTT-3.2.2-6]") {
    for (int flags = 0; flags < 256; ++flags) {
        INFO("flags " << flags);
        const bool will = (flags & 4) != 0;
        const bool user = (flags & 128) != 0;
        const bool password = (flags & 64) != 0;
        const int qos = flags >> 3 & 3;
        std::string payload = text("c");
        if (will) payload += text("w") + text("gone");
        if (user) payload += text("u");
        if (password) payload += text("p");
        const std::string packet = connect_by_hand("MQTT", 4, flags, payload);
        const bool legal =
            (flags & 1) == 0 && qos != 3 && (will || (flags & 0x38) == 0) && (user || !password);
        if (legal) {
            require_accepted(packet);
        } else {
            require_silent_close(packet);
        }
    }
}

// A CONNECT that ends too early, at every byte, or has bytes behind its end is malformed.
TEST_CASE("a CONNECT of the wrong length closes without an answer",
          "[wire][MQTT-3.1.4-1][MQTT-3.1.2-9][MQTT-3.1.2-19][MQTT-3.1.2-21][MQTT-3.1.3-3]") {
    const std::string body = text("MQTT") + byte(4) + byte(0xc6) + number(60) + text("id") +
                             text("will") + text("gone") + text("user") + text("word");
    require_accepted(raw(0x10, body));
    for (size_t size = 0; size < body.size(); ++size) {
        INFO("cut to " << size);
        require_silent_close(raw(0x10, body.substr(0, size)));
    }
    require_silent_close(raw(0x10, body + "x"));
}

// Every text of CONNECT is checked: bad UTF-8 or NUL ends the connection.
TEST_CASE("bad text in CONNECT closes without an answer",
          "[wire][MQTT-1.5.3-1][MQTT-1.5.3-2][MQTT-3.1.3-4][MQTT-3.1.3-10][MQTT-3.1.3-11]") {
    const std::string bad[] = {std::string(1, '\0'),
                               "\xff",
                               "\xc0\xaf",
                               "\xed\xa0\x80",
                               "\xe2\x82",
                               "\xf4\x90\x80\x80",
                               std::string("a\0b", 3)};
    for (const std::string& wrong : bad) {
        require_silent_close(connect_by_hand("MQTT", 4, 2, text(wrong)));
        require_silent_close(connect_by_hand("MQTT", 4, 6, text("c") + text(wrong) + text("")));
        require_silent_close(connect_by_hand("MQTT", 4, 0x82, text("c") + text(wrong)));
        require_accepted(connect_by_hand("MQTT", 4, 6, text("c") + text("w") + text(wrong)));
        require_accepted(connect_by_hand("MQTT", 4, 0xc2, text("c") + text("u") + text(wrong)));
    }
    for (const std::string topic : {"", "a/+", "#", "a/#"}) {
        require_silent_close(connect_by_hand("MQTT", 4, 6, text("c") + text(topic) + text("")));
    }
}

// An empty identifier: 3.1.1 with a clean session is given one, everybody else gets code 2.
TEST_CASE("an empty client identifier is assigned only where it may be",
          "[wire][MQTT-3.1.3-6][MQTT-3.1.3-7][MQTT-3.1.3-8]") {
    require_accepted(connect({.client_id = "", .clean = true}));
    require_refused(connect({.client_id = "", .clean = false}), 2);
    require_refused(connect({.client_id = "", .clean = true, .level = 3}), 2);
    require_refused(connect({.client_id = "", .clean = false, .level = 3}), 2);
    BrokerOptions options = World::test_options();
    options.listener.allow_zero_length_clientid = false;
    require_refused(connect({.client_id = "", .clean = true}), 2, options);
    World world;
    auto& first = world.client("");
    auto& second = world.client("");
    REQUIRE(first.open());  // each has a name of its own: no takeover
    REQUIRE(second.open());
    REQUIRE(world.stats().sessions == 2);
    REQUIRE(world.end() == 0);
}

// max_clientid_len at the limit; longer gets code 2.
TEST_CASE("a client identifier may be max_clientid_len bytes long and no longer",
          "[wire][MQTT-3.1.3-5][MQTT-3.1.3-9]") {
    for (const uint32_t limit : {23u, 1024u, 65'534u}) {
        BrokerOptions options = World::test_options();
        options.max_clientid_len = limit;
        require_accepted(connect(std::string(limit - 1, 'i')), options);
        require_accepted(connect(std::string(limit, 'i')), options);
        require_refused(connect(std::string(limit + 1, 'i')), 2, options);
    }
}

// Without allow_anonymous nobody comes in as long as nobody can be verified.
TEST_CASE("a client that may not come in is told why", "[wire][MQTT-3.2.2-5]") {
    BrokerOptions options = World::test_options();
    options.listener.allow_anonymous = false;
    require_refused(connect("c"), 5, options);
    require_refused(connect({.client_id = "c", .user_name = "u"}), 4, options);
    require_accepted(connect({.client_id = "c", .user_name = "u"}));
}

// max_keepalive: 3.x has no word for it, so the identifier is rejected as mosquitto does; 0 means
// "never" and is above every limit.
TEST_CASE("a keep-alive above max_keepalive is refused", "[wire]") {
    BrokerOptions options = World::test_options();
    options.max_keepalive_s = 60;
    require_accepted(connect({.keep_alive_s = 59}), options);
    require_accepted(connect({.keep_alive_s = 60}), options);
    require_refused(connect({.keep_alive_s = 61}), 2, options);
    require_refused(connect({.keep_alive_s = 0}), 2, options);
}

// A connection above a cap is told so in its own version's words.
TEST_CASE("a connection above a cap gets server busy", "[wire]") {
    World world;
    auto& old = world.connection(true);
    old.send(connect("c"));
    REQUIRE(old.received() == "CONNACK(3)");
    REQUIRE_FALSE(old.open());
    auto& five = world.connection(true);
    five.send(raw(0x10, text("MQTT") + byte(5) + byte(2) + number(0) + byte(0) + text("c")));
    REQUIRE(five.take_output() ==
            raw(0x20, byte(0) + byte(0x89) + byte(14) + byte(0x1f) + text("server busy")));
    auto& wrong = world.connection(true);
    wrong.send(pingreq());
    REQUIRE(wrong.received().empty());
    REQUIRE_FALSE(wrong.open());
    REQUIRE(world.stats().sessions == 0);
    REQUIRE(world.end() == 0);
}
