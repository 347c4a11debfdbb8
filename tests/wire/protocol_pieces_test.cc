// The same bytes give the same conversation, however they are cut and however work is sliced.

#include "support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

struct Step {
    int who;
    std::string bytes;
};

// A long conversation of four clients that meets every packet, long and short, right and (at its
// end) wrong. Nobody subscribes to what he publishes himself, so that the order in each client's
// output does not depend on when a wide publish is done.
std::vector<Step> script() {
    std::vector<Step> steps;
    const auto say = [&](int who, const std::string& bytes) { steps.push_back({who, bytes}); };
    say(0,
        connect({.client_id = "zero", .will_topic = "will", .will_payload = "bye", .will_qos = 1}));
    say(1,
        connect("one", false) + subscribe(1,
                                          {
                                              {"a/+",   2},
                                              {"will",  1},
                                              {"big/#", 1}
    }));
    say(2,
        connect({
            .client_id = "two", .level = 3
    }) +
            subscribe(9, {{"a/1", 0}, {"a/#", 1}}));
    say(3,
        connect("three") + subscribe(2,
                                     {
                                         {"#", 0}
    }));
    Filters filters;
    for (int i = 0; i < 700; ++i)
        filters.push_back({"f/" + std::to_string(i), i % 3});
    say(1, subscribe(2, filters));
    for (uint16_t i = 1; i <= 40; ++i) {
        const int qos = i % 3;
        say(0,
            publish({.topic = "a/" + std::to_string(i % 4),
                     .payload = std::to_string(i),
                     .qos = qos,
                     .packet_id = i,
                     .retain = i % 5 == 0}));
        if (qos == 2) say(0, pubrel(i));
        if (i % 4 == 0) say(0, pingreq() + publish({.topic = "f/" + std::to_string(i)}));
    }
    std::string burst;
    for (int i = 0; i < 100; ++i)
        burst += publish({.topic = "a/9", .payload = std::to_string(i)});
    say(0, burst);
    for (const size_t size : {100u, 127u, 128u, 2'000u, 20'000u, 70'000u}) {
        say(0,
            publish({.topic = "big/" + std::to_string(size),
                     .payload = std::string(size, 'b'),
                     .qos = 1,
                     .packet_id = 77,
                     .retain = true}));
    }
    for (uint16_t id = 1; id <= 20; ++id) {
        say(1, id % 2 == 0 ? pubrec(id) + pubcomp(id) : puback(id));
    }
    say(3,
        subscribe(5,
                  {
                      {"big/+", 0}
    }));
    say(3, unsubscribe(6, {"#", "none"}));
    say(2, unsubscribe(10, {"a/1"}) + pingreq() + disconnect());
    say(0, publish({.topic = "a/last", .payload = "1"}) + raw(0xf0, "wrong"));
    return steps;
}

std::string converse(const BrokerOptions& options, uint32_t cut) {
    World world(options);
    world.set_cut(cut);
    FakeConnection* clients[4] = {};
    for (FakeConnection*& client : clients)
        client = &world.connection();
    for (const Step& step : script())
        clients[step.who]->send(step.bytes);
    std::string all;
    for (FakeConnection* client : clients) {
        all += client->received() + (client->open() ? "\nopen\n" : "\nclosed\n");
    }
    REQUIRE(world.end() == 0);
    return all;
}

// Shows the place where they part, not two whole conversations.
void require_same(const std::string& one, const std::string& other) {
    const auto [a, b] = std::mismatch(one.begin(), one.end(), other.begin(), other.end());
    const auto at = static_cast<size_t>(a - one.begin());
    const size_t from = at < 60 ? 0 : at - 60;
    INFO("parted at " << at << ":\n"
                      << one.substr(from, 200) << "\n--\n"
                      << other.substr(from, 200));
    REQUIRE((a == one.end() && b == other.end()));
}

}  // namespace

// Cut at every byte, and into every size up to beyond a packet's header.
TEST_CASE("a conversation does not depend on how its bytes are cut", "[wire]") {
    const std::string whole = converse(World::test_options(), 0);
    REQUIRE(whole.find("will,bye") != whole.npos);
    for (const uint32_t cut : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 13u, 64u, 1'000u}) {
        INFO("pieces of " << cut);
        require_same(converse(World::test_options(), cut), whole);
    }
}

// Budgets, slices and merging decide when something is done, never what.
TEST_CASE("a conversation does not depend on budgets and slices", "[wire]") {
    for (const bool duplicates : {true, false}) {
        for (const bool queue_qos0 : {false, true}) {
            BrokerOptions options = World::test_options();
            options.allow_duplicate_messages = duplicates;
            options.queue_qos0_messages = queue_qos0;
            const std::string whole = converse(options, 0);
            options.visit_units = 1;
            require_same(converse(options, 0), whole);
            options.turn_units = 7;
            require_same(converse(options, 0), whole);
            options.fanout_slice = 1;
            require_same(converse(options, 0), whole);
            require_same(converse(options, 3), whole);
        }
    }
}
