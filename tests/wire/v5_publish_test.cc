// What a 5.0 PUBLISH carries to its receivers, and what its publisher is told.

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

uint64_t dropped(const World& world, Drop reason) {
    return world.stats().drops[static_cast<uint32_t>(reason)];
}

// Every property that goes from publisher to subscriber.
std::string all_forwarded() {
    return property(P::kPayloadFormatIndicator, 1) + user("z", "1") +
           property(P::kContentType, "text/plain") + property(P::kResponseTopic, "answers/to/me") +
           user("a", "2") + property(P::kCorrelationData, "c0rr") + user("z", "1");
}

constexpr const char* kAllForwarded =
    "{format=1,user=z:1,type=text/plain,response=answers/to/me,user=a:2,correlation=c0rr,"
    "user=z:1}";

}  // namespace

// Properties come out in the order in which they went in, whichever way the message took: as the
// bytes that came, with a head of its own, through a queue, from the store, as a will.
TEST_CASE("properties are passed on unchanged and in their order on every way",
          "[wire][v5][MQTT5-3.3.2-4][MQTT5-3.3.2-15][MQTT5-3.3.2-16][MQTT5-3.3.2-17]"
          "[MQTT5-3.3.2-18][MQTT5-3.3.2-20]") {
    World world;
    const std::string all = all_forwarded();
    const std::string seen = kAllForwarded;
    auto& plain = world.client5({.client_id = "plain"});
    plain.send(sub("t/#", 2));
    auto& aliased =
        world.client5({.client_id = "aliased", .properties = property(P::kTopicAliasMaximum, 5)});
    aliased.send(sub("t/#", 2, identifier(9)));
    auto& old = world.client("old");
    old.send(sub3("t/#", 2));
    for (auto* each : {&plain, &aliased, &old})
        each->take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("t/0", "x", all));
    CHECK(plain.received() == "PUBLISH(t/0,x,q0)" + seen);
    CHECK(aliased.received() == "PUBLISH(t/0,x,q0){sub=9,alias=1," + seen.substr(1));
    CHECK(old.received() == "PUBLISH(t/0,x,q0)");
    // What is cut out, and the seams where it was.
    for (const std::string& properties : {std::string(alias(1) + all),
                                          std::string(all + alias(1)),
                                          std::string(user("z", "0") + alias(1) + all)}) {
        writer.send(pub("t/1", "x", properties));
        const std::string more = properties.starts_with(user("z", "0")) ? "{user=z:0," : "{";
        CHECK(plain.received() == "PUBLISH(t/1,x,q0)" + more + seen.substr(1));
        CHECK(aliased.received() ==
              "PUBLISH(" + std::string(more == "{" && properties == alias(1) + all ? "t/1" : "") +
                  ",x,q0){sub=9,alias=2," + more.substr(1) + seen.substr(1));
        CHECK(old.received() == "PUBLISH(t/1,x,q0)");
    }
    for (const int qos : {1, 2}) {
        writer.send(pub("t/q", "x", qos, 1, all));
        if (qos == 2) writer.send(ack(PacketType::kPubrel, 1));
        const std::string id = ",id" + std::to_string(qos);
        CHECK(plain.received() == "PUBLISH(t/q,x,q" + std::to_string(qos) + id + ")" + seen);
        CHECK(old.received() == "PUBLISH(t/q,x,q" + std::to_string(qos) + id + ")");
    }
    // Long payloads go out as a tail of their own.
    const std::string large(5'000, 'L');
    aliased.take_output();
    writer.send(pub("t/l", large, all));
    CHECK(plain.received() == "PUBLISH(t/l,5000B,q0)" + seen);
    CHECK(aliased.received() == "PUBLISH(t/l,5000B,q0){sub=9,alias=4," + seen.substr(1));
    CHECK(old.received() == "PUBLISH(t/l,5000B,q0)");
    // Retained, and as a will.
    writer.send(keep("t/r", "x", all));
    plain.take_output();
    plain.send(sub("t/r", 0));
    CHECK(plain.received() == "SUBACK(1,0) PUBLISH(t/r,x,q0,retain)" + seen);
    plain.send(unsubscribe(2, {"t/r"}));
    plain.take_output();
    auto& mortal = world.client5({.client_id = "m",
                                  .will_topic = "t/w",
                                  .will_payload = "gone",
                                  .will_properties = property(P::kWillDelayInterval, 0) + all});
    mortal.hang_up();
    CHECK(plain.received() == "PUBLISH(t/w,gone,q0)" + seen);
    CHECK(world.end() == 0);
}

