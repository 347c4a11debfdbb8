// Net, closing: how connections end, and who is told when.
//
// Whatever ends a connection only puts it on the ended list. `reap`, last in the turn, tells the
// handler and frees. When the peer went first there is nothing to wait for: what is left is written
// once and the socket closed. When the server closes, close() at once would answer unread input
// with a reset, which can overtake the reason we sent. So it lingers: outbox out, write side shut,
// input discarded, until the peer closes, too; bounded by 2 s, 1 MiB and the number of lingerers,
// the oldest going first. The handler is told before that: a lingering socket is net's own
// business. What the kernel still holds then is bounded by TCP_USER_TIMEOUT, set only here: in use
// it would cut a reader that pauses.
//
// A connection that broke (reset, timed out) is over at once: what was kept of its input is dropped
// and nothing more is read or written. Only an orderly end lets the rest be processed.

#include "base/assert.h"
#include "net/net.h"

#include <algorithm>
#include <memory>

namespace mqttd {

void Net::close(Outbox& outbox, Error why) {
    Connection& c = of(outbox);
    if (c.state != Connection::kOpen) return;
    drop_input(c);
    c.state = Connection::kClosing;
    c.why = why;
    c.stop = StopReason::kNone;
    unqueue(c);
    ended_.push_back(c);
    c.set(Connection::kOnEnded);
}

// The connection is over, at the end of this turn.
void Net::end(Connection& c, Error why) {
    if (c.state == Connection::kDead) return;
    if (c.state == Connection::kOpen) {
        drop_input(c);
        c.why = why;
        c.stop = StopReason::kNone;
    }
    if (why == Error::kNoMemory) ++counters_.closed_no_memory;
    if (why != Error::kEndOfFile) c.set(Connection::kBroken);
    c.state = Connection::kDead;
    if (c.has(Connection::kOnEnded)) return;
    unqueue(c);
    ended_.push_back(c);
    c.set(Connection::kOnEnded);
}

// What an open connection had besides its outbox; it is not open any more.
void Net::drop_input(Connection& c) {
    drop_pending(c);
    drop_meter(c);
    std::construct_at(&c.linger);
}

void Net::reap() {
    uint32_t told = 0;
    for (uint32_t left = std::min(ended_.size(), kReapMax); left > 0; --left) {
        // Each may have a will for thousands.
        if (++told > kReapMin && !handler_->budget_left()) break;
        Connection* c = ended_.pop_front();
        if (c == nullptr) break;
        c->unset(Connection::kOnEnded);
        tell(*c);
        put_to_rest(*c);
    }
    stats_.lingering = lingerers_.size();
    stats_.files_used = connections_ + listener_count_ + 2;
}

void Net::tell(Connection& c) {
    if (c.link == nullptr) return;
    ListenerStats& stats = state_of(c).stats;
    void* link = c.link;
    c.link = nullptr;
    --open_links_;
    if (c.has(Connection::kCounted)) {
        c.unset(Connection::kCounted);
        MQTTD_ASSERT(stats.connections > 0);
        --stats.connections;
    }
    if (c.why == Error::kConnectTimeout) ++stats.handshake_timeout;
    handler_->closed(link, c.why);
}

void Net::put_to_rest(Connection& c) {
    if (c.state == Connection::kClosing && begin_linger(c)) return;
    c.state = Connection::kDead;
    send_rest(c);
    release(c);
}

// Writes until the outbox is empty, blocked or broken: after `closed` nobody else does.
void Net::send_rest(Connection& c) {
    while (!c.empty() && !c.blocked()) {
        const uint32_t before = c.pending();
        write(c);
        if (c.pending() == before) return;
    }
}

// False if there is no need to wait for the peer, or no memory to do so.  A peer that said good-bye
// sends nothing more, so it is waited for only while the outbox has not left.
bool Net::begin_linger(Connection& c) {
    if (c.why == Error::kNone || c.why == Error::kEndOfFile) {
        send_rest(c);
        if (c.empty()) return false;
    }
    if (c.has(Connection::kBroken)) return false;
    auto* linger = arena_.make<Linger>(Arena::Use::kReserve);
    if (linger == nullptr) return false;
    if (lingerers_.size() >= lingerers_max_) drop_oldest_lingerer();
    const uint32_t timeout_ms = state_of(c).user_timeout_ms;
    if (timeout_ms != 0 && !c.has(Connection::kUnix)) sockets_.set_user_timeout(c.fd, timeout_ms);
    c.linger = linger;
    linger->connection = &c;
    linger->deadline = now_ + options_.linger_time;
    lingerers_.push_back(*linger);
    send_rest(c);
    if (c.state == Connection::kClosing && c.empty()) shut(c);
    if (wants_visit(c)) make_ready(c);
    return true;
}

void Net::shut(Connection& c) {
    c.state = Connection::kLingering;
    sockets_.shutdown_write(c.fd);
}

// The place of one that was refused is not a client's.  There are few of those.
bool Net::drop_lingering_client() {
    for (Linger* each = lingerers_.front(); each != nullptr; each = lingerers_.next(*each)) {
        if (each->connection->has(Connection::kRefused)) continue;
        ++counters_.linger_cut;
        release(*each->connection);
        return true;
    }
    return false;
}

// Outside of visits only: it is freed at once.
bool Net::drop_oldest_lingerer() {
    Linger* oldest = lingerers_.front();
    if (oldest == nullptr) return false;
    ++counters_.linger_cut;
    release(*oldest->connection);
    return true;
}

void Net::release(Connection& c) {
    unqueue(c);
    dirty_.remove(c);
    if (c.state == Connection::kOpen) {
        drop_input(c);
    } else if (c.linger) {
        lingerers_.remove(*c.linger);
        arena_.destroy(c.linger.get());
    }
    c.clear(arena_);
    Slot& slot = slots_[c.fd];
    MQTTD_ASSERT(slot.connection == &c && connections_ > 0);
    slot.connection = nullptr;
    slot.generation = (slot.generation + 1) % kGenerations;
    sockets_.close(c.fd);
    --connections_;
    if (c.has(Connection::kRefused)) --refused_;
    arena_.destroy(&c);
    if (reserve_ < 0) restore_reserve();
    wake_starved();
}

bool Net::close_all(Error why) {
    uint32_t left = kReapMax;
    for (; close_cursor_ < options_.files_limit; ++close_cursor_) {
        Connection* c = slots_[close_cursor_].connection;
        if (c == nullptr || c->state != Connection::kOpen) continue;
        if (left-- == 0) return false;
        close(*c, why);
    }
    close_cursor_ = 0;
    return true;
}

}  // namespace mqttd
