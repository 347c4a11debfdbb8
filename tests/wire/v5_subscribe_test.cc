// Subscriptions of 5.0: identifiers, options, reason codes, limits.

#include "support/words5.h"
#include "support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

BrokerOptions merging() {
    BrokerOptions options = World::test_options();
    options.allow_duplicate_messages = false;
    return options;
}

}  // namespace

// One copy per subscription, each with the identifier of its own; a subscription without one gives
// a copy without one.
TEST_CASE("overlapping subscriptions give copies with an identifier each",
          "[wire][v5][MQTT5-3.3.4-3][MQTT5-3.3.4-5]") {
    World world;
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("a/b", 1, identifier(1)));
    reader.send(sub("a/+", 2, identifier(268'435'455)));
    reader.send(sub("#", 0));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("a/b", "x", 2, 1));
    writer.send(ack(PacketType::kPubrel, 1));
    CHECK(reader.received() ==
          "PUBLISH(a/b,x,q1,id1){sub=1} PUBLISH(a/b,x,q0) PUBLISH(a/b,x,q2,id2){sub=268435455}");
    writer.send(pub("a/b", "y") + pub("a/b", "z"));
    CHECK(reader.received() ==
          "PUBLISH(a/b,y,q0){sub=1} PUBLISH(a/b,z,q0){sub=1} PUBLISH(a/b,y,q0) PUBLISH(a/b,z,q0) "
          "PUBLISH(a/b,y,q0){sub=268435455} PUBLISH(a/b,z,q0){sub=268435455}");
    CHECK(world.end() == 0);
}

// One copy for all: the highest QoS, every identifier, RETAIN if any wants it as it was.
TEST_CASE("merged subscriptions give one copy with all identifiers",
          "[wire][v5][MQTT5-3.3.4-2][MQTT5-3.3.4-4]") {
    World world(merging());
    auto& reader = world.client5({.client_id = "r"});
    auto& old = world.client("old");
    reader.send(sub("a/b", 1, identifier(1)));
    reader.send(sub("a/+", 2, identifier(300)));
    reader.send(sub("#", 0 | kRetainAsPublished));
    reader.send(sub("elsewhere", 2, identifier(5)));
    reader.take_output();
    for (const char* filter : {"a/b", "a/+"}) {
        old.send(sub3(filter, filter[2] == 'b' ? 0 : 1));
        old.take_output();
    }
    auto& writer = world.client5({.client_id = "w"});
    writer.send(
        publish({.topic = "a/b", .payload = "x", .qos = 2, .packet_id = 1, .retain = true}));
    writer.send(ack(PacketType::kPubrel, 1));
    const std::string words = reader.received();
    CHECK((words == "PUBLISH(a/b,x,q2,id1,retain){sub=1,sub=300}" ||
           words == "PUBLISH(a/b,x,q2,id1,retain){sub=300,sub=1}"));
    CHECK(old.received() == "PUBLISH(a/b,x,q1,id1)");
    writer.send(pub("a/b", "y") + pub("a/b", "z"));
    CHECK(reader.received().size() ==
          std::string("PUBLISH(a/b,y,q0){sub=1,sub=300} PUBLISH(a/b,z,q0){sub=1,sub=300}").size());
    writer.send(pub("c", "only one matches"));
    CHECK(reader.received() == "PUBLISH(c,only one matches,q0)");
    CHECK(world.end() == 0);
}

// A thousand filters that match one topic, and none of their identifiers is left out.
TEST_CASE("a copy carries the identifiers of a thousand subscriptions",
          "[wire][v5][MQTT5-3.3.4-4]") {
    World world(merging());
    auto& reader = world.client5({.client_id = "r"});
    // Every pattern of levels that matches one topic of ten; a thousand of them.
    const int levels = 10;
    std::string topic;
    for (int i = 0; i < levels; ++i)
        topic += i == 0 ? "x" : "/x";
    uint32_t subscribed = 0;
    for (uint32_t pattern = 0; pattern < 1'000; ++pattern) {
        std::string filter;
        for (int i = 0; i < levels; ++i)
            filter += std::string(i == 0 ? "" : "/") + ((pattern >> i & 1) != 0 ? "+" : "x");
        reader.push(sub(filter, 0, identifier(268'000'000 + pattern)));
        ++subscribed;
    }
    world.settle();
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub(topic, "p"));
    const std::string words = reader.received();
    std::set<std::string> seen;
    for (size_t at = words.find("sub="); at != std::string::npos; at = words.find("sub=", at + 1))
        CHECK(seen.insert(words.substr(at + 4, 9)).second);
    CHECK(seen.size() == subscribed);
    CHECK(world.end() == 0);
}