// Two clients that talk by request and response, one of them away meanwhile.
TEST_CASE("a response finds its way with the correlation data of its request",
          "[wire][v5][MQTT5-3.3.2-15][MQTT5-3.3.2-16]") {
    World world;
    auto& asks = world.client5({.client_id = "asks"});
    auto& answers = world.client5({.client_id = "answers"});
    asks.send(sub("reply/asks", 1));
    answers.send(sub("service", 1));
    asks.take_output();
    answers.take_output();
    const std::string binary("\0\xff\r\n\x01", 5);
    asks.send(
        pub("service",
            "2+2",
            1,
            1,
            property(P::kResponseTopic, "reply/asks") + property(P::kCorrelationData, binary)));
    CHECK(asks.received() == "PUBACK(1)");
    CHECK(answers.received() ==
          "PUBLISH(service,2+2,q1,id1){response=reply/asks,correlation=" + binary + "}");
    answers.send(pub("reply/asks", "4", 1, 1, property(P::kCorrelationData, binary)));
    CHECK(asks.received() == "PUBLISH(reply/asks,4,q1,id1){correlation=" + binary + "}");
    CHECK(world.end() == 0);
}

// 0x10 says that no subscription matched, nothing else: not that all who matched were away, did not
// want it back, or could not take it.
TEST_CASE("no matching subscribers is said only when there are none", "[wire][v5][MQTT5-3.3.4-1]") {
    World world;
    auto& writer = world.client5({.client_id = "w"});
    const auto told = [&](const char* topic, int qos) {
        writer.send(pub(topic, "x", qos, 7));
        const std::string word = writer.received();
        if (qos == 2) {
            writer.send(ack(PacketType::kPubrel, 7));
            REQUIRE(writer.received() == "PUBCOMP(7)");
        }
        return word;
    };
    CHECK(told("t", 1) == "PUBACK(7,x10)");
    CHECK(told("t", 2) == "PUBREC(7)");
    writer.send(sub("mine", 2 | kNoLocal));
    CHECK(writer.received() == "SUBACK(1,2)");
    CHECK(told("mine", 1) == "PUBACK(7)");
    auto& away = world.client5({.client_id = "away",
                                .clean = false,
                                .properties = property(P::kSessionExpiryInterval, 100)});
    away.send(sub("t", 0));
    away.hang_up();
    CHECK(told("t", 1) == "PUBACK(7)");
    auto& small =
        world.client5({.client_id = "small", .properties = property(P::kMaximumPacketSize, 20)});
    small.send(sub("long/topic/name/that/does/not/fit", 1));
    CHECK(told("long/topic/name/that/does/not/fit", 1) == "PUBACK(7)");
    small.take_output();
    writer.send(
        publish({.topic = "kept", .payload = "x", .qos = 1, .packet_id = 7, .retain = true}));
    CHECK(writer.received() == "PUBACK(7,x10)");  // kept, though nobody is there
    auto& old = world.client("old");
    old.send(packets::publish({.topic = "u", .qos = 1, .packet_id = 3}));
    CHECK(old.take_output() == packets::puback(3));  // 3.1.1 has no word for it
    CHECK(world.end() == 0);
}

