#pragma once

// What the core asks of the world beside Transport (stream.h).
//
// Called per event, never per delivery. The gate (who may connect, publish, subscribe) and the
// journal (what outlives a power cut) get their ports here when they are built.

#include "mqttd/host_stats.h"

namespace mqttd {

class Host {
  public:
    // Fills in the shell's own counters; asked once per `sys_interval`.
    virtual void sample(HostStats& out) = 0;

  protected:
    ~Host() = default;
};

}  // namespace mqttd
