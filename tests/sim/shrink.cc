#include "sim/shrink.h"

#include <algorithm>

namespace mqttd::sim {

Plan shrink(Plan plan, const std::function<bool(const Plan&)>& fails) {
    // Halves first, then quarters, … then one by one, until nothing can go.
    for (size_t part = std::max<size_t>(plan.actions.size() / 2, 1); part > 0;) {
        bool any = false;
        for (size_t at = 0; at < plan.actions.size();) {
            Plan smaller = plan;
            const size_t end = std::min(at + part, smaller.actions.size());
            smaller.actions.erase(smaller.actions.begin() + static_cast<ptrdiff_t>(at),
                                  smaller.actions.begin() + static_cast<ptrdiff_t>(end));
            if (!smaller.actions.empty()) smaller.steps = smaller.actions.back().step + 1;
            if (fails(smaller)) {
                plan = smaller;
                any = true;
            } else {
                at = end;
            }
        }
        if (part == 1 && !any) break;
        part = part > 1 ? part / 2 : 1;
    }
    // Then whatever can be ordinary.
    const auto try_plan = [&](auto change) {
        Plan simpler = plan;
        change(simpler);
        if (fails(simpler)) plan = simpler;
    };
    try_plan([](Plan& p) { p.weather.chunk_max = 0; });
    try_plan([](Plan& p) { p.weather.delay = 0; });
    try_plan([](Plan& p) { p.weather.short_write = 0; });
    try_plan([](Plan& p) { p.weather.send_room = 65'536; });
    try_plan([](Plan& p) { p.weather.idle_edge = p.weather.stale_event = 0; });
    try_plan([](Plan& p) { p.weather.accept_failure = 0; });
    try_plan([](Plan& p) { p.slow_readers = 0; });
    const BrokerOptions usual;
    try_plan([&](Plan& p) {
        p.broker.turn_units = usual.turn_units;
        p.broker.visit_units = usual.visit_units;
    });
    try_plan([&](Plan& p) { p.broker.fanout_slice = usual.fanout_slice; });
    try_plan([&](Plan& p) { p.broker.backlog_max = usual.backlog_max; });
    try_plan([&](Plan& p) { p.broker.outbox_bytes_max = usual.outbox_bytes_max; });
    try_plan([](Plan& p) {
        p.net.read_max = NetOptions{}.read_max;
        p.net.turn_read_max = NetOptions{}.turn_read_max;
    });
    return plan;
}

}  // namespace mqttd::sim