TEST_CASE("a payload above message_size_limit is refused by name and the link goes on",
          "[wire][v5][MQTT5-3.3.4-1]") {
    BrokerOptions options = World::test_options();
    options.message_size_limit = 10;
    World world(options);
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("#", 2));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    auto& old = world.client("old");
    uint64_t refused = 0;
    for (const uint32_t size : {9u, 10u, 11u}) {
        const std::string payload(size, 'p');
        const bool fits = size <= 10;
        const std::string code = fits ? ")" : ",x83)";
        writer.send(pub("t", payload, 1, 1) + pub("t", payload, 2, 2));
        CHECK(writer.received() == "PUBACK(1" + code + " PUBREC(2" + code);
        if (fits) writer.send(ack(PacketType::kPubrel, 2));
        writer.take_output();
        writer.send(pub("t", payload) + pub("t", payload));
        CHECK(writer.received().empty());
        old.send(packets::publish({.topic = "t", .payload = payload, .qos = 1, .packet_id = 1}));
        CHECK(old.take_output() == packets::puback(1));
        if (!fits) refused += 5;
        const std::string got = reader.received();
        CHECK(static_cast<size_t>(std::count(got.begin(), got.end(), '(')) == (fits ? 5 : 0));
        CHECK(dropped(world, Drop::kTooLarge) == refused);
        reader.send(ack(PacketType::kPuback, 1));
    }
    CHECK(writer.open());
    CHECK(world.end() == 0);
}

// Where clients may not write, and above which QoS; 5.0 is told, 3.1.1 gets what it always got.
TEST_CASE("what a server does not offer is refused with its own code",
          "[wire][v5][MQTT5-3.2.2-11][MQTT5-3.2.2-14][MQTT5-3.2.2-9][MQTT5-3.2.2-12]"
          "[MQTT5-3.2.2-13]") {
    BrokerOptions options = World::test_options();
    options.listener.max_qos = 1;
    options.retain_available = false;
    World world(options);
    const auto verdict = [&](const Publish& fields) {
        auto& writer = world.client5({.client_id = "w"});
        writer.send(publish(fields));
        const std::string words = writer.received();
        return words.substr(0, words.find('{'));
    };
    CHECK(verdict({.topic = "t", .qos = 1, .packet_id = 1}) == "PUBACK(1,x10)");
    CHECK(verdict({.topic = "t", .qos = 2, .packet_id = 1}) == "DISCONNECT(x9b)");
    CHECK(verdict({.topic = "t", .qos = 1, .packet_id = 1, .retain = true}) == "DISCONNECT(x9a)");
    CHECK(verdict({.topic = "t", .retain = true}) == "DISCONNECT(x9a)");
    CHECK(verdict({.topic = "$SYS/x", .qos = 1, .packet_id = 1}) == "PUBACK(1,x87)");
    CHECK(verdict({.topic = "$SYS", .qos = 1, .packet_id = 1}) == "PUBACK(1,x87)");
    CHECK(verdict({.topic = "$CONTROL/x", .qos = 1, .packet_id = 1}) == "PUBACK(1,x87)");
    CHECK(verdict({.topic = "$share/g/x", .qos = 1, .packet_id = 1}) == "PUBACK(1,x87)");
    CHECK(verdict({.topic = "$SYSx", .qos = 1, .packet_id = 1}) == "PUBACK(1,x10)");
    CHECK(verdict({.topic = "$SYS/x"}).empty());
    const auto welcome = [&](const Connect& fields) {
        auto& peer = world.connection();
        peer.speak_v5();
        peer.send(connect(fields));
        return peer.received();
    };
    CHECK(welcome({.client_id = "a"}) == "CONNACK(0){max-qos=1,retain=0}");
    CHECK(welcome({.will_topic = "w", .will_qos = 1}).starts_with("CONNACK(0)"));
    CHECK(welcome({.will_topic = "w", .will_qos = 2}).starts_with("CONNACK(x9b)"));
    CHECK(welcome({.will_topic = "w", .will_retain = true}).starts_with("CONNACK(x9a)"));
    // Subscriptions are granted what there is.   [MQTT5-3.2.2-9]
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("t", 2));
    CHECK(reader.received() == "SUBACK(1,1)");
    auto& old = world.client("old");
    old.send(packets::publish({.topic = "$SYS/x", .qos = 1, .packet_id = 4}));
    CHECK(old.take_output() == packets::puback(4));
    CHECK(dropped(world, Drop::kSystemTopic) == 6);
    CHECK(world.end() == 0);
}

