// Runs and jobs of 5.0: many packets to many receivers of every kind, in slices.

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <string>
#include <vector>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

// A receiver and what it makes of the packets "t,<payload>" of a publisher.
struct Receiver {
    FakeConnection* peer = nullptr;
    std::string suffix;         // of every PUBLISH: "{sub=3}"
    size_t largest = SIZE_MAX;  // payload it takes
    bool aliased = false;       // the first comes with its topic, the others without
    bool old = false;           // 3.1.1
};

// One of every kind, some times over.
std::vector<Receiver> crowd(World& world, int times, const char* filter) {
    std::vector<Receiver> all;
    for (int i = 0; i < times; ++i) {
        const auto id = [&](const char* kind) { return kind + std::to_string(i); };
        const auto add = [&](FakeConnection& peer, const char* suffix = "") -> Receiver& {
            Receiver receiver;
            receiver.peer = &peer;
            receiver.suffix = suffix;
            return all.emplace_back(receiver);
        };
        const auto bytes = static_cast<uint32_t>(pub("t/x", std::string(25, 'x')).size());
        const std::string small = property(P::kMaximumPacketSize, bytes);
        const std::string aliases = property(P::kTopicAliasMaximum, 3);
        add(world.client(id("old"))).old = true;
        add(world.client5({.client_id = id("five")}));
        add(world.client5({.client_id = id("named")}), "{sub=3}");
        add(world.client5({.client_id = id("alias"), .properties = aliases}), "{alias=1}").aliased =
            true;
        add(world.client5({.client_id = id("small"), .properties = small})).largest = 25;
    }
    for (Receiver& each : all) {
        const bool named = each.suffix == "{sub=3}";
        each.peer->send(each.old ? sub3(filter, 0) : sub(filter, 0, named ? identifier(3) : ""));
        each.peer->take_output();
    }
    return all;
}

std::string heard(const Receiver& receiver, const std::vector<std::string>& payloads) {
    std::string words;
    bool first = true;
    for (const std::string& payload : payloads) {
        if (payload.size() > receiver.largest) continue;
        const std::string topic = receiver.aliased && !first ? "" : "t/x";
        first = false;
        words += (words.empty() ? "" : " ") + ("PUBLISH(" + topic + "," + payload + ",q0)") +
                 receiver.suffix;
    }
    return words;
}

}  // namespace

