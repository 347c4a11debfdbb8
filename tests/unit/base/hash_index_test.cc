#include "base/hash_index.h"

#include "base/prng.h"
#include "support/arena_memory.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <vector>

using namespace mqttd;

namespace {

struct alignas(16) Item {
    HashHook<Item> hook;
    uint32_t key = 0;
};

using Index = HashIndex<Item, &Item::hook>;

// Spreads keys, but leaves every eighth pair of keys with the same hash: equal hashes happen.
uint32_t hash_of(uint32_t key) {
    return (key / 8 * 8 + (key % 8 == 7 ? 6 : key % 8)) * 0x9e3779b1u;
}

struct Fixture {
    Item& make(uint32_t key) {
        Item* item = test.arena.make<Item>(Arena::Use::kNormal);
        REQUIRE(item != nullptr);
        item->key = key;
        return *item;
    }

    Item* find(uint32_t key) const {
        return index.find(hash_of(key), [&](const Item& item) { return item.key == key; });
    }

    Item& insert(uint32_t key) {
        Item& item = make(key);
        REQUIRE(index.insert(item, hash_of(key)));
        return item;
    }

    TestArena test;
    Index index{test.arena};
};

}  // namespace

TEST_CASE("an empty index finds nothing and has taken no memory") {
    // There is one per session; most hold little.
    Fixture f;
    REQUIRE(f.find(1) == nullptr);
    REQUIRE(f.test.arena.live() == 0);
    uint64_t cursor = 0;
    REQUIRE_FALSE(f.index.visit_bucket(cursor, [](Item&) { FAIL(); }));
}

TEST_CASE("after every single insertion all elements are found, and no others") {
    // While the table grows an element is in the old array or in the new one; a look-up must know.
    Fixture f;
    for (uint32_t key = 0; key < 1100; ++key) {
        f.insert(key);
        REQUIRE(f.index.size() == key + 1);
        for (uint32_t other = 0; other <= key; ++other) {
            if (f.find(other) == nullptr || f.find(other)->key != other)
                FAIL(other << " at " << key);
        }
        REQUIRE(f.find(key + 1) == nullptr);
    }
}

TEST_CASE("removal works at every moment of a migration") {
    // Elements are inserted up to some point inside the growth, then all are removed, in an order
    // that mixes moved and unmoved buckets.
    for (const uint32_t count :
         {1u, 64u, 65u, 70u, 75u, 80u, 81u, 128u, 129u, 140u, 160u, 161u, 700u}) {
        Fixture f;
        for (uint32_t key = 0; key < count; ++key)
            f.insert(key);
        uint32_t left = count;
        for (uint32_t i = 0; i < count; ++i) {
            const uint32_t key = (i * 7919u) % count;  // a prime: every key once
            Item* item = f.find(key);
            REQUIRE(item != nullptr);
            f.index.remove(*item);
            REQUIRE(f.find(key) == nullptr);
            REQUIRE(f.index.size() == --left);
        }
    }
}

TEST_CASE("growth does a bounded amount of work per change") {
    // A table of a million must not pause when it doubles: with one change at most kMovesPerChange
    // buckets move, so right after the doubling nearly everything is still in the old array.
    Fixture f;
    uint32_t key = 0;
    while (f.index.size() < 4095)
        f.insert(key++);
    const uint64_t runs_before = f.test.arena.live();
    f.insert(key++);                                  // doubles
    REQUIRE(f.test.arena.live() == runs_before + 2);  // the element and a second array
    // 4096 old buckets, four per change: the old array lives for 1024 changes, this one included.
    for (int i = 1; i < 1023; ++i)
        f.insert(key++);
    REQUIRE(f.test.arena.live() == runs_before + 1 + 1023);
    f.insert(key++);
    REQUIRE(f.test.arena.live() == runs_before + 1024);
}

TEST_CASE("when the arena refuses a larger array the index goes on with longer chains") {
    // Memory being short must not lose a client.
    Fixture f;
    for (uint32_t key = 0; key < 64; ++key)
        f.insert(key);
    for (uint32_t key = 64; key < 400; ++key) {
        Item& item = f.make(key);
        f.test.arena.refuse_nth(1);  // the doubling, tried again with every insertion
        REQUIRE(f.index.insert(item, hash_of(key)));
        f.test.arena.refuse_nth(0);
        REQUIRE(f.find(key) == &item);
    }
    for (uint32_t key = 400; key < 1000; ++key)
        f.insert(key);  // grows now
    for (uint32_t key = 0; key < 1000; ++key)
        REQUIRE(f.find(key) != nullptr);
}

