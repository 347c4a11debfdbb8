#include "support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

constexpr int kLevels = 12;

std::string deep_name() {
    std::string name = "a";
    for (int i = 1; i < kLevels; ++i)
        name += "/a";
    return name;
}

// A client with every filter of `a` and `+` over twelve levels: each matches deep_name(), and the
// trie has 2^13 nodes, every one of which the match comes through.
FakeConnection& hostile_client(World& world, const std::string& id, int qos = 0) {
    auto& client = world.client(id);
    for (uint32_t mask = 0; mask < 1u << kLevels;) {
        Filters filters;
        for (int n = 0; n < 256; ++n, ++mask) {
            std::string filter = deep_name();
            for (uint32_t i = 0; i < kLevels; ++i)
                if ((mask >> i & 1) != 0) filter[2 * i] = '+';
            filters.emplace_back(filter, qos);
        }
        client.send(subscribe(1, filters));
        client.take_output();
    }
    return client;
}

uint32_t count(const std::string& text, const std::string& word) {
    uint32_t n = 0;
    for (size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += word.size())
        ++n;
    return n;
}

uint32_t packets_in(const std::string& output) {
    uint32_t n = 0;
    for (size_t at = 0; at < output.size(); at += packet_size(output.substr(at, 300)))
        ++n;
    return n;
}

BrokerOptions small_turns() {
    BrokerOptions options = World::test_options();
    options.turn_units = 1'500;
    options.visit_units = 1'500;
    return options;
}

}  // namespace

