#include "server/server.h"

#include "mqttd/version.h"

#include "io/clock.h"
#include "io/signals.h"

#include <algorithm>

namespace mqttd {

void Server::run() {
    now_ = boot_ms();
    while (state_ != State::kOver)
        turn();
}

// The one order of things; DESIGN §2 says why it is this one.
void Server::turn() {
    auto& [net, broker, sampler, log_sink, log, reloader, signals, persistence] = parts_;
    wait();
    const uint64_t began_us = monotonic_us();
    now_ = boot_ms();
    const int64_t wall = wall_s();
    log_sink.set_time(wall);
    broker.begin_turn(now_, wall, net.ready_links());
    net.begin_turn(now_);
    net.accept();
    take_signals();
    if (persistence != nullptr) tend_journal(wall);
    const uint64_t reading_us = monotonic_us();
    net.serve_ready();
    broker.tick();
    close_links();
    if (persistence != nullptr) persistence->end_turn(now_);
    net.flush();
    sampler.add_writes(reading_us, monotonic_us(), broker.stats());
    net.reap();
    if (all_is_said()) state_ = State::kOver;
    log_sink.flush();
    sampler.add_turn(began_us, monotonic_us());
}

// Until something happened, or the time of something has come.
void Server::wait() {
    Net& net = parts_.net;
    const Duration sleep = sleep_time();
    const uint64_t busy_us = parts_.reloader.config().busy_poll_us;
    Duration spun = 0;
    if (busy_us > 0 && sleep > 0) {
        const uint64_t longest_us = sleep < kSecond ? std::min(busy_us, sleep * 1000) : busy_us;
        const uint64_t began_us = monotonic_us();
        uint64_t spun_us = 0;
        for (; spun_us < longest_us; spun_us = monotonic_us() - began_us) {
            if (net.collect(0) > 0) return;
        }
        spun = spun_us / 1000;
    }
    net.collect(sleep == kNever ? kNever : sleep - std::min(sleep, spun));
}

Duration Server::sleep_time() const {
    if (!parts_.net.idle() || !parts_.broker.idle()) return 0;
    if (state_ == State::kClosingLinks) return 0;
    const Persistence* persistence = parts_.persistence;
    if (persistence != nullptr && persistence->reading() && state_ == State::kServing) return 0;
    Instant until = std::min(parts_.net.next_deadline(), parts_.broker.next_deadline());
    until = std::min(until, stop_at_);
    if (persistence != nullptr) until = std::min(until, persistence->next_deadline());
    if (parts_.log_sink.waiting()) until = std::min(until, now_ + kLogRetry);
    if (until == kNever) return kNever;
    return until > now_ ? until - now_ : 0;
}

void Server::take_signals() {
    if (!parts_.net.take_watched(kSignalsId)) return;
    SignalEvent events[8];
    const uint32_t count = read_signals(parts_.signals, events);
    for (uint32_t i = 0; i < count; ++i) {
        switch (events[i]) {
            case SignalEvent::kStop:
                on_stop_signal();
                break;
            case SignalEvent::kReload:
                reopen_log();
                parts_.reloader.reload(wall_s());
                if (parts_.persistence != nullptr) {
                    parts_.persistence->use(parts_.reloader.config());
                }
                break;
            case SignalEvent::kReopenLogs:
                reopen_log();
                break;
            case SignalEvent::kSync:
                if (parts_.persistence != nullptr) {
                    parts_.persistence->sync_all(now_);
                } else {
                    parts_.log.write(LogKind::kNotice, "Nothing to sync: persistence is off.");
                }
                break;
            case SignalEvent::kDump:
                parts_.broker.dump(parts_.log);
                break;
        }
    }
}

void Server::on_stop_signal() {
    if (state_ != State::kServing) {
        parts_.log.write(LogKind::kNotice, "Told to stop again: ending now.");
        state_ = State::kOver;
        return;
    }
    parts_.log.write(LogKind::kInformation, "mqttd version %s terminating", kVersion);
    parts_.net.stop_listening();
    state_ = State::kClosingLinks;
    stop_at_ = now_ + kStopTime;
}

// Links are told in slices, over turns; then their last bytes leave.
void Server::close_links() {
    if (state_ == State::kClosingLinks && parts_.broker.shut_down() &&
        parts_.net.close_all(Error::kShuttingDown)) {
        state_ = State::kDraining;
        if (parts_.persistence != nullptr) parts_.persistence->sync_all(now_);
    }
}

// What is still in the journal's memory is written, too; should that take longer, the scribe goes
// on when we have gone.
bool Server::all_is_said() const {
    const bool written = parts_.persistence == nullptr || parts_.persistence->all_written();
    const bool said = state_ == State::kDraining && parts_.net.connections() == 0;
    return (said && written) || now_ >= stop_at_;
}

// While the journal is being read nobody is in; then it is like any other source of events.
void Server::tend_journal(int64_t wall) {
    Persistence& persistence = *parts_.persistence;
    persistence.look(parts_.net, parts_.broker, now_, wall);
    if (persistence.reading() && state_ == State::kServing) {
        // Who looks below `$SYS` whether we are ready need not wait for the next interval.
        if (!persistence.read_some(parts_.broker, now_)) parts_.broker.publish_sys();
    }
}

void Server::reopen_log() {
    const Error error = parts_.log_sink.reopen();
    if (error == Error::kNone) return;
    parts_.log.write(
        LogKind::kError,
        "Error: the log file could not be opened again (%s); the old one is written on.",
        error_text(error));
}

}  // namespace mqttd
