// Groups in the index: how their filters are told, where they hang, what becomes of them.

#include "mqttd/topic.h"

#include "shared_fixture.h"

#include <catch2/catch.hpp>
#include <map>

namespace mqttd {

namespace {

std::multiset<std::string> groups_of(SubscriptionIndex& index, FilterNode& filter) {
    std::multiset<std::string> texts;
    GroupCursor cursor;
    while (SharedGroup* group = index.next_group(filter, cursor))
        texts.insert(text_of(group->node->filter()));
    REQUIRE(cursor.done());
    return texts;
}
}  // namespace

TEST_CASE("shared filters are taken apart, or refused",
          "[topics][shared][MQTT5-4.8.2-1][MQTT5-4.8.2-2]") {
    // The group is not empty and holds no wildcard, and a filter follows; whatever begins like a
    // shared subscription is one or is nothing.
    const struct {
        const char* text;
        const char* group;   // null: not shared
        const char* filter;  // null: invalid
    } rows[] = {
        {"$share/g/t",          "g",      "t"     },
        {"$share/g/+/#",        "g",      "+/#"   },
        {"$share/g//",          "g",      "/"     },
        {"$share/$x/t",         "$x",     "t"     },
        {"$share/g/$SYS/#",     "g",      "$SYS/#"},
        {"$queue/t/u",          "$queue", "t/u"   },
        {"$Q/#",                "$Q",     "#"     },
        {"$queue//",            "$queue", "/"     },
        {"$share",              nullptr,  ""      },
        {"$shared/g/t",         nullptr,  ""      },
        {"$queue",              nullptr,  ""      },
        {"$Q",                  nullptr,  ""      },
        {"$Queue/t",            nullptr,  ""      },
        {"share/g/t",           nullptr,  ""      },
        {"t",                   nullptr,  ""      },
        {"$share/",             "",       nullptr },
        {"$share//",            "",       nullptr },
        {"$share//t",           "",       nullptr },
        {"$share/g",            "",       nullptr },
        {"$share/g/",           "",       nullptr },
        {"$share/+/t",          "",       nullptr },
        {"$share/g+/t",         "",       nullptr },
        {"$share/#/t",          "",       nullptr },
        {"$share/g/#/t",        "",       nullptr },
        {"$share/g/a+",         "",       nullptr },
        {"$share/g/$share/h/t", "",       nullptr },
        {"$share/g/$queue/t",   "",       nullptr },
        {"$queue/",             "",       nullptr },
        {"$Q/",                 "",       nullptr },
        {"$Q/$Q/t",             "",       nullptr },
        {"$queue/a#",           "",       nullptr },
    };

    for (const auto& row : rows) {
        INFO(row.text);
        REQUIRE(is_shared(as_bytes(row.text)) == (row.group != nullptr));
        if (row.group == nullptr) continue;
        const Result<SharedFilter> parsed = parse_shared(as_bytes(row.text));
        REQUIRE(parsed.ok() == (row.filter != nullptr));
        if (row.filter == nullptr) {
            REQUIRE(parsed.error() == Error::kTopicFilterInvalid);
            GroupWorld world(1);
            const auto added = world.index.subscribe(world.subscribers[0], as_bytes(row.text), 0);
            REQUIRE(added.error() == Error::kTopicFilterInvalid);
            REQUIRE(world.index.subscriptions() == 1);
            continue;
        }
        REQUIRE(text_of(parsed->group) == row.group);
        REQUIRE(text_of(parsed->filter) == row.filter);
    }
    REQUIRE_FALSE(is_shared({}));
}

TEST_CASE("a group hangs where a subscriber would", "[topics][shared]") {
    // Its filter matches, with or without plain subscribers; its own text never does; a member is
    // found, replaced and removed by the text it subscribed with.
    GroupWorld world(0);
    for (int i = 0; i < 4; ++i)
        world.subscribers.add();
    SubscriptionIndex& index = world.index;
    world.join(0, "$share/g/a/+");
    world.join(1, "$share/g/a/+");
    world.join(1, "$share/h/a/+");
    world.join(2, "$queue/a/+");
    world.join(2, "$Q/a/+");
    world.join(2, "$share/$queue/a/+");
    REQUIRE(index.shared_subscriptions() == 6);
    REQUIRE(index.subscriptions() == 6);
    REQUIRE(index.shared_groups() == 5);
    FilterNode* out[4];
    REQUIRE(match_now(index, "a/b", out) == 1);
    FilterNode& filter = *out[0];
    REQUIRE(text_of(filter.filter()) == "a/+");
    REQUIRE(filter.count == 0);
    REQUIRE(members(filter).empty());
    REQUIRE(groups_of(index, filter) ==
            std::multiset<std::string>{
                "$share/g/a/+", "$share/h/a/+", "$queue/a/+", "$Q/a/+", "$share/$queue/a/+"});
    for (const char* name : {"$share/g/a/+", "$queue/a/b", "$Q/a/+", "$queue/a/+", "a"})
        REQUIRE(match_now(index, name, out) == 0);
    // Plain beside shared.
    world.join(0, "a/+");
    REQUIRE(index.shared_subscriptions() == 6);
    REQUIRE(match_now(index, "a/b", out) == 1);
    REQUIRE(members(*out[0]) == std::multiset<uint32_t>{1});
    world.leave(0, "a/+");
    REQUIRE(match_now(index, "a/b", out) == 1);
    // Again: options and identifier are replaced.
    Subscriber& one = world.subscribers[1];
    const auto again = index.subscribe(one, as_bytes("$share/g/a/+"), 2, 9);
    REQUIRE(again->existed);
    REQUIRE(again->subscription->options == 2);
    REQUIRE(again->subscription->identifier == 9);
    REQUIRE(index.find(one, as_bytes("$share/g/a/+")) == again->subscription);
    REQUIRE(index.find(one, as_bytes("a/+")) == nullptr);
    REQUIRE(index.find(world.subscribers[3], as_bytes("$share/g/a/+")) == nullptr);
    REQUIRE(one.subscriptions == 2);
    REQUIRE_FALSE(index.unsubscribe(world.subscribers[0], as_bytes("$share/h/a/+")));
    // The last member ends its group, the last group its filter.
    world.leave(1, "$share/h/a/+");
    REQUIRE(index.shared_groups() == 4);
    REQUIRE(match_now(index, "a/b", out) == 1);
    for (uint32_t i = 0; i < 3; ++i) {
        while (world.subscribers[i].first_subscription)
            index.remove(*world.subscribers[i].first_subscription);
    }
    REQUIRE(match_now(index, "a/b", out) == 0);
    REQUIRE(index.filters() == 0);
    REQUIRE(index.trie_nodes() == 0);
    REQUIRE(index.shared_groups() == 0);
    REQUIRE(index.shared_subscriptions() == 0);
}

TEST_CASE("groups agree with a slow model over random changes", "[topics][shared]") {
    // Exhaustive in what is compared: after every change all groups, their members and all
    // matching filters, beside plain subscriptions of the same filters, some of it pinned.
    const uint64_t seed = GENERATE(1u, 2u);
    INFO("seed " << seed);
    TestArena memory;
    {
        TopicMaker random(seed);
        Subscribers subscribers(memory.arena, 9);
        SubscriptionIndex index(memory.arena, test_key(seed));
        const char* const prefixes[] = {"", "$share/a/", "$share/b/", "$queue/", "$Q/"};
        const char* const filters[] = {"t", "t/+", "#", "t/u"};
        std::map<std::string, std::map<std::string, std::set<uint32_t>>> model;
        std::vector<FilterNode*> pinned;
        for (uint32_t round = 0; round < 1'500; ++round) {
            const std::string filter = filters[random.below(4)];
            const std::string prefix = prefixes[random.below(5)];
            const std::string text = prefix + filter;
            const uint32_t who = random.below(9);
            // Phases in which few stay.
            if (random.below(10) < (round / 300 % 2 == 0 ? 6u : 3u)) {
                const auto added = index.subscribe(subscribers[who], as_bytes(text), 0);
                REQUIRE(added.ok());
                REQUIRE(added->existed != model[filter][prefix].insert(who + 1).second);
            } else {
                const bool there = model[filter][prefix].erase(who + 1) > 0;
                REQUIRE(index.unsubscribe(subscribers[who], as_bytes(text)) == there);
            }
            uint64_t shared = 0;
            uint64_t groups = 0;
            for (const char* name : {"t", "t/u", "x"}) {
                FilterNode* out[8];
                const uint32_t found = match_now(index, name, out);
                std::set<std::string> expected;
                for (const auto& [text_plain, sets] : model) {
                    if (!topic_matches(as_bytes(text_plain), as_bytes(name))) continue;
                    for (const auto& [key, set] : sets)
                        if (!set.empty()) expected.insert(text_plain);
                }
                std::set<std::string> got;
                for (uint32_t i = 0; i < found; ++i) {
                    const std::string plain = text_of(out[i]->filter());
                    got.insert(plain);
                    auto& sets = model[plain];
                    const auto everyone = members(*out[i]);
                    REQUIRE(std::set<uint32_t>(everyone.begin(), everyone.end()) == sets[""]);
                    REQUIRE(everyone.size() == sets[""].size());
                    GroupCursor cursor;
                    std::set<std::string> seen;
                    while (SharedGroup* group = index.next_group(*out[i], cursor)) {
                        const std::string full = text_of(group->node->filter());
                        const std::string key = full.substr(0, full.size() - plain.size());
                        REQUIRE(seen.insert(key).second);
                        std::set<uint32_t> in_group;
                        for (uint32_t m = 0; m < group->count; ++m) {
                            REQUIRE(group->at(m)->member == m);
                            REQUIRE(group->at(m)->filter.get() == group->node.get());
                            in_group.insert(group->at(m)->subscriber->number);
                        }
                        REQUIRE(in_group.size() == group->count);
                        REQUIRE(group->node->count == group->count);
                        REQUIRE(in_group == sets[key]);
                    }
                    for (const auto& [key, set] : sets)
                        REQUIRE(seen.count(key) == (key.empty() || set.empty() ? 0 : 1));
                    if (random.below(40) == 0) {
                        SharedGroup* group = out[i]->groups.get();
                        FilterNode* node =
                            group != nullptr && random.below(2) == 0 ? group->node.get() : out[i];
                        index.pin(*node);
                        pinned.push_back(node);
                    }
                }
                REQUIRE(got == expected);
                REQUIRE(got.size() == found);
            }
            for (const auto& [text_plain, sets] : model) {
                for (const auto& [key, set] : sets) {
                    if (key.empty()) continue;
                    shared += set.size();
                    groups += set.empty() ? 0 : 1;
                }
            }
            REQUIRE(index.shared_subscriptions() == shared);
            REQUIRE(index.shared_groups() >= groups);
            REQUIRE(index.shared_groups() <= groups + pinned.size());
            while (!pinned.empty() && (pinned.size() > 6 || random.below(3) == 0)) {
                const uint32_t i = random.below(static_cast<uint32_t>(pinned.size()));
                index.unpin(*pinned[i]);
                pinned.erase(pinned.begin() + i);
            }
        }
        while (!pinned.empty()) {
            index.unpin(*pinned.back());
            pinned.pop_back();
        }
        for (uint32_t i = 0; i < 9; ++i) {
            while (subscribers[i].first_subscription)
                index.remove(*subscribers[i].first_subscription);
        }
        REQUIRE(index.filters() == 0);
        REQUIRE(index.trie_nodes() == 0);
        REQUIRE(index.shared_groups() == 0);
    }
    REQUIRE(memory.arena.live() == 0);
}

TEST_CASE("100000 members join and leave in steps of the same size", "[topics][shared]") {
    // However many there are: a subscription and now and then a leaf of the table; nothing that
    // walks along the members.
    constexpr uint32_t kMembers = 100'000;
    TestArena memory(size_t{128} << 20);
    {
        Subscribers subscribers(memory.arena, kMembers);
        SubscriptionIndex index(memory.arena, test_key(2));
        uint64_t most = 0;
        for (uint32_t i = 0; i < kMembers; ++i) {
            const uint64_t before = memory.arena.allocations();
            REQUIRE(index.subscribe(subscribers[i], as_bytes("$share/g/t"), 0).ok());
            if (i > 0) most = std::max(most, memory.arena.allocations() - before);
        }
        // The subscription, a leaf, a table of leaves; a table of the hash.
        REQUIRE(most <= 4);
        REQUIRE(index.shared_subscriptions() == kMembers);
        FilterNode* out[4];
        REQUIRE(match_now(index, "t", out) == 1);
        SharedGroup& group = *out[0]->groups;
        REQUIRE(group.count == kMembers);
        Prng prng(3);
        std::vector<uint32_t> order;
        for (uint32_t i = 0; i < kMembers; ++i)
            order.push_back(i);
        for (uint32_t i = kMembers - 1; i > 0; --i)
            std::swap(order[i], order[prng.below(i + 1)]);
        const uint64_t allocations = memory.arena.allocations();
        most = 0;
        for (uint32_t i = 0; i + 1 < kMembers; ++i) {
            const uint64_t live = memory.arena.live();
            REQUIRE(index.unsubscribe(subscribers[order[i]], as_bytes("$share/g/t")));
            most = std::max(most, live - memory.arena.live());
        }
        REQUIRE(most <= 2);  // the subscription, a leaf
        REQUIRE(memory.arena.allocations() == allocations);
        REQUIRE(group.count == 1);
        REQUIRE(group.at(0)->subscriber->number == order.back() + 1);
        REQUIRE(index.unsubscribe(subscribers[order.back()], as_bytes("$share/g/t")));
        REQUIRE(index.filters() == 0);
    }
    REQUIRE(memory.arena.live() == 0);
}

TEST_CASE("a walk along the groups survives whatever happens", "[topics][shared]") {
    // Between two steps groups may end, the one stood on too, and others begin: those that were
    // there all the time are seen once, new ones and ended ones not.
    const uint64_t seed = GENERATE(1u, 2u, 3u, 4u, 5u, 6u);
    INFO("seed " << seed);
    TestArena memory;
    {
        TopicMaker random(seed);
        Subscribers subscribers(memory.arena, 1);
        SubscriptionIndex index(memory.arena, test_key(seed));
        const auto text = [](uint32_t i) { return "$share/g" + std::to_string(i) + "/t"; };
        constexpr uint32_t kGroups = 20;
        for (uint32_t round = 0; round < 200; ++round) {
            std::set<std::string> there;
            REQUIRE(index.subscribe(subscribers[0], as_bytes("$share/stays/t"), 0).ok());
            for (uint32_t i = 0; i < kGroups; ++i) {
                if (random.below(2) == 0) continue;
                REQUIRE(index.subscribe(subscribers[0], as_bytes(text(i)), 0).ok());
                there.insert(text(i));
            }
            std::set<std::string> always = there;
            always.insert("$share/stays/t");
            std::set<std::string> ever = always;
            FilterNode* out[4];
            REQUIRE(match_now(index, "t", out) == 1);
            FilterNode& filter = *out[0];
            index.pin(filter);
            GroupCursor cursors[2];
            std::multiset<std::string> seen;
            if (random.below(2) == 0) index.next_group(filter, cursors[1]);
            while (SharedGroup* group = index.next_group(filter, cursors[0])) {
                seen.insert(text_of(group->node->filter()));
                for (uint32_t n = random.below(8); n > 0; --n) {
                    const std::string other = text(random.below(kGroups));
                    if (index.unsubscribe(subscribers[0], as_bytes(other))) {
                        always.erase(other);
                    } else {
                        REQUIRE(index.subscribe(subscribers[0], as_bytes(other), 0).ok());
                    }
                }
                if (random.below(4) == 0) {  // the one stood on
                    const std::string own = text_of(group->node->filter());
                    if (own != "$share/stays/t") {
                        index.unsubscribe(subscribers[0], as_bytes(own));
                        always.erase(own);
                    }
                }
                if (random.below(30) == 0) break;
                if (random.below(60) == 0) {  // everything
                    while (subscribers[0].first_subscription)
                        index.remove(*subscribers[0].first_subscription);
                    always.clear();
                }
            }
            for (const std::string& each : seen) {
                REQUIRE(ever.count(each) == 1);
                REQUIRE(seen.count(each) == 1);
            }
            if (cursors[0].done()) {
                for (const std::string& each : always)
                    REQUIRE(seen.count(each) == 1);
            }
            index.end_groups(cursors[0]);
            index.end_groups(cursors[0]);
            index.end_groups(cursors[1]);
            REQUIRE(cursors[1].done());
            index.unpin(filter);
            while (subscribers[0].first_subscription)
                index.remove(*subscribers[0].first_subscription);
            REQUIRE(index.filters() == 0);
            REQUIRE(index.shared_groups() == 0);
        }
    }
    REQUIRE(memory.arena.live() == 0);
}

TEST_CASE("a pinned group that ends is empty, not gone", "[topics][shared]") {
    // A job may come back to it; who joins meanwhile makes a new group.
    GroupWorld world(2);
    SharedGroup& group = world.group();
    FilterNode& filter = *group.filter;
    world.index.pin(*group.node);
    world.leave(0);
    world.leave(1);
    REQUIRE(group.count == 0);
    for (const SharedStrategy strategy : kStrategies) {
        const Choice none = group.choose(strategy, 1, [](Subscription&) {
            return Judgement{Usable::kNow, 0};
        });
        REQUIRE(none.member == nullptr);
    }
    REQUIRE(groups_of(world.index, filter).empty());
    world.join(1);
    REQUIRE(groups_of(world.index, filter) == std::multiset<std::string>{"$share/g/t"});
    REQUIRE(&world.group() != &group);
    world.leave(1);
    REQUIRE(world.index.shared_groups() == 1);
    world.index.unpin(*group.node);
    REQUIRE(world.index.shared_groups() == 0);
    REQUIRE(world.index.filters() == 0);
}

TEST_CASE("refusing any one allocation of a shared subscribe changes nothing", "[topics][shared]") {
    // Memory may run out at any point: that SUBSCRIBE is refused, the rest stays, and in the end
    // the books balance.
    bool refused = true;
    for (uint64_t n = 1; refused; ++n) {
        INFO("n " << n);
        TestArena memory;
        {
            Subscribers subscribers(memory.arena, 80);
            SubscriptionIndex index(memory.arena, test_key(n));
            const uint64_t before = memory.arena.refused();
            memory.arena.refuse_nth(n);
            uint64_t there = 0;
            uint64_t groups = 0;
            for (const char* filter : {"$share/g/a/+/c", "$share/h/a/+/c", "$queue/t"}) {
                uint64_t in_group = 0;
                for (uint32_t i = 0; i < 80; ++i) {
                    const auto added = index.subscribe(subscribers[i], as_bytes(filter), 0);
                    if (added.ok()) {
                        ++in_group;
                    } else {
                        REQUIRE(added.error() == Error::kNoMemory);
                        REQUIRE(index.find(subscribers[i], as_bytes(filter)) == nullptr);
                    }
                }
                there += in_group;
                ++groups;
                REQUIRE(index.shared_subscriptions() == there);
                REQUIRE(index.subscriptions() == there);
                REQUIRE(index.shared_groups() == groups);
            }
            REQUIRE(there >= 3 * 80 - 1);
            for (uint32_t i = 0; i < 80; ++i) {
                while (subscribers[i].first_subscription)
                    index.remove(*subscribers[i].first_subscription);
            }
            REQUIRE(index.filters() == 0);
            REQUIRE(index.trie_nodes() == 0);
            refused = memory.arena.refused() > before;
        }
        REQUIRE(memory.arena.live() == 0);
    }
}

TEST_CASE("an index with groups that is destroyed gives everything back", "[topics][shared]") {
    TestArena memory;
    {
        Subscribers subscribers(memory.arena, 200);
        SubscriptionIndex index(memory.arena, test_key(1));
        for (uint32_t i = 0; i < 200; ++i) {
            REQUIRE(index.subscribe(subscribers[i], as_bytes("$share/g/t/#"), 0).ok());
            const std::string own = "$share/" + std::to_string(i % 7) + "/+";
            REQUIRE(index.subscribe(subscribers[i], as_bytes(own), 0).ok());
        }
        REQUIRE(index.subscribe(subscribers[0], as_bytes("$queue/x"), 0).ok());
        FilterNode* out[8];
        REQUIRE(match_now(index, "x", out) == 2);
        for (uint32_t i = 0; i < 2; ++i)
            index.pin(*out[i]->groups->node);
        REQUIRE(index.unsubscribe(subscribers[0], as_bytes("$queue/x")));
    }
    REQUIRE(memory.arena.live() == 0);
}

// A group is found by its number as long as it has members, for a topic it matches; numbers come
// round, and then the topic tells which one is meant.
TEST_CASE("a group is found by its number and topic", "[topics][shared]") {
    GroupWorld world(3, size_t{64} << 20);
    SharedGroup& first = world.group();
    const uint16_t number = first.number;
    REQUIRE(number != 0);
    CHECK(world.index.group_of(number, as_bytes("t")) == &first);
    CHECK(world.index.group_of(number, as_bytes("u")) == nullptr);
    CHECK(world.index.group_of(0, as_bytes("t")) == nullptr);
    // All numbers once over, and back at that of the first.
    for (uint32_t i = 1; i < 65'535; ++i) {
        world.join(1, "$share/g/u");
        REQUIRE(world.index.group_of(number, as_bytes("u")) == nullptr);
        world.leave(1, "$share/g/u");
    }
    world.join(1, "$share/g/u");
    SharedGroup* second = world.index.group_of(number, as_bytes("u"));
    REQUIRE(second != nullptr);
    CHECK(second->number == number);
    CHECK(second != &first);
    CHECK(world.index.group_of(number, as_bytes("t")) == &first);
    // Without members it is not found, though somebody's pin keeps it.
    FilterNode& node = *first.node;
    world.index.pin(node);
    for (uint32_t who = 0; who < 3; ++who)
        world.leave(who);
    CHECK(world.index.group_of(number, as_bytes("t")) == nullptr);
    world.index.unpin(node);
    world.leave(1, "$share/g/u");
    CHECK(world.index.group_of(number, as_bytes("u")) == nullptr);
}

}  // namespace mqttd
