// A match that is cut goes on later, whatever happened to the trie meanwhile.

#include "mqttd/topic.h"

#include "topics_fixture.h"

#include <catch2/catch.hpp>
#include <map>

namespace mqttd {

namespace {

// All filters of `levels` levels made of `a` and `+`: each matches a/a/…/a, and the trie is full.
std::vector<std::string> hostile_filters(uint32_t levels) {
    std::vector<std::string> all;
    for (uint32_t mask = 0; mask < uint32_t{1} << levels; ++mask) {
        std::string filter;
        for (uint32_t i = 0; i < levels; ++i) {
            if (i > 0) filter += '/';
            filter += (mask >> i & 1) != 0 ? '+' : 'a';
        }
        all.push_back(filter);
    }
    return all;
}

std::string hostile_name(uint32_t levels) {
    return hostile_filters(levels).front();
}

// A match in slices of `steps` trie nodes and `room` filters, with `between` after each slice.  The
// filters found are pinned, as their user does, and let go at the end.
template <class Between>
std::multiset<std::string> match_in_slices(SubscriptionIndex& index,
                                           const std::string& name,
                                           uint32_t room,
                                           uint32_t steps,
                                           Between&& between) {
    std::vector<FilterNode*> out(room);
    std::vector<FilterNode*> all;
    const auto take = [&](uint32_t found) {
        REQUIRE(found <= room);
        for (uint32_t i = 0; i < found; ++i) {
            index.pin(*out[i]);
            all.push_back(out[i]);
        }
    };
    const Result<Match> match = index.match(as_bytes(name), out, steps);
    REQUIRE(match.ok());
    REQUIRE(index.last_steps() <= steps + 1);  // and one for the hash
    take(match->found);
    MatchCursor* rest = match->rest;
    while (rest != nullptr && !rest->done()) {
        between();
        take(index.match_on(*rest, out, steps));
        REQUIRE(index.last_steps() <= std::max(steps, 1u));
    }
    index.end_match(rest);
    std::multiset<std::string> texts;
    for (FilterNode* it : all) {
        texts.insert(text_of(it->filter()));
        index.unpin(*it);
    }
    return texts;
}

}  // namespace

TEST_CASE("a match in slices finds what one call finds", "[topics][match]") {
    // Steps and room only say when something is found, never what: each filter once, also with the
    // least room and a single step at a time.
    const uint64_t seed = GENERATE(1u, 2u, 3u);
    INFO("seed " << seed);
    TestArena memory;
    {
        TopicMaker topics(seed);
        Subscribers subscribers(memory.arena, 4);
        SubscriptionIndex index(memory.arena, test_key(seed));
        std::vector<std::string> filters;
        for (uint32_t i = 0; i < 600; ++i) {
            filters.push_back(topics.filter());
            const auto added = index.subscribe(subscribers[i % 4], as_bytes(filters.back()), 0);
            REQUIRE(added.ok());
        }
        for (uint32_t round = 0; round < 300; ++round) {
            const std::string name = topics.name();
            std::multiset<std::string> expected;
            for (const std::string& filter : std::set<std::string>(filters.begin(), filters.end()))
                if (topic_matches(as_bytes(filter), as_bytes(name))) expected.insert(filter);
            for (const uint32_t room : {2u, 3u, 7u, 4096u}) {
                for (const uint32_t steps : {0u, 1u, 2u, 5u, 1000u}) {
                    INFO(name << " room " << room << " steps " << steps);
                    REQUIRE(match_in_slices(index, name, room, steps, [] {}) == expected);
                }
            }
        }
        for (uint32_t i = 0; i < 4; ++i) {
            while (subscribers[i].first_subscription)
                index.remove(*subscribers[i].first_subscription);
        }
        REQUIRE(index.trie_nodes() == 0);
    }
    REQUIRE(memory.arena.live() == 0);
}

TEST_CASE("a hostile trie is walked in slices of known size", "[topics][match]") {
    // 2^12 filters that all match one topic: no call takes more than its steps, and few calls more
    // than needed are made.
    TestArena memory(size_t{64} << 20);
    Subscribers subscribers(memory.arena, 1);
    SubscriptionIndex index(memory.arena, test_key(1));
    for (const std::string& filter : hostile_filters(12))
        REQUIRE(index.subscribe(subscribers[0], as_bytes(filter), 0).ok());
    uint32_t calls = 1;
    const auto found = match_in_slices(index, hostile_name(12), 1024, 256, [&] { ++calls; });
    REQUIRE(found.size() == 1 << 12);
    // The walk looks at every node: 2^13 - 1, but for the end of the filter without `+`.
    REQUIRE(index.trie_nodes() + 1 == (1 << 13) - 2);
    REQUIRE(calls == ((1 << 13) - 2 + 255) / 256);
}

TEST_CASE("the trie may change between the slices of a match", "[topics][match]") {
    // What was there all the time and matches is found exactly once; what was never there is not;
    // nothing is touched that was freed (valgrind and the sanitizers look on), and in the end the
    // pins have left no node behind.
    const uint64_t seed = GENERATE(1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u);
    INFO("seed " << seed);
    constexpr uint32_t kLevels = 6;
    TestArena memory;
    {
        TopicMaker random(seed);
        Subscribers subscribers(memory.arena, 1);
        Subscriber& subscriber = subscribers[0];
        SubscriptionIndex index(memory.arena, test_key(seed));
        std::vector<std::string> pool = hostile_filters(kLevels);
        for (uint32_t i = 0; i < 64; ++i)  // the same with `#` at some depth, and some that differ
            pool.push_back(pool[i].substr(0, 2 * random.below(kLevels)) + "#");
        for (uint32_t i = 0; i < 32; ++i)
            pool.push_back(pool[i].substr(0, 2 * (1 + random.below(kLevels - 1))) + "b/+");
        std::sort(pool.begin(), pool.end());
        pool.erase(std::unique(pool.begin(), pool.end()), pool.end());
        std::set<std::string> there;
        for (uint32_t round = 0; round < 150; ++round) {
            // How much changes: little, much, everything; how full it is at the start.
            const uint32_t changes = round % 3 == 0 ? 1 : round % 3 == 1 ? 10 : 200;
            const uint32_t full = 1 + random.below(9);
            for (const std::string& filter : pool) {
                if (random.below(10) >= full) continue;
                REQUIRE(index.subscribe(subscriber, as_bytes(filter), 0).ok());
                there.insert(filter);
            }
            std::set<std::string> always = there;
            std::set<std::string> ever = there;
            const std::string name = hostile_name(kLevels);
            const auto change = [&] {
                for (uint32_t i = 0; i < changes; ++i) {
                    const std::string& filter =
                        pool[random.below(static_cast<uint32_t>(pool.size()))];
                    if (random.below(2) == 0) {
                        if (index.unsubscribe(subscriber, as_bytes(filter))) {
                            there.erase(filter);
                            always.erase(filter);
                        }
                    } else {
                        REQUIRE(index.subscribe(subscriber, as_bytes(filter), 0).ok());
                        there.insert(filter);
                        ever.insert(filter);
                    }
                }
                if (changes > 100 && random.below(8) == 0) {  // down to nothing
                    while (subscriber.first_subscription)
                        index.remove(*subscriber.first_subscription);
                    there.clear();
                    always.clear();
                }
            };
            const auto found =
                match_in_slices(index, name, 2 + random.below(6), 1 + random.below(9), change);
            for (const std::string& filter : pool) {
                INFO("round " << round << " filter " << filter);
                const bool matches = topic_matches(as_bytes(filter), as_bytes(name));
                if (matches && always.count(filter) != 0) REQUIRE(found.count(filter) == 1);
                if (!matches || ever.count(filter) == 0) REQUIRE(found.count(filter) == 0);
            }
        }
        while (subscriber.first_subscription)
            index.remove(*subscriber.first_subscription);
        REQUIRE(index.trie_nodes() == 0);
        REQUIRE(index.filters() == 0);
    }
    REQUIRE(memory.arena.live() == 0);
}

TEST_CASE("many matches under way keep their own places", "[topics][match]") {
    // Several publishers may stand in the same trie: the pins add up, and a match that is given up
    // half-way leaves nothing.
    TestArena memory;
    {
        Subscribers subscribers(memory.arena, 1);
        SubscriptionIndex index(memory.arena, test_key(4));
        const auto filters = hostile_filters(6);
        for (const std::string& filter : filters)
            REQUIRE(index.subscribe(subscribers[0], as_bytes(filter), 0).ok());
        const std::string name = hostile_name(6);
        FilterNode* out[4];
        std::vector<MatchCursor*> cursors;
        std::vector<uint32_t> found;
        for (uint32_t i = 0; i < 20; ++i) {
            const Result<Match> match = index.match(as_bytes(name), out, i);
            REQUIRE(match.ok());
            REQUIRE(match->rest != nullptr);
            cursors.push_back(match->rest);
            found.push_back(match->found);
        }
        for (uint32_t i = 10; i < 20; ++i) {
            while (!cursors[i]->done())
                found[i] += index.match_on(*cursors[i], out, 3);
            REQUIRE(found[i] == filters.size());
            REQUIRE(index.match_on(*cursors[i], out, 3) == 0);
        }
        while (subscribers[0].first_subscription)
            index.remove(*subscribers[0].first_subscription);
        REQUIRE(index.trie_nodes() > 0);
        for (uint32_t i = 0; i < 5; ++i) {
            while (!cursors[i]->done())
                REQUIRE(index.match_on(*cursors[i], out, 3) == 0);
        }
        for (MatchCursor* cursor : cursors)
            index.end_match(cursor);
        index.end_match(nullptr);
        REQUIRE(index.trie_nodes() == 0);
    }
    REQUIRE(memory.arena.live() == 0);
}

TEST_CASE("a cut match needs memory for its cursor and says so", "[topics][match]") {
    // Nothing is pinned then, and a match that is not cut needs none.
    TestArena memory;
    {
        Subscribers subscribers(memory.arena, 1);
        SubscriptionIndex index(memory.arena, test_key(4));
        for (const std::string& filter : hostile_filters(4))
            REQUIRE(index.subscribe(subscribers[0], as_bytes(filter), 0).ok());
        FilterNode* out[64];
        memory.arena.refuse_nth(1);
        REQUIRE(index.match(as_bytes("a/a/a/a"), out).ok());
        REQUIRE(index.match(as_bytes("a/a/a/a"), out, 5).error() == Error::kNoMemory);
        memory.arena.refuse_nth(1);
        REQUIRE(index.match(as_bytes("a/a/a/a"), {out, 9}).error() == Error::kNoMemory);
        while (subscribers[0].first_subscription)
            index.remove(*subscribers[0].first_subscription);
        REQUIRE(index.trie_nodes() == 0);
    }
    REQUIRE(memory.arena.live() == 0);
}

TEST_CASE("a cut match is not remembered as the whole answer", "[topics][match]") {
    // Nor does the cache give more than there is room for.
    TestArena memory;
    {
        Subscribers subscribers(memory.arena, 1);
        SubscriptionIndex index(memory.arena, test_key(1));
        for (const char* filter : {"a/b", "a/+", "+/b", "#"})
            REQUIRE(index.subscribe(subscribers[0], as_bytes(filter), 0).ok());
        FilterNode* out[8] = {};
        for (uint32_t i = 0; i < 2; ++i) {
            const Result<Match> cut = index.match(as_bytes("a/b"), {out, 3});
            REQUIRE(cut->rest != nullptr);
            REQUIRE(cut->found < 4);
            index.end_match(cut->rest);
            const auto found = match_in_slices(index, "a/b", 2, 100, [] {});
            REQUIRE(found.size() == 4);
            REQUIRE(index.cache_hits() == 0);
        }
        REQUIRE(match_now(index, "a/b", out) == 4);
        REQUIRE(match_now(index, "a/b", out) == 4);
        REQUIRE(index.cache_hits() == 1);
        REQUIRE(match_in_slices(index, "a/b", 2, 100, [] {}).size() == 4);
    }
    REQUIRE(memory.arena.live() == 0);
}

TEST_CASE("a match of the deepest name can be cut anywhere", "[topics][match]") {
    // The branches kept are as many as levels; a name deeper than any filter needs no more.
    TestArena memory;
    {
        Subscribers subscribers(memory.arena, 1);
        SubscriptionIndex index(memory.arena, test_key(1));
        const uint32_t most = SubscriptionIndex::kLevelsMax;
        std::string spine;
        uint32_t filters = 0;
        for (uint32_t level = 0; level + 2 <= most; ++level) {
            REQUIRE(index.subscribe(subscribers[0], as_bytes(spine + "+/#"), 0).ok());
            ++filters;
            spine += "a/";
        }
        for (const uint32_t deeper : {0u, 1u, 5000u}) {
            std::string name = spine + "a/a";
            for (uint32_t i = 0; i < deeper; ++i)
                name += "/a";
            for (const uint32_t steps : {1u, 1000u, 1023u, 1024u, 1500u}) {
                INFO(deeper << " " << steps);
                REQUIRE(match_in_slices(index, name, 8, steps, [] {}).size() == filters);
            }
        }
        while (subscribers[0].first_subscription)
            index.remove(*subscribers[0].first_subscription);
        REQUIRE(index.trie_nodes() == 0);
    }
    REQUIRE(memory.arena.live() == 0);
}

}  // namespace mqttd
