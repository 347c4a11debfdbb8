#include "base/timer_wheel.h"

#include "base/prng.h"
#include "support/arena_memory.h"

#include <catch2/catch.hpp>
#include <map>
#include <vector>

using namespace mqttd;

namespace {

constexpr Duration kTick = TimerWheel::kTickMs;
constexpr uint32_t kPlenty = ~uint32_t{0};

struct Wheel {
    explicit Wheel(Instant now, uint32_t count, size_t bytes = size_t{64} << 20) : test(bytes) {
        wheel = test.arena.make<TimerWheel>(Arena::Use::kNormal, now);
        timers = static_cast<Timer*>(test.arena.allocate(count * sizeof(Timer)));
        REQUIRE(timers != nullptr);
        for (uint32_t i = 0; i < count; ++i)
            new (&timers[i]) Timer;
    }

    // Which timers fire at `now`, by index.
    std::vector<uint32_t> fire(Instant now) {
        std::vector<uint32_t> fired;
        wheel->advance(now);
        uint32_t looks = kPlenty;
        while (Timer* timer = wheel->take(looks)) {
            fired.push_back(static_cast<uint32_t>(timer - timers));
        }
        return fired;
    }

    TestArena test;
    TimerWheel* wheel;
    Timer* timers;
};

}  // namespace

TEST_CASE("a timer fires at or after its deadline, at most one tick late") {
    // Every distance from 0 to past the second level, and some from all others, from odd starts.
    for (const Instant start :
         {Instant{0}, Instant{1}, Instant{63}, Instant{4095 * 64 + 5}, Instant{1} << 40}) {
        std::vector<Duration> distances;
        for (Duration d = 0; d < 5000; d += 7)
            distances.push_back(d);
        for (Duration d = 5000; d < Duration{60} * 86'400'000; d = d * 5 / 4)
            distances.push_back(d);
        Wheel w(start, static_cast<uint32_t>(distances.size()));
        for (size_t i = 0; i < distances.size(); ++i)
            w.wheel->arm(w.timers[i], start + distances[i]);
        size_t fired = 0;
        Instant now = start;
        while (fired < distances.size()) {
            const Instant next = w.wheel->next_deadline();
            REQUIRE(next != kNever);
            now = std::max(now, next);
            for (const uint32_t index : w.fire(now)) {
                const Instant deadline = start + distances[index];
                REQUIRE(now >= deadline);
                REQUIRE(now < deadline + kTick);
                ++fired;
            }
        }
        REQUIRE(w.wheel->armed() == 0);
        REQUIRE(w.wheel->next_deadline() == kNever);
    }
}