// What one client subscribes to must not stall the others: a publish into a trie of thousands of
// nodes is a job of many turns, in which everybody else is served.
TEST_CASE("a hostile trie is walked within the units of many turns", "[wire][engine]") {
    World world(small_turns());
    auto& hostile = hostile_client(world, "hostile");
    auto& publisher = world.client("publisher");
    auto& other = world.client("other");
    publisher.push(publish({.topic = deep_name(), .payload = "m", .qos = 1, .packet_id = 1}) +
                   pingreq());
    world.turn();
    REQUIRE(publisher.stopped() == StopReason::kFanout);
    std::string got = publisher.received();
    uint32_t turns = 1;
    for (; got.find("PINGRESP") == std::string::npos && turns < 1'000; ++turns) {
        other.push(pingreq());
        world.turn();
        REQUIRE(other.received() == "PINGRESP");
        got += publisher.received();
    }
    REQUIRE(got == "PUBACK(1)PINGRESP");
    // 2^13 nodes at two units and 2^12 deliveries at one.
    REQUIRE(turns >= (2u * 8'192 - 4'096 + 4'096) / 1'500);
    REQUIRE(turns < 60);
    REQUIRE(packets_in(hostile.take_output()) == 1 << kLevels);
    REQUIRE(world.stats().fanout_jobs == 1);
    REQUIRE(world.end() == 0);
}

// The publisher's messages keep their order although each is a job, and so do those of others to
// the same topic.
TEST_CASE("messages through a hostile trie keep their order", "[wire][engine]") {
    World world(small_turns());
    auto& one = world.client("one");
    one.send(subscribe(1,
                       {
                           {"+/#", 1}
    }));
    one.take_output();
    hostile_client(world, "hostile");
    auto& first = world.client("first");
    auto& second = world.client("second");
    for (int i = 1; i <= 3; ++i) {
        const auto id = static_cast<uint16_t>(i);
        const std::string n = std::to_string(i);
        first.push(publish({.topic = deep_name(), .payload = "f" + n, .qos = 1, .packet_id = id}));
        second.push(publish({.topic = deep_name(), .payload = "s" + n}));
    }
    std::string got;
    for (int turn = 0; turn < 500; ++turn) {
        world.turn();
        got += one.received();
    }
    CAPTURE(got);
    REQUIRE(count(got, "PUBLISH") == 6);
    for (const char* who : {",f", ",s"}) {
        const size_t at1 = got.find(std::string(who) + "1");
        const size_t at2 = got.find(std::string(who) + "2");
        const size_t at3 = got.find(std::string(who) + "3");
        REQUIRE(at3 != std::string::npos);
        REQUIRE(at1 < at2);
        REQUIRE(at2 < at3);
    }
    world.settle();
    REQUIRE(world.end() == 0);
}

// The moment of a publish is when it came: who subscribes while the match goes on gets a retained
// message as such, once, wherever in the trie the filter lies; who leaves gets nothing more.
TEST_CASE("who subscribes while a match goes on gets the retained message once", "[wire][engine]") {
    for (uint32_t mask = 0; mask < 8; ++mask) {
        CAPTURE(mask);
        World world(small_turns());
        auto& hostile = hostile_client(world, "hostile");
        auto& publisher = world.client("publisher");
        auto& late = world.client("late");
        auto& leaver = world.client("leaver");
        std::string filter = deep_name();
        for (uint32_t i = 0; i < 3; ++i)
            if ((mask >> i & 1) != 0) filter[2 * i] = '+';
        leaver.send(subscribe(1,
                              {
                                  {filter, 0}
        }));
        leaver.take_output();
        publisher.push(publish(
            {.topic = deep_name(), .payload = "m", .qos = 1, .packet_id = 1, .retain = true}));
        world.turn();
        late.push(subscribe(1,
                            {
                                {filter,        0},
                                {filter + "/#", 1}
        }));
        leaver.push(unsubscribe(2, {filter}));
        hostile.push(unsubscribe(2, {filter}));
        world.settle();
        const std::string got = late.received();
        CAPTURE(got);
        REQUIRE(count(got, "PUBLISH") == 2);
        REQUIRE(count(got, ",retain") == 2);
        REQUIRE(count(leaver.received(), "PUBLISH") <= 1);
        REQUIRE(publisher.received() == "PUBACK(1)");
        REQUIRE(world.end() == 0);
    }
}

// Without duplicates each client gets one copy, however many portions the match comes in.
TEST_CASE("a match in portions gives one copy to each client if so configured", "[wire][engine]") {
    for (const bool cut : {true, false}) {
        CAPTURE(cut);
        BrokerOptions options = World::test_options();
        if (cut) options = small_turns();
        options.allow_duplicate_messages = false;
        World world(options);
        auto& hostile = hostile_client(world, "hostile", 1);
        auto& two = world.client("two");
        two.send(subscribe(
            1,
            {
                {deep_name(),                 0},
                {"+" + deep_name().substr(1), 0},
                {"a/#",                       1},
                {"+/#",                       0}
        }));
        two.take_output();
        auto& publisher = world.client("publisher");
        auto& noise = world.client("noise");
        publisher.push(publish({.topic = deep_name(), .payload = "m", .qos = 1, .packet_id = 1}));
        // Others' overlapping subscriptions are merged at once meanwhile.
        std::string got;
        for (int turn = 0; turn < 100; ++turn) {
            noise.push(publish({.topic = "a/x", .payload = "n"}));
            world.turn();
            got += two.received() + " ";
        }
        world.settle();
        got += two.received();
        REQUIRE(count(got, ",m,") == 1);
        REQUIRE(count(got, ",n,") == 100);
        REQUIRE(count(hostile.received(), ",m,") == 1);
        REQUIRE(publisher.received() == "PUBACK(1)");
        REQUIRE(world.end() == 0);
    }
}

// The publisher's connection may end in mid-match, and the broker, too.
TEST_CASE("a publisher that goes leaves its match running", "[wire][engine]") {
    for (const bool end_all : {false, true}) {
        World world(small_turns());
        auto& hostile = hostile_client(world, "hostile");
        Connect fields;
        fields.client_id = "publisher";
        fields.will_topic = deep_name();
        fields.will_payload = "will";
        auto& publisher = world.client(fields);
        publisher.push(publish({.topic = deep_name(), .payload = "m"}));
        world.turn();
        REQUIRE(publisher.stopped() == StopReason::kFanout);
        publisher.hang_up(Error::kReset);
        if (!end_all) {
            world.settle();
            const std::string got = hostile.received();
            REQUIRE(count(got, ",m,") == 1 << kLevels);
            REQUIRE(count(got, ",will,") == 1 << kLevels);
            REQUIRE(got.find(",will,") > got.rfind(",m,"));
        }
        REQUIRE(world.end() == 0);
    }
}

// Memory may be refused at any point: at QoS 1 the message is not acknowledged before it is in the
// broker's hands, and at QoS 0 it is delivered to all or dropped by name.
TEST_CASE("refusing any allocation of a long match loses nothing unnamed", "[wire][engine]") {
    bool refused = true;
    for (uint64_t n = 1; refused && n < 1000; n += n < 16 ? 1 : 7) {
        for (const int qos : {0, 1}) {
            CAPTURE(n, qos);
            World world(small_turns());
            auto& hostile = hostile_client(world, "hostile");
            auto& publisher = world.client("publisher");
            const uint64_t before = world.arena().refused();
            const uint64_t dropped = world.stats().dropped;
            world.arena().refuse_nth(n);
            publisher.push(
                publish({.topic = deep_name(), .payload = "m", .qos = qos, .packet_id = 1}));
            for (int i = 0; i < 10; ++i)
                world.advance(100);
            refused = world.arena().refused() > before;
            const uint32_t got = packets_in(hostile.take_output());
            if (world.stats().publish_received == 0) {
                REQUIRE(n == 1);  // what was refused is the room to read it into
            } else if (got == 0) {
                REQUIRE(qos == 0);
                REQUIRE(world.stats().dropped == dropped + 1);
            } else {
                REQUIRE(got + (world.stats().dropped - dropped) == 1 << kLevels);
            }
            // Or its answer was refused, which ends the link.
            if (qos == 1 && world.stats().publish_received > 0 && publisher.open()) {
                REQUIRE(publisher.received() == "PUBACK(1)");
            }
            REQUIRE(world.end() == 0);
        }
    }
    REQUIRE_FALSE(refused);
}
