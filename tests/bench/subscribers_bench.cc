// Who has subscribed: to walk a set, the hottest loop of a fan-out, and to come and go.

#include "bench/engine/index_world.h"

#include <benchmark/benchmark.h>

namespace mqttd::bench {
namespace {

// The visit itself, and with the touch of every subscriber that a delivery begins with.
void visit_set(benchmark::State& state) {
    IndexWorld world;
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

void subscribe_and_leave(benchmark::State& state) {
    IndexWorld world;
    for (const std::string& filter : numbered("site/", 100'000, "/state"))
        world.subscribe(filter);
    Subscriber& subscriber = world.subscriber();
    const std::string filter = state.range(0) != 0 ? "own/+/topic" : "own/one/topic";
    for (auto _ : state) {
        auto added = world.index.subscribe(subscriber, as_bytes(filter), 0);
        world.index.remove(*added->subscription);
    }
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(subscribe_and_leave)->Arg(0)->Arg(1);

}  // namespace
}  // namespace mqttd::bench
