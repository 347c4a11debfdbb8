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
#include "server/turn_times.h"

namespace mqttd {

class Sampler final : public Host {
  public:
    // `files_other`: descriptors open for other things than connections.
    Sampler(Net& net, const LogSink& log_sink, uint64_t files_limit, uint64_t files_other);

    void add_turn(uint64_t turn_us) { turn_times_.add(turn_us); }

    void sample(HostStats& out) override;

  private:
    Net& net_;
    const LogSink& log_sink_;
    uint64_t files_limit_;
    uint64_t files_other_;
    TurnTimes turn_times_;
};

}  // namespace mqttd
