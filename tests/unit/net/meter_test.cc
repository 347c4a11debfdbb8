#include "net/meter.h"

#include "base/prng.h"
#include "net/pause_ring.h"

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <vector>

namespace mqttd {

namespace {

Meter full(Rate rate, Instant now) {
    Meter meter;
    meter.fill(rate, now);
    return meter;
}

}  // namespace

// ---- The bucket
// ------------------------------------------------------------------------------------

TEST_CASE("a bucket gains its rate exactly, however often it is looked at", "[net][rate]") {
    // Thousandths of a token are kept: 1 B/s looked at every millisecond is 1 B/s.
    for (const uint32_t per_second : {1u, 3u, 999u, 1000u, 1001u, 50'000u, 4'294'967'295u}) {
        for (const Duration step : {Duration{1}, Duration{7}, Duration{999}, Duration{60'000}}) {
            const Rate rate = {~uint32_t{0}, per_second};
            Meter meter = full(rate, 0);
            meter.tokens = 0;
            const Instant end = step * 50;
            for (Instant now = step; now <= end; now += step)
                meter.refill(rate, now);
            const uint64_t exact = end * per_second / 1000;
            INFO(per_second << " B/s in steps of " << step);
            REQUIRE(meter.tokens == std::min<uint64_t>(exact, rate.burst));
        }
    }
}

TEST_CASE("a bucket never holds more than its burst", "[net][rate]") {
    const Rate rate = {100, 1000};
    Meter meter = full(rate, 0);
    CHECK(meter.tokens == 100);
    meter.refill(rate, 1'000'000);
    CHECK(meter.tokens == 100);
    meter.spend(100);
    meter.refill(rate, 1'000'099);
    CHECK(meter.tokens == 99);
    meter.refill(rate, 1'000'100);
    CHECK(meter.tokens == 100);
    meter.refill(rate, 1'000'101);
    CHECK(meter.tokens == 100);
    CHECK(meter.thousandths == 0);
}

TEST_CASE("a bucket whose burst was lowered is cut to it", "[net][rate]") {
    Meter meter = full({1000, 10}, 0);
    meter.refill({100, 10}, 1);
    CHECK(meter.tokens == 100);
    meter.spend(1000);
    CHECK(meter.tokens == 0);
}

TEST_CASE("a bucket's clock may wrap", "[net][rate]") {
    const Rate rate = {1000, 1000};
    Meter meter = full(rate, 0xffff'fff0);
    meter.spend(1000);
    meter.refill(rate, 0x1'0000'0010);
    CHECK(meter.tokens == 32);
}

TEST_CASE("a pause is worth its while and a second at most", "[net][rate]") {
    // As long as the bucket needs to hold what is worth a read, not one millisecond less.
    for (const uint32_t burst : {1u, 2u, 100u, 1024u, 100'000u, 4'294'967'295u}) {
        for (const uint32_t per_second : {1u, 2u, 50u, 1024u, 16'384u, 50'000u, 4'294'967'295u}) {
            const Rate rate = {burst, per_second};
            Meter meter = full(rate, 0);
            meter.spend(burst);
            const Duration pause = meter.pause(rate);
            INFO("burst " << burst << ", " << per_second << " B/s: " << pause << " ms");
            REQUIRE(pause >= 1);
            REQUIRE(pause <= 1000);
            const uint32_t worth =
                std::min(burst, std::max(per_second / 16, std::min(per_second, 1024u)));
            Meter before = meter;
            if (pause > 1) {
                before.refill(rate, pause - 1);
                REQUIRE(before.tokens < worth);
            }
            meter.refill(rate, pause);
            REQUIRE(meter.tokens >= worth);
        }
    }
}

// ---- The ring
// --------------------------------------------------------------------------------------

TEST_CASE("a pause ends at or after its time, at most a tick late", "[net][rate]") {
    // Against a slow, obvious model; with meters taken out in mid-pause and time in leaps.
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        INFO("seed " << seed);
        Prng prng(seed);
        const auto ring = std::make_unique<PauseRing>();
        std::vector<std::unique_ptr<Meter>> meters;
        for (int i = 0; i < 200; ++i)
            meters.push_back(std::make_unique<Meter>());
        std::map<Meter*, Instant> model;
        Instant now = prng.below(100'000);
        ring->advance(now);
        for (int round = 0; round < 2000; ++round) {
            Meter& meter = *meters[prng.below(200)];
            if (!meter.hook.linked()) {
                const Duration pause = 1 + prng.below(1000);
                ring->add(meter, now, pause);
                model[&meter] = now + pause;
            } else if (prng.below(4) == 0) {
                ring->remove(meter);
                model.erase(&meter);
            }
            Instant first = kNever;
            for (const auto& [which, deadline] : model)
                first = std::min(first, deadline);
            const Instant told = ring->next_deadline();
            REQUIRE((first == kNever ? told == kNever : told >= first && told < first + 4));
            now += prng.below(10) == 0 ? prng.below(5000) : prng.below(12);
            ring->advance(now);
            while (Meter* due = ring->take()) {
                REQUIRE(model.at(due) <= now);
                model.erase(due);
            }
            for (const auto& [which, deadline] : model)
                REQUIRE(deadline + 4 > now);
            REQUIRE(ring->size() == model.size());
        }
    }
}

TEST_CASE("what is not taken in one turn is due in the next", "[net][rate]") {
    const auto ring = std::make_unique<PauseRing>();
    std::vector<std::unique_ptr<Meter>> meters;
    ring->advance(1000);
    for (uint32_t i = 0; i < 300; ++i) {
        meters.push_back(std::make_unique<Meter>());
        ring->add(*meters.back(), 1000, 1 + i * 3);
    }
    uint32_t taken = 0;
    for (Instant now = 3000; taken < 300; ++now) {
        ring->advance(now);
        CHECK(ring->next_deadline() <= now);
        for (int i = 0; i < 7 && taken < 300; ++i, ++taken)
            REQUIRE(ring->take() != nullptr);
    }
    CHECK(ring->take() == nullptr);
    CHECK(ring->next_deadline() == kNever);
}

}  // namespace mqttd
