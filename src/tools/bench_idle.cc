// Mode idle: opens many clients with one subscription each and then only holds them.
//
// A few come and go first, so that what a broker sets up once is not counted as theirs.

#include "tools/bench_client.h"
#include "tools/bench_crowd.h"
#include "tools/bench_modes.h"

#include <algorithm>

namespace mqttd::bench {

namespace {

constexpr uint64_t kWarmUpClients = 100;

}  // namespace

void run_idle(const Options& options, Report& report) {
    const std::string prefix = run_prefix(options);
    const auto own_topic = [&](uint64_t i) {
        return std::vector<std::string>{prefix + "/idle/" + std::to_string(i)};
    };
    Crowd crowd(options);
    crowd.open(std::min(options.clients, kWarmUpClients), "w", own_topic);
    crowd.leave();
    const Account before = settled_account(options.broker_pid);
    Phase open = begin_phase(options, "open", "clients");
    crowd.open(options.clients, "i", own_topic);
    end_phase(options, open);
    open.count = crowd.size();
    report.add(open);
    const Account after = settled_account(options.broker_pid);

    Progress progress(options);
    Phase hold = begin_phase(options, "hold", "clients");
    hold.steady = true;
    const uint64_t end = now_ns() + options.seconds * 1'000'000'000;
    for (uint64_t now = now_ns(); now < end && !interrupted(); now = now_ns()) {
        usleep(static_cast<useconds_t>(std::min<uint64_t>(100'000, (end - now) / 1000 + 1)));
        progress.show(now, "holding", crowd.size());
    }
    end_phase(options, hold);
    hold.count = crowd.size();
    report.add(hold);
    report.fact("processes", "load processes", static_cast<double>(crowd.processes()), "");
    if (after.known) {
        const double grown =
            static_cast<double>(after.resident_bytes) - static_cast<double>(before.resident_bytes);
        report.fact("bytes_per_client",
                    "broker memory per client",
                    grown / static_cast<double>(options.clients),
                    "bytes");
        report.fact("idle_cpu_share",
                    "broker CPU while they idle",
                    hold.seconds() > 0 ? hold.cpu_s() / hold.seconds() * 100 : 0,
                    "%");
    }
}

}  // namespace mqttd::bench
