// How long it takes to find out who wants a topic: exact among few and many, through the trie, from
// the cache; and to walk a set, the hottest loop of a fan-out.

#include "mqttd/bytes.h"

#include "support/arena_memory.h"
#include "topics/retained_store.h"
#include "topics/subscription_index.h"

#include <benchmark/benchmark.h>
#include <string>
#include <vector>

namespace {

using mqttd::as_bytes;
using mqttd::FilterNode;
using mqttd::SetCursor;
using mqttd::Subscriber;
using mqttd::SubscriberSlot;
using mqttd::SubscriptionIndex;

constexpr mqttd::HashKey kKey{1, 2};

struct World {
    explicit World(size_t bytes = size_t{1} << 30)
        : memory(bytes), arena(memory.base(), memory.bytes()), index(arena, kKey) {}

    Subscriber& subscriber() {
        auto* made = arena.make<Subscriber>(mqttd::Arena::Use::kNormal);
        made->number = ++subscribers;
        return *made;
    }

    void subscribe(const std::string& filter) {
        if (!index.subscribe(subscriber(), as_bytes(filter), 0).ok()) std::abort();
    }

    mqttd::ArenaMemory memory;
    mqttd::Arena arena;
    SubscriptionIndex index;
    uint32_t subscribers = 0;
};

// Names in an order that no cache likes.
std::vector<std::string> names(const char* before, uint32_t count, const char* after) {
    std::vector<std::string> all;
    for (uint32_t i = 0; i < count; ++i)
        all.push_back(before + std::to_string(uint64_t{i} * 7919 % count) + after);
    return all;
}

void run_matches(benchmark::State& state, World& world, const std::vector<std::string>& topics) {
    FilterNode* out[16];
    size_t at = 0;
    uint64_t found = 0;
    for (auto _ : state) {
        found += world.index.match(as_bytes(topics[at]), out)->found;
        if (++at == topics.size()) at = 0;
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
    state.counters["found"] = static_cast<double>(found) / static_cast<double>(state.iterations());
    state.counters["cached"] =
        static_cast<double>(world.index.cache_hits()) / static_cast<double>(state.iterations());
}

void match_exact(benchmark::State& state) {
    World world;
    const auto count = static_cast<uint32_t>(state.range(0));
    const auto topics = names("site/", count, "/state");
    for (const std::string& topic : topics)
        world.subscribe(topic);
    run_matches(state, world, topics);
}

BENCHMARK(match_exact)->Arg(1'000)->Arg(1'000'000);

void match_wildcard(benchmark::State& state) {
    World world;
    const auto count = static_cast<uint32_t>(state.range(0));
    for (uint32_t i = 0; i < count; ++i)
        world.subscribe("a/+/" + std::to_string(i) + "/#");
    run_matches(state, world, names("a/device/", count, "/x/y"));
}

BENCHMARK(match_wildcard)->Arg(10'000);

void match_cached(benchmark::State& state) {
    World world;
    world.subscribe("site/#");
    world.subscribe("site/+/state");
    run_matches(state, world, names("site/", 16, "/state"));
}

BENCHMARK(match_cached);

void match_nobody(benchmark::State& state) {
    World world;
    for (const std::string& filter : names("other/", 1'000, "/+"))
        world.subscribe(filter);
    run_matches(state, world, names("site/", 100'000, "/state"));
}

BENCHMARK(match_nobody);

// The visit itself, and with the touch of every subscriber that a delivery begins with.
void visit_set(benchmark::State& state) {
    World world;
    const auto count = static_cast<uint32_t>(state.range(0));
    for (uint32_t i = 0; i < count; ++i)
        world.subscribe("t");
    FilterNode* out[2];
    if (world.index.match(as_bytes("t"), out)->found != 1) std::abort();
    const bool touch = state.range(1) != 0;
    uint32_t sum = 0;
    for (auto _ : state) {
        SetCursor cursor;
        while (!cursor.done) {
            SubscriptionIndex::visit(*out[0], cursor, 512, [&](SubscriberSlot& slot) {
                sum += touch ? ++slot.subscriber->epoch : slot.options;
            });
        }
    }
    benchmark::DoNotOptimize(sum);
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * count);
}

BENCHMARK(visit_set)->Args({1, 0})->Args({16, 0})->Args({1'000, 0})->Args({1'000, 1});
BENCHMARK(visit_set)->Args({100'000, 0})->Args({100'000, 1});

// What hostile filters cost: every combination of `a` and `+` over so many levels, by the step.
void match_hostile(benchmark::State& state) {
    World world;
    const auto levels = static_cast<uint32_t>(state.range(0));
    std::string name;
    for (uint32_t i = 0; i < levels; ++i)
        name += i > 0 ? "/a" : "a";
    for (uint32_t mask = 0; mask < uint32_t{1} << levels; ++mask) {
        std::string filter = name;
        for (uint32_t i = 0; i < levels; ++i)
            if ((mask >> i & 1) != 0) filter[2 * i] = '+';
        world.subscribe(filter);
    }
    std::vector<FilterNode*> out(1024);
    uint64_t steps = 0;
    for (auto _ : state) {
        const mqttd::Match match = *world.index.match(as_bytes(name), out, 2'048);
        steps += world.index.last_steps();
        while (match.rest != nullptr && !match.rest->done()) {
            world.index.match_on(*match.rest, out, 2'048);
            steps += world.index.last_steps();
        }
        world.index.end_match(match.rest);
    }
    state.SetItemsProcessed(static_cast<int64_t>(steps));
}

BENCHMARK(match_hostile)->Arg(6)->Arg(12)->Arg(18);

void subscribe_and_leave(benchmark::State& state) {
    World world;
    for (const std::string& filter : names("site/", 100'000, "/state"))
        world.subscribe(filter);
    Subscriber& subscriber = world.subscriber();
    const std::string filter = state.range(0) != 0 ? "own/+/topic" : "own/one/topic";
    for (auto _ : state) {
        auto added = world.index.subscribe(subscriber, as_bytes(filter), 0);
        world.index.remove(*added->subscription);
    }
}

BENCHMARK(subscribe_and_leave)->Arg(0)->Arg(1);

void retained_walk(benchmark::State& state) {
    World world;
    mqttd::RetainedStore store(world.arena, kKey);
    uint64_t sequence = 0;
    for (const std::string& name : names("site/", 100'000, "/state")) {
        mqttd::Segment* message = mqttd::copy_to_segment(world.arena, as_bytes(name));
        if (!store.set(as_bytes(name), message, 1, ++sequence, 0).ok()) std::abort();
    }
    uint64_t found = 0;
    for (auto _ : state) {
        mqttd::RetainedCursor cursor;
        if (!store.start(cursor, as_bytes("site/+/state"), ~uint64_t{0}).ok()) std::abort();
        while (!cursor.done) {
            uint32_t steps = 512;
            while (store.next(cursor, steps) != nullptr)
                ++found;
        }
    }
    state.SetItemsProcessed(static_cast<int64_t>(found));
}

BENCHMARK(retained_walk);

}  // namespace

BENCHMARK_MAIN();
