#include "broker/sys_loads.h"

#include <catch2/catch.hpp>
#include <cmath>

using namespace mqttd;

namespace {

struct Counters {
    uint64_t at[SysLoads::kLoads] = {};
};

}  // namespace

TEST_CASE("load averages follow the formula", "[sys]") {
    // 600 events in 10 s are 3600 a minute; then silence, in which each average decays with its
    // own span, however long the steps are.
    SysLoads loads;
    Counters counters;
    counters.at[0] = 17;  // what was there before does not count
    loads.begin(counters.at);
    counters.at[0] += 600;
    loads.step(counters.at, 10);
    for (uint32_t span = 0; span < SysLoads::kSpans; ++span) {
        const double peak = 3600 * (1 - std::exp(-10.0 / SysLoads::kSpansS[span]));
        REQUIRE(loads.average(0, span) == Approx(peak).epsilon(1e-9));
        REQUIRE(loads.average(1, span) == 0);
    }
    const double steps[] = {10, 10, 1, 0.5, 38.5, 600};
    double silent = 0;
    for (const double seconds : steps) {
        loads.step(counters.at, seconds);
        silent += seconds;
        for (uint32_t span = 0; span < SysLoads::kSpans; ++span) {
            const double peak = 3600 * (1 - std::exp(-10.0 / SysLoads::kSpansS[span]));
            const double wanted = peak * std::exp(-silent / SysLoads::kSpansS[span]);
            REQUIRE(loads.average(0, span) == Approx(wanted).epsilon(1e-9));
        }
    }
}

TEST_CASE("no time between two ticks is no error", "[sys]") {
    // The events count for the next one.
    SysLoads loads;
    Counters counters;
    counters.at[3] = 60;
    loads.step(counters.at, 0);
    REQUIRE(loads.average(3, 0) == 0);
    loads.step(counters.at, 60);
    REQUIRE(loads.average(3, 0) == Approx(60 * (1 - std::exp(-1.0))));
}
