// MQTT 5.0, PUBLISH and its flows: what is kept, matched, passed on, answered, in which order.
//   §3.3, §4.3, §4.6, §4.7

#include "support/flow5.h"
#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;
using T = PacketType;

FakeConnection& reads(World& world, const char* id, const std::string& filter, int options = 2) {
    auto& peer = world.client5({.client_id = id});
    peer.send(sub(filter, options));
    REQUIRE(peer.received().starts_with("SUBACK(1,"));
    return peer;
}

// What somebody who subscribes now is sent of what is kept.
std::string kept(World& world, const std::string& filter) {
    auto& late = world.client5({.client_id = "late"});
    late.send(sub(filter, 2));
    const std::string words = late.received();
    REQUIRE(words.starts_with("SUBACK(1,2)"));
    late.send(disconnect());
    return words.size() > 12 ? words.substr(12) : "";
}

}  // namespace

// DUP of the publisher ends with its packet.
TEST_CASE("5.0: DUP is about one delivery", "[conformance][MQTT5-3.3.1-3]") {
    for (const int qos : {1, 2}) {
        World world;
        auto& reader = reads(world, "r", "t");
        auto& writer = world.client5({.client_id = "w"});
        writer.send(
            publish({.topic = "t", .payload = "x", .qos = qos, .packet_id = 3, .dup = true}));
        if (qos == 2) writer.send(ack(T::kPubrel, 3));
        CHECK(reader.received() == "PUBLISH(t,x,q" + std::to_string(qos) + ",id1)");
        CHECK(world.end() == 0);
    }
}

// Each kept message replaces the one before, at every QoS; without RETAIN nothing is kept, replaced
// or removed; empty ones remove and are not kept.
TEST_CASE("5.0: the last message with RETAIN is kept",
          "[conformance][MQTT5-3.3.1-5][MQTT5-3.3.1-6][MQTT5-3.3.1-7][MQTT5-3.3.1-8]") {
    World world;
    auto& live = reads(world, "live", "t");
    auto& writer = world.client5({.client_id = "w"});
    const auto say = [&](const char* payload, int qos, bool retain) {
        writer.send(publish(
            {.topic = "t", .payload = payload, .qos = qos, .packet_id = 1, .retain = retain}));
        if (qos == 2) writer.send(ack(T::kPubrel, 1));
        CHECK(live.received().starts_with("PUBLISH(t," + std::string(payload) + ",q"));
        live.send(ack(T::kPuback, 1));
    };
    live.send(sub("t", 0 | kRetainNever));
    live.take_output();
    for (int first = 0; first <= 2; ++first) {
        for (int second = 0; second <= 2; ++second) {
            CAPTURE(first, second);
            const std::string id = second > 0 ? ",id1" : "";
            say("plain", first, false);
            CHECK(kept(world, "t") == "");
            say("one", first, true);
            say("two", second, true);
            const std::string two = "PUBLISH(t,two,q" + std::to_string(second) + id + ",retain)";
            CHECK(kept(world, "t") == two);
            say("plain", first, false);
            say("", first, false);  // empty, but says nothing of what is kept
            CHECK(kept(world, "t") == two);
            say("", second, true);
            CHECK(kept(world, "t") == "");
            say("", first, true);
            CHECK(kept(world, "t") == "");
            CHECK(world.stats().messages_stored == 0);
        }
    }
    CHECK(world.end() == 0);
}

