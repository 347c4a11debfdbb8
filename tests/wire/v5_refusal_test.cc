// CONNECT of MQTT 5.0 that is refused, and in which words.   §3.1.4, §3.2.2.2, §4.12

#include "mqttd/limits.h"

#include "support/answer5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <functional>

using namespace mqttd;
using namespace mqttd::packets5;
using packets::raw;
using packets::text;

namespace {

using P = Property;

// A property whose value the builder would not write.
std::string bad(P id, std::initializer_list<int> value) {
    std::string bytes(1, static_cast<char>(id));
    for (const int byte : value)
        bytes += static_cast<char>(byte);
    return bytes;
}

// A CONNECT of level 5 put together by hand.
std::string raw_connect(std::string_view properties,
                        std::string_view behind,
                        int flags = 2,
                        int first = 0x10) {
    std::string body = text("MQTT") + '\5' + static_cast<char>(flags) + packets::number(0);
    body += static_cast<char>(properties.size());
    body.append(properties).append(behind);
    return raw(static_cast<uint8_t>(first), body);
}

}  // namespace

// Every reason to refuse, in the words of each version; the link ends and nothing behind it counts.
TEST_CASE("refusals have the code of their version and end the connection",
          "[wire][v5][MQTT5-3.2.2-7][MQTT5-3.2.2-8][MQTT5-3.1.4-2][MQTT5-3.1.4-6]"
          "[MQTT5-4.13.2-1][MQTT5-3.1.3-8][MQTT5-3.2.2-12][MQTT5-3.2.2-13]") {
    struct Case {
        std::function<void(BrokerOptions&)> set;
        Connect fields;
        const char* five;
        const char* three;  // of the same CONNECT
    };

    using O = BrokerOptions;
    const Connect plain{.client_id = "abc"};
    const Connect will2{.client_id = "abc", .will_topic = "w", .will_qos = 2};
    const Connect kept{.client_id = "abc", .will_topic = "w", .will_retain = true};
    const Connect sized{.client_id = "abc", .will_topic = "w", .will_payload = "1234"};
    const Connect deep{.client_id = "abc", .will_topic = "w/x"};
    const Connect named{.client_id = "abc", .user_name = "u"};
    // clang-format off
    const Case cases[] = {
        {[](O& o) { o.listener.versions = 1u << 3 | 1u << 4; },
         plain, "CONNACK(x84){why=unsupported version}", "CONNACK(0)"},
        {[](O& o) { o.listener.versions = 1u << 5; }, plain, "CONNACK(0)", "CONNACK(1)"},
        {[](O& o) { o.max_clientid_len = 3; }, plain, "CONNACK(0)", "CONNACK(0)"},
        {[](O& o) { o.max_clientid_len = 2; },
         plain, "CONNACK(x85){why=client id invalid}", "CONNACK(2)"},
        {[](O& o) { o.clientid_prefixes = "abc"; }, plain, "CONNACK(0)", "CONNACK(0)"},
        {[](O& o) { o.clientid_prefixes = "abcd"; },
         plain, "CONNACK(x87){why=not authorized}", "CONNACK(5)"},
        {[](O& o) { o.clientid_prefixes = "b"; },
         plain, "CONNACK(x87){why=not authorized}", "CONNACK(5)"},
        {[](O& o) { o.listener.allow_anonymous = false; },
         plain, "CONNACK(x87){why=not authorized}", "CONNACK(5)"},
        {[](O& o) { o.listener.allow_anonymous = false; },
         named, "CONNACK(x86){why=bad credentials}", "CONNACK(4)"},
        {[](O& o) { o.global_max_clients = 1; }, plain, "CONNACK(0)", "CONNACK(0)"},
        {[](O& o) { o.global_max_clients = 0; },
         plain, "CONNACK(x89){why=server busy}", "CONNACK(3)"},
        {[](O& o) { o.listener.max_qos = 2; }, will2, "CONNACK(0)", "CONNACK(0)"},
        {[](O& o) { o.listener.max_qos = 1; },
         will2, "CONNACK(x9b){why=QoS not supported}", "CONNACK(5)"},
        {[](O& o) { o.retain_available = false; },
         kept, "CONNACK(x9a){why=retain not supported}", "CONNACK(5)"},
        {[](O& o) { o.message_size_limit = 4; }, sized, "CONNACK(0)", "CONNACK(0)"},
        {[](O& o) { o.message_size_limit = 3; },
         sized, "CONNACK(x95){why=packet too large}", "CONNACK(5)"},
        {[](O& o) { o.max_topic_levels = 1; },
         deep, "CONNACK(x90){why=topic name invalid}", "CONNACK(5)"},
        {[](O& o) { o.listener.mount_point = "m/"; o.max_topic_len = 4; },
         deep, "CONNACK(x90){why=topic name invalid}", "CONNACK(5)"},
    };
    // clang-format on
    for (const Case& each : cases) {
        BrokerOptions options = World::test_options();
        each.set(options);
        const std::string five(each.five);
        const std::string three(each.three);
        CAPTURE(five, three);
        World world(options);
        auto& client = world.connection();
        client.speak_v5();
        client.send(connect(each.fields) +
                    publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}));
        const std::string words = client.received();
        REQUIRE(words.substr(0, words.find(" PUBACK")).starts_with(five));
        const bool in = five.starts_with("CONNACK(0)");
        REQUIRE(client.open() == in);
        REQUIRE(world.stats().publish_received == (in ? 1 : 0));
        REQUIRE(world.stats().connects_refused == (in ? 0 : 1));
        client.hang_up();
        packets::Connect old;
        old.client_id = each.fields.client_id;
        old.will_topic = each.fields.will_topic;
        old.will_payload = each.fields.will_payload;
        old.will_qos = each.fields.will_qos;
        old.will_retain = each.fields.will_retain;
        old.user_name = each.fields.user_name;
        REQUIRE(answer_old(world, old) == three);
        REQUIRE(world.end() == 0);
    }
}

