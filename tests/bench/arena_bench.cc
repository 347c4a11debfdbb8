// The arena: what every object, message and block costs to take and to give back.

#include "base/arena.h"
#include "base/prng.h"
#include "base/segment.h"
#include "support/arena_memory.h"

#include <benchmark/benchmark.h>
#include <vector>

namespace mqttd::bench {
namespace {

// The same object again and again, as in the steady state.
void arena_take_and_give(benchmark::State& state) {
    TestArena memory;
    const auto bytes = static_cast<size_t>(state.range(0));
    for (auto _ : state) {
        void* object = memory.arena.allocate(bytes);
        benchmark::DoNotOptimize(object);
        memory.arena.release(object);
    }
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(arena_take_and_give)
    ->Arg(16)
    ->Arg(112)
    ->Arg(1'024)
    ->Arg(32'768)
    ->Arg(65'536)
    ->Arg(1 << 20);

// So many live at a time, in an order that no cache likes: one goes, another comes.
void arena_churn(benchmark::State& state) {
    TestArena memory(size_t{1} << 30);
    Prng prng(1);
    std::vector<void*> objects(static_cast<size_t>(state.range(0)));
    for (void*& object : objects)
        object = memory.arena.allocate(112);
    for (auto _ : state) {
        void*& object = objects[prng.below(static_cast<uint32_t>(objects.size()))];
        memory.arena.release(object);
        object = memory.arena.allocate(112);
    }
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(arena_churn)->Arg(1'000)->Arg(1'000'000);

// Messages of any size up to 2 KiB among a thousand others.
void arena_churn_of_sizes(benchmark::State& state) {
    TestArena memory;
    Prng prng(1);
    std::vector<void*> objects(1'000);
    for (void*& object : objects)
        object = memory.arena.allocate(1 + prng.below(2'048));
    for (auto _ : state) {
        void*& object = objects[prng.below(1'000)];
        memory.arena.release(object);
        object = memory.arena.allocate(1 + prng.below(2'048));
    }
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(arena_churn_of_sizes);

// A burst: so many are taken, then all given back.
void arena_burst(benchmark::State& state) {
    TestArena memory(size_t{1} << 30);
    std::vector<void*> objects(static_cast<size_t>(state.range(0)));
    for (auto _ : state) {
        for (void*& object : objects)
            object = memory.arena.allocate(112);
        for (void* object : objects)
            memory.arena.release(object);
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(arena_burst)->Arg(1'000)->Arg(100'000);

void arena_segment(benchmark::State& state) {
    TestArena memory;
    for (auto _ : state) {
        Segment* made = Segment::make(memory.arena, 200);
        made->hold();
        made->drop(memory.arena);
        made->drop(memory.arena);
    }
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(arena_segment);

}  // namespace
}  // namespace mqttd::bench
