// Which member of a group gets a message.   MQTT 5.0 §4.8.2

#include "shared_fixture.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

namespace mqttd {

TEST_CASE("every small group is asked well by every strategy", "[topics][shared]") {
    // All groups of up to 6 members with every way in which they may be able now, later or not: who
    // can is found, else who could later, else nobody; nobody is asked twice.
    for (const SharedStrategy strategy : kStrategies) {
        for (uint32_t count = 1; count <= 6; ++count) {
            GroupWorld world(count);
            uint32_t ways = 1;
            for (uint32_t i = 0; i < count; ++i)
                ways *= 3;
            for (uint32_t way = 0; way < ways; ++way) {
                std::vector<Usable> usable;
                for (uint32_t i = 0, rest = way; i < count; ++i, rest /= 3)
                    usable.push_back(static_cast<Usable>(rest % 3));
                const Usable best = *std::max_element(usable.begin(), usable.end());
                for (uint32_t hint = 0; hint < 4; ++hint) {
                    INFO(static_cast<int>(strategy) << " " << count << " " << way << " " << hint);
                    const int who = world.choose(strategy, hint, [&](uint32_t i) {
                        return Judgement{usable[i], 0};
                    });
                    REQUIRE(world.last.usable == best);
                    if (who >= 0) REQUIRE(usable[static_cast<uint32_t>(who)] == best);
                }
            }
        }
    }
}

TEST_CASE("round robin gives everybody the same", "[topics][shared]") {
    for (const uint32_t count : {1u, 2u, 4u, 5u, 68u, 69u, 200u}) {
        GroupWorld world(count);
        std::map<int, uint32_t> got;
        for (uint32_t i = 0; i < 3 * count; ++i)
            ++got[world.choose(SharedStrategy::kRoundRobin)];
        REQUIRE(got.size() == count);
        for (const auto& [who, times] : got)
            REQUIRE(times == 3);
    }
    // Who cannot is passed over, and his messages go to the next; of those who could later, each
    // gets as much.
    GroupWorld world(6);
    std::map<int, uint32_t> got;
    for (uint32_t i = 0; i < 60; ++i) {
        ++got[world.choose(SharedStrategy::kRoundRobin, 0, [](uint32_t who) {
            return Judgement{who == 2 ? Usable::kNo : Usable::kNow, 0};
        })];
    }
    REQUIRE(got == std::map<int, uint32_t>{
                       {0, 12},
                       {1, 12},
                       {3, 12},
                       {4, 12},
                       {5, 12}
    });
    got.clear();
    for (uint32_t i = 0; i < 60; ++i) {
        ++got[world.choose(SharedStrategy::kRoundRobin, 0, [](uint32_t) {
            return Judgement{Usable::kLater, 0};
        })];
    }
    REQUIRE(got.size() == 6);
    for (const auto& [who, times] : got)
        REQUIRE(times == 10);
}

TEST_CASE("a member among many who cannot is found after some messages", "[topics][shared]") {
    // Eight are asked at most; what was tried in vain is passed over next time.
    GroupWorld world(1'000);
    for (const SharedStrategy strategy : {SharedStrategy::kRoundRobin, SharedStrategy::kSticky}) {
        for (const uint32_t able : {0u, 7u, 8u, 555u, 999u}) {
            uint32_t messages = 0;
            int who = -1;
            while (who < 0 && messages < 200) {
                ++messages;
                who = world.choose(strategy, 0, [&](uint32_t i) {
                    return Judgement{i == able ? Usable::kNow : Usable::kNo, 0};
                });
            }
            REQUIRE(who == static_cast<int>(able));
            REQUIRE(messages <= 1'000 / 7 + 2);
        }
    }
    // Sticky looks for one who can among absent ones, too, and then stays.
    uint32_t now = 0;
    for (uint32_t i = 0; i < 300; ++i) {
        const int who = world.choose(SharedStrategy::kSticky, 0, [&](uint32_t member) {
            return Judgement{member == 300 ? Usable::kNow : Usable::kLater, 0};
        });
        REQUIRE(who >= 0);
        now += who == 300;
    }
    REQUIRE(now > 300 - 1'000 / 7 - 2);
}

TEST_CASE("sticky stays with one as long as it can", "[topics][shared]") {
    GroupWorld world(5);
    const int first = world.choose(SharedStrategy::kSticky);
    for (uint32_t i = 0; i < 20; ++i) {
        REQUIRE(world.choose(SharedStrategy::kSticky, i) == first);
        REQUIRE(world.asked.size() == 1);
    }
    const int second = world.choose(SharedStrategy::kSticky, 0, [&](uint32_t who) {
        return Judgement{static_cast<int>(who) == first ? Usable::kLater : Usable::kNow, 0};
    });
    REQUIRE(second != first);
    REQUIRE(world.choose(SharedStrategy::kSticky) == second);
    // Others come and go: still the same, wherever its number moves to; it goes: another.
    world.subscribers.add();
    world.join(5);
    for (uint32_t who = 0; who < 5; ++who) {
        if (static_cast<int>(who) == second) continue;
        world.leave(who);
        REQUIRE(world.choose(SharedStrategy::kSticky) == second);
    }
    world.leave(static_cast<uint32_t>(second));
    REQUIRE(world.choose(SharedStrategy::kSticky) == 5);
}

TEST_CASE("hash keeps to a member and moves little", "[topics][shared]") {
    // The same hint means the same member, the shares are even, and one that joins or leaves moves
    // only what it must.
    constexpr uint32_t kHints = 20'000;
    GroupWorld world(11);
    const auto map = [&] {
        std::vector<int> all;
        for (uint32_t hint = 0; hint < kHints; ++hint)
            all.push_back(world.choose(SharedStrategy::kHash, hint));
        return all;
    };
    world.leave(10);
    const auto ten = map();
    REQUIRE(map() == ten);
    std::map<int, uint32_t> shares;
    for (const int who : ten)
        ++shares[who];
    REQUIRE(shares.size() == 10);
    for (const auto& [who, times] : shares) {
        REQUIRE(times > kHints / 10 * 9 / 10);
        REQUIRE(times < kHints / 10 * 11 / 10);
    }
    world.join(10);
    const auto eleven = map();
    uint32_t moved = 0;
    for (uint32_t hint = 0; hint < kHints; ++hint) {
        if (eleven[hint] == ten[hint]) continue;
        REQUIRE(eleven[hint] == 10);
        ++moved;
    }
    REQUIRE(moved > kHints / 13);
    REQUIRE(moved < kHints / 9);
    world.leave(3);
    const auto without = map();
    moved = 0;
    for (uint32_t hint = 0; hint < kHints; ++hint) {
        REQUIRE(without[hint] != 3);
        if (eleven[hint] != 3 && without[hint] != eleven[hint]) ++moved;
    }
    REQUIRE(moved < kHints / 8);  // those of the last, who took his number
}

TEST_CASE("least queued evens out the load", "[topics][shared]") {
    // Of two picked at random the less loaded: after many messages nobody is far above the mean,
    // and somebody who is loaded already gets nothing until the others have caught up.
    for (const uint32_t count : {1u, 2u, 3u, 10u, 100u}) {
        GroupWorld world(count);
        std::vector<uint32_t> load(count, 0);
        load[0] = 50;
        const uint32_t messages = 100 * count;
        for (uint32_t i = 0; i < messages; ++i) {
            const int who = world.choose(SharedStrategy::kLeastQueued, 0, [&](uint32_t m) {
                return Judgement{Usable::kNow, load[m]};
            });
            REQUIRE(world.asked.size() == std::min(count, 2u));
            ++load[static_cast<uint32_t>(who)];
        }
        const uint32_t mean = (messages + 50) / count;
        for (const uint32_t each : load) {
            INFO(count << " " << each << " " << mean);
            REQUIRE(each >= mean - 8);
            REQUIRE(each <= mean + 8);
        }
        // Nobody can now: of those asked, the one with the least to do later.
        const int who = world.choose(SharedStrategy::kLeastQueued, 0, [&](uint32_t m) {
            return Judgement{Usable::kLater, m};
        });
        REQUIRE(static_cast<uint32_t>(who) ==
                *std::min_element(world.asked.begin(), world.asked.end()));
        REQUIRE(world.asked.size() == std::min(count, SharedGroup::kProbes));
    }
}

TEST_CASE("among many who never can the one who can is found", "[topics][shared]") {
    for (const SharedStrategy strategy : kStrategies) {
        for (const uint32_t count : {9u, 100u, 500u}) {
            GroupWorld world(count);
            for (uint32_t one = 0; one < count; one += 1 + count / 20) {
                for (const Usable best : {Usable::kNow, Usable::kLater}) {
                    INFO(static_cast<int>(strategy) << " " << count << " " << one);
                    const int who = world.choose(strategy, one, [&](uint32_t i) {
                        return Judgement{i == one ? best : Usable::kNo, 0};
                    });
                    REQUIRE(who == static_cast<int>(one));
                    REQUIRE(world.last.usable == best);
                }
            }
        }
        // However many they are, a message costs no more than so much.
        GroupWorld crowd(2'000);
        REQUIRE(crowd.choose(strategy, 7, [](uint32_t) { return Judgement{}; }) == -1);
        REQUIRE(crowd.asked.size() == SharedGroup::kProbes + SharedGroup::kMore);
    }
}

}  // namespace mqttd
