// Net, writing: one gathered write per outbox and turn, within shares.
//
// Each write is tried at once. When it comes short the outbox is blocked: what is left of it is
// copied to its own blocks, EPOLLOUT joins the mask (once, for the connection's life), and the edge
// brings it back through the ready list. A write that meets a peer that has closed ends only the
// writing: what that one sent before is still read, and the read's result closes the connection. A
// write that fails otherwise ends the connection.

#include "base/assert.h"
#include "base/mutant.h"
#include "net/net.h"

#include <algorithm>

namespace mqttd {

void Net::flush() {
    if (dirty_.empty()) return dirty_.note_backlog();
    flush_list(kReplyUnits, &Dirty::take_reply);
    dirty_.note_backlog(flush_list(kDeliveryUnits, &Dirty::take_delivery));
}

// Writes the outboxes of one list within `share` units; returns the units a write took on average.
uint32_t Net::flush_list(uint32_t share, Outbox* (Dirty::*take)()) {
    uint32_t units = 0;
    uint32_t writes = 0;
    while (units < share) {
        Outbox* outbox = (dirty_.*take)();
        if (outbox == nullptr) break;
        Connection& c = of(*outbox);
        if (c.empty()) continue;
        units += write(c);
        ++writes;
        if (c.empty() || c.blocked() || c.hook.linked()) continue;
        // More ranges than one write takes: in line again.
        if (c.urgent()) {
            dirty_.add_reply(c);
        } else {
            dirty_.add_delivery(c);
        }
    }
    return writes == 0 ? 1 : units / writes;
}

uint32_t Net::flush(Outbox& outbox) {
    return outbox.empty() ? 0 : write(of(outbox));
}

// One write of the front of the outbox; returns its cost in units.  A blocked one waits for its
// edge; all that is done here is to keep shared ranges from outliving the turn.
uint32_t Net::write(Connection& c) {
    if (c.has(Connection::kBroken)) {
        c.clear(arena_);
        return 1;
    }
    if (c.blocked() && !c.has(Connection::kWritable)) {
        if (!c.own(arena_)) end(c, Error::kNoMemory);
        return 1;
    }
    Piece pieces[Sockets::kPiecesMax];
    const uint32_t count = c.gather(pieces);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; ++i)
        bytes += pieces[i].size;
    const Result<uint64_t> sent = sockets_.send(c.fd, {pieces, count});
    ++stats_.writes;
    stats_.write_ranges += count;
    stats_.write_ranges_max = std::max<uint64_t>(stats_.write_ranges_max, count);
    counters_.write_ranges.add(count);
    if (sent.ok()) {
        stats_.write_bytes += *sent;
        state_of(c).stats.bytes_sent += *sent;
        c.drain(arena_, *sent);
        if (*sent < bytes) {
            ++stats_.short_writes;
            block(c);
        }
    } else if (sent.error() == Error::kWouldBlock) {
        ++counters_.write_again;
        block(c);
    } else {
        break_off(c, sent.error());
    }
    return static_cast<uint32_t>(1 + *sent / kUnitBytes);
}

void Net::block(Connection& c) {
    c.unset(Connection::kWritable);
    if (c.state == Connection::kDead) return;
    c.set_blocked(true);
    if (!c.own(arena_)) {
        end(c, Error::kNoMemory);
        return;
    }
    if (c.has(Connection::kWatchesWrites) || MQTTD_MUTANT(9)) return;  // EPOLLOUT forgotten
    c.set(Connection::kWatchesWrites);
    ++stats_.epoll_controls;
    if (sockets_.want_writable(c.fd, token_of(c)) != Error::kNone) end(c, Error::kReset);
}

// Nothing can be written any more.  May be in the middle of the handler: it is told later.
void Net::break_off(Connection& c, Error why) {
    c.set(Connection::kBroken);
    c.unset(Connection::kWritable);
    c.clear(arena_);
    if (c.state != Connection::kOpen || why != Error::kEndOfFile) {
        end(c, c.state != Connection::kOpen ? c.why : why);
        return;
    }
    c.set(Connection::kReadable | Connection::kReadOn);
    if (c.blocked()) c.set(Connection::kTellWritable);
    if (c.stop == StopReason::kDraining) c.stop = StopReason::kNone;
    if (wants_visit(c)) make_ready(c);
}

// A visit to a blocked connection that has room again (or will never have).
void Net::write_ready(Connection& c) {
    if (c.has(Connection::kWritable) && !c.empty()) write(c);
    if (c.state == Connection::kDead || !c.empty()) return;
    c.unset(Connection::kWritable | Connection::kTellWritable);
    if (!c.blocked()) return;
    c.set_blocked(false);
    if (c.state == Connection::kOpen) {
        handler_->writable(c.link);
    } else if (c.state == Connection::kClosing && c.link == nullptr) {
        shut(c);
    }
}

}  // namespace mqttd
