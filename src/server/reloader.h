#pragma once

// Reloader: SIGHUP.
//
// Reads the configuration again, with its include_dir and the command line's part, and judges all
// of it before anything is touched: with one error nothing changes, and every error is in the log
// with its file and line. A good one is put in force in one step between two turns; what cannot
// change while running is named, one line per key (reload_plan.h). Nobody is disconnected; what a
// client was told in its CONNACK holds for it until it comes again.
//
// Debt: the loop waits for the disk meanwhile; reading goes to the keeper process when that exists.

#include "mqttd/broker.h"

#include "base/log.h"
#include "config/options.h"
#include "io/log_sink.h"
#include "net/net.h"
#include "server/active.h"

#include <cstdint>
#include <memory>
#include <string>

namespace mqttd {

struct ReloadCounts {
    uint64_t reloads = 0;  // good ones
    uint64_t failed = 0;   // nothing was changed
    int64_t loaded_s = 0;  // wall clock of the last good one, or of the start
    std::string error;     // what was wrong with the last one; empty: nothing
};

class Reloader {
  public:
    // What it works with; all of it outlives the reloader.
    struct Parts {
        const Options& options;  // of the command line
        Broker& broker;
        Net& net;
        LogSink& log_sink;
        Log& log;
    };

    Reloader(const Parts& parts, std::unique_ptr<Active> active, int64_t wall_s)
        : parts_(parts), active_(std::move(active)) {
        counts_.loaded_s = wall_s;
    }

    const Config& config() const { return active_->config(); }

    const std::vector<ListenerLimits>& limits() const { return active_->limits(); }

    const ReloadCounts& counts() const { return counts_; }

    void reload(int64_t wall_s);

  private:
    bool use_log(const Config& config);
    void use(std::unique_ptr<Active> next);
    void refuse(std::string why);

    Parts parts_;
    std::unique_ptr<Active> active_;
    ReloadCounts counts_;
};

}  // namespace mqttd