// The same filter again: another identifier, or none, and other options replace what was there.
TEST_CASE("subscribing again replaces identifier and options", "[wire][v5][MQTT5-3.8.4-3]") {
    World world;
    auto& reader = world.client5({.client_id = "r"});
    auto& writer = world.client5({.client_id = "w"});
    const auto next = [&](const std::string& subscribe_packet) {
        reader.send(subscribe_packet);
        reader.take_output();
        writer.send(keep("t", "x"));
        return reader.received();
    };
    CHECK(next(sub("t", 0, identifier(1))) == "PUBLISH(t,x,q0){sub=1}");
    CHECK(next(sub("t", kRetainAsPublished, identifier(2))) == "PUBLISH(t,x,q0,retain){sub=2}");
    CHECK(next(sub("t", 0)) == "PUBLISH(t,x,q0)");
    CHECK(next(sub("t", kRetainAsPublished)) == "PUBLISH(t,x,q0,retain)");
    CHECK(next(sub("t", 1, identifier(4))) == "PUBLISH(t,x,q0){sub=4}");
    writer.send(pub("t", "y", 1, 1));
    CHECK(reader.received() == "PUBLISH(t,y,q1,id1){sub=4}");
    // One SUBSCRIBE, one identifier, all its filters.
    reader.send(subscribe(9,
                          Filters{
                              {"u",   0},
                              {"v/#", 0}
    },
                          identifier(77)));
    CHECK(reader.received() == "SUBACK(9,0,0)");
    writer.send(pub("u", "") + pub("v", "") + pub("v/w", ""));
    CHECK(reader.received() ==
          "PUBLISH(u,,q0){sub=77} PUBLISH(v,,q0){sub=77} PUBLISH(v/w,,q0){sub=77}");
    CHECK(world.end() == 0);
}

// The identifier belongs to the delivery: a queue, a window and a reconnect keep it, also when the
// subscription has another one by now, or is gone.
TEST_CASE("identifiers wait and are repeated with their messages",
          "[wire][v5][MQTT5-3.3.4-3][MQTT5-3.10.4-3]") {
    BrokerOptions options = World::test_options();
    options.max_inflight_messages = 2;
    World world(options);
    auto& reader = world.client5(durable("r"));
    reader.send(sub("t", 2, identifier(5)));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    for (const char* payload : {"a", "b", "c", "d"})
        writer.send(pub("t", payload, 1, 1));
    CHECK(reader.received() == "PUBLISH(t,a,q1,id1){sub=5} PUBLISH(t,b,q1,id2){sub=5}");
    reader.send(sub("t", 2, identifier(6)));
    reader.take_output();
    writer.send(pub("t", "e", 1, 1));
    reader.send(unsubscribe(2, {"t"}));
    reader.take_output();
    reader.hang_up();
    auto& back = world.client5(durable("r"));
    CHECK(back.received() == "PUBLISH(t,a,q1,id1,dup){sub=5} PUBLISH(t,b,q1,id2,dup){sub=5}");
    back.send(ack(PacketType::kPuback, 1) + ack(PacketType::kPuback, 2));
    CHECK(back.received() == "PUBLISH(t,c,q1,id3){sub=5} PUBLISH(t,d,q1,id4){sub=5}");
    back.send(ack(PacketType::kPuback, 3));
    CHECK(back.received() == "PUBLISH(t,e,q1,id5){sub=6}");
    CHECK(world.end() == 0);
}

