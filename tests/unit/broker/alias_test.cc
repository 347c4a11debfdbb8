#include "broker/alias.h"

#include "base/prng.h"
#include "support/arena_memory.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <list>
#include <map>
#include <string>

using namespace mqttd;

namespace {

Bytes topic(const std::string& text) {
    return as_bytes(text);
}

// What a receiver knows: which topic each alias stands for.
using Meaning = std::map<uint16_t, std::string>;

}  // namespace

// The table holds 1 … room and nothing else; a new meaning replaces the old one.
TEST_CASE("inbound aliases are remembered, redefined and let go", "[broker][v5][MQTT5-3.3.2-12]") {
    for (const int places : {1, 2, 10, 65'535}) {
        const auto room = static_cast<uint16_t>(places);
        TestArena memory;
        Arena& arena = memory.arena;
        const uint64_t before = arena.live();
        InboundAliases* aliases = InboundAliases::make(arena, room);
        REQUIRE(aliases != nullptr);
        REQUIRE(aliases->room() == room);
        CHECK(aliases->find(1).empty());
        CHECK(aliases->find(room).empty());
        REQUIRE(aliases->set(arena, 1, topic("first")));
        REQUIRE(aliases->set(arena, room, topic("last")));
        CHECK(as_text(aliases->find(room)) == "last");
        CHECK(as_text(aliases->find(1)) == (room == 1 ? "last" : "first"));
        REQUIRE(aliases->set(arena, 1, topic(std::string(65'535, 'x'))));
        CHECK(aliases->find(1).size() == 65'535);
        REQUIRE(aliases->set(arena, 1, topic("x")));
        CHECK(as_text(aliases->find(1)) == "x");
        aliases->release(arena);
        CHECK(arena.live() == before);
    }
}

TEST_CASE("a refused inbound alias keeps its old meaning", "[broker][v5][memory]") {
    TestArena memory;
    Arena& arena = memory.arena;
    InboundAliases* aliases = InboundAliases::make(arena, 4);
    REQUIRE(aliases->set(arena, 2, topic("old")));
    arena.refuse_nth(1);
    CHECK_FALSE(aliases->set(arena, 2, topic("new")));
    arena.refuse_nth(1);
    CHECK_FALSE(aliases->set(arena, 3, topic("new")));
    arena.refuse_nth(0);
    CHECK(as_text(aliases->find(2)) == "old");
    CHECK(aliases->find(3).empty());
    aliases->release(arena);
}

// Against a list in the order of use: which alias, and whether the receiver knows it already. Some
// packets are not sent after all, some topics share a hash.
TEST_CASE("outbound aliases are given away again in the order of their use",
          "[broker][v5][MQTT5-3.1.2-26]") {
    const uint64_t seed = 20'221'122;
    INFO("seed " << seed);
    Prng random(seed);
    for (const int places : {1, 2, 3, 7, 10, 64}) {
        const auto room = static_cast<uint16_t>(places);
        TestArena memory;
        Arena& arena = memory.arena;
        const uint64_t before = arena.live();
        OutboundAliases* aliases = OutboundAliases::make(arena, room);
        REQUIRE(aliases != nullptr);
        std::list<std::pair<std::string, uint16_t>> order;  // the newest first
        std::list<uint16_t> unused;                         // forgotten, the latest first
        Meaning receiver;
        uint16_t given = 0;
        for (int step = 0; step < 20'000; ++step) {
            const std::string name = "t" + std::to_string(random.below(room * 2u + 1));
            const auto hash = static_cast<uint32_t>(name.size() * 7 + (name.back() == '1'));
            const auto known =
                std::find_if(order.begin(), order.end(), [&](auto& e) { return e.first == name; });
            const auto choice = aliases->choose(arena, topic(name), hash);
            INFO("room " << room << " step " << step << " topic " << name);
            REQUIRE(choice.alias >= 1);
            REQUIRE(choice.alias <= room);
            REQUIRE(choice.known == (known != order.end()));
            if (choice.known) {
                REQUIRE(choice.alias == known->second);
                REQUIRE(receiver[choice.alias] == name);
                order.splice(order.begin(), order, known);
                continue;
            }
            uint16_t wanted = 0;
            if (given < room) {
                wanted = ++given;
            } else if (!unused.empty()) {
                wanted = unused.front();
                unused.pop_front();
            } else {
                wanted = order.back().second;
                order.pop_back();
            }
            REQUIRE(choice.alias == wanted);
            if (random.below(4) == 0) {  // the packet was too large: the receiver never hears of it
                aliases->forget(arena, choice.alias);
                unused.push_front(choice.alias);
                continue;
            }
            receiver[choice.alias] = name;
            order.emplace_front(name, choice.alias);
        }
        aliases->release(arena);
        REQUIRE(arena.live() == before);
    }
}

TEST_CASE("without memory a topic travels in full and no alias is lost", "[broker][v5][memory]") {
    TestArena memory;
    Arena& arena = memory.arena;
    OutboundAliases* aliases = OutboundAliases::make(arena, 2);
    REQUIRE(aliases->choose(arena, topic("a"), 1).alias == 1);
    REQUIRE(aliases->choose(arena, topic("b"), 1).alias == 2);
    arena.refuse_nth(1);
    REQUIRE(aliases->choose(arena, topic("c"), 1).alias == 0);
    arena.refuse_nth(0);
    const auto a = aliases->choose(arena, topic("a"), 1);
    REQUIRE((a.alias == 1 && a.known));
    const auto c = aliases->choose(arena, topic("c"), 1);
    REQUIRE((c.alias == 2 && !c.known));
    aliases->release(arena);
}

// 65535 aliases, the most there can be, and one topic more.
TEST_CASE("the largest table of aliases works to its last entry", "[broker][v5]") {
    TestArena memory;
    Arena& arena = memory.arena;
    OutboundAliases* aliases = OutboundAliases::make(arena, 65'535);
    REQUIRE(aliases != nullptr);
    for (uint32_t i = 0; i < 65'535; ++i)
        REQUIRE(aliases->choose(arena, topic(std::to_string(i)), i * 2'654'435'761u).alias ==
                i + 1);
    REQUIRE(aliases->choose(arena, topic("65534"), 65'534 * 2'654'435'761u).known);
    const auto more = aliases->choose(arena, topic("more"), 5);
    REQUIRE((more.alias == 1 && !more.known));
    REQUIRE_FALSE(aliases->choose(arena, topic("0"), 0).known);
    aliases->release(arena);
}