TEST_CASE("a disarmed timer does not fire, wherever it lies") {
    // In a slot, on the due ring, or in none.
    Wheel w(1000, 4);
    w.wheel->arm(w.timers[0], 1100);
    w.wheel->arm(w.timers[1], 1100);
    w.wheel->arm(w.timers[2], 500'000);
    w.wheel->disarm(w.timers[0]);
    w.wheel->disarm(w.timers[3]);  // never armed: nothing happens
    w.wheel->advance(2000);
    REQUIRE(w.wheel->due());
    w.wheel->disarm(w.timers[1]);  // already on the due ring
    REQUIRE_FALSE(w.wheel->due());
    w.wheel->disarm(w.timers[2]);
    REQUIRE(w.wheel->armed() == 0);
    REQUIRE(w.fire(1'000'000).empty());
}

TEST_CASE("re-arming moves the deadline, both ways") {
    // Keep-alive is re-armed with every look.
    Wheel w(0, 2);
    w.wheel->arm(w.timers[0], 100'000);
    w.wheel->arm(w.timers[0], 1000);
    w.wheel->arm(w.timers[1], 1000);
    w.wheel->arm(w.timers[1], 100'000);
    REQUIRE(w.wheel->armed() == 2);
    REQUIRE(w.fire(1064) == std::vector<uint32_t>{0});
    REQUIRE(w.fire(100'000 - kTick).empty());
    REQUIRE(w.fire(100'063) == std::vector<uint32_t>{1});
}

TEST_CASE("a million timers of one moment are taken in slices") {
    // A mass disconnect arms a million of them within a second; no turn may pay for all.
    constexpr uint32_t kCount = 1'000'000;
    Wheel w(0, kCount);
    for (uint32_t i = 0; i < kCount; ++i)
        w.wheel->arm(w.timers[i], 3'600'000);
    w.wheel->advance(3'600'000 + kTick);
    uint32_t fired = 0;
    uint32_t slices = 0;
    while (w.wheel->due()) {
        uint32_t looks = 1000;
        while (w.wheel->take(looks) != nullptr)
            ++fired;
        REQUIRE(looks == 0);
        ++slices;
    }
    REQUIRE(fired == kCount);
    REQUIRE(slices == 1000);
    REQUIRE(w.wheel->armed() == 0);
}

TEST_CASE("timers of a coarse slot cost a bounded number of looks") {
    // They come down level by level, so each is looked at once per level at most.
    Wheel w(0, 1000);
    Prng prng(5);
    const Instant base = Duration{200} * 86'400'000;
    for (uint32_t i = 0; i < 1000; ++i)
        w.wheel->arm(w.timers[i], base + prng.below(86'400'000));
    uint64_t looked = 0;
    uint32_t fired = 0;
    while (w.wheel->armed() > 0) {
        w.wheel->advance(w.wheel->next_deadline());
        uint32_t looks = 1'000'000;
        while (w.wheel->take(looks) != nullptr)
            ++fired;
        looked += 1'000'000 - looks;
    }
    REQUIRE(fired == 1000);
    REQUIRE(looked <= 1000 * TimerWheel::kLevels);
}

TEST_CASE("deadlines beyond two years fire after two years, and never is never reached") {
    // The owner arms again; nothing wraps around.
    Wheel w(12'345, 2);
    w.wheel->arm(w.timers[0], kNever);
    w.wheel->arm(w.timers[1], Duration{1000} * 365 * 86'400'000);
    const Duration span = (Duration{1} << 30) * kTick;
    REQUIRE(w.fire(12'345 + span - 3 * kTick).empty());
    REQUIRE(w.fire(12'345 + span).size() == 2);
}

TEST_CASE("time that stands still or jumps far ahead is harmless") {
    // A machine wakes after a week of sleep.
    Wheel w(5000, 3);
    w.wheel->arm(w.timers[0], 6000);
    w.wheel->arm(w.timers[1], 90'000'000);
    w.wheel->arm(w.timers[2], 700'000'000);
    REQUIRE(w.fire(5000).empty());
    REQUIRE(w.fire(5000).empty());
    REQUIRE(w.fire(5000 + 604'800'000).size() == 2);
    REQUIRE(w.wheel->armed() == 1);
}

TEST_CASE("random arming, disarming and advancing agrees with a slow model", "[random]") {
    // The model is a map of deadlines.  Steps of time from none to weeks.
    const uint64_t seed = GENERATE(41u, 42u, 43u, 44u, 45u);
    INFO("seed " << seed);
    Prng prng(seed);
    constexpr uint32_t kCount = 200;
    Instant now = prng.next() % (Instant{1} << 45);
    Wheel w(now, kCount);
    std::map<uint32_t, Instant> model;
    const auto random_distance = [&]() -> Duration {
        return prng.next() & ((Duration{1} << prng.below(36)) - 1);
    };
    for (int step = 0; step < 20'000; ++step) {
        const uint32_t index = prng.below(kCount);
        const uint32_t choice = prng.below(10);
        if (choice < 6) {
            const Instant deadline = now + random_distance();
            w.wheel->arm(w.timers[index], deadline);
            model[index] = deadline;
        } else if (choice < 7) {
            w.wheel->disarm(w.timers[index]);
            model.erase(index);
        } else {
            Instant earliest = kNever;
            for (const auto& [timer, deadline] : model)
                earliest = std::min(earliest, deadline);
            // Never later than the first moment at which something must fire.
            const Instant next = w.wheel->next_deadline();
            if (earliest == kNever) {
                REQUIRE(next == kNever);
            } else {
                REQUIRE(next < earliest + kTick);
            }
            now += prng.below(2) == 0 ? random_distance() : prng.below(200);
            for (const uint32_t fired : w.fire(now)) {
                REQUIRE(model.count(fired) == 1);
                REQUIRE(model[fired] <= now);
                model.erase(fired);
            }
            for (const auto& [timer, deadline] : model)
                REQUIRE(deadline + kTick > now);
        }
        REQUIRE(w.wheel->armed() == model.size());
    }
}

TEST_CASE("sleeping until next_deadline wakes a bounded number of times for nothing") {
    // An idle broker must stay idle: one far timer costs at most one wake-up per level.
    Wheel w(77'777, 1);
    w.wheel->arm(w.timers[0], 77'777 + Duration{400} * 86'400'000);
    int wakes = 0;
    while (w.wheel->armed() > 0) {
        ++wakes;
        w.fire(w.wheel->next_deadline());
    }
    REQUIRE(wakes <= static_cast<int>(TimerWheel::kLevels) + 1);
}