// Every value of what a publisher may say of its payload, at once, from a queue and from the store.
TEST_CASE("5.0: what is said of a payload is passed on unaltered",
          "[conformance][MQTT5-3.3.2-4][MQTT5-3.3.2-15][MQTT5-3.3.2-16][MQTT5-3.3.2-17]"
          "[MQTT5-3.3.2-18][MQTT5-3.3.2-20]") {
    std::string all_bytes;
    for (int i = 0; i < 256; ++i)
        all_bytes += static_cast<char>(i);
    const std::string rows[] = {
        "",
        property(P::kPayloadFormatIndicator, 0),
        property(P::kPayloadFormatIndicator, 1),
        property(P::kContentType, ""),
        property(P::kContentType, "\xef\xbb\xbftype"),
        property(P::kResponseTopic, "$a//b "),
        property(P::kCorrelationData, ""),
        property(P::kCorrelationData, all_bytes),
        user("", "") + user("b", "1") + user("a", "2") + user("b", "1") + user("a", "1"),
        user("z", "1") + property(P::kContentType, "c") + user("a", "2"),
    };
    for (const std::string& row : rows) {
        CAPTURE(&row - rows);
        World world;
        auto& reader = reads(world, "r", "t");
        auto& away = world.client5(durable("away"));
        away.send(sub("t", 2));
        away.hang_up();
        auto& writer = world.client5({.client_id = "w"});
        writer.send(pub("t", "0", row) + pub("t", "1", 1, 1, row) + pub("t", "2", 2, 2, row) +
                    ack(T::kPubrel, 2));
        CHECK(reader.take_output() ==
              pub("t", "0", row) + pub("t", "1", 1, 1, row) + pub("t", "2", 2, 2, row));
        auto& back = world.client5(durable("away"));
        CHECK(back.take_output() == pub("t", "1", 1, 1, row) + pub("t", "2", 2, 2, row));
        writer.send(keep("t", "3", row));
        reader.take_output();
        reader.send(sub("t", 0));
        CHECK(reader.take_output().ends_with(keep("t", "3", row)));
        CHECK(world.end() == 0);
    }
}

// The standard's rules of matching, and topics that differ in one thing only.
TEST_CASE("5.0: a topic reaches the filters that match it and no others",
          "[conformance][MQTT5-3.3.2-3][MQTT5-4.7.1-1][MQTT5-4.7.1-2][MQTT5-4.7.2-1]"
          "[MQTT5-4.7.3-4]") {
    struct Row {
        const char* topic;
        std::vector<const char*> filters;  // that match
    };

    const char* const filters[] = {"#",    "+",    "/#",    "a",     "A",   "a/",       "/a",
                                   "a/b",  "a/+",  "a/#",   "+/b",   "+/+", "a//b",     "a/+/b",
                                   "+/#",  "$x",   "$x/#",  "$x/+",  "+/x", "\xc3\xa9", "e\xcc\x81",
                                   "a/$x", "a/b/", "a/b/+", "a/+/#", " a",  "\xc3\x89"};
    const Row rows[] = {
        {"a",         {"#", "+", "a", "a/#", "+/#"}                           },
        {"A",         {"#", "+", "A", "+/#"}                                  },
        {" a",        {"#", "+", " a", "+/#"}                                 },
        {"a/",        {"#", "a/", "a/+", "a/#", "+/+", "+/#", "a/+/#"}        },
        {"/a",        {"#", "/#", "/a", "+/+", "+/#"}                         },
        {"a/b",       {"#", "a/b", "a/+", "a/#", "+/b", "+/+", "+/#", "a/+/#"}},
        {"a/b/",      {"#", "a/#", "+/#", "a/b/", "a/b/+", "a/+/#"}           },
        {"a//b",      {"#", "a/#", "a//b", "a/+/b", "+/#", "a/+/#"}           },
        {"$x",        {"$x", "$x/#"}                                          },
        {"$x/x",      {"$x/#", "$x/+"}                                        },
        {"a/$x",      {"#", "a/+", "a/#", "+/+", "+/#", "a/$x", "a/+/#"}      },
        {"\xc3\xa9",  {"#", "+", "+/#", "\xc3\xa9"}                           },
        {"e\xcc\x81", {"#", "+", "+/#", "e\xcc\x81"}                          },
        {"\xc3\x89",  {"#", "+", "+/#", "\xc3\x89"}                           },
    };
    for (const Row& row : rows) {
        World world;
        auto& writer = world.client5({.client_id = "w"});
        for (const char* filter : filters) {
            CAPTURE(row.topic, filter);
            const bool matches =
                std::count(row.filters.begin(), row.filters.end(), std::string_view(filter)) == 1;
            auto& reader = reads(world, "r", filter, 1);
            writer.send(pub(row.topic, "x", 1, 1));
            CHECK(reader.received() ==
                  (matches ? "PUBLISH(" + std::string(row.topic) + ",x,q1,id1)" : ""));
            reader.send(disconnect());
        }
        CHECK(world.end() == 0);
    }
}

