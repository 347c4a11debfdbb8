// The modes of coming and going: connect, and durable clients that come back at once.

#include "tools/bench_client.h"
#include "tools/bench_modes.h"

namespace mqttd::bench {

namespace {

constexpr uint64_t kSpareFiles = 64;

}  // namespace

void run_connect(const Options& options, Report& report) {
    Progress progress(options);
    const std::string prefix = run_prefix(options);
    uint64_t done = 0;
    Phase phase = begin_phase(options, "connect", "connections");
    const uint64_t end = phase.begin_ns + options.seconds * 1'000'000'000;
    OpenPlan plan;
    plan.count = UINT64_MAX;
    plan.spread = true;
    plan.parallel = options.parallel;
    plan.hello = [&](uint64_t i) {
        return make_hello(options, prefix + "-c" + std::to_string(i % 1'000'000));
    };
    plan.opened = [&](uint64_t, Client&& client, bool) {
        leave(client);
        ++done;
    };
    plan.go_on = [&] {
        const uint64_t now = now_ns();
        progress.show(now, "connections", done);
        return now < end && !interrupted();
    };
    open_clients(options, plan);
    end_phase(options, phase);
    phase.count = done;
    report.add(phase);
}

void run_reconnect(const Options& options, Report& report) {
    if (options.clients + kSpareFiles > file_limit()) {
        die("--clients " + std::to_string(options.clients) + " are more than the " +
            std::to_string(file_limit()) + " files this process may open: raise ulimit -n");
    }
    const std::string prefix = run_prefix(options);
    const auto id = [&](uint64_t i) { return prefix + "-d" + std::to_string(i); };
    std::vector<Client> clients(options.clients);
    uint64_t present = 0;
    OpenPlan plan;
    plan.count = options.clients;
    plan.parallel = options.parallel;

    Phase create = begin_phase(options, "create", "clients");
    plan.hello = [&](uint64_t i) {
        return make_hello(options, id(i), {prefix + "/own/" + std::to_string(i)}, true);
    };
    plan.opened = [&](uint64_t, Client&& client, bool) { leave(client); };
    open_clients(options, plan);
    end_phase(options, create);
    create.count = options.clients;

    Phase back = begin_phase(options, "come back", "clients");
    plan.parallel = options.clients;  // at once
    plan.hello = [&](uint64_t i) { return make_hello(options, id(i), {}, true); };
    plan.opened = [&](uint64_t i, Client&& client, bool session_present) {
        clients[i] = std::move(client);
        present += session_present;
    };
    open_clients(options, plan);
    end_phase(options, back);
    back.count = options.clients;

    for (Client& client : clients)
        leave(client);
    Phase discard = begin_phase(options, "discard", "clients");
    plan.parallel = options.parallel;
    plan.hello = [&](uint64_t i) { return make_hello(options, id(i)); };
    plan.opened = [&](uint64_t, Client&& client, bool) { leave(client); };
    open_clients(options, plan);
    end_phase(options, discard);
    discard.count = options.clients;

    report.add(create);
    report.add(back);
    report.add(discard);
    report.fact("sessions_present", "sessions found again", static_cast<double>(present), "");
    Faults faults;
    faults.lost = interrupted() ? 0 : options.clients - present;
    report.faults(faults);
}

}  // namespace mqttd::bench
