// The timer wheel with a million keep-alives: to arm one, to hear from a client, a tick.

#include "base/prng.h"
#include "base/timer_wheel.h"
#include "support/arena_memory.h"

#include <benchmark/benchmark.h>
#include <cstdlib>
#include <vector>

namespace mqttd::bench {
namespace {

constexpr uint32_t kClients = 1'000'000;
constexpr Duration kLimit = 90 * kSecond;  // a keep-alive of 60 s

// As a link has it: the time of the last input beside the timer.
struct alignas(16) Client {
    Timer timer;
    uint32_t last_input_ms = 0;
    uint8_t rest[44] = {};
};

static_assert(sizeof(Client) == 64);

// All armed, evenly over the time in which they are due, in an order that no cache likes.
struct Wheel {
    Wheel() : memory(size_t{128} << 20) {
        wheel = memory.arena.make<TimerWheel>(Arena::Use::kNormal, now);
        for (uint32_t i = 0; i < kClients; ++i)
            clients.push_back(memory.arena.make<Client>(Arena::Use::kNormal));
        if (wheel == nullptr || clients.back() == nullptr) std::abort();
        Prng prng(1);
        for (uint32_t i = kClients - 1; i > 0; --i)
            std::swap(clients[i], clients[prng.below(i + 1)]);
        for (uint32_t i = 0; i < kClients; ++i)
            wheel->arm(clients[i]->timer, now + 1 + kLimit * i / kClients);
    }

    Client& next() {
        if (++at == kClients) at = 0;
        return *clients[at];
    }

    TestArena memory;
    Instant now = 1'000'000;
    TimerWheel* wheel = nullptr;
    std::vector<Client*> clients;
    uint32_t at = 0;
};

void timers_arm(benchmark::State& state) {
    Wheel all;
    uint64_t i = 0;
    for (auto _ : state)
        all.wheel->arm(all.next().timer, all.now + kLimit + i++ % 64);
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(timers_arm);

void timers_disarm_and_arm(benchmark::State& state) {
    Wheel all;
    for (auto _ : state) {
        Timer& timer = all.next().timer;
        all.wheel->disarm(timer);
        all.wheel->arm(timer, all.now + kLimit);
    }
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(timers_disarm_and_arm);

// A packet came: it stores the time and re-arms nothing.
void timers_touch(benchmark::State& state) {
    Wheel all;
    uint32_t now_ms = 0;
    for (auto _ : state) {
        all.next().last_input_ms = ++now_ms;
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(timers_touch);

// One tick of the wheel, 64 ms: some 700 are due, and as everybody was heard of, all are armed
// again.
void timers_tick(benchmark::State& state) {
    Wheel all;
    uint64_t due = 0;
    for (auto _ : state) {
        all.now += TimerWheel::kTickMs;
        all.wheel->advance(all.now);
        uint32_t looks = ~uint32_t{0};
        while (Timer* timer = all.wheel->take(looks)) {
            all.wheel->arm(*timer, all.now + kLimit);
            ++due;
        }
    }
    state.SetItemsProcessed(state.iterations());
    state.counters["due"] = static_cast<double>(due) / static_cast<double>(state.iterations());
}

BENCHMARK(timers_tick);

// A turn between two ticks: nothing is due.
void timers_advance_within_tick(benchmark::State& state) {
    Wheel all;
    for (auto _ : state) {
        all.wheel->advance(all.now);
        benchmark::DoNotOptimize(all.wheel->due());
        benchmark::DoNotOptimize(all.wheel->next_deadline());
    }
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(timers_advance_within_tick);

}  // namespace
}  // namespace mqttd::bench
