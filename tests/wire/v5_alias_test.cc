// Topic aliases at the wire, both ways.

#include "base/prng.h"
#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <list>
#include <map>
#include <string>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

std::string at_qos(int qos, std::string_view topic, const char* payload, uint16_t code) {
    const auto id = static_cast<uint16_t>(*payload);
    return qos == 0 ? pub(topic, payload, alias(code)) : pub(topic, payload, qos, id, alias(code));
}

// One writer under this maximum uses `code`, first with its topic if `told`.
void use_alias(int maximum, uint16_t code, int qos) {
    INFO("maximum " << maximum << " alias " << code << " qos " << qos);
    BrokerOptions options = World::test_options();
    options.listener.max_topic_alias = static_cast<uint16_t>(maximum);
    World world(options);
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("#", 0));
    reader.take_output();
    const bool good = code >= 1 && code <= maximum;
    auto& unknown = world.client5({.client_id = "u"});
    unknown.send(at_qos(qos, "", "x", code));
    CHECK(head(unknown.received()) == (good ? "DISCONNECT(x82)" : "DISCONNECT(x94)"));
    CHECK_FALSE(unknown.open());
    auto& writer = world.client5({.client_id = "w"});
    writer.send(at_qos(qos, "topic", "1", code) + at_qos(qos, "", "2", code) +
                at_qos(qos, "other", "3", code) + at_qos(qos, "", "4", code));
    if (qos == 2) {
        for (const char id : {'1', '2', '3', '4'})
            writer.send(ack(PacketType::kPubrel, static_cast<uint8_t>(id)));
    }
    CHECK(writer.open() == good);
    if (good) {
        CHECK(reader.received() ==
              "PUBLISH(topic,1,q0) PUBLISH(topic,2,q0) PUBLISH(other,3,q0) PUBLISH(other,4,q0)");
    } else {
        CHECK(head(writer.received()) == "DISCONNECT(x94)");
        CHECK(reader.received().empty());
    }
    CHECK(world.end() == 0);
}

// The receiver's side: turns what came back into topics, and fails if an alias is used that was
// never told or is above the maximum.
class Receiver {
  public:
    explicit Receiver(uint16_t maximum) : maximum_(maximum) {}

    // "topic=payload" of each packet.
    std::string read(std::string_view words) {
        std::string read;
        while (!words.empty()) {
            const size_t end = std::min(words.find(' '), words.size());
            read += (read.empty() ? "" : " ") + one(words.substr(0, end));
            words.remove_prefix(std::min(end + 1, words.size()));
        }
        return read;
    }

    void reconnect() { topics_.clear(); }

    uint64_t known = 0;  // packets that came without their topic

  private:
    std::string one(std::string_view word) {
        REQUIRE(word.starts_with("PUBLISH("));
        word.remove_prefix(8);
        const size_t comma = word.find(',');
        std::string topic(word.substr(0, comma));
        const std::string payload(word.substr(comma + 1, word.find(',', comma + 1) - comma - 1));
        const size_t at = word.find("alias=");
        if (at != std::string_view::npos) {
            const int alias = std::stoi(std::string(word.substr(at + 6)));
            REQUIRE(alias >= 1);
            REQUIRE(alias <= maximum_);
            if (topic.empty()) {
                REQUIRE(topics_.count(alias) == 1);
                topic = topics_[alias];
                ++known;
            } else {
                topics_[alias] = topic;
            }
        }
        REQUIRE_FALSE(topic.empty());
        return topic + "=" + payload;
    }

    uint16_t maximum_;
    std::map<int, std::string> topics_;
};

}  // namespace