// A durable 5.0 session taken up by a 3.1.1 client: its identifiers and options stay, the words for
// them do not exist there.
TEST_CASE("identifiers are nothing to a 3.1.1 client on the same session", "[wire][v5]") {
    World world;
    auto& reader = world.client5(durable("r"));
    reader.send(sub("t", 1, identifier(5)));
    reader.hang_up();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("t", "a", 1, 1, user("k", "v")));
    auto& old = world.client("r", false);
    CHECK(old.received() == "PUBLISH(t,a,q1,id1)");
    writer.send(pub("t", "b", user("k", "v")) + pub("t", "c"));
    CHECK(old.received() == "PUBLISH(t,b,q0) PUBLISH(t,c,q0)");
    old.hang_up();
    auto& back = world.client5(durable("r"));
    CHECK(back.received() == "PUBLISH(t,a,q1,id1,dup){sub=5,user=k:v}");
    writer.send(pub("t", "d"));
    CHECK(back.received() == "PUBLISH(t,d,q0){sub=5}");
    CHECK(world.end() == 0);
}

// One's own messages stay away: alone, in a run, merged, as a will, through QoS 2, and each is
// counted once.
TEST_CASE("no local keeps away one's own messages and no others", "[wire][v5][MQTT5-3.8.3-3]") {
    for (const bool merged : {false, true}) {
        BrokerOptions options = World::test_options();
        options.allow_duplicate_messages = !merged;
        World world(options);
        const auto own = [&] { return world.stats().drops[static_cast<uint32_t>(Drop::kNoLocal)]; };
        auto& self = world.client5({.client_id = "self"});
        auto& other = world.client5({.client_id = "other"});
        self.send(sub("t/#", 2 | kNoLocal, identifier(3)));
        self.take_output();
        self.send(pub("t/1", "a") + pub("t/1", "b") + pub("t/1", "c"));
        CHECK(self.received().empty());
        CHECK(own() == 3);
        self.send(pub("t/1", "d", 1, 1) + pub("t/1", "e", 2, 2) + keep("t/r", "f"));
        self.send(ack(PacketType::kPubrel, 2));
        CHECK(self.received() == "PUBACK(1) PUBREC(2) PUBCOMP(2)");
        CHECK(own() == 6);
        other.send(pub("t/1", "g") + pub("t/1", "h", 1, 1));
        CHECK(self.received() == "PUBLISH(t/1,g,q0){sub=3} PUBLISH(t/1,h,q1,id1){sub=3}");
        // A subscription beside it that does not mind.
        self.send(sub("t/+", 1, identifier(4)));
        self.take_output();
        self.send(pub("t/1", "i", 1, 1));
        CHECK(self.received() == "PUBLISH(t/1,i,q1,id2){sub=4} PUBACK(1)");
        CHECK(own() == 7);
        self.send(sub("t/+", 1));
        self.take_output();
        other.send(pub("t/1", "j"));
        CHECK(self.received() ==
              (merged ? "PUBLISH(t/1,j,q0){sub=3}" : "PUBLISH(t/1,j,q0){sub=3} PUBLISH(t/1,j,q0)"));
        // What is kept is not "its own" when it comes out of the store.
        self.send(sub("t/r", kNoLocal));
        CHECK(self.received() == "SUBACK(1,0) PUBLISH(t/r,f,q0,retain)");
        CHECK(world.end() == 0);
    }
}

TEST_CASE("no local keeps away one's own will", "[wire][v5][MQTT5-3.8.3-3]") {
    World world;
    Connect fields = durable("self");
    fields.will_topic = "w";
    fields.will_payload = "gone";
    fields.will_qos = 1;
    auto& self = world.client5(fields);
    auto& other = world.client5({.client_id = "other"});
    self.send(sub("w", 1 | kNoLocal));
    other.send(sub("w", 1 | kNoLocal));
    other.take_output();
    self.hang_up();
    CHECK(other.received() == "PUBLISH(w,gone,q1,id1)");
    auto& back = world.client5(durable("self"));
    CHECK(back.received().empty());
    CHECK(world.end() == 0);
}

// A connection with the same client id, later or under another version, is the same to No Local.
TEST_CASE("no local goes by the client, not by the connection", "[wire][v5][MQTT5-3.8.3-3]") {
    World world;
    auto& first = world.client5(durable("self"));
    first.send(sub("t", kNoLocal));
    first.hang_up();
    auto& again = world.client5(durable("self"));
    again.send(pub("t", "x"));
    CHECK(again.received().empty());
    again.hang_up();
    auto& old = world.client("self", false);
    old.send(packets::publish({.topic = "t", .payload = "x"}));
    CHECK(old.take_output().empty());
    CHECK(world.end() == 0);
}

