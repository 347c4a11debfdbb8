// The retained store among 100 000 topics: to keep a message in the place of the one before, and
// the walk of a replay.

#include "bench/engine/index_world.h"
#include "topics/retained_store.h"

#include <benchmark/benchmark.h>

namespace mqttd::bench {
namespace {

struct Kept {
    Kept() : store(memory.arena, HashKey{1, 2}) {
        for (const std::string& name : names)
            keep(name);
    }

    void keep(const std::string& name) {
        Segment* message = copy_to_segment(memory.arena, as_bytes(name));
        if (!store.set(as_bytes(name), message, ++sequence, 0).ok()) std::abort();
    }

    TestArena memory{size_t{256} << 20};
    RetainedStore store;
    std::vector<std::string> names = numbered("site/", 100'000, "/state");
    uint64_t sequence = 0;
};

void retained_set(benchmark::State& state) {
    Kept kept;
    size_t at = 0;
    for (auto _ : state) {
        kept.keep(kept.names[at]);
        if (++at == kept.names.size()) at = 0;
    }
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(retained_set);

void retained_walk(benchmark::State& state, const char* filter) {
    Kept kept;
    uint64_t found = 0;
    for (auto _ : state) {
        RetainedCursor cursor;
        if (!kept.store.start(cursor, as_bytes(filter), ~uint64_t{0}).ok()) std::abort();
        while (!cursor.done) {
            uint32_t steps = 512;
            while (kept.store.next(cursor, steps) != nullptr)
                ++found;
        }
    }
    state.SetItemsProcessed(static_cast<int64_t>(found));
}

BENCHMARK_CAPTURE(retained_walk, plus, "site/+/state");
BENCHMARK_CAPTURE(retained_walk, hash, "site/#");

}  // namespace
}  // namespace mqttd::bench
