#include "broker/sys_loads.h"

#include <algorithm>
#include <cmath>

namespace mqttd {

void SysLoads::begin(std::span<const uint64_t, kLoads> counters) {
    std::copy(counters.begin(), counters.end(), before_);
}

void SysLoads::step(std::span<const uint64_t, kLoads> counters, double seconds) {
    if (seconds <= 0) return;  // the events count for the next one
    for (uint32_t load = 0; load < kLoads; ++load) {
        const auto events = static_cast<double>(counters[load] - before_[load]);
        before_[load] = counters[load];
        const double per_minute = events * 60.0 / seconds;
        for (uint32_t span = 0; span < kSpans; ++span) {
            double& average = average_[load][span];
            average = per_minute + std::exp(-seconds / kSpansS[span]) * (average - per_minute);
        }
    }
}

}  // namespace mqttd