TEST_CASE("a topic that is no topic name ends the link with the code for it",
          "[wire][v5][MQTT5-3.3.2-1][MQTT5-3.3.2-2][MQTT5-3.3.1-2][MQTT5-3.3.1-4]"
          "[MQTT5-4.7.3-1]") {
    BrokerOptions options = World::test_options();
    options.max_topic_len = 20;
    options.max_topic_levels = 4;
    World world(options);
    const auto verdict = [&](const std::string& packet) {
        auto& writer = world.client5({.client_id = "w"});
        writer.send(packet);
        const std::string words = writer.received();
        return words.substr(0, words.find('{'));
    };
    CHECK(verdict(pub("a/+", "", 1, 1)) == "DISCONNECT(x90)");
    CHECK(verdict(pub("#", "")) == "DISCONNECT(x90)");
    CHECK(verdict(pub("", "", 1, 1)) == "DISCONNECT(x82)");
    CHECK(verdict(pub("", "")) == "DISCONNECT(x82)");
    CHECK(verdict(pub("\xc3\x28", "")) == "DISCONNECT(x81)");
    CHECK(verdict(pub(std::string(20, 'x'), "", 1, 1)) == "PUBACK(1,x10)");
    CHECK(verdict(pub(std::string(21, 'x'), "", 1, 1)) == "DISCONNECT(x90)");
    CHECK(verdict(pub(std::string(21, 'x'), "")) == "DISCONNECT(x90)");
    CHECK(verdict(pub("a/b/c/d", "", 1, 1)) == "PUBACK(1,x10)");
    CHECK(verdict(pub("a/b/c/d/e", "", 1, 1)) == "DISCONNECT(x90)");
    CHECK(verdict(pub("a/b/c/d/e", "")) == "DISCONNECT(x90)");
    CHECK(verdict(pub("t", "", 1, 0)) == "DISCONNECT(x82)");
    CHECK(verdict(packets::raw(0x36, packets::text("t") + packets::number(1) + '\0')) ==
          "DISCONNECT(x81)");
    CHECK(verdict(publish({.topic = "t", .dup = true})) == "DISCONNECT(x81)");
    CHECK(world.end() == 0);
}

// The identifier of a QoS 2 message that waits for its PUBREL belongs to it.
TEST_CASE("a packet identifier in use is refused by name in 5.0", "[wire][v5][MQTT5-2.2.1-3]") {
    World world;
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("#", 0));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("t", "first", 2, 5));
    CHECK(writer.received() == "PUBREC(5)");
    writer.send(pub("t", "other", 1, 5));
    CHECK(writer.received() == "PUBACK(5,x91)");
    writer.send(publish({.topic = "t", .payload = "first", .qos = 2, .packet_id = 5, .dup = true}));
    CHECK(writer.received() == "PUBREC(5)");
    CHECK(reader.received().empty());
    writer.send(ack(PacketType::kPubrel, 5));
    CHECK(writer.received() == "PUBCOMP(5)");
    CHECK(reader.received() == "PUBLISH(t,first,q0)");
    writer.send(pub("t", "other", 1, 5));
    CHECK(writer.received() == "PUBACK(5)");
    CHECK(world.end() == 0);
}

