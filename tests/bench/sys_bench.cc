// What $SYS costs: a tick in which every second goes by and messages flow, without anybody who
// watches and with a hundred. The promise is 200 µs a tick, spread over its turns.

#include "bench/engine/people.h"
#include "support/bare_loop.h"

#include <benchmark/benchmark.h>
#include <string>

namespace mqttd::bench {
namespace {

// BareLoop's time goes on by 1 ms a turn: a thousand of them are an interval.
void sys_tick(benchmark::State& state) {
    const auto watchers = static_cast<uint32_t>(state.range(0));
    BrokerOptions options = engine_options();
    options.sys_interval_s = static_cast<uint32_t>(state.range(1));
    BareLoop loop(options, size_t{256} << 20, watchers + 1);
    for (uint32_t i = 0; i <= watchers; ++i) {
        loop.open(i);
        loop.feed(i, connect(Speech::k3, {"c" + std::to_string(i)}));
        if (i > 0) loop.feed(i, subscribe(Speech::k3, "$SYS/#", 0));
        loop.turn();
    }
    const std::string message = publish(Speech::k3, "bench/a");
    for (auto _ : state) {
        for (int i = 0; i < 1'000; ++i) {
            if (i % 10 == 0) loop.feed(0, message);
            loop.turn();
        }
    }
    state.SetItemsProcessed(state.iterations());
    state.counters["published"] =
        static_cast<double>(loop.stats().sys_published) / static_cast<double>(state.iterations());
}

BENCHMARK(sys_tick)
    ->ArgNames({"watchers", "interval_s"})
    ->Args({0, 0})
    ->Args({0, 1})
    ->Args({100, 1});

}  // namespace
}  // namespace mqttd::bench
