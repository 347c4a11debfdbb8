// PUBLISH: what is passed on and at which QoS, and what ends the connection.   MQTT 3.1.1 §3.3.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

// Sends `bytes` as a client; true if that closed it, and only it, without an answer.
bool closes(const std::string& bytes,
            const BrokerOptions& options = World::test_options(),
            int level = 4) {
    World world(options);
    auto& bystander = world.client("bystander");
    bystander.send(subscribe(1,
                             {
                                 {"#", 2}
    }));
    bystander.take_output();
    auto& client = world.client(Connect{.client_id = "c", .level = level});
    client.send(bytes);
    const bool closed = !client.open();
    if (closed) REQUIRE(client.received().empty());
    if (closed) REQUIRE(bystander.received().empty());
    bystander.send(pingreq());
    REQUIRE(bystander.received().ends_with("PINGRESP"));
    REQUIRE(world.end() == 0);
    return closed;
}

std::string to_topic(const std::string& topic, int qos = 0) {
    return publish({.topic = topic, .payload = "x", .qos = qos, .packet_id = 1});
}

}  // namespace

// Each QoS of the publisher against each QoS of the subscription, in both protocol versions on both
// sides: the receiver gets the lower one, the publisher the answer to its own.
TEST_CASE("a message is delivered at the lower QoS of publisher and subscription",
          "[wire][MQTT-3.8.4-6][MQTT-3.3.4-1]") {
    for (int level : {3, 4}) {
        for (int from = 0; from <= 2; ++from) {
            for (int to = 0; to <= 2; ++to) {
                INFO("level " << level << " from " << from << " to " << to);
                World world;
                auto& subscriber = world.client({.client_id = "sub", .level = 7 - level});
                subscriber.send(subscribe(1,
                                          {
                                              {"t", to}
                }));
                REQUIRE(subscriber.received() == "SUBACK(1," + std::to_string(to) + ")");
                auto& publisher = world.client({.client_id = "pub", .level = level});
                publisher.send(
                    publish({.topic = "t", .payload = "x", .qos = from, .packet_id = 500}));
                const char* const answers[] = {"", "PUBACK(500)", "PUBREC(500)"};
                REQUIRE(publisher.received() == answers[from]);
                if (from == 2) {
                    REQUIRE(subscriber.received().empty());  // passed on at PUBREL
                    publisher.send(pubrel(500));
                    REQUIRE(publisher.received() == "PUBCOMP(500)");
                }
                const int qos = std::min(from, to);
                REQUIRE(subscriber.received() ==
                        "PUBLISH(t,x,q" + std::to_string(qos) + (qos > 0 ? ",id1)" : ")"));
                if (qos == 1) subscriber.send(puback(1));
                if (qos == 2) subscriber.send(pubrec(1) + pubcomp(1));
                REQUIRE(world.stats().inflight_out == 0);
                REQUIRE(world.stats().messages_stored == 0);
                REQUIRE(world.end() == 0);
            }
        }
    }
}

// All sixteen flag nibbles: QoS 3 does not exist, DUP needs a QoS.
TEST_CASE("PUBLISH flags that do not exist close the link", "[wire][MQTT-3.3.1-2][MQTT-3.3.1-4]") {
    for (uint8_t flags = 0; flags < 16; ++flags) {
        INFO("flags " << int{flags});
        const int qos = flags >> 1 & 3;
        const std::string packet =
            raw(static_cast<uint8_t>(0x30 | flags), text("t") + (qos > 0 ? number(1) : "") + "x");
        const bool legal = qos != 3 && !(qos == 0 && (flags & 8) != 0);
        REQUIRE(closes(packet) == !legal);
    }
}