// 1 and the maximum are aliases, 0 and one above the maximum end the link; what stands for nothing
// yet is a protocol error. A new topic redefines.
TEST_CASE("an inbound alias is 1 to the maximum and stands for something",
          "[wire][v5][MQTT5-3.3.2-8][MQTT5-3.3.2-9][MQTT5-3.3.2-12][MQTT5-3.2.2-17]") {
    for (const int maximum : {0, 1, 10, 65'535}) {
        for (const int code : {0, 1, maximum - 1, maximum, maximum + 1, 65'535}) {
            if (code < 0 || code > 65'535) continue;
            for (const int qos : {0, 1, 2})
                use_alias(maximum, static_cast<uint16_t>(code), qos);
        }
    }
}

// The server tells what it takes, and tells nothing if that is nothing.
TEST_CASE("the alias maximum of the server is what its CONNACK says", "[wire][v5]") {
    for (const int maximum : {0, 1, 65'535}) {
        BrokerOptions options = World::test_options();
        options.listener.max_topic_alias = static_cast<uint16_t>(maximum);
        World world(options);
        auto& peer = world.connection();
        peer.speak_v5();
        peer.send(connect({.client_id = "c"}));
        const std::string word = maximum == 0 ? "" : "{alias-max=" + std::to_string(maximum) + "}";
        CHECK(peer.received() == "CONNACK(0)" + word);
        CHECK(world.end() == 0);
    }
}

// A repeated packet may use its alias again, and what a packet says about an alias holds even if
// the packet itself is refused or repeated.
TEST_CASE("an alias in a repeated or refused packet is an alias all the same", "[wire][v5]") {
    World world;
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("#", 1));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("a", "1", 2, 1, alias(1)));
    writer.send(publish({.topic = "",
                         .payload = "1",
                         .qos = 2,
                         .packet_id = 1,
                         .properties = alias(1),
                         .dup = true}));
    CHECK(writer.received() == "PUBREC(1) PUBREC(1)");
    writer.send(ack(PacketType::kPubrel, 1));
    CHECK(reader.received() == "PUBLISH(a,1,q1,id1)");
    writer.take_output();
    writer.send(pub("$SYS/x", "2", 1, 2, alias(2)) + pub("", "3", 1, 3, alias(2)));
    CHECK(writer.received() == "PUBACK(2,x87) PUBACK(3,x87)");
    writer.send(publish({.topic = "b", .properties = alias(2), .retain = true}) +
                pub("", "4", alias(2)));
    CHECK(reader.received() == "PUBLISH(b,,q0) PUBLISH(b,4,q0)");
    CHECK(world.end() == 0);
}

TEST_CASE("aliases end with their connection", "[wire][v5][MQTT5-3.3.2-7]") {
    World world;
    const Connect durable{.client_id = "w",
                          .clean = false,
                          .properties = property(P::kSessionExpiryInterval, 100) +
                                        property(P::kTopicAliasMaximum, 1)};
    auto& writer = world.client5(durable);
    writer.send(sub("t", 1));
    writer.send(pub("t", "1", alias(1)));
    CHECK(writer.received() == "SUBACK(1,1) PUBLISH(t,1,q0){alias=1}");
    writer.send(pub("", "2", 1, 5, alias(1)));
    CHECK(writer.received() == "PUBLISH(,2,q1,id1){alias=1} PUBACK(5)");
    writer.hang_up();
    auto& back = world.client5(durable);
    // What is repeated says its topic in full again.
    CHECK(back.received() == "PUBLISH(t,2,q1,id1,dup){alias=1}");
    back.send(pub("", "3", alias(1)));
    CHECK(head(back.received()) == "DISCONNECT(x82)");
    CHECK(world.end() == 0);
}

// The receiver's maximum, and our own, whichever is less; none at all without one.
TEST_CASE("outbound aliases keep to the client's maximum and our own",
          "[wire][v5][MQTT5-3.1.2-26][MQTT5-3.1.2-27][MQTT5-3.3.2-11]") {
    for (const int theirs : {-1, 0, 1, 2, 65'535}) {
        for (const int ours : {0, 1, 3}) {
            INFO("theirs " << theirs << " ours " << ours);
            BrokerOptions options = World::test_options();
            options.listener.max_topic_alias_broker = static_cast<uint16_t>(ours);
            World world(options);
            const std::string asked =
                theirs < 0 ? "" : property(P::kTopicAliasMaximum, static_cast<uint32_t>(theirs));
            auto& reader = world.client5({.client_id = "r", .properties = asked});
            reader.send(sub("#", 0));
            reader.take_output();
            auto& writer = world.client("w");
            for (const char* topic : {"a", "b", "c", "d"})
                writer.send(packets::publish({.topic = topic}));
            const int most = std::min(std::max(theirs, 0), ours);
            const auto word = [&](const char* topic, int i) {
                const std::string number = std::to_string((i - 1) % std::max(most, 1) + 1);
                return "PUBLISH(" + std::string(topic) + ",,q0)" +
                       (most > 0 ? "{alias=" + number + "}" : "");
            };
            CHECK(reader.received() ==
                  word("a", 1) + " " + word("b", 2) + " " + word("c", 3) + " " + word("d", 4));
            CHECK(world.end() == 0);
        }
    }
}

// The message that would have taught an alias was too large for its receiver: the next message on
// that topic says it in full.
TEST_CASE("an alias is not known to a receiver that never got it", "[wire][v5][MQTT5-3.1.2-25]") {
    World world;
    auto& reader = world.client5(
        {.client_id = "r",
         .properties = property(P::kTopicAliasMaximum, 1) + property(P::kMaximumPacketSize, 30)});
    reader.send(sub("#", 1));
    reader.take_output();
    auto& writer = world.client("w");
    const auto say = [&](const char* topic, size_t size, int qos) {
        writer.send(packets::publish({.topic = topic,
                                      .payload = std::string(size, 'x'),
                                      .qos = qos,
                                      .packet_id = static_cast<uint16_t>(qos)}));
    };
    say("a", 1, 0);
    say("b", 30, 0);  // takes alias 1 from "a", and is not sent
    say("a", 1, 0);
    CHECK(reader.received() == "PUBLISH(a,x,q0){alias=1} PUBLISH(a,x,q0){alias=1}");
    say("b", 30, 1);
    say("b", 2, 1);
    say("b", 3, 0);
    CHECK(reader.received() == "PUBLISH(b,xx,q1,id1){alias=1} PUBLISH(,xxx,q0){alias=1}");
    CHECK(world.stats().drops[static_cast<uint32_t>(Drop::kReceiverSize)] == 2);
    CHECK(world.end() == 0);
}

// Random topics, qualities, retained replays, blocked links and reconnects: whatever happens, the
// receiver of each understands what it gets, and all of them hear the same.
TEST_CASE("a receiver with aliases hears what one without hears", "[wire][v5]") {
    const uint64_t seed = 4'711;
    INFO("seed " << seed);
    Prng random(seed);
    for (const uint32_t maximum : {1u, 2u, 5u, 10u}) {
        World world;
        const Connect aliased{.client_id = "aliased",
                              .properties = property(P::kTopicAliasMaximum, maximum)};
        const Connect full{.client_id = "full"};
        FakeConnection* a = &world.client5(aliased);
        FakeConnection* b = &world.client5(full);
        Receiver reads_a(static_cast<uint16_t>(maximum));
        Receiver reads_b(0);
        const auto subscribe_both = [&] {
            for (FakeConnection* each : {a, b}) {
                each->send(sub("t/#", 1));
                std::string words = each->received();
                REQUIRE(words.starts_with("SUBACK(1,1)"));
                words.erase(0, 12);
                (each == a ? reads_a : reads_b).read(words);
            }
        };
        subscribe_both();
        auto& writer = world.client5({.client_id = "w"});
        for (int step = 0; step < 2'000; ++step) {
            const std::string topic = "t/" + std::to_string(random.below(2 * maximum + 2));
            const uint32_t what = random.below(40);
            if (what == 0) {
                a->send(disconnect());
                b->send(disconnect());
                a = &world.client5(aliased);
                b = &world.client5(full);
                reads_a.reconnect();
                subscribe_both();
            } else if (what == 1) {
                subscribe_both();  // retained ones again
            } else if (what < 6) {
                writer.send(keep(topic, random.below(3) == 0 ? "" : std::to_string(step)));
            } else if (what < 12) {
                writer.send(pub(topic, std::to_string(step), 1, 1));
            } else {
                std::string run;
                for (uint32_t i = random.below(4) + 1; i > 0; --i)
                    run += pub(topic, std::to_string(step) + "." + std::to_string(i));
                writer.send(run);
            }
            const std::string heard_a = reads_a.read(a->received());
            REQUIRE(heard_a == reads_b.read(b->received()));
            for (uint16_t id = 1; what >= 6 && what < 12 && id < 200; ++id) {
                a->push(ack(PacketType::kPuback, id));
                b->push(ack(PacketType::kPuback, id));
            }
            world.settle();
        }
        REQUIRE(reads_a.known > 100);
        REQUIRE(world.end() == 0);
    }
}

// The broker's own messages use the same aliases, identifiers and limits as everybody's.
TEST_CASE("$SYS comes under aliases and within limits, too", "[wire][v5][MQTT5-3.1.2-24]") {
    BrokerOptions options = World::test_options();
    options.sys_interval_s = 1;
    World world(options);
    auto& reader = world.client5(
        {.client_id = "r",
         .properties = property(P::kTopicAliasMaximum, 10) + property(P::kMaximumPacketSize, 60)});
    Receiver understands(10);
    reader.send(sub("$SYS/broker/clients/#", 1, identifier(6)));
    std::string words = reader.received();
    REQUIRE(words.starts_with("SUBACK(1,1) "));
    words.erase(0, 12);
    CHECK(words.find("{sub=6,alias=") != std::string::npos);
    understands.read(words);
    for (int i = 0; i < 5; ++i) {
        auto& other = world.client("o" + std::to_string(i));
        world.advance(2'000);
        const std::string bytes = reader.take_output();
        for (std::string_view rest(bytes); !rest.empty();) {
            const size_t size = packets::packet_size(rest);
            REQUIRE((size > 0 && size <= 60));
            rest.remove_prefix(size);
        }
        understands.read(describe(bytes));
        if (i % 2 == 0) other.hang_up();
    }
    CHECK(understands.known > 0);
    CHECK(world.end() == 0);
}