// With a mount point in front a will's topic can become longer than a topic can be.
TEST_CASE("a will whose mounted topic is too long is refused", "[wire][v5]") {
    BrokerOptions options = World::test_options();
    options.listener.mount_point = "mount/";
    World world(options);
    const auto with_topic = [&](size_t size) {
        return answer(world,
                      {.client_id = "c",
                       .will_topic = std::string(size, 't'),
                       .will_properties = user("k", std::string(200, 'v'))});
    };
    REQUIRE(with_topic(65'529) == "CONNACK(0)");
    REQUIRE(with_topic(65'530) == "CONNACK(x90){why=topic name invalid}");
    REQUIRE(with_topic(65'535) == "CONNACK(x90){why=topic name invalid}");
    packets::Connect old;
    old.will_topic = std::string(65'530, 't');
    REQUIRE(answer_old(world, old) == "CONNACK(5)");
    REQUIRE(world.end() == 0);
}

// A refusal leaves the session of that name and whoever is connected to it alone.
TEST_CASE("a refused CONNECT disturbs nobody", "[wire][v5][MQTT5-3.2.2-6]") {
    World world;
    auto& there = world.client5(
        {.client_id = "c", .clean = false, .properties = property(P::kSessionExpiryInterval, 100)});
    REQUIRE(answer(world,
                   {.client_id = "c",
                    .clean = false,
                    .properties = property(P::kAuthenticationMethod, "x")}) ==
            "CONNACK(x8c){why=bad authentication method}");
    REQUIRE(answer(world, {.client_id = "c", .properties = property(P::kMaximumPacketSize, 15)}) ==
            "CONNACK(x95)");
    REQUIRE(there.open());
    there.hang_up();
    REQUIRE(world.stats().sessions == 1);
    REQUIRE(answer(world, {.client_id = "c", .clean = false}) == "CONNACK(0,present)");
    REQUIRE(world.end() == 0);
}

TEST_CASE("malformed CONNECTs of level 5 are told 0x81 or 0x82 and nothing else",
          "[wire][v5][MQTT5-3.1.4-1][MQTT5-3.1.2-3][MQTT5-3.1.2-11][MQTT5-3.1.2-12]"
          "[MQTT5-3.1.2-13][MQTT5-3.14.0-1][MQTT5-3.1.2-17][MQTT5-3.1.2-19][MQTT5-3.1.3-3]"
          "[MQTT5-3.1.3-4][MQTT5-3.1.3-11][MQTT5-2.1.3-1]") {
    const std::string id = text("c");
    const std::string malformed = "CONNACK(x81){why=malformed packet}";
    const std::string protocol = "CONNACK(x82){why=protocol error}";
    const std::string will = std::string(1, '\0') + text("w") + text("x");

    struct Case {
        std::string bytes;
        std::string told;
    };

    const auto twice = [&](P id_of, uint32_t value) {
        return property(id_of, value) + property(id_of, value);
    };
    // clang-format off
    const Case cases[] = {
        {raw_connect("", id, 3),                                              malformed},  // reserved flag
        {raw_connect("", id, 2 | 8),                                          malformed},  // will QoS, no will
        {raw_connect("", id, 2 | 32),                                         malformed},  // will retain, no will
        {raw_connect("", id + will, 2 | 4 | 24),                              malformed},  // will QoS 3
        {raw_connect("", id, 2, 0x11),                                        malformed},  // fixed header flags
        {raw_connect("", id + "x"),                                           malformed},  // bytes left over
        {raw_connect("", ""),                                                 malformed},  // no identifier
        {raw_connect("", id, 2 | 128),                                        malformed},  // no user name
        {raw_connect("", id, 2 | 64),                                         malformed},  // no password
        {raw_connect("", text("\xff")),                                       malformed},
        {raw_connect("", text(std::string_view("a\0b", 3))),                  malformed},
        {raw_connect("\x7f", id),                                             malformed},  // no such property
        {raw_connect(property(P::kTopicAlias, 1), id),                        malformed},  // not here
        {raw_connect(property(P::kWillDelayInterval, 1), id),                 malformed},
        {raw_connect(property(P::kReceiveMaximum, 1).substr(0, 2), id),       malformed},
        {raw_connect(bad(P::kReceiveMaximum, {0, 0}), id),                    protocol },
        {raw_connect(bad(P::kMaximumPacketSize, {0, 0, 0, 0}), id),                 protocol },
        {raw_connect(twice(P::kReceiveMaximum, 1), id),                       protocol },
        {raw_connect(twice(P::kSessionExpiryInterval, 1), id),                protocol },
        {raw_connect(bad(P::kRequestProblemInformation, {2}), id),         protocol },
        {raw_connect(bad(P::kRequestResponseInformation, {2}), id),        protocol },
        {raw_connect(property(P::kAuthenticationData, "x"), id),              protocol },  // no method
        {raw_connect("", id + '\x02' + bad(P::kPayloadFormatIndicator, {2}) + text("w") + text("x"), 6), protocol},
        {raw_connect("", id + std::string(1, '\0') + text("w/#") + text("x"), 6), "CONNACK(x90){why=topic name invalid}"},
        {raw_connect("", id + std::string(1, '\0') + text("") + text("x"), 6), "CONNACK(x90){why=topic name invalid}"},
        {raw_connect("", id + std::string(1, '\0') + text("\xff") + text("x"), 6), malformed},
    };
    // clang-format on
    World world;
    for (const Case& each : cases) {
        CAPTURE(packets::describe(each.bytes), static_cast<int>(&each - cases));
        auto& client = world.connection();
        client.speak_v5();
        client.send(each.bytes + publish({.topic = "t"}));
        CHECK(client.received() == each.told);
        CHECK_FALSE(client.open());
    }
    REQUIRE(world.stats().malformed == std::size(cases));
    REQUIRE(world.stats().publish_received == 0);
    REQUIRE(world.end() == 0);
}

// Levels that nobody speaks yet are answered in the form of the newest.
TEST_CASE("an unknown level is refused in the nearest form",
          "[wire][v5][MQTT5-3.1.2-1][MQTT5-3.1.2-2]") {
    World world;
    const auto level = [&](const char* name, int value) {
        return answer_to(world,
                         raw(0x10,
                             text(name) + static_cast<char>(value) + '\2' + packets::number(0) +
                                 '\0' + text("c")));
    };
    REQUIRE(level("MQTT", 5) == "CONNACK(0)");
    REQUIRE(level("MQTT", 6) == "CONNACK(x84){why=unsupported version}");
    REQUIRE(level("MQTT", 0x7f) == "CONNACK(x84){why=unsupported version}");
    for (const auto& [name, value] : {
             std::pair("MQTT", 0), {"MQTT",   3},
               {"mqtt",   5},
               {"MQTX",   5},
               {"MQIsdp", 5},
               {"",       5}
    }) {
        CAPTURE(name, value);
        auto& client = world.connection();
        client.send(raw(
            0x10,
            text(name) + static_cast<char>(value) + '\2' + packets::number(0) + '\0' + text("c")));
        REQUIRE(client.received() == "CONNACK(1)");
        REQUIRE_FALSE(client.open());
    }
    REQUIRE(world.end() == 0);
}

// No method is built in: 0x8C to who asks for one, and AUTH from anybody is an error.
TEST_CASE("authentication methods are refused and AUTH is an error",
          "[wire][v5][MQTT5-4.12.0-1][MQTT5-4.12.0-6][MQTT5-4.12.0-7][MQTT5-3.15.1-1]"
          "[MQTT5-3.15.2-1]") {
    World world;
    REQUIRE(answer(world,
                   {.client_id = "c",
                    .properties = property(P::kAuthenticationMethod, "SCRAM-SHA-1") +
                                  property(P::kAuthenticationData, "x")}) ==
            "CONNACK(x8c){why=bad authentication method}");
    const std::string method = property(P::kAuthenticationMethod, "x");
    const std::string body = static_cast<char>(method.size()) + method;

    struct Case {
        std::string bytes;
        const char* told;
    };

    for (const Case& each : {
             Case{raw(0xf0, ""),                  "DISCONNECT(x82){why=protocol error}"  },
             Case{raw(0xf0, '\x18' + body),       "DISCONNECT(x82){why=protocol error}"  },
             Case{raw(0xf0, '\x19' + body),       "DISCONNECT(x82){why=protocol error}"  },
             Case{raw(0xf0, "\x18"),              "DISCONNECT(x82){why=protocol error}"  },
             Case{raw(0xf0, '\x55' + body),       "DISCONNECT(x82){why=protocol error}"  },
             Case{raw(0xf1, '\x18' + body),       "DISCONNECT(x81){why=malformed packet}"},
             Case{raw(0xf8, ""),                  "DISCONNECT(x81){why=malformed packet}"},
             Case{raw(0xf0, '\x18' + body + "x"), "DISCONNECT(x81){why=malformed packet}"}
    }) {
        auto& client = world.client5({.client_id = "c"});
        client.send(each.bytes);
        CAPTURE(static_cast<int>(each.bytes.size()));
        REQUIRE(client.received() == each.told);
        REQUIRE_FALSE(client.open());
        auto& old = world.client("old");
        old.send(each.bytes);
        REQUIRE(old.received().empty());
        REQUIRE_FALSE(old.open());
        // Before CONNECT nobody is told anything.
        REQUIRE(answer_to(world, each.bytes).empty());
    }
    REQUIRE(world.end() == 0);
}

// A connection above a cap gets its CONNACK in its own version and nothing more.
TEST_CASE("a connection that is one too many is told busy", "[wire][v5]") {
    World world;
    auto& five = world.connection(true);
    five.speak_v5();
    five.send(connect({.client_id = "c"}));
    REQUIRE(five.received() == "CONNACK(x89){why=server busy}");
    REQUIRE_FALSE(five.open());
    auto& three = world.connection(true);
    three.send(packets::connect("c"));
    REQUIRE(three.received() == "CONNACK(3)");
    auto& small = world.connection(true);
    small.speak_v5();
    small.send(connect({.client_id = "c", .properties = property(P::kMaximumPacketSize, 10)}));
    REQUIRE(small.received() == "CONNACK(x89)");
    REQUIRE(world.end() == 0);
}
