#pragma once

// Sampler: what only the shell can count, for $SYS.
//
// Net counts its reads and writes and what happens at each listener, the log its lost lines, the
// loop tells how long each turn took, a reload how it went; here they are put into one HostStats
// when the broker asks, once per `sys_interval`. Values "of the last interval" begin anew then.

#include "mqttd/ports.h"
#include "mqttd/stats.h"

#include "base/outbox.h"
#include "config/config.h"
#include "io/log_sink.h"
#include "net/net.h"
#include "server/persistence.h"
#include "server/reloader.h"
#include "server/turn_times.h"

#include <string>
#include <vector>

namespace mqttd {

class Sampler final : public Host {
  public:
    Sampler(Net& net, const Dirty& dirty, const LogSink& log_sink);

    // RLIMIT_NOFILE, and the descriptors open for other things than connections.
    void set_files(uint64_t limit, uint64_t other) {
        files_limit_ = limit;
        files_other_ = other;
    }

    // What the memory cgroup allows; 0 = no limit.
    void set_cgroup_limit(uint64_t bytes) { cgroup_limit_ = bytes; }

    // By their names (port or path); the second of the same name becomes "name.2".  In the order of
    // their indexes, and not while the broker runs a turn.
    void set_listeners(const std::vector<ListenerConfig>& listeners);

    // A turn that woke at `began_us` (io/clock.h, monotonic) and is over.
    void add_turn(uint64_t began_us, uint64_t ended_us) {
        turn_times_.add_turn(began_us, ended_us);
    }

    // See TurnTimes::add_writes.
    void add_writes(uint64_t reading_us, uint64_t written_us, const Stats& stats);

    // `counts` outlives the sampler.
    void watch(const ReloadCounts& counts) { reloads_ = &counts; }

    void watch(Persistence& persistence) { persistence_ = &persistence; }

    void sample(HostStats& out) override;

  private:
    void sample_listeners();

    Net& net_;
    const Dirty& dirty_;
    const LogSink& log_sink_;
    const ReloadCounts* reloads_ = nullptr;
    Persistence* persistence_ = nullptr;
    uint64_t files_limit_ = 0;
    uint64_t files_other_ = 0;
    uint64_t cgroup_limit_ = 0;
    std::vector<std::string> names_;
    std::vector<ListenerHostStats> listeners_;
    TurnTimes turn_times_;
    HostStats last_;  // as of the last sample
};

}  // namespace mqttd