// Identifier 0 is nobody's; 1 and 65535 are.
TEST_CASE("packet identifier 0 closes the link", "[wire][MQTT-2.3.1-1]") {
    for (const int qos : {1, 2}) {
        REQUIRE(closes(publish({.topic = "t", .qos = qos, .packet_id = 0})));
        REQUIRE_FALSE(closes(publish({.topic = "t", .qos = qos, .packet_id = 1})));
        REQUIRE_FALSE(closes(publish({.topic = "t", .qos = qos, .packet_id = 65'535})));
    }
    for (const auto& ack : {puback(0), pubrec(0), pubrel(0), pubcomp(0)})
        REQUIRE(closes(ack));
    REQUIRE(closes(subscribe(0,
                             {
                                 {"t", 0}
    })));
    REQUIRE(closes(unsubscribe(0, {"t"})));
}

// A PUBLISH too short for its own topic or identifier, at every length.
TEST_CASE("a PUBLISH shorter than its fields closes the link", "[wire][MQTT-3.3.2-1]") {
    for (int qos = 0; qos <= 2; ++qos) {
        const std::string body = text("topic") + (qos > 0 ? number(1) : "");
        const auto first = static_cast<uint8_t>(0x30 | qos << 1);
        for (size_t size = 0; size <= body.size(); ++size) {
            INFO("QoS " << qos << " cut to " << size);
            REQUIRE(closes(raw(first, body.substr(0, size))) == (size < body.size()));
        }
    }
}

// Topic names hold no wildcard, no NUL, no bad UTF-8, and at least one character. A slip in the
// word-wise check would show only at some place in a name: so each place is tried.
TEST_CASE("a topic name that is none closes the link",
          "[wire][MQTT-3.3.2-2][MQTT-4.7.1-1][MQTT-4.7.3-1][MQTT-4.7.3-2][MQTT-1.5.3-1]") {
    for (int qos = 0; qos <= 2; ++qos)
        REQUIRE(closes(to_topic("", qos)));
    const std::string bad[] = {"+",
                               "#",
                               std::string(1, '\0'),
                               "\xff",
                               "\xc0\x80",
                               "\x80",
                               "\xed\xbf\xbf",
                               "\xe2\x82",
                               "\xf0\x80\x80\x80"};
    for (const std::string& wrong : bad) {
        for (const size_t size : {0u, 1u, 6u, 7u, 8u, 9u, 15u, 16u, 17u}) {
            for (const size_t at : {size_t{0}, size / 2, size}) {
                std::string topic(size, 'a');
                topic.insert(at, wrong);
                REQUIRE(closes(to_topic(topic, static_cast<int>(size % 3))));
            }
        }
    }
    for (const std::string topic : {"a",
                                    "/",
                                    "//",
                                    " ",
                                    "a//b",
                                    "/a",
                                    "a/",
                                    "$",
                                    "$x/y",
                                    "\x7f",
                                    "\xef\xbb\xbf",
                                    "\xc3\xa9",
                                    "\xf4\x8f\xbf\xbf",
                                    "\x01"}) {
        INFO(topic);
        REQUIRE_FALSE(closes(to_topic(topic)));
    }
}

// Nothing is normalised: empty levels, byte order marks, case and spaces make different topics.
TEST_CASE("topics are compared byte by byte", "[wire][MQTT-4.7.3-4][MQTT-1.5.3-3]") {
    World world;
    auto& subscriber = world.client("sub");
    const std::string names[] = {"a",
                                 "A",
                                 "a ",
                                 "/a",
                                 "a/",
                                 "//a",
                                 "a//b",
                                 "a/b",
                                 "/",
                                 "\xef\xbb\xbf"
                                 "a",
                                 "e\xcc\x81",
                                 "\xc3\xa9"};
    for (const std::string& name : names) {
        subscriber.send(subscribe(1,
                                  {
                                      {name, 0}
        }));
        subscriber.take_output();
        auto& publisher = world.client("pub");
        for (const std::string& other : names)
            publisher.send(to_topic(other));
        REQUIRE(subscriber.received() == "PUBLISH(" + name + ",x,q0)");
        subscriber.send(unsubscribe(2, {name}));
        subscriber.take_output();
    }
    REQUIRE(world.end() == 0);
}

// max_topic_len and max_topic_levels at, below and above the limit; levels may all be empty.
TEST_CASE("topic limits hold to the byte and to the level", "[wire][MQTT-4.7.3-3]") {
    BrokerOptions options = World::test_options();
    options.max_topic_len = 20;
    options.max_topic_levels = 4;
    for (int qos = 0; qos <= 2; ++qos) {
        REQUIRE_FALSE(closes(to_topic(std::string(19, 'a'), qos), options));
        REQUIRE_FALSE(closes(to_topic(std::string(20, 'a'), qos), options));
        REQUIRE(closes(to_topic(std::string(21, 'a'), qos), options));
        REQUIRE_FALSE(closes(to_topic("a/b/c/d", qos), options));
        REQUIRE(closes(to_topic("a/b/c/d/e", qos), options));
        REQUIRE_FALSE(closes(to_topic("///", qos), options));
        REQUIRE(closes(to_topic("////", qos), options));
        REQUIRE(closes(to_topic("/////", qos), options));
    }
    REQUIRE_FALSE(closes(to_topic(std::string(65'535, 'a'))));
    REQUIRE_FALSE(closes(to_topic(std::string(199, '/'))));
    REQUIRE(closes(to_topic(std::string(200, '/'))));
}

// max_packet_size counts the whole packet; above it the link ends before the body is there.
TEST_CASE("a packet may be max_packet_size bytes long and no longer", "[wire]") {
    BrokerOptions options = World::test_options();
    options.max_packet_size = 300;
    const auto sized = [](size_t size) {
        return publish({.topic = "t", .payload = std::string(size - 6, 'x')});
    };
    REQUIRE(sized(300).size() == 300);
    REQUIRE_FALSE(closes(sized(299), options));
    REQUIRE_FALSE(closes(sized(300), options));
    REQUIRE(closes(sized(301), options));
    REQUIRE(closes(sized(301).substr(0, 3), options));
    REQUIRE(closes("\x30\xff\xff\xff\x7f", options));
    REQUIRE(closes("\x30\xff\xff\xff\xff", options));  // a fifth length byte would follow
    REQUIRE(closes("\x30\x80\x80\x80\x80\x01", options));
}

// A run of packets that goes through as one range, and its every disturbance: another topic, other