// How long it takes to find out who wants a topic, among 1, 1000 and a million filters: exact ones,
// with `+`, with `#`, deep ones; from the cache; for nobody; and what hostile filters cost.

#include "mqttd/topic.h"

#include "bench/engine/index_world.h"

#include <benchmark/benchmark.h>

namespace mqttd::bench {
namespace {

// Filters and the names that match one each, with a number in them.
struct Shape {
    const char* before;
    const char* filter_after;
    const char* name_before;
    const char* name_after;
};

constexpr Shape kExact{"site/", "/state", "site/", "/state"};
constexpr Shape kPlus{"site/", "/+", "site/", "/state"};
constexpr Shape kPlusFirst{"+/", "/state", "site/", "/state"};
constexpr Shape kHash{"site/", "/#", "site/", "/room/state"};
constexpr Shape kDeep{"a/+/c/d/+/f/g/", "/+/j/#", "a/b/c/d/e/f/g/", "/i/j/k/l"};

void run_matches(benchmark::State& state,
                 IndexWorld& world,
                 const std::vector<std::string>& topics) {
    FilterNode* out[16];
    size_t at = 0;
    uint64_t found = 0;
    const uint64_t hits = world.index.cache_hits();
    for (auto _ : state) {
        found += world.index.match(as_bytes(topics[at]), out)->found;
        if (++at == topics.size()) at = 0;
    }
    const auto times = static_cast<double>(state.iterations());
    state.SetItemsProcessed(state.iterations());
    state.counters["found"] = static_cast<double>(found) / times;
    state.counters["cached"] = static_cast<double>(world.index.cache_hits() - hits) / times;
}

void match(benchmark::State& state, const Shape& shape) {
    const auto count = static_cast<uint32_t>(state.range(0));
    const std::string name = std::string(shape.before) + shape.filter_after + std::to_string(count);
    IndexWorld& world = IndexWorld::kept(name, [&](IndexWorld& fresh) {
        for (uint32_t i = 0; i < count; ++i)
            fresh.subscribe(shape.before + std::to_string(i) + shape.filter_after);
    });
    run_matches(state, world, numbered(shape.name_before, count, shape.name_after));
}

BENCHMARK_CAPTURE(match, exact, kExact)->Arg(1)->Arg(1'000)->Arg(1'000'000);
BENCHMARK_CAPTURE(match, plus, kPlus)->Arg(1)->Arg(1'000)->Arg(1'000'000);
BENCHMARK_CAPTURE(match, plus_first, kPlusFirst)->Arg(1)->Arg(1'000)->Arg(1'000'000);
BENCHMARK_CAPTURE(match, hash, kHash)->Arg(1)->Arg(1'000)->Arg(1'000'000);
BENCHMARK_CAPTURE(match, deep, kDeep)->Arg(1)->Arg(1'000)->Arg(1'000'000);

// Few topics, again and again.
void match_cached(benchmark::State& state) {
    IndexWorld world;
    world.subscribe("site/#");
    world.subscribe("site/+/state");
    run_matches(state, world, numbered("site/", 16, "/state"));
}

BENCHMARK(match_cached);

void match_nobody(benchmark::State& state) {
    IndexWorld world;
    for (const std::string& filter : numbered("other/", 1'000, "/+"))
        world.subscribe(filter);
    run_matches(state, world, numbered("site/", 100'000, "/state"));
}

BENCHMARK(match_nobody);

// What hostile filters cost: every combination of `a` and `+` over so many levels, by the step.
void match_hostile(benchmark::State& state) {
    IndexWorld world;
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
        const Match match = *world.index.match(as_bytes(name), out, 2'048);
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

// One filter and one name, without an index.
void match_one(benchmark::State& state) {
    const Bytes filter = as_bytes("sensors/+/temperature/#");
    const Bytes name = as_bytes("sensors/1/temperature/celsius");
    for (auto _ : state)
        benchmark::DoNotOptimize(topic_matches(filter, name));
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(match_one);

}  // namespace
}  // namespace mqttd::bench
