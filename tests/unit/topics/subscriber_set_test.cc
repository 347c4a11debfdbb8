#include "topics/subscription_index.h"
#include "topics_fixture.h"

#include <catch2/catch.hpp>
#include <map>

namespace mqttd {

namespace {

// An index with one filter, "t", and a crowd to subscribe to it.
struct SetWorld {
    explicit SetWorld(uint32_t crowd, size_t bytes = size_t{64} << 20)
        : memory(bytes), subscribers(memory.arena, crowd), index(memory.arena, test_key(11)) {}

    void join(uint32_t who) { REQUIRE(index.subscribe(subscribers[who], as_bytes("t"), 0).ok()); }

    void leave(uint32_t who) { REQUIRE(index.unsubscribe(subscribers[who], as_bytes("t"))); }

    FilterNode& filter() {
        FilterNode* out[4] = {};
        REQUIRE(match_now(index, "t", out) == 1);
        return *out[0];
    }

    TestArena memory;
    Subscribers subscribers;
    SubscriptionIndex index;
};

std::vector<uint32_t> visit_some(FilterNode& filter, SetCursor& cursor, uint32_t limit) {
    std::vector<uint32_t> seen;
    const uint32_t visited =
        SubscriptionIndex::visit(filter, cursor, limit, [&](SubscriberSlot& slot) {
            seen.push_back(slot.subscriber->number);
        });
    REQUIRE(visited == seen.size());
    return seen;
}

uint32_t chunks(const FilterNode& filter) {
    uint32_t count = 0;
    for (SubscriberChunk* it = filter.first; it != nullptr; it = it->next)
        ++count;
    return count;
}

}  // namespace

TEST_CASE("sets of every size hold each subscriber once", "[topics]") {
    // Crosses every seam of growth (one, 4, 16, 64, more) and then of shrinking, in both
    // directions.
    constexpr uint32_t kCrowd = 300;
    SetWorld world(kCrowd);
    std::multiset<uint32_t> expected;
    for (uint32_t i = 0; i < kCrowd; ++i) {
        world.join(i);
        expected.insert(i + 1);
        REQUIRE(members(world.filter()) == expected);
    }
    for (uint32_t i = 0; i < kCrowd; ++i) {
        const uint32_t who = i % 2 == 0 ? i / 2 : kCrowd - 1 - i / 2;
        world.leave(who);
        expected.erase(who + 1);
        if (!expected.empty()) REQUIRE(members(world.filter()) == expected);
    }
    REQUIRE(world.index.filters() == 0);
}

TEST_CASE("visiting in slices of any size sees each subscriber once", "[topics]") {
    // A fan-out is cut wherever the budget ends; no seam may lose or repeat anybody.
    SetWorld world(200);
    for (uint32_t i = 0; i < 200; ++i)
        world.join(i);
    for (uint32_t i = 3; i < 200; i += 3)
        world.leave(i);
    FilterNode& filter = world.filter();
    const std::multiset<uint32_t> all = members(filter);
    for (uint32_t slice = 1; slice <= 210; ++slice) {
        world.index.pin(filter);
        SetCursor cursor;
        std::multiset<uint32_t> seen;
        REQUIRE(visit_some(filter, cursor, 0).empty());
        while (!cursor.done) {
            const auto part = visit_some(filter, cursor, slice);
            REQUIRE(part.size() <= slice);
            seen.insert(part.begin(), part.end());
        }
        REQUIRE(seen == all);
        REQUIRE(visit_some(filter, cursor, slice).empty());
        world.index.unpin(filter);
    }
}

TEST_CASE("a cursor sees exactly who was there at its start and stayed", "[topics]") {
    // Many fan-outs in slices at once, while subscribers come, go and come again.  Who stays is
    // seen once; who leaves is not seen after that; who joins is not seen by a cursor older than
    // that, since a retained replay has shown it the message already.
    const uint64_t seed = GENERATE(1u, 2u, 3u, 6u);
    INFO("seed " << seed);
    Prng prng(seed);
    const uint32_t crowd = 10 + 60 * static_cast<uint32_t>(seed);
    SetWorld world(crowd);

    struct FanOut {
        FilterNode* filter = nullptr;
        SetCursor cursor;
        bool begun = false;
        std::set<uint32_t> expected;  // there at the start, and still
        std::set<uint32_t> seen;
    };

    std::vector<FanOut> fan_outs;
    std::set<uint32_t> present;
    std::map<FilterNode*, bool> known;
    for (uint32_t round = 0; round < 12'000; ++round) {
        const uint32_t action = prng.below(10);
        const uint32_t who = prng.below(crowd);
        // Tides, so that the set fills and empties over and over.
        const bool flood = round / 2000 % 2 == 0;
        if (action < 5) {
            if (present.count(who) == 0 && (flood || prng.below(4) == 0)) {
                world.join(who);
                present.insert(who);
            } else if (present.count(who) != 0 && (!flood || prng.below(4) == 0)) {
                world.leave(who);
                present.erase(who);
                for (FanOut& it : fan_outs)
                    it.expected.erase(who);
            }
        } else if (action < 6 && fan_outs.size() < 6 && !present.empty()) {
            FanOut fan_out;
            fan_out.filter = &world.filter();
            world.index.pin(*fan_out.filter);
            // Some begin at once and are visited later, some begin with their first visit.
            if (prng.below(2) == 0) {
                SubscriptionIndex::begin(*fan_out.filter, fan_out.cursor);
                fan_out.begun = true;
                fan_out.expected = present;
            }
            fan_outs.push_back(fan_out);
        } else if (!fan_outs.empty()) {
            const uint32_t index = prng.below(static_cast<uint32_t>(fan_outs.size()));
            FanOut& it = fan_outs[index];
            if (!it.begun) {
                it.begun = true;
                // An abandoned node's new name-sake is another set.
                if (it.filter->count > 0) it.expected = present;
            }
            for (uint32_t number : visit_some(*it.filter, it.cursor, 1 + prng.below(40))) {
                if (!it.seen.insert(number).second) FAIL("twice " << number);
                if (it.expected.erase(number - 1) != 1) FAIL("unexpected " << number);
            }
            if (it.cursor.done) {
                REQUIRE(it.expected.empty());
                world.index.unpin(*it.filter);
                fan_outs.erase(fan_outs.begin() + index);
            }
        }
        // A fan-out that fits into one call, beside the others and without a pin.
        if (round % 50 == 0 && !present.empty()) {
            std::multiset<uint32_t> expected;
            for (uint32_t it : present)
                expected.insert(it + 1);
            REQUIRE(members(world.filter()) == expected);
        }
    }
    for (FanOut& it : fan_outs)
        world.index.unpin(*it.filter);
    for (uint32_t who : present)
        world.leave(who);
    REQUIRE(world.index.filters() == 0);
}

TEST_CASE("a set that is always pinned keeps showing everybody", "[topics]") {
    // On a busy topic one fan-out begins before the last one ends, for ever.  Joins during pins are
    // marked with a 16-bit clock; it must wrap without hiding anybody, and the set must not grow.
    constexpr uint32_t kRegulars = 64;  // `only` and all but one slot of the first chunk
    constexpr uint32_t kGuests = 40;
    SetWorld world(kRegulars + kGuests + 2);
    for (uint32_t i = 0; i < kRegulars; ++i)
        world.join(i);
    FilterNode& filter = world.filter();
    world.index.pin(filter);
    // Fills the first chunk with a mark; all later joins happen in another one.
    world.join(kRegulars + kGuests + 1);
    uint32_t most_chunks = 0;
    for (uint32_t round = 0; round < 80'000; ++round) {
        SetCursor before;
        REQUIRE(visit_some(filter, before, 1).size() == 1);
        // A guest stays for 30 rounds; one who came early stays for two turns of the clock.
        const uint32_t guest = kRegulars + round % kGuests;
        world.join(guest);
        if (round == 1000) world.join(kRegulars + kGuests);
        const uint32_t newcomers = round == 1000 ? 2 : 1;
        uint32_t seen = 1;
        SubscriptionIndex::visit(filter, before, ~0u, [&](SubscriberSlot& slot) {
            ++seen;
            if (slot.subscriber->number == guest + 1) FAIL("newcomer seen in round " << round);
        });
        if (seen != filter.count - newcomers) FAIL("lost somebody in round " << round);
        SetCursor after;
        uint32_t all = 0;
        SubscriptionIndex::visit(filter, after, ~0u, [&](SubscriberSlot&) { ++all; });
        if (all != filter.count) FAIL("lost somebody in round " << round);
        if (round >= 30) world.leave(kRegulars + (round - 30) % kGuests);
        most_chunks = std::max(most_chunks, chunks(filter));
    }
    REQUIRE(most_chunks <= 3);
    world.index.unpin(filter);
}

TEST_CASE("a subscription tells whether it was there before", "[topics]") {
    // A fan-out over overlapping filters serves a client from the first one it had at the start;
    // one that it made since must not count, or the message would be lost for it.
    SetWorld world(3);
    world.join(0);
    const uint64_t moment = world.index.joins();
    world.join(1);
    world.join(0);  // again: the same subscription
    REQUIRE(world.index.find(world.subscribers[0], as_bytes("t"))->joined < moment);
    REQUIRE(world.index.find(world.subscribers[1], as_bytes("t"))->joined >= moment);
    world.leave(0);
    world.join(0);
    REQUIRE(world.index.find(world.subscribers[0], as_bytes("t"))->joined >= moment);
}

TEST_CASE("a filter left by all while pinned is gone for others at once", "[topics]") {
    // Nobody may be matched to it, and who subscribes again gets a fresh set that the old fan-out
    // does not see; the memory goes with the last pin.
    SetWorld world(8);
    for (uint32_t i = 0; i < 4; ++i)
        world.join(i);
    FilterNode& old = world.filter();
    world.index.pin(old);
    world.index.pin(old);
    SetCursor cursor;
    REQUIRE(visit_some(old, cursor, 2).size() == 2);
    for (uint32_t i = 0; i < 4; ++i)
        world.leave(i);
    FilterNode* out[4];
    REQUIRE(match_now(world.index, "t", out) == 0);
    REQUIRE(world.index.filters() == 0);
    world.join(5);
    REQUIRE(&world.filter() != &old);
    REQUIRE(world.filter().number != old.number);
    REQUIRE(visit_some(old, cursor, 9).empty());
    REQUIRE(cursor.done);
    const uint64_t live = world.memory.arena.live();
    world.index.unpin(old);
    REQUIRE(world.memory.arena.live() == live);
    world.index.unpin(old);
    REQUIRE(world.memory.arena.live() < live);
    REQUIRE(members(world.filter()) == std::multiset<uint32_t>{6});
}

TEST_CASE("chunks that empty are freed, under a pin at the last unpin", "[topics]") {
    // A set that was large once must not stay large; a cursor may stand on a chunk that empties.
    SetWorld world(1000);
    for (uint32_t i = 0; i < 1000; ++i)
        world.join(i);
    FilterNode& filter = world.filter();
    REQUIRE(chunks(filter) >= 16);
    for (uint32_t i = 100; i < 500; ++i)
        world.leave(i);
    REQUIRE(chunks(filter) <= 11);
    world.index.pin(filter);
    SetCursor cursor;
    REQUIRE(visit_some(filter, cursor, 150).size() == 150);
    for (uint32_t i = 500; i < 999; ++i)
        world.leave(i);
    REQUIRE(chunks(filter) >= 8);
    REQUIRE(visit_some(filter, cursor, 1000) == std::vector<uint32_t>{1000});
    world.index.unpin(filter);
    REQUIRE(chunks(filter) <= 3);
    REQUIRE(members(filter).size() == 101);
}

TEST_CASE("a hundred thousand subscribers on one filter", "[topics]") {
    // Joining and leaving stay O(1): a leave allocates nothing and releases at most its
    // subscription, a chunk, and an outgrown table.
    constexpr uint32_t kCrowd = 100'000;
    SetWorld world(kCrowd, size_t{128} << 20);
    for (uint32_t i = 0; i < kCrowd; ++i)
        world.join(i);
    FilterNode& filter = world.filter();
    REQUIRE(filter.count == kCrowd);
    std::vector<bool> seen(kCrowd + 1);
    SetCursor cursor;
    uint32_t visited = 0;
    world.index.pin(filter);
    while (!cursor.done) {
        visited += SubscriptionIndex::visit(filter, cursor, 512, [&](SubscriberSlot& slot) {
            if (seen[slot.subscriber->number]) FAIL("seen twice");
            seen[slot.subscriber->number] = true;
        });
    }
    world.index.unpin(filter);
    REQUIRE(visited == kCrowd);
    const uint64_t allocations = world.memory.arena.allocations();
    uint64_t most = 0;
    for (uint32_t i = 0; i < kCrowd; ++i) {
        const uint64_t live = world.memory.arena.live();
        if (!world.index.unsubscribe(world.subscribers[i], as_bytes("t"))) FAIL("lost " << i);
        most = std::max(most, live - world.memory.arena.live());
    }
    REQUIRE(most <= 3);
    REQUIRE(world.memory.arena.allocations() == allocations);
    REQUIRE(world.index.filters() == 0);
}

}  // namespace mqttd