// Properties may fill nearly all of a packet: they go every way, too.
TEST_CASE("a message of nearly nothing but properties is passed on",
          "[wire][v5][MQTT5-3.3.2-17][MQTT5-3.3.2-18]") {
    std::string properties;
    std::string described;
    const std::string value(60'000, 'v');
    for (int i = 0; i < 30; ++i) {
        const std::string name = "name" + std::to_string(i);
        properties += user(name, value);
        described += (i == 0 ? "user=" : ",user=") + name + ":" + value;
    }
    for (const uint32_t slice : {4'096u, 1u}) {
        for (const uint32_t cut : {0u, 60'000u}) {
            BrokerOptions options = World::test_options();
            options.fanout_slice = slice;
            World world(options);
            world.set_cut(cut);
            const std::string stays = property(P::kSessionExpiryInterval, 100);
            auto& plain = world.client5({.client_id = "plain"});
            auto& aliased = world.client5(
                {.client_id = "aliased", .properties = property(P::kTopicAliasMaximum, 5)});
            auto& away = world.client5({.client_id = "away", .clean = false, .properties = stays});
            auto& old = world.client("old");
            for (auto* each : {&plain, &aliased, &away})
                each->send(sub("t", 2));
            old.send(sub3("t", 2));
            for (auto* each : {&plain, &aliased, &away, &old})
                each->take_output();
            away.hang_up();
            auto& writer = world.client5({.client_id = "w"});
            for (const int qos : {0, 1, 2}) {
                INFO("slice " << slice << " cut " << cut << " qos " << qos);
                const std::string own = qos == 1 ? alias(3) : expiry(5);
                const std::string mine = qos == 1 ? "" : "expiry=5,";
                writer.send(qos == 0 ? pub("t", "x", own + properties)
                                     : pub("t", "x", qos, 1, user("", "") + own + properties));
                if (qos == 2) writer.send(ack(PacketType::kPubrel, 1));
                const std::string words =
                    qos == 0 ? ",x,q0)"
                             : ",x,q" + std::to_string(qos) + ",id" + std::to_string(qos) + ")";
                const std::string rest = mine + (qos == 0 ? "" : "user=:,") + described + "}";
                CHECK((plain.received() == "PUBLISH(t" + words + "{" + rest));
                CHECK((aliased.received() ==
                       "PUBLISH(" + std::string(qos == 0 ? "t" : "") + words + "{alias=1," + rest));
                CHECK(old.received() == "PUBLISH(t" + words);
            }
            auto& back = world.client5({.client_id = "away", .clean = false, .properties = stays});
            CHECK((back.received() == "PUBLISH(t,x,q1,id1){user=:," + described +
                                          "} PUBLISH(t,x,q2,id2){expiry=5,user=:," + described +
                                          "}"));
            CHECK(world.end() == 0);
        }
    }
}

// A payload in a block of its own is kept, not copied: its properties stay with it.
TEST_CASE("a long payload keeps its properties in every place", "[wire][v5][MQTT5-3.3.2-20]") {
    for (const uint32_t cut : {0u, 4'096u}) {
        World world;
        world.set_cut(cut);
        const Connect durable{.client_id = "r",
                              .clean = false,
                              .properties = property(P::kSessionExpiryInterval, 100)};
        auto& reader = world.client5(durable);
        reader.send(sub("t/#", 2, identifier(7)));
        reader.take_output();
        auto& writer = world.client5({.client_id = "w"});
        const std::string payload(300'000, 'L');
        const std::string mixed =
            property(P::kContentType, "big") + alias(1) + user("k", "v") + expiry(30);
        const std::string seen = "{sub=7,expiry=30,type=big,user=k:v}";
        writer.send(pub("t/1", payload, mixed));
        CHECK(reader.received() == "PUBLISH(t/1,300000B,q0)" + seen);
        writer.send(pub("", payload, 1, 1, mixed));
        CHECK(reader.received() == "PUBLISH(t/1,300000B,q1,id1)" + seen);
        writer.send(pub("t/1", payload, 2, 2, mixed) + ack(PacketType::kPubrel, 2));
        CHECK(reader.received() == "PUBLISH(t/1,300000B,q2,id2)" + seen);
        reader.hang_up();
        writer.send(pub("", payload, 1, 1, mixed));
        writer.send(keep("t/2", payload, mixed));
        auto& back = world.client5(durable);
        CHECK(back.received() == "PUBLISH(t/1,300000B,q1,id1,dup)" + seen +
                                     " PUBLISH(t/1,300000B,q2,id2,dup)" + seen +
                                     " PUBLISH(t/1,300000B,q1,id3)" + seen);
        back.send(sub("t/2", 0));
        CHECK(back.received() ==
              "SUBACK(1,0) PUBLISH(t/2,300000B,q0,retain){expiry=30,type=big,user=k:v}");
        CHECK(world.end() == 0);
    }
}

// The will of a session that ends meets its own subscription, which is about to go: nothing was
// dropped.
TEST_CASE("No Local of an ended session is not counted", "[wire][v5][MQTT5-3.8.3-3]") {
    World world;
    auto& other = world.client5({.client_id = "o"});
    other.send(sub("mine", 0));
    other.take_output();
    auto& mine = world.client5({.client_id = "m", .will_topic = "mine", .will_payload = "will"});
    mine.send(sub("mine", 2 | kNoLocal));
    mine.hang_up(Error::kReset);
    CHECK(other.received() == "PUBLISH(mine,will,q0)");
    CHECK(world.stats().drops[static_cast<uint32_t>(Drop::kNoLocal)] == 0);
    CHECK(world.end() == 0);
}
