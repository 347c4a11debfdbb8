#include "net/net.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "net/pending.h"

#include <algorithm>
#include <new>

namespace mqttd {

Net::Net(Arena& arena, Dirty& dirty, const Log& log, const NetOptions& options)
    : arena_(arena), dirty_(dirty), log_(log), options_(options) {
    MQTTD_ASSERT(options.files_limit > 0 && options.read_max > 0 && options.turn_read_max > 0);
    void* memory = arena.allocate(options.files_limit * sizeof(Slot), Arena::Use::kReserve);
    MQTTD_ASSERT(memory != nullptr);
    slots_ = static_cast<Slot*>(memory);
    for (uint32_t i = 0; i < options.files_limit; ++i)
        new (slots_ + i) Slot{{}, 0};
    inbound_ = Segment::make(arena, kInboundBytes - sizeof(Segment), Arena::Use::kReserve);
    MQTTD_ASSERT(inbound_ != nullptr);
    inbound_->shared = true;

    set_max_connections(options.max_connections);
    lingerers_max_ = std::min<uint32_t>(1000, std::max<uint32_t>(1, options.files_limit / 20));
    stats_.files_limit = options.files_limit;
}

Net::~Net() {
    stop_listening();
    for (uint32_t fd = 0; fd < options_.files_limit && connections_ > 0; ++fd) {
        if (slots_[fd].connection) release(*slots_[fd].connection);
    }
    if (reserve_ >= 0) sockets_.close(reserve_);
    for (uint32_t i = 0; i < listener_count_; ++i)
        arena_.destroy(listeners_[i]);
    for (ListenerState* state : states_) {
        if (state != nullptr) arena_.destroy(state);
    }
    inbound_->drop(arena_);
    arena_.release(slots_);
}

Error Net::open() {
    MQTTD_ASSERT(handler_ != nullptr);
    const Error error = sockets_.open();
    if (error != Error::kNone) return error;
    const Result<int> reserve = sockets_.open_reserve();
    if (!reserve.ok()) return reserve.error();
    reserve_ = *reserve;
    return Error::kNone;
}

Error Net::watch(int fd, uint32_t id) {
    MQTTD_ASSERT(id < kWatchedMax);
    ++stats_.epoll_controls;
    return sockets_.add_watched(fd, uint64_t{kWatchedToken} << 32 | id);
}

bool Net::take_watched(uint32_t id) {
    MQTTD_ASSERT(id < kWatchedMax);
    const uint32_t bit = uint32_t{1} << id;
    const bool told = (watched_ & bit) != 0;
    watched_ &= ~bit;
    return told;
}

// ---- Events
// ----------------------------------------------------------------------------------------

uint32_t Net::collect(Duration timeout) {
    const uint32_t count = sockets_.wait(events_, idle() ? timeout : 0);
    stats_.events += count;
    counters_.events_max = std::max<uint64_t>(counters_.events_max, count);
    for (uint32_t i = 0; i < count; ++i)
        on_event(events_[i]);
    return count;
}

uint64_t Net::token_of(const Connection& connection) const {
    const auto fd = static_cast<uint32_t>(connection.fd);
    return uint64_t{slots_[fd].generation} << 32 | fd;
}

void Net::on_event(const Sockets::Event& event) {
    const auto generation = static_cast<uint32_t>(event.token >> 32);
    const auto index = static_cast<uint32_t>(event.token);
    if (generation == kListenerToken) {
        Listener* listener = index < listener_count_ ? listeners_[index] : nullptr;
        if (listener == nullptr || listener->fd < 0) {
            ++stats_.stale_events;
        } else if (!listener->ready.linked()) {
            ready_listeners_.push_back(*listener);
        }
    } else if (generation == kWatchedToken) {
        watched_ |= uint32_t{1} << (index % kWatchedMax);
    } else if (index >= options_.files_limit || slots_[index].generation != generation ||
               !slots_[index].connection) {
        ++stats_.stale_events;
    } else {
        on_connection_event(*slots_[index].connection, event);
    }
}

void Net::on_connection_event(Connection& c, const Sockets::Event& event) {
    if (MQTTD_MUTANT(25) && event.hangup) return end(c, Error::kEndOfFile);  // a hint is the end
    if (event.readable || event.hangup || event.urgent) c.set(Connection::kReadable);
    if (event.hangup || event.urgent) c.set(Connection::kReadOn);
    if (c.blocked() && (event.writable || event.hangup)) c.set(Connection::kWritable);
    if (event.broken && ends_broken(c)) return;
    if (wants_visit(c)) make_ready(c);
}

// A link that waits for something would not meet the error before that comes.
bool Net::ends_broken(Connection& c) {
    if (c.state != Connection::kOpen) return false;
    switch (c.stop) {
        case StopReason::kNone:
        case StopReason::kBudget:
        case StopReason::kBacklog:
        case StopReason::kFanout:
            return false;
        default:
            break;
    }
    const Error error = sockets_.take_error(c.fd);
    if (error == Error::kNone || error == Error::kEndOfFile) return false;
    end(c, error);
    return true;
}

bool Net::wants_visit(const Connection& c) const {
    if (c.state == Connection::kDead) return false;
    if (c.has(Connection::kWritable | Connection::kTellWritable)) return true;
    switch (c.stop) {
        case StopReason::kNone:
            return c.has(Connection::kReadable) ||
                   (c.state == Connection::kOpen && c.kept() != nullptr &&
                    pending_complete(*c.kept()));
        case StopReason::kBudget:
        case StopReason::kBacklog:
            return true;
        default:
            return false;
    }
}

// An ended one is already on its way.
void Net::make_ready(Connection& c) {
    if (!c.queue.linked()) ready_.push_back(c);
}

void Net::unqueue(Connection& c) {
    if (!c.queue.linked()) return;
    (c.has(Connection::kOnEnded) ? ended_ : ready_).remove(c);
    c.unset(Connection::kOnEnded);
}

// ---- The turn
// --------------------------------------------------------------------------------------

void Net::begin_turn(Instant now) {
    now_ = std::max(now_, now);
    ++stats_.turns;
    turn_left_ = options_.turn_read_max;
    while (Linger* oldest = lingerers_.front()) {
        if (oldest->deadline > now_) break;
        drop_oldest_lingerer();
    }
    end_pauses();
    if (retry_accept_at_ <= now_) {
        retry_accept_at_ = kNever;
        wake_starved();
    }
}

void Net::serve_ready() {
    uint32_t cut = serve_round(false);
    for (uint32_t round = 1; round < kRounds && cut > 0; ++round) {
        handler_->share_rest(cut);
        cut = serve_round(true);
    }
    stats_.edges_pending = ready_.size();
}

// Visits all that are ready, or those whose share was too short in the round before; returns how
// many it was too short for in this one.
uint32_t Net::serve_round(bool only_cut) {
    uint32_t cut = 0;
    for (uint32_t left = ready_.size(); left > 0; --left) {
        if (turn_left_ == 0 || !handler_->budget_left()) return 0;
        Connection* c = ready_.pop_front();
        if (c == nullptr) break;
        if (!only_cut || c->stop == StopReason::kBudget) {
            visit(*c);
            if (c->stop == StopReason::kBudget) ++cut;
        }
        if (MQTTD_MUTANT(27)) continue;  // what a share cut off is forgotten
        if (wants_visit(*c)) make_ready(*c);
    }
    return cut;
}

void Net::visit(Connection& c) {
    if (c.has(Connection::kWritable | Connection::kTellWritable)) write_ready(c);
    if (c.state == Connection::kOpen) {
        if (c.stop == StopReason::kBudget || c.stop == StopReason::kBacklog) {
            c.stop = StopReason::kNone;
        }
        read(c);
    } else if (c.state != Connection::kDead && c.has(Connection::kReadable)) {
        discard(c);
    }
}

bool Net::idle() const {
    const bool accepted = ready_listeners_.empty() || MQTTD_MUTANT(51);  // asleep over a backlog
    return ready_.empty() && ended_.empty() && accepted && dirty_.empty();
}

Instant Net::next_deadline() const {
    const Linger* oldest = lingerers_.front();
    const Instant linger_over = oldest != nullptr ? oldest->deadline : kNever;
    return std::min({retry_accept_at_, linger_over, pauses_.next_deadline()});
}

void Net::start_interval() {
    stats_.read_bytes_max = 0;
    stats_.write_ranges_max = 0;
    counters_.events_max = 0;
    counters_.write_ranges.clear();
}

// ---- Transport
// -------------------------------------------------------------------------------------

void Net::resume(Outbox& outbox) {
    Connection& c = of(outbox);
    if (c.state != Connection::kOpen) return;
    c.stop = StopReason::kNone;
    c.set(Connection::kReadable);
    make_ready(c);
}

bool Net::input_waiting(const Outbox& outbox) const {
    const Connection& c = of(outbox);
    if (c.state != Connection::kOpen) return false;
    if (c.queue.linked()) return true;
    return c.stop != StopReason::kNone && (c.has(Connection::kReadable) || c.kept() != nullptr);
}

Peer Net::peer(const Outbox& outbox) const {
    return of(outbox).peer;
}

}  // namespace mqttd
