// CONNECT and CONNACK of MQTT 5.0: what is told, what is refused and in which words.   §3.1, §3.2

#include "mqttd/limits.h"

#include "support/world.h"

#include <catch2/catch.hpp>
#include <functional>

using namespace mqttd;
using namespace mqttd::packets5;
using packets::raw;
using packets::text;

namespace {

using P = Property;

// What the broker answers to a first packet.
std::string answer_to(World& world, const std::string& bytes) {
    auto& connection = world.connection();
    connection.speak_v5();
    connection.send(bytes);
    return connection.received();
}

std::string answer(World& world, const Connect& fields) {
    return answer_to(world, connect(fields));
}

std::string answer_old(World& world, const packets::Connect& fields) {
    auto& connection = world.connection();
    connection.send(packets::connect(fields));
    return connection.received();
}

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

// Whatever is not as the standard assumes it stands in the CONNACK, and nothing else does.
TEST_CASE("each limit that differs is told in CONNACK", "[wire][v5][MQTT-3.2.2-9]") {
    struct Case {
        std::function<void(BrokerOptions&)> set;
        const char* told;
    };

    using O = BrokerOptions;
    // clang-format off
    const Case cases[] = {
        {[](O&) {}, ""},
        {[](O& o) { o.listener.max_qos = 2; }, ""},
        {[](O& o) { o.listener.max_qos = 1; }, "{max-qos=1}"},
        {[](O& o) { o.listener.max_qos = 0; }, "{max-qos=0}"},
        {[](O& o) { o.retain_available = false; }, "{retain=0}"},
        {[](O& o) { o.max_packet_size = 20; }, "{max-packet=20}"},
        {[](O& o) { o.max_packet_size = limits::kLargestPacket - 1; }, "{max-packet=268435459}"},
        {[](O& o) { o.max_awaiting_rel = 1; }, "{receive-max=1}"},
        {[](O& o) { o.max_awaiting_rel = 65'534; }, "{receive-max=65534}"},
        {[](O& o) { o.listener.max_topic_alias = 65'535; }, "{alias-max=65535}"},
        {[](O& o) { o.wildcard_available = false; }, "{wildcard=0}"},
        {[](O& o) { o.shared_available = false; }, "{shared=0}"},
        {[](O& o) { o.subscription_ids_available = false; }, "{ids=0}"},
    };
    // clang-format on
    for (const Case& each : cases) {
        BrokerOptions options = World::test_options();
        each.set(options);
        World world(options);
        std::string bytes = connect({.client_id = ""});
        if (options.max_packet_size == 20) bytes = connect({.client_id = "abc"});
        const std::string words = answer_to(world, bytes);
        CAPTURE(words, each.told);
        const size_t id = words.find("id=auto-");
        const std::string rest = id == std::string::npos ? words : words.substr(0, id);
        const std::string told(each.told);
        if (id == std::string::npos) {
            REQUIRE(rest == "CONNACK(0)" + told);
        } else {
            REQUIRE(rest ==
                    "CONNACK(0)" + (told.empty() ? "{" : told.substr(0, told.size() - 1) + ","));
        }
        REQUIRE(answer_old(world, {.client_id = "old"}) == "CONNACK(0)");
        REQUIRE(world.end() == 0);
    }
}

// What is as the standard assumes it is left out: the bytes are the shortest possible.
TEST_CASE("a broker without limits says nothing of them", "[wire][v5][MQTT-2.2.2-1]") {
    BrokerOptions options = World::test_options();
    options.max_awaiting_rel = GENERATE(0u, 65'535u, 65'536u);
    options.max_packet_size = limits::kLargestPacket;
    options.listener.max_topic_alias = 0;
    World world(options);
    auto& client = world.connection();
    client.send(connect({.client_id = "c"}));
    REQUIRE(client.take_output() == std::string("\x20\3\0\0\0", 5));
    // No alias was offered, so that none may be used.
    client.speak_v5();
    client.send(publish({.topic = "t", .properties = property(P::kTopicAlias, 1)}));
    REQUIRE(client.received() == "DISCONNECT(x94){why=topic alias invalid}");
    REQUIRE(world.end() == 0);
}

// max_keepalive: 5.0 is told what holds, 3.x has no way to be told and is refused.
TEST_CASE("a longer keep alive than allowed is cut in 5.0 and refused in 3.1.1",
          "[wire][v5][MQTT-3.2.2-21][MQTT-3.1.2-21]") {
    BrokerOptions options = World::test_options();
    options.max_keepalive_s = 60;
    World world(options);

    struct Case {
        uint16_t asked;
        const char* five;
        const char* three;
    };

    for (const Case& each : {
             Case{1,      "CONNACK(0)",                "CONNACK(0)"},
             Case{59,     "CONNACK(0)",                "CONNACK(0)"},
             Case{60,     "CONNACK(0)",                "CONNACK(0)"},
             Case{61,     "CONNACK(0){keep-alive=60}", "CONNACK(2)"},
             Case{65'535, "CONNACK(0){keep-alive=60}", "CONNACK(2)"},
             Case{0,      "CONNACK(0){keep-alive=60}", "CONNACK(2)"}
    }) {
        CAPTURE(each.asked);
        REQUIRE(answer(world, {.client_id = "five", .keep_alive_s = each.asked}) == each.five);
        REQUIRE(answer_old(world, {.client_id = "three", .keep_alive_s = each.asked}) ==
                each.three);
    }
    // The one announced is the one that counts.
    auto& client = world.connection();
    client.speak_v5();
    client.send(connect({.client_id = "c", .keep_alive_s = 120}));
    client.take_output();
    world.advance(89'900);
    REQUIRE(client.open());
    world.advance(500);
    REQUIRE(client.received() == "DISCONNECT(x8d){why=keep-alive timeout}");
    REQUIRE_FALSE(client.open());
    REQUIRE(world.end() == 0);
}

TEST_CASE("a capped session expiry is told", "[wire][v5]") {
    BrokerOptions options = World::test_options();
    options.persistent_client_expiration_s = 100;
    World world(options);
    const auto asked = [&](uint32_t seconds) {
        return answer(
            world, {.client_id = "c", .properties = property(P::kSessionExpiryInterval, seconds)});
    };
    REQUIRE(answer(world, {.client_id = "c"}) == "CONNACK(0)");
    REQUIRE(asked(0) == "CONNACK(0)");
    REQUIRE(asked(99) == "CONNACK(0)");
    REQUIRE(asked(100) == "CONNACK(0)");
    REQUIRE(asked(101) == "CONNACK(0){session-expiry=100}");
    REQUIRE(asked(0xffff'fffe) == "CONNACK(0){session-expiry=100}");
    REQUIRE(asked(0xffff'ffff) == "CONNACK(0){session-expiry=100}");
    REQUIRE(world.end() == 0);
}

// A name of its own for each, by which the client can come back.
TEST_CASE("an empty identifier is answered with one that works",
          "[wire][v5][MQTT-3.1.3-6][MQTT-3.1.3-7][MQTT-3.2.2-16]") {
    World world;
    const std::string lasting = property(P::kSessionExpiryInterval, 100);
    const std::string first =
        answer(world, {.client_id = "", .clean = false, .properties = lasting});
    const std::string second =
        answer(world, {.client_id = "", .clean = false, .properties = lasting});
    REQUIRE(first != second);
    const std::string begin = "CONNACK(0){id=";
    REQUIRE(first.starts_with(begin + "auto-"));
    const std::string id = first.substr(begin.size(), first.size() - begin.size() - 1);
    REQUIRE(answer(world, {.client_id = id, .clean = false}) == "CONNACK(0,present)");
    REQUIRE(world.end() == 0);
    BrokerOptions strict = World::test_options();
    strict.listener.allow_zero_length_clientid = false;
    World refusing(strict);
    REQUIRE(answer(refusing, {.client_id = ""}) == "CONNACK(x85){why=client id invalid}");
    REQUIRE(answer_old(refusing, {.client_id = ""}) == "CONNACK(2)");
    REQUIRE(refusing.end() == 0);
}

// The user name takes the place of the identifier; who named none is told which one it got.
TEST_CASE("use_username_as_clientid tells who named no identifier", "[wire][v5][MQTT-3.2.2-16]") {
    BrokerOptions options = World::test_options();
    options.listener.use_username_as_clientid = true;
    options.max_clientid_len = 20'000;
    World world(options);
    const std::string lasting = property(P::kSessionExpiryInterval, 100);
    REQUIRE(answer(world, {.client_id = "x", .properties = lasting, .user_name = "ann"}) ==
            "CONNACK(0)");
    REQUIRE(answer(world, {.client_id = "y", .clean = false, .user_name = "ann"}) ==
            "CONNACK(0,present)");
    REQUIRE(answer(world, {.client_id = "", .user_name = "bob"}) == "CONNACK(0){id=bob}");
    const std::string longest(20'000, 'n');
    REQUIRE(answer(world, {.client_id = "", .user_name = longest}) ==
            "CONNACK(0){id=" + longest + "}");
    REQUIRE(answer(world, {.client_id = "", .user_name = longest + "n"}) ==
            "CONNACK(x85){why=client id invalid}");
    REQUIRE(answer(world, {.client_id = "x"}) == "CONNACK(x86){why=bad credentials}");
    REQUIRE(answer_old(world, {.client_id = "", .user_name = "cat"}) == "CONNACK(0)");
    REQUIRE(answer_old(world, {.client_id = "x"}) == "CONNACK(4)");
    REQUIRE(world.end() == 0);
}

// Every reason to refuse, in the words of each version; the link ends and nothing behind it counts.
TEST_CASE("refusals have the code of their version and end the connection",
          "[wire][v5][MQTT-3.2.2-7][MQTT-3.2.2-8][MQTT-3.1.4-2][MQTT-3.1.4-6][MQTT-4.13.2-1]") {
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
TEST_CASE("a refused CONNECT disturbs nobody", "[wire][v5][MQTT-3.2.2-6]") {
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
          "[wire][v5][MQTT-3.1.4-1][MQTT-3.1.2-3][MQTT-3.1.2-11][MQTT-3.1.2-12][MQTT-3.1.2-13]"
          "[MQTT-3.14.0-1]") {
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
          "[wire][v5][MQTT-3.1.2-1][MQTT-3.1.2-2]") {
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

// Nothing longer than the client takes: a reason is left out before the answer is.
TEST_CASE("CONNACK keeps to the client's Maximum Packet Size",
          "[wire][v5][MQTT-3.1.2-24][MQTT-3.2.2-19]") {
    World world;
    const auto welcome = [&](uint32_t most, const char* id) {
        return answer(world,
                      {.client_id = id, .properties = property(P::kMaximumPacketSize, most)});
    };
    // Fixed header 2, flags, code, property length, receive maximum 3, packet size 5, aliases 3.
    REQUIRE(welcome(16, "c") == "CONNACK(0)");
    REQUIRE(welcome(15, "c") == "CONNACK(x95)");
    REQUIRE(welcome(5, "c") == "CONNACK(x95)");
    REQUIRE(welcome(4, "c").empty());
    REQUIRE(welcome(1, "c").empty());
    const size_t assigned = 3 + 5 + 32;
    REQUIRE(welcome(16 + assigned, "").starts_with("CONNACK(0){id="));
    REQUIRE(welcome(15 + assigned, "") == "CONNACK(x95){why=packet too large}");
    const auto refused = [&](uint32_t most) {
        return answer(world,
                      {.client_id = "c",
                       .properties = property(P::kMaximumPacketSize, most) +
                                     property(P::kAuthenticationMethod, "x")});
    };
    const std::string why = "bad authentication method";
    const auto whole = static_cast<uint32_t>(5 + 3 + why.size());
    REQUIRE(refused(whole + 1) == "CONNACK(x8c){why=" + why + "}");
    REQUIRE(refused(whole) == "CONNACK(x8c){why=" + why + "}");
    REQUIRE(refused(whole - 1) == "CONNACK(x8c)");
    REQUIRE(refused(5) == "CONNACK(x8c)");
    REQUIRE(refused(4).empty());
    REQUIRE(world.stats().clients_connected == 2);
    REQUIRE(world.end() == 0);
}

// Where CONNACK passes 127 bytes its length field grows by one.
TEST_CASE("a long assigned identifier is counted with its length field",
          "[wire][v5][MQTT-3.1.2-24]") {
    BrokerOptions options = World::test_options();
    options.listener.use_username_as_clientid = true;
    World world(options);
    for (size_t name = 100; name <= 130; ++name) {
        const auto asked = [&](uint32_t most) {
            auto& client = world.connection();
            client.send(connect({.client_id = "",
                                 .properties = property(P::kMaximumPacketSize, most),
                                 .user_name = std::string(name, 'n')}));
            return client.take_output();
        };
        const auto size = static_cast<uint32_t>(asked(1'000).size());
        CAPTURE(name, size);
        REQUIRE(size > name + 16);
        REQUIRE(asked(size).size() == size);
        REQUIRE(describe(asked(size - 1)) == "CONNACK(x95){why=packet too large}");
    }
    REQUIRE(world.end() == 0);
}

// What the client said holds, also when the broker's own limit is raised later.
TEST_CASE("the client's Maximum Packet Size outlives a reload",
          "[wire][v5][MQTT-3.1.2-24][MQTT-3.1.2-25]") {
    BrokerOptions options = World::test_options();
    options.max_packet_size = 1'000;
    World world(options);
    auto& reader =
        world.client5({.client_id = "r", .properties = property(P::kMaximumPacketSize, 20'000)});
    reader.send(subscribe(1,
                          {
                              {"#", 0}
    }));
    reader.take_output();
    options.max_packet_size = 100'000;
    world.broker().reconfigure(options);
    auto& writer = world.client5({.client_id = "w"});
    writer.send(publish({.topic = "t", .payload = std::string(19'992, 'x')}));
    REQUIRE(reader.received() == "PUBLISH(t,19992B,q0)");
    writer.send(publish({.topic = "t", .payload = std::string(19'993, 'x')}));
    REQUIRE(reader.received().empty());
    REQUIRE(world.stats().drops[static_cast<uint32_t>(Drop::kReceiverSize)] == 1);
    REQUIRE(world.end() == 0);
}

// No method is built in: 0x8C to who asks for one, and AUTH from anybody is an error.
TEST_CASE("authentication methods are refused and AUTH is an error",
          "[wire][v5][MQTT-4.12.0-1][MQTT-4.12.0-6][MQTT-4.12.0-7][MQTT-3.15.1-1]"
          "[MQTT-3.15.2-1]") {
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

// Reason strings stand in CONNACK and DISCONNECT only, whether or not they were asked for.
TEST_CASE("acknowledgements carry no reason string", "[wire][v5][MQTT-3.1.2-29][MQTT-3.1.2-28]") {
    for (const uint32_t wanted : {0u, 1u}) {
        World world;
        auto& client = world.connection();
        client.speak_v5();
        client.send(connect({.client_id = "c",
                             .properties = property(P::kRequestProblemInformation, wanted) +
                                           property(P::kRequestResponseInformation, wanted)}));
        REQUIRE(client.received() == "CONNACK(0)");
        client.send(publish({
                        .topic = "$SYS/x", .qos = 1, .packet_id = 1
        }) +
                    publish({.topic = "$SYS/x", .qos = 2, .packet_id = 2}) +
                    ack(PacketType::kPubrel, 3) + ack(PacketType::kPubrec, 4) +
                    subscribe(5, {{"$share/g/t", 1}}) + unsubscribe(6, {"none"}));
        REQUIRE(client.take_output() ==
                ack(PacketType::kPuback, 1, 0x87) + ack(PacketType::kPubrec, 2, 0x87) +
                    ack(PacketType::kPubcomp, 3, 0x92) + ack(PacketType::kPubrel, 4, 0x92) +
                    std::string("\x90\4\0\5\0\x9e\xb0\4\0\6\0\x11", 12));
        client.send(raw(0xf0, ""));
        REQUIRE(client.received() == "DISCONNECT(x82){why=protocol error}");
        REQUIRE(world.end() == 0);
    }
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

// Every cut of a CONNECT with everything in it: nothing is said before it is whole, whatever a
// length field promises.
TEST_CASE("every cut of a full CONNECT is taken or waited for", "[wire][v5][MQTT-3.1.3-1]") {
    const std::string whole = connect(
        {.client_id = "c",
         .properties = property(P::kSessionExpiryInterval, 5) + property(P::kReceiveMaximum, 3) +
                       property(P::kMaximumPacketSize, 1'000) + property(P::kTopicAliasMaximum, 4) +
                       user("k", "v"),
         .keep_alive_s = 10,
         .will_topic = "w",
         .will_payload = "gone",
         .will_qos = 1,
         .will_properties = property(P::kWillDelayInterval, 3) + user("a", "b"),
         .user_name = "u"});
    for (size_t cut = 1; cut < whole.size(); ++cut) {
        CAPTURE(cut);
        World world;
        auto& client = world.connection();
        client.speak_v5();
        client.send(whole.substr(0, cut));
        REQUIRE(client.received().empty());
        REQUIRE(client.open());
        client.send(whole.substr(cut));
        REQUIRE(client.received() == "CONNACK(0)");
        REQUIRE(world.end() == 0);
        // The same cut with a length that says it is all.
        World short_world;
        auto& liar = short_world.connection();
        liar.speak_v5();
        if (cut < 2) continue;
        liar.send(raw(0x10, whole.substr(2, cut - 2)));
        REQUIRE_FALSE(liar.open());
        REQUIRE(short_world.stats().clients_connected == 0);
        REQUIRE(short_world.end() == 0);
    }
}
