#pragma once

// Sampler: what only the shell can count, for $SYS.
//
// Net counts its reads and writes, the log its lost lines, the loop tells how long each turn took;
// here they are put into one HostStats when the broker asks, once per `sys_interval`. "Largest of
// the last interval" values begin anew then.

#include "mqttd/ports.h"

#include "base/log.h"
#include "io/log_sink.h"
#include "net/net.h"
#include "server/reloader.h"
#include "server/turn_times.h"

namespace mqttd {

class Sampler final : public Host {
  public:
    Sampler(Net& net, const LogSink& log_sink);

    // RLIMIT_NOFILE, and the descriptors open for other things than connections.
    void set_files(uint64_t limit, uint64_t other) {
        files_limit_ = limit;
        files_other_ = other;
    }

    // `counts` outlives the sampler.
    void watch(const ReloadCounts& counts) { reloads_ = &counts; }

    void add_turn(uint64_t turn_us) { turn_times_.add(turn_us); }

    void sample(HostStats& out) override;

  private:
    Net& net_;
    const LogSink& log_sink_;
    const ReloadCounts* reloads_ = nullptr;
    uint64_t files_limit_ = 0;
    uint64_t files_other_ = 0;
    TurnTimes turn_times_;
};

}  // namespace mqttd