// RETAIN towards those who are there: 0, unless they asked to get it as it was published.
TEST_CASE("retain as published is about messages as they come",
          "[wire][v5][MQTT5-3.3.1-12][MQTT5-3.3.1-13]") {
    World world;
    auto& plain = world.client5({.client_id = "plain"});
    auto& exact = world.client5({.client_id = "exact"});
    auto& old = world.client("old");
    plain.send(sub("t", 1));
    exact.send(sub("t", 1 | kRetainAsPublished));
    old.send(sub3("t", 1));
    for (auto* each : {&plain, &exact, &old})
        each->take_output();
    auto& writer = world.client5({.client_id = "w"});
    for (const bool retain : {false, true}) {
        for (const int qos : {0, 1}) {
            for (const std::string& payload :
                 {std::string("x"), std::string(3'000, 'x'), std::string()}) {
                writer.send(publish({.topic = "t",
                                     .payload = payload,
                                     .qos = qos,
                                     .packet_id = static_cast<uint16_t>(qos),
                                     .retain = retain}));
                const bool kept = exact.received().find(",retain)") != std::string::npos;
                CHECK(kept == retain);
                CHECK(plain.received().find("retain") == std::string::npos);
                CHECK(old.received().find("retain") == std::string::npos);
            }
        }
    }
    CHECK(world.end() == 0);
}

// What a filter is refused for, each by its own code, and the others of the packet go on.
TEST_CASE("each filter gets the code it deserves",
          "[wire][v5][MQTT5-3.9.3-1][MQTT5-3.9.3-2][MQTT5-3.11.3-1][MQTT5-3.10.4-5]"
          "[MQTT5-3.8.4-7][MQTT5-3.11.3-2][MQTT5-3.8.3-2]") {
    BrokerOptions options = World::test_options();
    options.wildcard_available = false;
    options.subscription_ids_available = false;
    options.max_topic_len = 10;
    options.max_topic_levels = 3;
    options.listener.max_qos = 1;
    World world(options);
    auto& peer = world.connection();
    peer.speak_v5();
    peer.send(connect({.client_id = "c"}));
    CHECK(peer.received() == "CONNACK(0){max-qos=1,wildcard=0,ids=0}");
    peer.send(subscribe(1,
                        Filters{
                            {"a",           0},
                            {"a/#",         0},
                            {"b",           1},
                            {"+",           2},
                            {"0123456789",  2},
                            {"0123456789a", 0},
                            {"a/b/c",       0},
                            {"a/b/c/d",     0}
    }));
    CHECK(peer.received() == "SUBACK(1,0,xa2,1,xa2,1,x8f,0,x8f)");
    peer.send(sub("a", 0, identifier(1)));
    CHECK(peer.received() == "SUBACK(1,xa1)");
    peer.send(unsubscribe(2, {"a", "x", "a/#", "b", "a"}));
    CHECK(peer.received() == "UNSUBACK(2,0,x11,x11,0,x11)");
    auto& old = world.client("old");
    const packets::Filters both{
        {"a",   0},
        {"a/#", 0}
    };
    old.send(packets::subscribe(1, both));
    CHECK(old.received() == "SUBACK(1,0,128)");
    CHECK(world.end() == 0);
}

TEST_CASE("a filter that is none ends the link with the code for it",
          "[wire][v5][MQTT5-3.8.3-1][MQTT5-3.8.3-2][MQTT5-3.8.3-5][MQTT5-3.8.1-1]"
          "[MQTT5-3.10.1-1][MQTT5-3.10.3-1][MQTT5-3.10.3-2][MQTT5-3.8.3-4]") {
    World world;
    const auto verdict = [&](const std::string& packet) {
        auto& peer = world.client5({.client_id = "c"});
        peer.send(packet);
        return head(peer.received());
    };
    CHECK(verdict(sub("a/#/b", 0)) == "DISCONNECT(x8f)");
    CHECK(verdict(sub("", 0)) == "DISCONNECT(x8f)");
    CHECK(verdict(unsubscribe(1, {"a+"})) == "DISCONNECT(x8f)");
    CHECK(verdict(sub("\xff", 0)) == "DISCONNECT(x81)");
    CHECK(verdict(unsubscribe(1, {"\xff"})) == "DISCONNECT(x81)");
    CHECK(verdict(sub("a", 3)) == "DISCONNECT(x82)");
    CHECK(verdict(sub("a", 0x30)) == "DISCONNECT(x82)");
    CHECK(verdict(sub("a", 0x40)) == "DISCONNECT(x81)");
    CHECK(verdict(sub("a", 0x80)) == "DISCONNECT(x81)");
    CHECK(verdict(sub("a", 2 | kNoLocal | kRetainAsPublished | kRetainNever)) == "SUBACK(1,2)");
    CHECK(verdict(sub("$share/g/a", 1 | kNoLocal)) == "DISCONNECT(x82)");
    CHECK(verdict(packets::raw(0x80, sub("a", 0).substr(2))) == "DISCONNECT(x81)");
    CHECK(verdict(packets::raw(0xa0, unsubscribe(1, {"a"}).substr(2))) == "DISCONNECT(x81)");
    CHECK(verdict(subscribe(0,
                            Filters{
                                {"a", 0}
    })) == "DISCONNECT(x82)");
    CHECK(verdict(sub("a", 0, identifier(1) + identifier(2))) == "DISCONNECT(x82)");
    CHECK(world.end() == 0);
}

TEST_CASE("a session has as many subscriptions as it may", "[wire][v5][MQTT5-3.9.3-2]") {
    BrokerOptions options = World::test_options();
    options.max_subscriptions = 3;
    World world(options);
    auto& peer = world.client5({.client_id = "c"});
    peer.send(subscribe(1,
                        Filters{
                            {"a", 0},
                            {"b", 0}
    }));
    CHECK(peer.received() == "SUBACK(1,0,0)");
    peer.send(subscribe(2,
                        Filters{
                            {"c", 1},
                            {"d", 1},
                            {"a", 1}
    }));
    CHECK(peer.received() == "SUBACK(2,1,x97,1)");  // one that is there may be replaced
    peer.send(unsubscribe(3, {"b"}));
    peer.send(subscribe(4,
                        Filters{
                            {"d", 2},
                            {"e", 2}
    }));
    CHECK(peer.received() == "UNSUBACK(3,0) SUBACK(4,2,x97)");
    auto& old = world.client("old");
    const packets::Filters four{
        {"a", 0},
        {"b", 0},
        {"c", 0},
        {"d", 0}
    };
    old.send(packets::subscribe(1, four));
    CHECK(old.received() == "SUBACK(1,0,0,0,128)");
    CHECK(world.end() == 0);
}

// Thousands of filters in one packet are taken in slices, and every one is answered in its place.
TEST_CASE("very many filters get very many codes",
          "[wire][v5][MQTT5-3.8.4-5][MQTT5-3.10.4-6][MQTT5-3.11.3-1][MQTT5-3.8.4-6]") {
    for (const uint32_t cut : {0u, 1'000u}) {
        World world;
        world.set_cut(cut);
        auto& peer = world.client5({.client_id = "c"});
        Filters filters;
        std::vector<std::string> names;
        std::string granted;
        std::string gone;
        for (int i = 0; i < 3'000; ++i) {
            filters.emplace_back("f/" + std::to_string(i), i % 3);
            granted += "," + std::to_string(i % 3);
            names.push_back("f/" + std::to_string(i * 2));
            gone += i * 2 < 3'000 ? ",0" : ",x11";
        }
        peer.send(subscribe(1, filters, identifier(7)));
        CHECK(peer.received() == "SUBACK(1" + granted + ")");
        peer.send(unsubscribe(2, names));
        CHECK(peer.received() == "UNSUBACK(2" + gone + ")");
        CHECK(world.end() == 0);
    }
}

// As many filters as fit the largest packet there may be.
TEST_CASE("an UNSUBSCRIBE of half a million filters is answered for each",
          "[wire][v5][MQTT5-3.10.4-6]") {
    World world;
    auto& peer = world.client5({.client_id = "c"});
    peer.send(sub("b", 0));
    peer.take_output();
    std::vector<std::string> names(500'000, "a");
    names[250'000] = "b";
    peer.send(unsubscribe(2, names));
    const std::string got = peer.take_output();
    REQUIRE(got.size() == 500'000 + 1 + 3 + 2 + 1);
    CHECK(std::count(got.end() - 500'000, got.end(), '\x11') == 499'999);
    CHECK(got[got.size() - 250'000] == '\0');
    CHECK(world.end() == 0);
}
