// What the core costs per message, without a kernel: one publisher to one and to a thousand
// subscribers at QoS 0, and the whole exchange of QoS 1.

#include "support/bare_loop.h"

#include <benchmark/benchmark.h>
#include <string>

namespace {

using mqttd::BareLoop;
using mqttd::BrokerOptions;

BrokerOptions bench_options() {
    BrokerOptions options;
    options.listener.allow_anonymous = true;
    options.sys_interval_s = 0;
    options.hash_key[0] = 1;
    return options;
}

std::string text(const std::string& words) {
    return std::string{'\0', static_cast<char>(words.size())} + words;
}

std::string packet(int first, const std::string& body) {
    return std::string{static_cast<char>(first), static_cast<char>(body.size())} + body;
}

std::string connect(uint32_t i) {
    return packet(0x10, text("MQTT") + std::string{4, 2, 0, 0} + text("c" + std::to_string(i)));
}

// Link 0 publishes, the others have subscribed to `filter`.
void meet(BareLoop& loop, uint32_t subscribers, const std::string& filter, char qos) {
    for (uint32_t i = 0; i <= subscribers; ++i) {
        loop.open(i);
        loop.feed(i, connect(i));
        if (i > 0) loop.feed(i, packet(0x82, std::string{0, 1} + text(filter) + qos));
        loop.turn();
    }
}

// One read of `run` messages with 64 bytes, then one turn.
void qos0(benchmark::State& state, uint32_t subscribers, uint32_t run, bool one_topic) {
    BareLoop loop(bench_options(), size_t{256} << 20, subscribers + 1);
    meet(loop, subscribers, "bench/+", 0);
    std::string input;
    for (uint32_t i = 0; i < run; ++i) {
        input += packet(
            0x30, text(one_topic || i % 2 == 0 ? "bench/a" : "bench/b") + std::string(64, 'x'));
    }
    for (auto _ : state) {
        loop.feed(0, input);
        loop.turn();
    }
    if (!loop.complete()) state.SkipWithError("not everything was taken");
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * run * subscribers);
}

void qos0_one_to_one_run(benchmark::State& state) {
    qos0(state, 1, 800, true);
}

void qos0_one_to_one_alternating(benchmark::State& state) {
    qos0(state, 1, 800, false);
}

void qos0_one_to_one_single(benchmark::State& state) {
    qos0(state, 1, 1, true);
}

void qos0_one_to_thousand(benchmark::State& state) {
    qos0(state, 1'000, 1, true);
}

void qos0_one_to_thousand_run(benchmark::State& state) {
    qos0(state, 1'000, 50, true);
}

BENCHMARK(qos0_one_to_one_run);
BENCHMARK(qos0_one_to_one_alternating);
BENCHMARK(qos0_one_to_one_single);
BENCHMARK(qos0_one_to_thousand);
BENCHMARK(qos0_one_to_thousand_run);

void put_id(std::string& bytes, size_t at, uint32_t id) {
    bytes[at] = static_cast<char>(id >> 8);
    bytes[at + 1] = static_cast<char>(id);
}

// PUBLISH in and out, PUBACK in and out, ten at a time.
void qos1_one_to_one(benchmark::State& state) {
    constexpr uint32_t kWindow = 10;
    BareLoop loop(bench_options(), size_t{64} << 20, 2);
    meet(loop, 1, "bench/a", 1);
    const std::string message = packet(0x32, text("bench/a") + "id" + std::string(64, 'x'));
    const std::string ack = packet(0x40, "id");
    std::string messages;
    std::string acks;
    for (uint32_t i = 0; i < kWindow; ++i) {
        messages += message;
        acks += ack;
    }
    uint32_t next = 0;
    for (auto _ : state) {
        for (uint32_t i = 0; i < kWindow; ++i) {
            next = next % 65'535 + 1;
            put_id(messages, i * message.size() + 11, next);
            put_id(acks, i * ack.size() + 2, next);
        }
        loop.feed(0, messages);
        loop.turn();
        loop.feed(1, acks);
        loop.turn();
    }
    if (!loop.complete() || loop.stats().inflight_out != 0)
        state.SkipWithError("flows were left over");
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * kWindow);
}

BENCHMARK(qos1_one_to_one);

}  // namespace