TEST_CASE("when the arena refuses the first array the insertion says so and changes nothing") {
    // The caller answers with "server busy".
    Fixture f;
    Item& item = f.make(1);
    f.test.arena.refuse_nth(1);
    REQUIRE_FALSE(f.index.insert(item, hash_of(1)));
    REQUIRE(f.index.size() == 0);
    REQUIRE(f.find(1) == nullptr);
    REQUIRE(f.index.insert(item, hash_of(1)));
    REQUIRE(f.find(1) == &item);
}

TEST_CASE("a walk sees every element that stays, also while the table grows under it") {
    // Listings and sweeps walk in slices; in between anything may be inserted or removed.
    const uint64_t seed = GENERATE(21u, 22u, 23u, 24u);
    INFO("seed " << seed);
    Prng prng(seed);
    Fixture f;
    for (uint32_t key = 0; key < 300; ++key)
        f.insert(key);
    std::set<uint32_t> seen;
    uint64_t cursor = 0;
    uint32_t fresh = 1000;
    for (bool more = true; more;) {
        more = f.index.visit_bucket(cursor, [&](Item& item) { seen.insert(item.key); });
        for (uint32_t i = prng.below(6); i > 0; --i)
            f.insert(fresh++);
        if (fresh > 1100 && prng.below(2) == 0) {
            Item* item = f.find(1000 + prng.below(100));
            if (item != nullptr) f.index.remove(*item);
        }
        if (fresh > 5000) break;  // it grows faster than the walk: enough seen
    }
    if (fresh <= 5000) {
        for (uint32_t key = 0; key < 300; ++key)
            REQUIRE(seen.count(key) == 1);
    }
}

TEST_CASE("a walk through an index at rest visits each element once") {
    // Also in the middle of a migration, when some buckets are in the old array.
    for (const uint32_t count : {1u, 63u, 64u, 66u, 72u, 79u, 90u, 130u, 1000u}) {
        Fixture f;
        for (uint32_t key = 0; key < count; ++key)
            f.insert(key);
        std::map<uint32_t, int> seen;
        uint64_t cursor = 0;
        while (f.index.visit_bucket(cursor, [&](Item& item) { ++seen[item.key]; })) {
        }
        REQUIRE(seen.size() == count);
        for (const auto& [key, times] : seen)
            REQUIRE(times == 1);
    }
}

TEST_CASE("random changes agree with a map", "[random]") {
    // Insertions and removals in waves, so that growth, migration and emptiness all occur.
    const uint64_t seed = GENERATE(31u, 32u, 33u);
    INFO("seed " << seed);
    Prng prng(seed);
    Fixture f;
    std::map<uint32_t, Item*> model;
    for (int step = 0; step < 30'000; ++step) {
        const uint32_t key = prng.below(3000);
        const auto known = model.find(key);
        REQUIRE(f.find(key) == (known == model.end() ? nullptr : known->second));
        const bool growing = (step / 4000) % 2 == 0;
        if (known == model.end() && (growing || prng.below(4) == 0)) {
            model[key] = &f.insert(key);
        } else if (known != model.end() && (!growing || prng.below(4) == 0)) {
            f.index.remove(*known->second);
            f.test.arena.destroy(known->second);
            model.erase(known);
        }
        REQUIRE(f.index.size() == model.size());
    }
}

TEST_CASE("an index gives its arrays back when it goes") {
    // A session's tables go with it.
    TestArena test;
    {
        Index index(test.arena);
        auto* items = static_cast<Item*>(test.arena.allocate(100 * sizeof(Item)));
        for (uint32_t i = 0; i < 70; ++i)
            REQUIRE(index.insert(*new (&items[i]) Item, hash_of(i)));
        test.arena.release(items);  // in the middle of a migration: two arrays
    }
    REQUIRE(test.arena.live() == 0);
}
