#pragma once

// What the tests of shared subscriptions share: an index with one group, and what is needed to ask
// it for a member.

#include "topics/shared_groups.h"
#include "topics_fixture.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <set>
#include <vector>

namespace mqttd {

// An index with the group `$share/g/t` of so many members.
struct GroupWorld {
    explicit GroupWorld(uint32_t members, size_t bytes = size_t{8} << 20)
        : memory(bytes), subscribers(memory.arena, members), index(memory.arena, test_key(1)) {
        for (uint32_t i = 0; i < members; ++i)
            join(i);
    }

    void join(uint32_t who, const char* filter = "$share/g/t") {
        REQUIRE(index.subscribe(subscribers[who], as_bytes(filter), 1, 7).ok());
    }

    void leave(uint32_t who, const char* filter = "$share/g/t") {
        REQUIRE(index.unsubscribe(subscribers[who], as_bytes(filter)));
    }

    // The only group of "t".
    SharedGroup& group() {
        FilterNode* out[4];
        REQUIRE(match_now(index, "t", out) == 1);
        REQUIRE(out[0]->groups);
        return *out[0]->groups;
    }

    // Chooses; the index of the subscriber, or -1.  `usable` and `load` by the same index.
    template <class Usables>
    int choose(SharedStrategy strategy, uint32_t hint, Usables&& usable) {
        asked.clear();
        const Choice choice = group().choose(strategy, hint, [&](Subscription& member) {
            const uint32_t who = member.subscriber->number - 1;
            asked.push_back(who);
            return usable(who);
        });
        const size_t few = std::min<size_t>(asked.size(), SharedGroup::kProbes);
        REQUIRE(asked.size() <= SharedGroup::kProbes + SharedGroup::kMore);
        const auto end = asked.begin() + static_cast<ptrdiff_t>(few);
        REQUIRE(std::set<uint32_t>(asked.begin(), end).size() == few);
        for (size_t i = 0; i + 1 < asked.size() && asked.size() > few; ++i)
            REQUIRE(usable(asked[i]).usable == Usable::kNo);  // else nobody asks for more
        REQUIRE((choice.member == nullptr) == (choice.usable == Usable::kNo));
        last = choice;
        return choice.member != nullptr ? static_cast<int>(choice.member->subscriber->number) - 1
                                        : -1;
    }

    int choose(SharedStrategy strategy, uint32_t hint = 0) {
        return choose(strategy, hint, [](uint32_t) { return Judgement{Usable::kNow, 0}; });
    }

    TestArena memory;
    Subscribers subscribers;
    SubscriptionIndex index;
    std::vector<uint32_t> asked;
    Choice last;
};

inline constexpr SharedStrategy kStrategies[] = {SharedStrategy::kRoundRobin,
                                                 SharedStrategy::kSticky,
                                                 SharedStrategy::kHash,
                                                 SharedStrategy::kLeastQueued};

}  // namespace mqttd
