// What the core costs per message, without a kernel: one publisher to one and to a thousand
// subscribers at QoS 0, at 3.1.1 and at 5.0 without and with a user property, and the whole
// exchange of QoS 1.

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

// What all clients speak. At 5.0 every packet has properties; a PUBLISH may have one of them.
enum class Speech { k311, k50, k50User };

std::string no_properties(Speech speech) {
    return speech == Speech::k311 ? "" : std::string(1, '\0');
}

std::string publish_properties(Speech speech) {
    if (speech != Speech::k50User) return no_properties(speech);
    const std::string property = '\x26' + text("key") + text("value");
    return static_cast<char>(property.size()) + property;
}

std::string connect(uint32_t i, Speech speech) {
    const char level = speech == Speech::k311 ? 4 : 5;
    return packet(0x10,
                  text("MQTT") + std::string{level, 2, 0, 0} + no_properties(speech) +
                      text("c" + std::to_string(i)));
}

// Link 0 publishes, the others have subscribed to `filter`.
void meet(BareLoop& loop,
          uint32_t subscribers,
          const std::string& filter,
          char qos,
          Speech speech = Speech::k311) {
    const std::string head = std::string{0, 1} + no_properties(speech);
    for (uint32_t i = 0; i <= subscribers; ++i) {
        loop.open(i);
        loop.feed(i, connect(i, speech));
        if (i > 0) loop.feed(i, packet(0x82, head + text(filter) + qos));
        loop.turn();
    }
}

// One read of `run` messages with 64 bytes, then one turn.
void qos0(benchmark::State& state,
          uint32_t subscribers,
          uint32_t run,
          bool one_topic,
          Speech speech = Speech::k311) {
    BareLoop loop(bench_options(), size_t{256} << 20, subscribers + 1);
    meet(loop, subscribers, "bench/+", 0, speech);
    const std::string rest = publish_properties(speech) + std::string(64, 'x');
    std::string input;
    for (uint32_t i = 0; i < run; ++i) {
        input += packet(0x30, text(one_topic || i % 2 == 0 ? "bench/a" : "bench/b") + rest);
    }
    const uint64_t before = loop.written();
    for (auto _ : state) {
        loop.feed(0, input);
        loop.turn();
    }
    if (!loop.complete()) state.SkipWithError("not everything was taken");
    if (loop.written() - before !=
        static_cast<uint64_t>(state.iterations()) * input.size() * subscribers)
        state.SkipWithError("not everything came through as it was");
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

void qos0_one_to_one_run_v5(benchmark::State& state) {
    qos0(state, 1, 800, true, Speech::k50);
}

void qos0_one_to_one_run_v5_user(benchmark::State& state) {
    qos0(state, 1, 800, true, Speech::k50User);
}

void qos0_one_to_one_single_v5(benchmark::State& state) {
    qos0(state, 1, 1, true, Speech::k50);
}

void qos0_one_to_thousand_v5(benchmark::State& state) {
    qos0(state, 1'000, 1, true, Speech::k50);
}

void qos0_one_to_thousand_run_v5(benchmark::State& state) {
    qos0(state, 1'000, 50, true, Speech::k50);
}

BENCHMARK(qos0_one_to_one_run);
BENCHMARK(qos0_one_to_one_run_v5);
BENCHMARK(qos0_one_to_one_run_v5_user);
BENCHMARK(qos0_one_to_one_alternating);
BENCHMARK(qos0_one_to_one_single);
BENCHMARK(qos0_one_to_one_single_v5);
BENCHMARK(qos0_one_to_thousand);
BENCHMARK(qos0_one_to_thousand_v5);
BENCHMARK(qos0_one_to_thousand_run);
BENCHMARK(qos0_one_to_thousand_run_v5);

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
