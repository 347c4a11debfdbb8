// The modes whose measure is a stream of messages: throughput, latency and growth.

#include "tools/bench_client.h"
#include "tools/bench_crowd.h"
#include "tools/bench_modes.h"
#include "tools/bench_traffic.h"

namespace mqttd::bench {

namespace {

// Idle subscribers of other topics, and filters that match nothing: what must not cost anything.
void open_bystanders(const Options& options, Crowd& crowd) {
    const std::string prefix = run_prefix(options);
    if (options.bystanders > 0) {
        crowd.open(options.bystanders, "b", [&](uint64_t i) {
            return std::vector<std::string>{prefix + "/by/" + std::to_string(i)};
        });
    }
    if (options.other_filters > 0) {
        crowd.open(1, "o", [&](uint64_t) {
            std::vector<std::string> filters;
            for (uint64_t i = 0; i < options.other_filters; ++i)
                filters.push_back(prefix + "/+/other" + std::to_string(i) + "/#");
            return filters;
        });
    }
}

Phase measure(const Options& options, Traffic& traffic, std::string name) {
    const bool scheduled = options.mode == Mode::kLatency;
    if (options.warmup_ms > 0) {
        traffic.run_for(options.warmup_ms * 1'000'000, "warming up", scheduled);
        if (scheduled || options.messages > 0) traffic.drain();
    }
    traffic.latency().clear();
    const uint64_t published = traffic.published(), delivered = traffic.delivered();
    Phase phase = begin_phase(options, std::move(name), "deliveries");
    if (options.messages > 0) {
        traffic.run_messages(options.messages, "delivered", scheduled);
    } else {
        traffic.run_for(options.seconds * 1'000'000'000, "delivered", scheduled);
    }
    end_phase(options, phase);
    phase.published = traffic.published() - published;
    phase.count = traffic.delivered() - delivered;
    return phase;
}

void one_run(const Options& options, Report& report) {
    Crowd crowd(options);
    open_bystanders(options, crowd);
    Traffic traffic(options);
    report.add(measure(options, traffic, std::string(mode_name(options.mode))));
    traffic.drain();
    report.latency(traffic.latency());
    report.faults(traffic.faults());
}

}  // namespace

void run_throughput(const Options& options, Report& report) {
    one_run(options, report);
}

void run_latency(const Options& options, Report& report) {
    one_run(options, report);
}

// The same traffic twice through the same connections: alone, then among bystanders.
void run_growth(const Options& options, Report& report) {
    Crowd crowd(options);
    Traffic traffic(options);
    const Phase alone = measure(options, traffic, "alone");
    traffic.drain();
    open_bystanders(options, crowd);
    const Phase among = measure(options, traffic, "among bystanders");
    traffic.drain();
    report.add(alone);
    report.add(among);
    if (alone.accounted() && alone.cpu_us_each() > 0) {
        report.fact("cpu_growth",
                    "processor time each, among : alone",
                    among.cpu_us_each() / alone.cpu_us_each(),
                    "");
    }
    report.fact("rate_growth",
                "rate, among : alone",
                alone.rate() > 0 ? among.rate() / alone.rate() : 0,
                "");
    report.faults(traffic.faults());
}

}  // namespace mqttd::bench
