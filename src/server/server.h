#pragma once

// Server: the loop, and what happens between its turns.
//
// Everything it works with was made and opened by startup.cc; it owns none of it. `turn` is the one
// fixed order of DESIGN §2 and calls each room's piece of it. The rest of the class answers signals
// and ends things in an orderly way:
//
//     first INT or TERM   no more listening; the broker closes every link, so that wills are sent;
//                         the loop goes on until all bytes have left, kStopTime at most
//     second one          ends at once
//
// There is one exit from `run`, and nothing but a signal leads to it.
//
// With `busy_poll` the loop looks for events again and again before it sleeps: waking a sleeping
// process costs more than everything mqttd does with a message. This spinning counts as waiting.

#include "mqttd/broker.h"

#include "base/log.h"
#include "io/log_sink.h"
#include "net/net.h"
#include "server/persistence.h"
#include "server/reloader.h"
#include "server/sampler.h"

namespace mqttd {

class Server {
  public:
    static constexpr uint32_t kSignalsId = 0;  // for Net::watch
    static constexpr Duration kStopTime = 5 * kSecond;
    static constexpr Duration kLogRetry = 100;  // until a slow reader of the log is tried again

    // What it works with; all of it outlives the server.
    struct Parts {
        Net& net;
        Broker& broker;
        Sampler& sampler;
        LogSink& log_sink;
        const Log& log;
        Reloader& reloader;
        int signals = -1;  // watched as kSignalsId
        Persistence* persistence = nullptr;
    };

    explicit Server(const Parts& parts) : parts_(parts) {}

    // Turns until it is told to stop.
    void run();

  private:
    enum class State : uint8_t { kServing, kClosingLinks, kDraining, kOver };

    void turn();
    void wait();
    Duration sleep_time() const;
    void take_signals();
    void on_stop_signal();
    void reopen_log();
    void close_links();
    void tend_journal(int64_t wall);
    bool all_is_said() const;

    Parts parts_;
    State state_ = State::kServing;
    Instant now_ = 0;
    Instant stop_at_ = kNever;
};

}  // namespace mqttd
