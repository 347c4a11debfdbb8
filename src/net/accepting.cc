// Net, accepting: listeners in, connections out.
//
// A connection is read right after it was accepted: with TCP_DEFER_ACCEPT its first bytes are
// there. Above a cap there are a few refusal slots, so that the protocol can answer "server busy";
// above those a connection is closed at once. Running out of descriptors never makes the loop spin:
// the listener is taken off the ready list and comes back when a descriptor is freed (EMFILE), by a
// timer (ENFILE: others may free it), or with the next edge. Where the kernel says how many wait,
// as many are accepted and none is tried in vain.

#include "base/assert.h"
#include "base/mutant.h"
#include "net/net.h"

#include <algorithm>
#include <cstring>

namespace mqttd {

namespace {

constexpr Duration kAcceptRetry = 100;

}  // namespace

Result<uint16_t> Net::listen(const ListenOptions& options, const ListenerLimits& limits) {
    if (listener_count_ == kListenersMax || limits.index >= kListenersMax) return Error::kInvalid;
    ListenerState*& state = states_[limits.index];
    if (state == nullptr) state = arena_.make<ListenerState>(Arena::Use::kReserve);
    auto* listener = arena_.make<Listener>(Arena::Use::kReserve);
    if (state == nullptr || listener == nullptr) {
        if (listener != nullptr) arena_.destroy(listener);
        return Error::kNoMemory;
    }
    const Result<Sockets::Opened> opened = sockets_.listen(options);
    Error error = opened.error();
    if (opened.ok()) {
        ++stats_.epoll_controls;
        error = sockets_.add_listener(opened->fd, uint64_t{kListenerToken} << 32 | listener_count_);
        if (error != Error::kNone) sockets_.close(opened->fd);
    }
    if (error != Error::kNone) {
        arena_.destroy(listener);
        return error;
    }
    listener->fd = opened->fd;
    listener->state = state;
    state->set_limits(limits);
    state->user_timeout_ms = options.user_timeout_ms;
    listener->unix_socket = !options.unix_path.empty();
    MQTTD_ASSERT(options.unix_path.size() < sizeof(listener->path));
    if (listener->unix_socket) {
        std::memcpy(listener->path, options.unix_path.data(), options.unix_path.size());
    }
    listeners_[listener_count_++] = listener;
    return opened->port;
}

Error Net::set_limits(const ListenerLimits& limits) {
    if (limits.index >= kListenersMax || states_[limits.index] == nullptr) return Error::kNotFound;
    states_[limits.index]->set_limits(limits);
    return Error::kNone;
}

void Net::set_max_connections(int64_t most) {
    const uint32_t kept = options_.files_reserve + options_.refusal_slots;
    connections_max_ = options_.files_limit > kept ? options_.files_limit - kept : 1;
    if (most < 0) return;
    connections_max_ = static_cast<uint32_t>(std::min<int64_t>(connections_max_, most));
}

ListenerStats Net::listener_stats(uint16_t index) const {
    if (index >= kListenersMax || states_[index] == nullptr) return {};
    return states_[index]->stats;
}

void Net::stop_listening() {
    for (uint32_t i = 0; i < listener_count_; ++i) {
        Listener& listener = *listeners_[i];
        if (listener.fd < 0) continue;
        if (listener.ready.linked()) ready_listeners_.remove(listener);
        sockets_.close(listener.fd);
        listener.fd = -1;
        if (listener.unix_socket) sockets_.remove_path(listener.path);
    }
}

void Net::accept() {
    for (uint32_t left = ready_listeners_.size(); left > 0; --left) {
        Listener* listener = ready_listeners_.pop_front();
        if (listener == nullptr) break;
        if (accept_batch(*listener) && !listener->ready.linked()) {
            ready_listeners_.push_back(*listener);
        }
    }
}

// True if there may be more to accept.
bool Net::accept_batch(Listener& listener) {
    if (listener.starved) {
        listener.starved = false;
        --starved_;
    }
    const uint32_t waiting = sockets_.waiting(listener.fd);
    const uint32_t most = waiting != 0 ? waiting : ~uint32_t{0};
    uint32_t taken = 0;
    for (uint32_t left = listener.state->limits.accept_batch; left > 0 && taken < most; --left) {
        const Result<Sockets::Accepted> accepted = sockets_.accept(listener.fd);
        ++stats_.accepts;
        switch (accepted.error()) {
            case Error::kNone:
                ++taken;
                admit(listener, *accepted);
                break;
            case Error::kReset:
                ++taken;
                break;  // this one is gone
            case Error::kWouldBlock:
                return false;
            case Error::kProcessFiles:
                ++stats_.accept_no_files;
                if (drop_oldest_lingerer()) break;
                use_reserve(listener);
                starve(listener);
                return false;
            case Error::kSystemFiles:
                ++stats_.accept_no_files;
                if (drop_oldest_lingerer()) break;
                complain("the system has no descriptor or memory left for a new connection");
                starve(listener);
                retry_accept_at_ = std::min(retry_accept_at_, now_ + kAcceptRetry);
                return false;
            default:
                complain("a listening socket cannot accept any more");
                return false;
        }
    }
    if (MQTTD_MUTANT(37)) return false;  // the rest of a backlog is forgotten
    return taken < most;
}

void Net::admit(Listener& listener, const Sockets::Accepted& accepted) {
    const ListenerLimits& limits = listener.state->limits;
    ListenerStats& stats = listener.state->stats;
    if (!limits.access.empty() && !access_allowed(limits.access, accepted.peer)) {
        ++stats.refused_access;
        ++counters_.accept_refused_access;
        sockets_.close(accepted.fd);
        return;
    }
    const bool refused = above_cap(listener);
    const bool fits = static_cast<uint32_t>(accepted.fd) < options_.files_limit;
    if (!fits || (refused && refused_ >= options_.refusal_slots)) {
        ++stats_.accept_refused;
        ++stats.refused_max;
        sockets_.close(accepted.fd);
        complain("connections are closed at once: above every cap");
        return;
    }
    auto* made = arena_.make<Connection>(Arena::Use::kNormal, accepted.fd);
    if (made == nullptr) {
        ++counters_.accept_no_memory;
        sockets_.close(accepted.fd);
        complain("connections are closed at once: no memory is left for them");
        return;
    }
    Connection& c = *made;
    c.peer = accepted.peer;
    c.listener = limits.index;
    if (listener.unix_socket) c.set(Connection::kUnix);
    if (refused) c.set(Connection::kRefused);
    refused_ += refused ? 1 : 0;
    stats.refused_max += refused ? 1 : 0;
    slots_[c.fd].connection = &c;
    ++connections_;
    ++stats_.accepted;
    ++stats_.epoll_controls;
    if (sockets_.add(c.fd, token_of(c)) != Error::kNone) {
        release(c);
        return;
    }
    c.link = handler_->opened(c, Arrival{c.peer, c.listener, refused});
    if (c.link == nullptr) {
        release(c);
        return;
    }
    ++open_links_;
    if (!refused) {
        c.set(Connection::kCounted);
        ++stats.accepted;
        stats.maximum = std::max(stats.maximum, ++stats.connections);
    }
    c.set(Connection::kReadable);
    make_ready(c);
}

bool Net::above_cap(const Listener& listener) {
    if (connections_ - refused_ >= connections_max_ && !drop_lingering_client()) return true;
    const int64_t cap = listener.state->limits.max_connections;
    return cap >= 0 && listener.state->stats.connections >= static_cast<uint64_t>(cap);
}

// No descriptor is left: with the reserve, one client at least learns that it is not served.
void Net::use_reserve(Listener& listener) {
    complain("no descriptor is left for a new connection");
    if (reserve_ < 0) return;
    sockets_.close(reserve_);
    reserve_ = -1;
    const Result<Sockets::Accepted> accepted = sockets_.accept(listener.fd);
    ++stats_.accepts;
    if (accepted.ok()) {
        ++stats_.accept_refused;
        sockets_.close(accepted->fd);
    }
    restore_reserve();
}

void Net::restore_reserve() {
    const Result<int> reserve = sockets_.open_reserve();
    reserve_ = reserve.ok() ? *reserve : -1;
}

void Net::starve(Listener& listener) {
    if (listener.starved) return;
    listener.starved = true;
    ++starved_;
}

void Net::wake_starved() {
    if (starved_ == 0 || MQTTD_MUTANT(38)) return;  // a starved listener stays so
    for (uint32_t i = 0; i < listener_count_; ++i) {
        Listener& listener = *listeners_[i];
        if (!listener.starved || listener.fd < 0) continue;
        listener.starved = false;
        if (!listener.ready.linked()) ready_listeners_.push_back(listener);
    }
    starved_ = 0;
}

// At most one line a second.
void Net::complain(const char* what) {
    if (now_ < complain_again_at_) return;
    complain_again_at_ = now_ + kSecond;
    log_.write(LogKind::kWarning, "%s (%u connections)", what, connections_);
}

}  // namespace mqttd
