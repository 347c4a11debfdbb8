// mqttbench: where the program begins. Options, one mode, its report.
//
// Exit codes: 0 done, 1 could not be done, 2 wrong usage, 3 messages lost, doubled or disordered.

#include "mqttd/version.h"

#include "tools/bench_client.h"
#include "tools/bench_modes.h"
#include "tools/bench_options.h"
#include "tools/bench_report.h"

#include <cstdio>
#include <span>

namespace {

using namespace mqttd::bench;

constexpr int kDone = 0;
constexpr int kUsage = 2;
constexpr int kFaulty = 3;

void run(const Options& options, Report& report) {
    switch (options.mode) {
        case Mode::kThroughput:
            return run_throughput(options, report);
        case Mode::kLatency:
            return run_latency(options, report);
        case Mode::kGrowth:
            return run_growth(options, report);
        case Mode::kConnect:
            return run_connect(options, report);
        case Mode::kReconnect:
            return run_reconnect(options, report);
        case Mode::kIdle:
            return run_idle(options, report);
        case Mode::kBacklog:
            return run_backlog(options, report);
        case Mode::kRetained:
            return run_retained(options, report);
    }
}

}  // namespace

int main(int count, char** words) {
    const size_t given = count > 0 ? static_cast<size_t>(count) - 1 : 0;
    auto [options, problems] =
        parse_options(std::span<const char* const>(words + (count > 0 ? 1 : 0), given));
    if (!problems.empty()) {
        for (const std::string& problem : problems)
            fprintf(stderr, "mqttbench: %s\n", problem.c_str());
        fputs("Try 'mqttbench --help'.\n", stderr);
        return kUsage;
    }
    if (options.help || options.version) {
        fputs(options.help ? usage_text().c_str() : "mqttbench version ", stdout);
        if (!options.help) puts(mqttd::kVersion);
        return kDone;
    }
    catch_signals();
    raise_file_limit();
    options.prefix = run_prefix(options);  // children have other process ids
    if (options.broker_pid != 0 && !read_account(options.broker_pid).known) {
        die("there is no process " + std::to_string(options.broker_pid) +
            " to watch (--broker-pid)");
    }
    Report report;
    run(options, report);
    fputs((options.json ? report.json(options) : report.table(options)).c_str(), stdout);
    return report.faulty() ? kFaulty : kDone;
}
