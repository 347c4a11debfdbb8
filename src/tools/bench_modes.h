#pragma once

// One function per mode, each in a file of its own: it opens its clients, goes through its phases
// and leaves what it found in the report.

#include "tools/bench_options.h"
#include "tools/bench_report.h"

namespace mqttd::bench {

void run_throughput(const Options& options, Report& report);
void run_latency(const Options& options, Report& report);
void run_growth(const Options& options, Report& report);
void run_connect(const Options& options, Report& report);
void run_reconnect(const Options& options, Report& report);
void run_idle(const Options& options, Report& report);
void run_backlog(const Options& options, Report& report);
void run_retained(const Options& options, Report& report);

}  // namespace mqttd::bench
