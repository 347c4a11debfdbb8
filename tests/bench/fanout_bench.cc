// Fan-out in the core, without net or kernel: one publisher to 1, 10 and 1000 receivers, alone and
// in runs, as the bytes came or with heads of the receivers' own; and whole flows of QoS 1.

#include "bench/engine/people.h"
#include "support/bare_loop.h"
#include "support/packets.h"
#include "support/packets5.h"

#include <benchmark/benchmark.h>
#include <string>

namespace mqttd::bench {
namespace {

// Nothing is put off to another turn: what is measured is the delivery, not the budget.
BrokerOptions unhurried() {
    BrokerOptions options = engine_options();
    options.turn_units = options.visit_units = options.fanout_slice = 1 << 24;
    return options;
}

// Link 0 publishes, the others have subscribed.
void meet(BareLoop& loop, uint32_t receivers, Speech writer, Speech reader, int qos) {
    for (uint32_t i = 0; i <= receivers; ++i) {
        const Speech speech = i == 0 ? writer : reader;
        loop.open(i);
        loop.feed(i, connect(speech, {"c" + std::to_string(i)}));
        if (i > 0) loop.feed(i, subscribe(speech, "bench/+", qos));
        loop.turn();
    }
}

// One read of `input`, which has so many messages, and one turn.
void fan_out(benchmark::State& state,
             const std::string& input,
             uint32_t messages,
             Speech writer,
             Speech reader) {
    const auto receivers = static_cast<uint32_t>(state.range(0));
    BareLoop loop(unhurried(), size_t{256} << 20, receivers + 1);
    meet(loop, receivers, writer, reader, 0);
    const uint64_t before = loop.stats().publish_sent;
    for (auto _ : state) {
        loop.feed(0, input);
        loop.turn();
    }
    const int64_t deliveries = state.iterations() * int64_t{messages} * receivers;
    if (!loop.complete() || loop.stats().publish_sent - before != static_cast<uint64_t>(deliveries))
        state.SkipWithError("not everything came through");
    state.SetItemsProcessed(deliveries);
}

void qos0_single(benchmark::State& state, Speech writer, Speech reader) {
    fan_out(state, publish(writer, "bench/a"), 1, writer, reader);
}

BENCHMARK_CAPTURE(qos0_single, v3, Speech::k3, Speech::k3)->Arg(1)->Arg(10)->Arg(1'000);
BENCHMARK_CAPTURE(qos0_single, v5, Speech::k5, Speech::k5)->Arg(1)->Arg(10)->Arg(1'000);
BENCHMARK_CAPTURE(qos0_single, v3_to_v5, Speech::k3, Speech::k5)->Arg(1)->Arg(10)->Arg(1'000);

// 50 messages with one topic in one read.
void qos0_run(benchmark::State& state, Speech writer, Speech reader) {
    fan_out(state, publishes(writer, "bench/a", 0, 50), 50, writer, reader);
}

BENCHMARK_CAPTURE(qos0_run, v3, Speech::k3, Speech::k3)->Arg(1)->Arg(10)->Arg(1'000);
BENCHMARK_CAPTURE(qos0_run, v5, Speech::k5, Speech::k5)->Arg(1)->Arg(10)->Arg(1'000);
BENCHMARK_CAPTURE(qos0_run, v3_to_v5, Speech::k3, Speech::k5)->Arg(1)->Arg(10)->Arg(1'000);

// As many with topics that take turns: no runs.
void qos0_alternating(benchmark::State& state) {
    std::string input;
    for (int i = 0; i < 25; ++i)
        input += publish(Speech::k3, "bench/a") + publish(Speech::k3, "bench/b");
    fan_out(state, input, 50, Speech::k3, Speech::k3);
}

BENCHMARK(qos0_alternating)->Arg(1)->Arg(10)->Arg(1'000);

void qos0_run_with_property(benchmark::State& state) {
    std::string input;
    for (int i = 0; i < 50; ++i)
        input += packets5::publish({.topic = "bench/a",
                                    .payload = std::string(64, 'x'),
                                    .properties = packets5::user("key", "value")});
    fan_out(state, input, 50, Speech::k5, Speech::k5);
}

BENCHMARK(qos0_run_with_property)->Arg(1)->Arg(10)->Arg(1'000);

// PUBLISH in and out, PUBACK in and out, ten messages at a time, to so many receivers.
void qos1_flows(benchmark::State& state) {
    constexpr uint16_t kWindow = 10;
    const auto receivers = static_cast<uint32_t>(state.range(0));
    BareLoop loop(unhurried(), size_t{256} << 20, receivers + 1);
    meet(loop, receivers, Speech::k3, Speech::k3, 1);
    const std::string messages = publishes(Speech::k3, "bench/a", 1, kWindow);
    uint16_t next = 0;  // the broker counts identifiers from 1 to 65535 for each receiver
    for (auto _ : state) {
        loop.feed(0, messages);
        loop.turn();
        std::string acks;
        for (uint16_t i = 0; i < kWindow; ++i) {
            next = static_cast<uint16_t>(next % 65'535 + 1);
            acks += packets::puback(next);
        }
        for (uint32_t i = 1; i <= receivers; ++i)
            loop.feed(i, acks);
        loop.turn();
    }
    if (!loop.complete() || loop.stats().inflight_out != 0)
        state.SkipWithError("flows were left over");
    state.SetItemsProcessed(state.iterations() * int64_t{kWindow} * receivers);
}

BENCHMARK(qos1_flows)->Arg(1)->Arg(10)->Arg(1'000);

}  // namespace
}  // namespace mqttd::bench