// The same conversation with fan-outs at once and as jobs, in one piece and cut: every receiver
// gets what it would get alone.
TEST_CASE("a run reaches receivers of every kind, at once or as a job",
          "[wire][v5][MQTT5-3.3.4-3][MQTT5-3.1.2-25]") {
    const std::vector<std::string> payloads{
        "a", std::string(30, 'b'), "c", std::string(25, 'd'), std::string(26, 'e'), ""};
    for (const uint32_t slice : {4'096u, 7u, 1u}) {
        for (const uint32_t cut : {0u, 11u}) {
            for (const char* filter : {"t/x", "t/+"}) {
                INFO("slice " << slice << " cut " << cut << " filter " << filter);
                BrokerOptions options = World::test_options();
                options.fanout_slice = slice;
                World world(options);
                std::vector<Receiver> all = crowd(world, 8, filter);
                world.set_cut(cut);
                auto& five = world.client5({.client_id = "w5"});
                auto& three = world.client("w3");
                std::string run5;
                std::string run3;
                for (const std::string& payload : payloads) {
                    run5 += pub("t/x", payload);
                    run3 += packets::publish({.topic = "t/x", .payload = payload});
                }
                five.send(run5);
                for (Receiver& each : all)
                    CHECK(each.peer->received() == heard(each, payloads));
                three.send(run3);
                for (Receiver& each : all) {
                    const std::string words = each.peer->received();
                    std::string wanted = heard(each, payloads);
                    if (each.aliased) wanted.erase(wanted.find("t/x"), 3);
                    CHECK(words == wanted);
                }
                CHECK(world.stats().drops[static_cast<uint32_t>(Drop::kReceiverSize)] == 8 * 2 * 2);
                CHECK((world.stats().fanout_jobs > 0) == (slice < 40));
                CHECK(world.end() == 0);
            }
        }
    }
}

// Properties of each packet in a run stay with it, whoever gets it.
TEST_CASE("the properties of each packet in a run stay its own", "[wire][v5][MQTT5-3.3.2-18]") {
    for (const uint32_t slice : {4'096u, 3u}) {
        BrokerOptions options = World::test_options();
        options.fanout_slice = slice;
        World world(options);
        std::vector<Receiver> all = crowd(world, 2, "t/x");
        auto& writer = world.client5({.client_id = "w"});
        writer.send(pub("t/x", "a", user("n", "1")) + pub("t/x", "b") +
                    pub("t/x", "c", user("n", "3") + property(P::kResponseTopic, "r")) +
                    pub("t/x", "d", expiry(9)) + pub("t/x", "e", alias(2) + user("n", "5")) +
                    pub("", "f", alias(2)));
        const auto properties = [](const Receiver& each, const std::string& own) {
            if (each.suffix.empty()) return own.empty() ? "" : "{" + own + "}";
            return each.suffix.substr(0, each.suffix.size() - 1) + (own.empty() ? "" : ",") + own +
                   "}";
        };
        for (const Receiver& each : all) {
            const std::string words = each.peer->received();
            if (each.old) {
                CHECK(words ==
                      "PUBLISH(t/x,a,q0) PUBLISH(t/x,b,q0) PUBLISH(t/x,c,q0) "
                      "PUBLISH(t/x,d,q0) PUBLISH(t/x,e,q0) PUBLISH(t/x,f,q0)");
                continue;
            }
            const std::string topic = each.aliased ? "" : "t/x";
            CHECK(words == "PUBLISH(t/x,a,q0)" + properties(each, "user=n:1") + " PUBLISH(" +
                               topic + ",b,q0)" + properties(each, "") + " PUBLISH(" + topic +
                               ",c,q0)" + properties(each, "user=n:3,response=r") + " PUBLISH(" +
                               topic + ",d,q0)" + properties(each, "expiry=9") + " PUBLISH(" +
                               topic + ",e,q0)" + properties(each, "user=n:5") + " PUBLISH(" +
                               topic + ",f,q0)" + properties(each, ""));
        }
        CHECK(world.end() == 0);
    }
}

// A packet in the middle of a run that is wrong ends the link; those before it are passed on.
TEST_CASE("a bad packet ends a run, and what was before it is passed on", "[wire][v5]") {
    World world;
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("#", 0));
    reader.take_output();
    const std::string good = pub("t", "a", user("k", "v")) + pub("t", "b", user("k", "v"));
    const std::string format = property(P::kPayloadFormatIndicator, 1);
    const std::map<std::string, std::string> rows{
        {pub("t", "x", std::string("\x7f\x01", 2)), "x81"},
        {pub("t",       "x",    identifier(3)),                 "x82"  },
        {pub("t",       "x",    alias(11)),                 "x94"    },
        {pub("",       "x"),     "x82"                },
        {pub("t", "x", format + format),       "x82"      },
    };
    for (const auto& [bad, code] : rows) {
        auto& writer = world.client5({.client_id = "w"});
        writer.send(good + bad + good);
        CHECK(reader.received() == "PUBLISH(t,a,q0){user=k:v} PUBLISH(t,b,q0){user=k:v}");
        CHECK(writer.received().starts_with("DISCONNECT(" + code));
    }
    CHECK(world.end() == 0);
}

// A fan-out that goes on over many turns: options of each subscription, counted QoS, one's own
// messages, and RETAIN as it was.
TEST_CASE("a job honours every option of its receivers",
          "[wire][v5][MQTT5-3.8.3-3][MQTT5-3.3.1-13][MQTT5-3.3.4-4]") {
    for (const bool merged : {false, true}) {
        for (const int qos : {0, 1, 2}) {
            INFO("merged " << merged << " qos " << qos);
            BrokerOptions options = World::test_options();
            options.allow_duplicate_messages = !merged;
            options.fanout_slice = 2;
            World world(options);
            std::deque<FakeConnection*> exact;
            for (int i = 0; i < 10; ++i) {
                exact.push_back(&world.client5({.client_id = "e" + std::to_string(i)}));
                exact.back()->send(sub("t/x", qos | kRetainAsPublished, identifier(5)));
                exact.back()->send(sub("t/+", 0, identifier(6)));
                exact.back()->take_output();
            }
            auto& writer = world.client5({.client_id = "w"});
            writer.send(sub("t/#", 2 | kNoLocal));
            writer.send(sub("t/x", 2 | kNoLocal, identifier(7)));
            writer.take_output();
            writer.send(publish({.topic = "t/x",
                                 .payload = "m",
                                 .qos = qos,
                                 .packet_id = static_cast<uint16_t>(qos),
                                 .properties = expiry(60) + user("k", "v"),
                                 .retain = true}));
            if (qos == 2) writer.send(ack(PacketType::kPubrel, 2));
            const std::string id = qos == 0 ? "" : ",id1";
            const std::string q = std::to_string(qos);
            const std::string more = ",expiry=60,user=k:v}";
            const std::string first = "PUBLISH(t/x,m,q" + q + id + ",retain){sub=5" + more;
            const std::string both = "PUBLISH(t/x,m,q" + q + id + ",retain){sub=5,sub=6" + more;
            const std::string second = "PUBLISH(t/x,m,q0){sub=6" + more;
            for (FakeConnection* each : exact) {
                const std::string words = each->received();
                if (merged) {
                    CHECK(words == both);
                } else {
                    CHECK(words == first + " " + second);
                }
            }
            const std::string told = writer.received();
            CHECK(told.find("PUBLISH") == std::string::npos);
            CHECK(world.stats().fanout_jobs == 1);
            CHECK(world.stats().drops[static_cast<uint32_t>(Drop::kNoLocal)] == 2);
            CHECK(world.end() == 0);
        }
    }
}

// Whoever changes its subscription while a job hands out a message gets it once or not at all, and
// the publisher waits until all are served.
TEST_CASE("a job is not confused by who subscribes anew meanwhile", "[wire][v5][MQTT5-3.8.4-3]") {
    BrokerOptions options = World::test_options();
    options.fanout_slice = 1;
    options.allow_duplicate_messages = false;
    World world(options);
    std::deque<FakeConnection*> peers;
    for (int i = 0; i < 40; ++i) {
        peers.push_back(&world.client5({.client_id = "p" + std::to_string(i)}));
        peers.back()->send(sub("t", 0, identifier(1)));
        peers.back()->send(sub("+", 0, identifier(2)));
        peers.back()->take_output();
    }
    auto& writer = world.client5({.client_id = "w"});
    writer.push(pub("t", "one") + pub("t", "two") + pub("u", "three"));
    for (int step = 0; step < 20; ++step) {
        world.turn();
        FakeConnection& peer = *peers[static_cast<size_t>(step * 2)];
        if (step % 3 == 0) peer.push(sub("t", 0, identifier(9)));
        if (step % 3 == 1) peer.push(unsubscribe(3, {"t"}));
        if (step % 3 == 2) peer.push(unsubscribe(3, {"t", "+"}));
    }
    world.settle();
    for (size_t i = 0; i < peers.size(); ++i) {
        std::string words = peers[i]->received();
        const auto count = [&](const char* what) {
            int found = 0;
            for (size_t at = words.find(what); at != std::string::npos;
                 at = words.find(what, at + 1))
                ++found;
            return found;
        };
        INFO(i << ": " << words);
        CHECK(count("(t,one,") <= 1);
        CHECK(count("(t,two,") <= 1);
        const bool left = i % 2 == 0 && (i / 2) % 3 == 2;
        if (!left) {
            CHECK(count("(t,one,") == 1);
            CHECK(count("(u,three,q0){sub=2}") == 1);
        }
    }
    CHECK(world.end() == 0);
}

// A publisher that goes while its message is handed out: No Local still knows who it was.
TEST_CASE("a job outlives its publisher", "[wire][v5][MQTT5-3.8.3-3]") {
    BrokerOptions options = World::test_options();
    options.fanout_slice = 1;
    World world(options);
    const Connect durable{
        .client_id = "w", .clean = false, .properties = property(P::kSessionExpiryInterval, 100)};
    std::deque<FakeConnection*> peers;
    for (int i = 0; i < 30; ++i) {
        peers.push_back(&world.client5({.client_id = "p" + std::to_string(i)}));
        peers.back()->send(sub("t", 1, identifier(1)));
        peers.back()->take_output();
    }
    auto& writer = world.client5(durable);
    writer.send(sub("t", 1 | kNoLocal));
    writer.push(pub("t", "x", 1, 1, alias(1) + user("k", "v")));
    world.turn();
    writer.hang_up();
    auto& back = world.client5(durable);
    CHECK(back.received().empty());
    for (FakeConnection* each : peers)
        CHECK(each->received() == "PUBLISH(t,x,q1,id1){sub=1,user=k:v}");
    CHECK(world.end() == 0);
}