// No wildcard, not empty, no NUL, and as long as a length can say.
TEST_CASE("5.0: a topic name is a name of 1 to 65,535 bytes",
          "[conformance][MQTT5-3.3.2-2][MQTT5-4.7.0-1][MQTT5-4.7.3-1][MQTT5-4.7.3-2]"
          "[MQTT5-4.7.3-3]") {
    World world;
    auto& reader = reads(world, "r", "#", 0);
    const std::string longest(65'535, 't');
    for (int qos = 0; qos <= 2; ++qos) {
        const auto verdict = [&](const std::string& topic) {
            auto& writer = world.client5({.client_id = "w"});
            writer.send(publish({.topic = topic, .qos = qos, .packet_id = 1}));
            if (qos == 2 && writer.open()) writer.send(ack(T::kPubrel, 1));
            const bool open = writer.open();
            const std::string words = head(writer.received());
            CHECK(reader.take_output().empty() != open);
            writer.send(disconnect());
            return open ? "" : words;
        };
        for (const char* bad : {"#", "+", "/#", "a/#", "a/+", "+/a", "a#", "a+b", "#/a"})
            CHECK(verdict(bad) == "DISCONNECT(x90)");
        CHECK(verdict("") == "DISCONNECT(x82)");
        CHECK(verdict(std::string(1, '\0')) == "DISCONNECT(x81)");
        CHECK(verdict(std::string("a\0b", 3)) == "DISCONNECT(x81)");
        for (const std::string& good : {std::string("/"), std::string(" "), longest})
            CHECK(verdict(good) == "");
    }
    CHECK(world.end() == 0);
}

// Each QoS of the publisher against each of the subscription, and the answer of each.
TEST_CASE("5.0: messages are answered by their QoS and sent at the lower of both",
          "[conformance][MQTT5-3.3.4-1][MQTT5-3.8.4-8][MQTT5-4.3.2-4][MQTT5-4.3.3-8]"
          "[MQTT5-4.3.3-11]") {
    for (int from = 0; from <= 2; ++from) {
        for (int to = 0; to <= 2; ++to) {
            CAPTURE(from, to);
            World world;
            auto& reader = reads(world, "r", "t", to);
            auto& writer = world.client5({.client_id = "w"});
            writer.send(publish({.topic = "t", .payload = "x", .qos = from, .packet_id = 500}));
            const char* const answers[] = {"", "PUBACK(500)", "PUBREC(500)"};
            CHECK(writer.received() == answers[from]);
            if (from == 2) {
                CHECK(reader.received().empty());
                writer.send(ack(T::kPubrel, 500));
                CHECK(writer.received() == "PUBCOMP(500)");
            }
            const int qos = std::min(from, to);
            CHECK(reader.received() ==
                  "PUBLISH(t,x,q" + std::to_string(qos) + (qos > 0 ? ",id1)" : ")"));
            CHECK(world.end() == 0);
        }
    }
}

// PUBACK, PUBCOMP and a PUBREC that refuses end the life of an identifier: what comes under it next
// is another message, DUP or not. A PUBREC that accepts does not.
TEST_CASE("5.0: an identifier is free after the last answer and not before",
          "[conformance][MQTT5-4.3.2-5][MQTT5-4.3.3-9][MQTT5-4.3.3-10][MQTT5-4.3.3-12]") {
    World world;
    auto& reader = reads(world, "r", "#", 0);
    auto& writer = world.client5({.client_id = "w"});
    const auto say = [&](const char* topic, const char* payload, int qos, bool dup) {
        writer.send(
            publish({.topic = topic, .payload = payload, .qos = qos, .packet_id = 7, .dup = dup}));
        return writer.received() + "|" + reader.received();
    };
    for (const bool dup : {false, true}) {
        CHECK(say("t", "a", 1, dup) == "PUBACK(7)|PUBLISH(t,a,q0)");
        CHECK(say("t", "b", 2, dup) == "PUBREC(7)|");
        CHECK(say("t", "b", 2, true) == "PUBREC(7)|");
        writer.send(ack(T::kPubrel, 7));
        CHECK(writer.received() + "|" + reader.received() == "PUBCOMP(7)|PUBLISH(t,b,q0)");
        CHECK(say("$SYS/x", "c", 2, dup) == "PUBREC(7,x87)|");
        CHECK(say("$SYS/x", "c", 2, dup) == "PUBREC(7,x87)|");
        CHECK(say("t", "d", 1, dup) == "PUBACK(7)|PUBLISH(t,d,q0)");
        CHECK(say("$SYS/x", "e", 2, dup) == "PUBREC(7,x87)|");
        CHECK(say("t", "f", 2, dup) == "PUBREC(7)|");
        writer.send(ack(T::kPubrel, 7));
        CHECK(writer.received() + "|" + reader.received() == "PUBCOMP(7)|PUBLISH(t,f,q0)");
    }
    CHECK(world.stats().inflight_in == 0);
    CHECK(world.end() == 0);
}

// What is sent is new at first, comes again only on a new connection and only as far as it is not
// acknowledged, each step of QoS 2 in its place.
TEST_CASE("5.0: what is sent stays open until its last answer",
          "[conformance][MQTT5-4.3.2-1][MQTT5-4.3.2-2][MQTT5-4.3.2-3][MQTT5-4.3.3-1]"
          "[MQTT5-4.3.3-2][MQTT5-4.3.3-3][MQTT5-4.3.3-4][MQTT5-4.3.3-5][MQTT5-4.3.3-6]"
          "[MQTT5-3.3.1-1][MQTT5-4.4.0-1]") {
    World world;
    auto* reader = &world.client5(durable("r"));
    reader->send(sub("t", 2));
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("t", "one", 1, 1) + pub("t", "two", 2, 2) + ack(T::kPubrel, 2));
    CHECK(reader->received() == "SUBACK(1,2) PUBLISH(t,one,q1,id1) PUBLISH(t,two,q2,id2)");
    const auto comes_back = [&] {
        reader->hang_up();
        world.advance(60'000);
        reader = &world.client5(durable("r"));
        const std::string words = reader->received();
        world.advance(60'000);
        CHECK(reader->received().empty());
        return words;
    };
    for (int i = 0; i < 2; ++i)
        CHECK(comes_back() == "PUBLISH(t,one,q1,id1,dup) PUBLISH(t,two,q2,id2,dup)");
    reader->send(ack(T::kPuback, 1));
    CHECK(comes_back() == "PUBLISH(t,two,q2,id2,dup)");
    reader->send(ack(T::kPubrec, 2));
    CHECK(reader->received() == "PUBREL(2)");
    for (int i = 0; i < 2; ++i)
        CHECK(comes_back() == "PUBREL(2)");
    reader->send(ack(T::kPubcomp, 2));
    CHECK(comes_back() == "");
    CHECK(world.end() == 0);
}

// Present and absent, at each QoS, by filters of every kind: nobody is left out.
TEST_CASE("5.0: a message goes into every session that matches",
          "[conformance][MQTT5-4.5.0-1][MQTT5-3.1.2-23]") {
    World world;
    const char* const filters[] = {"a/b", "a/+", "#", "+/b", "a/b/#"};
    for (const char* filter : filters) {
        for (const bool away : {false, true}) {
            const std::string id = filter + std::string(away ? " away" : "");
            auto& peer = world.client5(durable(id.c_str()));
            peer.send(sub(filter, 2));
            if (away) peer.hang_up();
        }
    }
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("a/b", "x", 1, 1) + pub("a/b", "y", 2, 2) + ack(T::kPubrel, 2));
    CHECK(writer.received() == "PUBACK(1) PUBREC(2) PUBCOMP(2)");
    for (const char* filter : filters) {
        for (const bool away : {false, true}) {
            const std::string id = filter + std::string(away ? " away" : "");
            CAPTURE(id);
            const std::string dup = away ? ")" : ",dup)";
            CHECK(world.client5(durable(id.c_str())).received() ==
                  "PUBLISH(a/b,x,q1,id1" + dup + " PUBLISH(a/b,y,q2,id2" + dup);
        }
    }
    CHECK(world.end() == 0);
}

// Numbers on three topics at three qualities from two publishers: each subscriber sees those of one
// publisher, topic and quality rise.
TEST_CASE("5.0: messages of a publisher, topic and QoS keep their order",
          "[conformance][MQTT5-4.6.0-5][MQTT5-4.6.0-6]") {
    BrokerOptions options = World::test_options();
    options.max_inflight_messages = 5;
    options.max_queued_messages = 0;
    World world(options);
    auto& exact = reads(world, "exact", "t/0");
    auto& wild = reads(world, "wild", "t/+");
    FakeConnection* writers[] = {&world.client5({.client_id = "0"}),
                                 &world.client5({.client_id = "1"})};
    std::map<std::string, int> last;
    int seen[3] = {};
    const auto take = [&](FakeConnection& reader, const std::string& who) {
        for (std::string output; !(output = reader.take_output()).empty(); world.settle()) {
            for (std::string_view rest = output; !rest.empty();) {
                const size_t size = packets::packet_size(rest);
                const std::string word = describe(rest.substr(0, size));
                rest.remove_prefix(size);
                if (word.starts_with("PUBREL")) {
                    reader.push(ack(T::kPubcomp, static_cast<uint16_t>(std::stoi(word.substr(7)))));
                    continue;
                }
                REQUIRE(word.starts_with("PUBLISH(t/"));  // PUBLISH(t/0,1:2345,q1,id6)
                const int qos = word[word.find(",q") + 2] - '0';
                const std::string key = who + word.substr(8, 6) + std::to_string(qos);
                const int value = std::stoi(word.substr(14));
                int& before = last.emplace(key, -1).first->second;
                REQUIRE(value > before);
                before = value;
                ++seen[qos];
                if (qos == 0) continue;
                const auto id = static_cast<uint16_t>(std::stoi(word.substr(word.find(",id") + 3)));
                reader.push(ack(qos == 1 ? T::kPuback : T::kPubrec, id));
            }
        }
    };
    constexpr int kCount = 3'600;
    for (int i = 0; i < kCount; ++i) {
        const int who = i / 9 % 2;
        const int qos = i / 3 % 3;
        writers[who]->push(pub(
            "t/" + std::to_string(i % 3), std::to_string(who) + ":" + std::to_string(i), qos, 1));
        if (qos == 2) writers[who]->push(ack(T::kPubrel, 1));
        if (i % 90 != 89) continue;
        world.settle();
        if (i % 180 == 179) take(exact, "exact");
        take(wild, "wild");
    }
    take(exact, "exact");
    CHECK(last.size() == 2 * 3 + 2 * 9);
    CHECK(seen[1] == kCount / 9 + kCount / 3);
    CHECK(seen[2] == kCount / 9 + kCount / 3);
    CHECK(world.stats().inflight_out == 0);
    CHECK(world.end() == 0);
}
