// What $SYS costs: a tick in which every second goes by and messages flow, without anybody who
// watches and with a hundred. The promise is 200 µs a tick, spread over its turns.

#include "support/bare_loop.h"

#include <benchmark/benchmark.h>
#include <string>

namespace {

using mqttd::BareLoop;
using mqttd::BrokerOptions;

std::string text(const std::string& words) {
    return std::string{'\0', static_cast<char>(words.size())} + words;
}

std::string packet(int first, const std::string& body) {
    return std::string{static_cast<char>(first), static_cast<char>(body.size())} + body;
}

// BareLoop's time goes on by 1 ms a turn: a thousand of them are an interval.
void tick(benchmark::State& state) {
    const auto watchers = static_cast<uint32_t>(state.range(0));
    BrokerOptions options;
    options.listener.allow_anonymous = true;
    options.sys_interval_s = static_cast<uint32_t>(state.range(1));
    options.hash_key[0] = 1;
    BareLoop loop(options, size_t{256} << 20, watchers + 1);
    for (uint32_t i = 0; i <= watchers; ++i) {
        loop.open(i);
        loop.feed(
            i,
            packet(0x10, text("MQTT") + std::string{4, 2, 0, 0} + text("c" + std::to_string(i))));
        if (i > 0) loop.feed(i, packet(0x82, std::string{0, 1} + text("$SYS/#") + '\0'));
        loop.turn();
    }
    const std::string message = packet(0x30, text("bench/a") + std::string(64, 'x'));
    for (auto _ : state) {
        for (int i = 0; i < 1'000; ++i) {
            if (i % 10 == 0) loop.feed(0, message);
            loop.turn();
        }
    }
    state.counters["published"] =
        static_cast<double>(loop.stats().sys_published) / static_cast<double>(state.iterations());
}

BENCHMARK(tick)->ArgNames({"watchers", "interval_s"})->Args({0, 0})->Args({0, 1})->Args({100, 1});

}  // namespace
