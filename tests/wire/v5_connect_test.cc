// CONNECT and CONNACK of MQTT 5.0: what is told, within what the client takes.   §3.1, §3.2

#include "mqttd/limits.h"

#include "support/answer5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <functional>

using namespace mqttd;
using namespace mqttd::packets5;
using packets::raw;

namespace {

using P = Property;

}  // namespace

// Whatever is not as the standard assumes it stands in the CONNACK, and nothing else does.
TEST_CASE("each limit that differs is told in CONNACK", "[wire][v5][MQTT5-3.2.2-9]") {
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
TEST_CASE("a broker without limits says nothing of them",
          "[wire][v5][MQTT5-2.2.2-1][MQTT5-3.2.2-18]") {
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
          "[wire][v5][MQTT5-3.2.2-21][MQTT5-3.1.2-21]") {
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
          "[wire][v5][MQTT5-3.1.3-6][MQTT5-3.1.3-7][MQTT5-3.2.2-16]") {
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
TEST_CASE("use_username_as_clientid tells who named no identifier", "[wire][v5][MQTT5-3.2.2-16]") {
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

// Nothing longer than the client takes: a reason is left out before the answer is.
TEST_CASE("CONNACK keeps to the client's Maximum Packet Size",
          "[wire][v5][MQTT5-3.1.2-24][MQTT5-3.2.2-19][MQTT5-3.2.2-20]") {
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
          "[wire][v5][MQTT5-3.1.2-24]") {
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
          "[wire][v5][MQTT5-3.1.2-24][MQTT5-3.1.2-25]") {
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

// Reason strings stand in CONNACK and DISCONNECT only, whether or not they were asked for.
TEST_CASE("acknowledgements carry no reason string", "[wire][v5][MQTT5-3.1.2-29][MQTT5-3.1.2-28]") {
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
                    subscribe(5, {{"$share/+/t", 1}}) + unsubscribe(6, {"none"}));
        REQUIRE(client.take_output() ==
                ack(PacketType::kPuback, 1, 0x87) + ack(PacketType::kPubrec, 2, 0x87) +
                    ack(PacketType::kPubcomp, 3, 0x92) + ack(PacketType::kPubrel, 4, 0x92) +
                    std::string("\x90\4\0\5\0\x8f\xb0\4\0\6\0\x11", 12));
        client.send(raw(0xf0, ""));
        REQUIRE(client.received() == "DISCONNECT(x82){why=protocol error}");
        REQUIRE(world.end() == 0);
    }
}

// Every cut of a CONNECT with everything in it: nothing is said before it is whole, whatever a
// length field promises.
TEST_CASE("every cut of a full CONNECT is taken or waited for",
          "[wire][v5][MQTT5-3.1.2-9][MQTT5-3.1.4-1]") {
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
