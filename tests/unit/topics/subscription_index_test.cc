#include "topics/subscription_index.h"

#include "mqttd/topic.h"

#include "topics_fixture.h"

#include <catch2/catch.hpp>
#include <map>

namespace mqttd {

namespace {

// The slow and obvious index: (filter, subscriber) → options.
struct Model {
    std::map<std::string, std::map<uint32_t, uint8_t>> filters;

    bool add(const std::string& filter, uint32_t subscriber, uint8_t options) {
        const auto [at, fresh] = filters[filter].insert_or_assign(subscriber, options);
        return !fresh;
    }

    bool remove(const std::string& filter, uint32_t subscriber) {
        const auto at = filters.find(filter);
        if (at == filters.end() || at->second.erase(subscriber) == 0) return false;
        if (at->second.empty()) filters.erase(at);
        return true;
    }

    std::multiset<std::string> matching(const std::string& name) const {
        std::multiset<std::string> found;
        for (const auto& [filter, set] : filters) {
            if (topic_matches(as_bytes(filter), as_bytes(name))) found.insert(filter);
        }
        return found;
    }

    uint64_t subscriptions() const {
        uint64_t sum = 0;
        for (const auto& [filter, set] : filters)
            sum += set.size();
        return sum;
    }
};

// Everything the model holds is in the index, with its options, and nothing else is.
void require_same(const SubscriptionIndex& index, const Subscribers& subscribers, Model& model) {
    REQUIRE(index.subscriptions() == model.subscriptions());
    REQUIRE(index.filters() == model.filters.size());
    std::map<uint32_t, uint32_t> counts;
    for (const auto& [filter, set] : model.filters) {
        for (const auto& [number, options] : set) {
            Subscription* found = index.find(subscribers[number - 1], as_bytes(filter));
            REQUIRE(found != nullptr);
            REQUIRE(found->options == options);
            REQUIRE(found->filter->count == set.size());
            ++counts[number];
        }
    }
    for (uint32_t i = 0; i < subscribers.size(); ++i) {
        REQUIRE(subscribers[i].subscriptions == counts[i + 1]);
        uint32_t linked = 0;
        for (Subscription* it = subscribers[i].first_subscription; it != nullptr; it = it->next)
            ++linked;
        REQUIRE(linked == counts[i + 1]);
    }
}

void require_same_match(SubscriptionIndex& index, const Model& model, const std::string& name) {
    INFO("name " << name);
    std::vector<FilterNode*> out(4096);
    const uint32_t count = match_now(index, name, out);
    std::multiset<std::string> found;
    for (uint32_t i = 0; i < count; ++i) {
        const std::string filter = text_of(out[i]->filter());
        found.insert(filter);
        REQUIRE(model.filters.count(filter) == 1);
        std::multiset<uint32_t> expected;
        for (const auto& [number, options] : model.filters.at(filter))
            expected.insert(number);
        REQUIRE(members(*out[i]) == expected);
    }
    REQUIRE(found == model.matching(name));
}

}  // namespace

TEST_CASE("matching agrees with topic_matches over random changes",
          "[topics][MQTT-3.3.2-3][MQTT5-3.3.2-3]") {
    // The index is an optimisation of "try every filter"; it must never answer differently,
    // whatever came and went before.
    const uint64_t seed = GENERATE(1u, 2u, 3u, 4u, 5u, 6u);
    INFO("seed " << seed);
    TestArena memory;
    TopicMaker topics(seed);
    const uint64_t live_before = memory.arena.live();
    {
        Subscribers subscribers(memory.arena, 12);
        SubscriptionIndex index(memory.arena, test_key(seed));
        Model model;
        for (uint32_t round = 0; round < 4000; ++round) {
            // Phases of growth and of shrinking, down to nothing.
            const bool grow = topics.below(10) < (round / 500 % 2 == 0 ? 7u : 2u);
            const uint32_t who = topics.below(subscribers.size());
            if (grow) {
                const std::string filter = topics.filter();
                const auto options = static_cast<uint8_t>(topics.below(3));
                const auto added =
                    index.subscribe(subscribers[who], as_bytes(filter), options, round);
                REQUIRE(added.ok());
                REQUIRE(added->existed == model.add(filter, who + 1, options));
                REQUIRE(added->subscription->identifier == round);
            } else if (!model.filters.empty() && topics.below(8) != 0) {
                auto at = model.filters.begin();
                std::advance(at, topics.below(static_cast<uint32_t>(model.filters.size())));
                const std::string filter = at->first;
                const uint32_t number = at->second.begin()->first;
                REQUIRE(index.unsubscribe(subscribers[number - 1], as_bytes(filter)));
                REQUIRE(model.remove(filter, number));
            } else {
                const std::string filter = topics.filter();
                REQUIRE(index.unsubscribe(subscribers[who], as_bytes(filter)) ==
                        model.remove(filter, who + 1));
            }
            require_same_match(index, model, topics.name());
            if (round % 200 == 0) require_same(index, subscribers, model);
        }
        require_same(index, subscribers, model);
        REQUIRE(index.cache_hits() > 0);
        for (uint32_t i = 0; i < subscribers.size(); ++i) {
            while (subscribers[i].first_subscription)
                index.remove(*subscribers[i].first_subscription);
        }
        REQUIRE(index.subscriptions() == 0);
        REQUIRE(index.filters() == 0);
        REQUIRE(index.wildcard_filters() == 0);
        REQUIRE(index.trie_nodes() == 0);
    }
    REQUIRE(memory.arena.live() == live_before);
}

TEST_CASE("wildcards match as the standard's own examples say",
          "[topics][MQTT-4.7.2-1][MQTT5-4.7.2-1]") {
    // The examples of §4.7.1 and §4.7.2, so that a misreading shared with the reference shows up.
    struct Row {
        const char* filter;
        const char* name;
        bool matches;
    };

    const Row rows[] = {
        {"sport/tennis/player1/#", "sport/tennis/player1",                 true },
        {"sport/tennis/player1/#", "sport/tennis/player1/ranking",         true },
        {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true },
        {"sport/#",                "sport",                                true },
        {"#",                      "anything/at/all",                      true },
        {"sport/tennis/+",         "sport/tennis/player1",                 true },
        {"sport/tennis/+",         "sport/tennis/player1/ranking",         false},
        {"sport/+",                "sport",                                false},
        {"sport/+",                "sport/",                               true },
        {"+/+",                    "/finance",                             true },
        {"/+",                     "/finance",                             true },
        {"+",                      "/finance",                             false},
        {"#",                      "$SYS/uptime",                          false},
        {"+/monitor/Clients",      "$SYS/monitor/Clients",                 false},
        {"$SYS/#",                 "$SYS/uptime",                          true },
        {"$SYS/monitor/+",         "$SYS/monitor/Clients",                 true },
        {"+",                      "$",                                    false},
        {"a//b",                   "a/b",                                  false},
        {"+//#",                   "a/",                                   true },
    };
    for (const Row& row : rows) {
        TestArena memory;
        Subscribers subscribers(memory.arena, 1);
        SubscriptionIndex index(memory.arena, test_key(7));
        REQUIRE(index.subscribe(subscribers[0], as_bytes(row.filter), 0).ok());
        INFO(row.filter << " " << row.name);
        REQUIRE(matching(index, row.name).size() == (row.matches ? 1u : 0u));
        REQUIRE(matching(index, row.name).size() == (row.matches ? 1u : 0u));  // from the cache
    }
}

TEST_CASE("the cache serves a topic again, wanted or not", "[topics]") {
    // A second publish to a topic costs no walk, also when nobody wants it; a second subscriber of
    // a known filter changes no answer, a new filter may.
    TestArena memory;
    Subscribers subscribers(memory.arena, 2);
    SubscriptionIndex index(memory.arena, test_key(1));
    REQUIRE(index.subscribe(subscribers[0], as_bytes("a/+"), 0).ok());
    REQUIRE(matching(index, "a/b").size() == 1);
    REQUIRE(index.cache_hits() == 0);
    REQUIRE(index.last_steps() > 1);
    REQUIRE(matching(index, "a/b").size() == 1);
    REQUIRE(index.last_steps() == 1);
    REQUIRE(matching(index, "x").empty());
    REQUIRE(matching(index, "x").empty());
    REQUIRE(index.cache_hits() == 2);
    REQUIRE(index.subscribe(subscribers[1], as_bytes("a/+"), 0).ok());
    REQUIRE(matching(index, "a/b").size() == 1);
    REQUIRE(index.cache_hits() == 3);
    REQUIRE(index.subscribe(subscribers[1], as_bytes("x"), 0).ok());
    REQUIRE(matching(index, "x").size() == 1);
    REQUIRE(index.unsubscribe(subscribers[1], as_bytes("x")));
    REQUIRE(matching(index, "x").empty());
    REQUIRE(index.cache_hits() == 3);
}

TEST_CASE("the cache grows with the topics that come again, and not with a flood", "[topics]") {
    // Twenty thousand topics in turn: at first each has pushed the other out before it comes again.
    // A flood of ever fresh topics uses no more of it than at the begin.
    TestArena memory(size_t{512} << 20);
    Subscribers subscribers(memory.arena, 1);
    {
        SubscriptionIndex index(memory.arena, test_key(1));
        REQUIRE(index.subscribe(subscribers[0], as_bytes("a/+"), 0).ok());
        const auto play = [&](uint32_t rounds, uint32_t topics, const char* prefix) {
            const uint64_t before = index.cache_hits();
            for (uint32_t round = 0; round < rounds; ++round) {
                for (uint32_t i = 0; i < topics; ++i) {
                    const std::string topic = prefix + std::to_string(i);
                    if (matching(index, topic).size() != 1) FAIL(topic);
                }
            }
            return index.cache_hits() - before;
        };
        REQUIRE(index.cache_entries() == MatchCache::kEntriesMin);
        play(12, 20'000, "a/");
        REQUIRE(index.cache_entries() == MatchCache::kEntriesMax);
        CHECK(play(2, 20'000, "a/") > 20'000);
        play(1, 300'000, "a/x");
        REQUIRE(index.cache_entries() == MatchCache::kEntriesMin);
        // After a while it tries again.
        play(30, 20'000, "a/");
        REQUIRE(index.cache_entries() == MatchCache::kEntriesMax);
    }
    REQUIRE(memory.arena.live() == 1);
}

TEST_CASE("a small arena keeps a small cache", "[topics]") {
    TestArena memory(size_t{8} << 20);
    Subscribers subscribers(memory.arena, 1);
    SubscriptionIndex index(memory.arena, test_key(1));
    REQUIRE(index.subscribe(subscribers[0], as_bytes("a/+"), 0).ok());
    for (uint32_t i = 0; i < 100'000; ++i)
        REQUIRE(matching(index, "a/" + std::to_string(i % 20'000)).size() == 1);
    REQUIRE(index.cache_entries() == MatchCache::kEntriesMin);
}

TEST_CASE("subscribing again replaces the options", "[topics][MQTT5-3.8.4-3]") {
    // One subscription per client and filter: the new one takes the old one's place, also in the
    // slot that the fan-out looks at.
    TestArena memory;
    Subscribers subscribers(memory.arena, 3);
    SubscriptionIndex index(memory.arena, test_key(1));
    for (uint32_t i = 0; i < 3; ++i)
        REQUIRE(index.subscribe(subscribers[i], as_bytes("t"), 0, 5).ok());
    for (uint32_t i = 0; i < 3; ++i) {
        const auto again = index.subscribe(subscribers[i], as_bytes("t"), 2, 9);
        REQUIRE(again.ok());
        REQUIRE(again->existed);
        REQUIRE(again->subscription->identifier == 9);
    }
    FilterNode* out[4];
    REQUIRE(match_now(index, "t", out) == 1);
    REQUIRE(out[0]->count == 3);
    SetCursor cursor;
    REQUIRE(SubscriptionIndex::visit(*out[0], cursor, 99, [](SubscriberSlot& slot) {
                REQUIRE(slot.options == 2);
            }) == 3);
    REQUIRE(index.subscriptions() == 3);
}

TEST_CASE("a flood of fresh topics allocates nothing", "[topics]") {
    // A publish only looks up: strangers must not be able to grow the broker by inventing topics.
    TestArena memory;
    Subscribers subscribers(memory.arena, 1);
    SubscriptionIndex index(memory.arena, test_key(1));
    for (const char* filter : {"a/b", "+/x/+", "fresh/#"})
        REQUIRE(index.subscribe(subscribers[0], as_bytes(filter), 0).ok());
    const uint64_t before = memory.arena.allocations();
    FilterNode* out[4];
    for (uint32_t i = 0; i < 20'000; ++i) {
        const std::string name = "fresh/" + std::to_string(i) + "/x";
        REQUIRE(match_now(index, name, out) == 1);
    }
    REQUIRE(memory.arena.allocations() == before);
    REQUIRE(index.trie_nodes() == 4);
}

TEST_CASE("a topic deeper than every filter costs no more steps", "[topics]") {
    // 65535 bytes of slashes are a valid topic name; the walk stops where the trie does.
    TestArena memory;
    Subscribers subscribers(memory.arena, 1);
    SubscriptionIndex index(memory.arena, test_key(1));
    for (const char* filter : {"+/+/+", "+/#", "//a"})
        REQUIRE(index.subscribe(subscribers[0], as_bytes(filter), 0).ok());
    const std::string deep(65535, '/');
    REQUIRE(matching(index, deep) == std::multiset<std::string>{"+/#"});
    REQUIRE(index.last_steps() < 8);
}

TEST_CASE("the deepest wildcard filters are walked and deeper ones refused", "[topics]") {
    // The stack of a match is fixed at kLevelsMax; a filter that would need more is an error, not
    // an overflow.  Every level here has an exact child and a `+` child, so the stack is used in
    // full.
    TestArena memory;
    Subscribers subscribers(memory.arena, 1);
    SubscriptionIndex index(memory.arena, test_key(1));
    const auto repeat = [](const std::string& level, uint32_t levels) {
        std::string text = level;
        for (uint32_t i = 1; i < levels; ++i)
            text += "/" + level;
        return text;
    };
    const uint32_t most = SubscriptionIndex::kLevelsMax;
    const std::string name = repeat("a", most);
    std::multiset<std::string> all;
    for (uint32_t spine = 0; spine + 2 <= most; ++spine) {
        const std::string filter = (spine > 0 ? repeat("a", spine) + "/" : "") + "+/#";
        REQUIRE(index.subscribe(subscribers[0], as_bytes(filter), 0).ok());
        all.insert(filter);
    }
    const std::string exact_but_first = "+" + name.substr(1);
    REQUIRE(index.subscribe(subscribers[0], as_bytes(exact_but_first), 0).ok());
    all.insert(exact_but_first);
    REQUIRE(matching(index, name) == all);
    const auto refused = index.subscribe(subscribers[0], as_bytes(repeat("+", most + 1)), 0);
    REQUIRE(refused.error() == Error::kTopicFilterInvalid);
    REQUIRE(index.subscribe(subscribers[0], as_bytes(repeat("a", most + 1)), 0).ok());
    REQUIRE(matching(index, repeat("a", most + 1)).size() == most);
    REQUIRE(matching(index, repeat("a", most + 2)).size() == most - 1);
}

TEST_CASE("refusing any one allocation of subscribe changes nothing", "[topics]") {
    // Memory may run out at any point.  The one SUBSCRIBE is refused, everything else stays as it
    // was, and in the end the books balance.
    const struct {
        uint32_t who;
        const char* filter;
    } steps[] = {
        {0, "a/+/c"    },
        {1, "a/+/c"    },
        {2, "a/+/c"    },
        {3, "a/+/c"    },
        {4, "a/+/c"    },
        {5, "a/+/c"    },
        {6, "a/+/c"    },
        {0, "a"        },
        {0, "a/+/#"    },
        {1, "x/+/z/+/#"},
        {2, "#"        },
        {3, "+"        },
        {4, "a/b/c"    }
    };

    bool refused_one = true;
    for (uint64_t n = 1; refused_one; ++n) {
        INFO("n " << n);
        TestArena memory;
        {
            Subscribers subscribers(memory.arena, 7);
            memory.arena.refuse_nth(n);
            SubscriptionIndex index(memory.arena, test_key(n));
            Model model;
            for (const auto& step : steps) {
                const auto added = index.subscribe(subscribers[step.who], as_bytes(step.filter), 1);
                if (added.ok()) {
                    model.add(step.filter, step.who + 1, 1);
                } else {
                    REQUIRE(added.error() == Error::kNoMemory);
                }
                require_same(index, subscribers, model);
                for (const char* name : {"a", "a/b", "a/b/c", "x/y/z/0", "$x"})
                    require_same_match(index, model, name);
            }
            for (uint32_t i = 0; i < subscribers.size(); ++i) {
                while (subscribers[i].first_subscription)
                    index.remove(*subscribers[i].first_subscription);
            }
            REQUIRE(index.trie_nodes() == 0);
            REQUIRE(index.filters() == 0);
            refused_one = memory.arena.refused() > 0;
        }
        REQUIRE(memory.arena.live() == 0);
    }
}

TEST_CASE("an index that is destroyed gives everything back", "[topics]") {
    // Also with subscribers left and a filter pinned by a fan-out that will not go on.
    TestArena memory;
    {
        Subscribers subscribers(memory.arena, 300);
        SubscriptionIndex index(memory.arena, test_key(1));
        for (uint32_t i = 0; i < 300; ++i) {
            REQUIRE(index.subscribe(subscribers[i], as_bytes("shared/+"), 0).ok());
            const std::string own = "own/" + std::to_string(i);
            REQUIRE(index.subscribe(subscribers[i], as_bytes(own), 0).ok());
        }
        FilterNode* out[4];
        REQUIRE(match_now(index, "own/7", out) == 1);
        index.pin(*out[0]);
        REQUIRE(index.unsubscribe(subscribers[7], as_bytes("own/7")));
        REQUIRE(match_now(index, "shared/x", out) == 1);
        index.pin(*out[0]);
    }
    REQUIRE(memory.arena.live() == 0);
}

TEST_CASE("one subscriber's 100000 filters go one by one without a walk", "[topics]") {
    // Teardown of a session is done in slices of removals; each must cost the same however many
    // there are.  No allocation, exactly the objects of that filter released, and short chains.
    TestArena memory(size_t{128} << 20);
    {
        Subscribers subscribers(memory.arena, 1);
        SubscriptionIndex index(memory.arena, test_key(3));
        constexpr uint32_t kFilters = 100'000;
        for (uint32_t i = 0; i < kFilters; ++i) {
            const std::string filter = "f/" + std::to_string(i) + (i % 2 == 0 ? "/x" : "/+");
            REQUIRE(index.subscribe(subscribers[0], as_bytes(filter), 0).ok());
        }
        REQUIRE(index.filters() == kFilters);
        REQUIRE(index.wildcard_filters() == kFilters / 2);
        uint32_t longest = 0;
        uint32_t seen = 0;
        uint64_t bucket = 0;
        for (bool more = true; more;) {
            uint32_t chain = 0;
            more = index.visit_filters(bucket, [&](FilterNode&) { ++chain; });
            longest = std::max(longest, chain);
            seen += chain;
        }
        REQUIRE(seen == kFilters);
        REQUIRE(longest < 16);
        const uint64_t allocations = memory.arena.allocations();
        uint32_t removed = 0;
        uint64_t most = 0;
        while (subscribers[0].first_subscription) {
            const uint64_t live = memory.arena.live();
            index.remove(*subscribers[0].first_subscription);
            most = std::max(most, live - memory.arena.live());
            ++removed;
        }
        REQUIRE(removed == kFilters);
        REQUIRE(memory.arena.allocations() == allocations);
        // Subscription, filter, its two trie nodes, root and "f", and a table that has been left.
        REQUIRE(most <= 8);
        REQUIRE(index.trie_nodes() == 0);
    }
    REQUIRE(memory.arena.live() == 0);
}

TEST_CASE("a topic with one subscriber costs 112 bytes", "[topics]") {
    // The promise of half a gigabyte for a million idle clients has these two objects in its sum.
    TestArena memory;
    Subscribers subscribers(memory.arena, 1);
    SubscriptionIndex index(memory.arena, test_key(1));
    REQUIRE(index.subscribe(subscribers[0], as_bytes("first"), 0).ok());  // tables
    const uint64_t before = memory.arena.bytes_used();
    REQUIRE(index.subscribe(subscribers[0], as_bytes("d/0000000001"), 0).ok());
    REQUIRE(memory.arena.bytes_used() - before == 48 + 64);
    STATIC_REQUIRE(sizeof(Subscription) == 48);
    STATIC_REQUIRE(sizeof(FilterNode) == 48);
    STATIC_REQUIRE(sizeof(TrieNode) <= 48);
}

}  // namespace mqttd
