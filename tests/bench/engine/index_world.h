#pragma once

// IndexWorld: a subscription index in an arena of its own, for the benchmarks of topics.
//
// A million filters take a second to subscribe, and Google Benchmark begins a function several
// times with more and more iterations: `kept` makes one world and keeps it until another is asked
// for.

#include "mqttd/bytes.h"

#include "support/arena_memory.h"
#include "topics/subscription_index.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace mqttd::bench {

struct IndexWorld {
    explicit IndexWorld(size_t bytes = size_t{2} << 30)
        : memory(bytes), arena(memory.arena), index(arena, HashKey{1, 2}) {}

    Subscriber& subscriber() {
        auto* made = arena.make<Subscriber>(Arena::Use::kNormal);
        if (made == nullptr) std::abort();
        made->number = ++subscribers;
        return *made;
    }

    void subscribe(const std::string& filter) {
        if (!index.subscribe(subscriber(), as_bytes(filter), 0).ok()) std::abort();
    }

    // The world with this name, filled by `fill` if it is not the one that was asked for last.
    template <class Fill>
    static IndexWorld& kept(const std::string& name, Fill&& fill) {
        static std::unique_ptr<IndexWorld> world;
        static std::string name_of_it;
        if (name != name_of_it) {
            world.reset();
            world = std::make_unique<IndexWorld>();
            fill(*world);
            name_of_it = name;
        }
        return *world;
    }

    TestArena memory;
    Arena& arena;
    SubscriptionIndex index;
    uint32_t subscribers = 0;
};

// 0 … count - 1 in an order that no cache likes; `count` has no factor 7919.
inline uint32_t shuffled(uint32_t i, uint32_t count) {
    return static_cast<uint32_t>(uint64_t{i} * 7'919 % count);
}

// Names with such numbers between two texts.
inline std::vector<std::string> numbered(const char* before, uint32_t count, const char* after) {
    std::vector<std::string> all;
    for (uint32_t i = 0; i < count; ++i)
        all.push_back(before + std::to_string(shuffled(i, count)) + after);
    return all;
}

}  // namespace mqttd::bench
