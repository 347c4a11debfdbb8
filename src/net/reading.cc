// Net, reading: from the socket into segments, from segments to the protocol.
//
// One visit reads until the socket is empty, its share is used up or the link stops; at most what
// its listener's rate allows (pacing.cc). A read goes to
// the tail of the inbound segment, behind a copy of what the link had left of a packet; or straight
// into its assembly block. The end of file and a reset are only met when everything before them has
// been given to the protocol, because a stopped link is not read.

#include "base/assert.h"
#include "base/mutant.h"
#include "net/net.h"
#include "net/pending.h"

#include <algorithm>

namespace mqttd {

void Net::read(Connection& c) {
    uint32_t left = options_.read_max;
    while (c.state == Connection::kOpen && c.stop == StopReason::kNone) {
        if (c.kept() != nullptr && pending_complete(*c.kept())) {
            feed_pending(c);
            continue;
        }
        if (!c.has(Connection::kReadable)) return;
        if (left == 0 || turn_left_ == 0 || !handler_->budget_left()) return;  // stays ready
        const bool assemble = c.kept() != nullptr && pending_assembles(*c.kept());
        const uint32_t allowed = within_rate(c, left);
        if (allowed == 0) return;
        const uint32_t got = assemble ? read_assembly(c, allowed) : read_in_place(c, allowed);
        if (got == 0) return;
        left -= std::min(left, got);
    }
}

// Reads to the tail of the inbound segment, behind what was left of a packet.
uint32_t Net::read_in_place(Connection& c, uint32_t left) {
    const uint32_t front = c.kept() != nullptr ? pending_size(*c.kept()) : 0;
    Segment* segment = inbound(front + kInboundRoom);
    if (segment == nullptr) {
        turn_left_ = 0;  // when this turn's writes have left, the segment can be used again
        return 0;
    }
    const uint32_t start = segment->used;
    uint8_t* to = segment->data() + start;
    if (front > 0) {
        std::memcpy(to, c.kept()->data() + pending_head(*c.kept()).begin, front);
    }
    const uint32_t got = receive_bytes(c, to + front, std::min(left, segment->room() - front));
    if (got == 0) return 0;
    drop_pending(c);
    segment->used = start + front + got;
    feed(c, Range{segment, start, segment->used}, nullptr);
    return got;
}

// Reads into the assembly block, at most up to the end of the packet.
uint32_t Net::read_assembly(Connection& c, uint32_t left) {
    if (c.kept()->room() == 0 && !grow(c)) {
        end(c, Error::kNoMemory);
        return 0;
    }
    Segment& block = *c.kept();
    const uint32_t missing = pending_head(block).need - pending_size(block);
    const uint32_t room = std::min({left, missing, block.room()});
    const uint32_t got = receive_bytes(c, block.end(), room);
    if (got == 0) return 0;  // the block may have gone with its connection
    block.used += got;
    stats_.pending_input_bytes += got;
    if (!pending_complete(block)) handler_->progress(c.link);
    return got;
}

// One read.  0: nothing came; the flags and the state say why.
uint32_t Net::receive_bytes(Connection& c, uint8_t* to, uint32_t room) {
    MQTTD_DCHECK(room > 0);
    Error error = Error::kNone;
    uint32_t got = 0;
    if (!c.has(Connection::kUnix)) {
        const Result<uint32_t> result = sockets_.receive(c.fd, to, room);
        error = result.error();
        got = *result;
    } else {
        const Result<Sockets::Received> result = sockets_.receive_unix(c.fd, to, room);
        error = result.error();
        got = result->bytes;
        if (result->descriptor) ++counters_.descriptors_refused;
    }
    ++stats_.reads;
    turn_left_ -= std::min(turn_left_, std::max(got, kReadCost));
    if (error == Error::kWouldBlock) {
        ++counters_.read_again;
        c.unset(Connection::kReadable | Connection::kReadOn);
        return 0;
    }
    if (got == 0) {
        const bool broken = c.has(Connection::kBroken);
        if (error == Error::kNone) error = broken ? Error::kReset : Error::kEndOfFile;
        end(c, error);
        return 0;
    }
    stats_.read_bytes += got;
    stats_.read_bytes_max = std::max<uint64_t>(stats_.read_bytes_max, got);
    state_of(c).stats.bytes_received += got;
    if (c.state == Connection::kOpen && !charge(c, got)) {
        end(c, Error::kNoMemory);
        return 0;
    }
    const bool more = c.has(Connection::kUnix | Connection::kReadOn);
    if (got < room && (!more || MQTTD_MUTANT(24))) {  // any short read means drained
        c.unset(Connection::kReadable);
    }
    return got;
}

// Input of a connection that the server closed.
void Net::discard(Connection& c) {
    Linger* linger = c.linger;
    uint32_t left = options_.read_max;
    while (linger != nullptr && left > 0 && c.has(Connection::kReadable)) {
        Segment* segment = inbound(kInboundRoom);
        if (segment == nullptr) return;
        const uint32_t got = receive_bytes(c, segment->end(), std::min(left, segment->room()));
        if (got == 0) return;
        left -= got;
        linger->discarded += got;
        if (linger->discarded >= options_.linger_bytes) {
            ++counters_.linger_cut;
            end(c, c.why);
            return;
        }
    }
}

// The inbound segment with at least `room` bytes free at its tail.  Rewound when nobody holds a
// range of it, replaced when it is nearly full; nullptr if the arena refuses.
Segment* Net::inbound(uint32_t room) {
    if (inbound_->refs == 1 || MQTTD_MUTANT(7)) inbound_->used = 0;  // rewound while it is held
    if (inbound_->room() >= room) return inbound_;
    Segment* fresh = Segment::make(arena_, kInboundBytes - sizeof(Segment), Arena::Use::kReserve);
    if (fresh == nullptr) return nullptr;
    fresh->shared = true;
    inbound_->drop(arena_);
    inbound_ = fresh;
    return fresh;
}

// ---- To the protocol
// -------------------------------------------------------------------------------

// Gives `input` to the protocol and keeps what it leaves.
//   own   the link's own block that `input` lies in, with its count; or nullptr
void Net::feed(Connection& c, Range input, Segment* own) {
    const Consumed taken = handler_->receive(c.link, input);
    Error error = Error::kNone;
    if (c.state == Connection::kOpen) {
        MQTTD_ASSERT(taken.bytes <= input.size());
        c.stop = taken.stop;
        input.begin += taken.bytes;
        const bool stopped = taken.stop != StopReason::kNone;
        if (MQTTD_MUTANT(26) && stopped) input.begin = input.end;  // a stopped link's rest is lost
        if (input.size() > 0 && own != nullptr && taken.stop != StopReason::kNone) {
            pending_head(*own) = PendingHead{input.begin, 0};
            attach(c, own);
            return;
        }
        if (input.size() > 0) error = keep(c, input, taken);
    }
    if (own != nullptr) own->drop(arena_);
    if (error != Error::kNone) end(c, error);
}

void Net::feed_pending(Connection& c) {
    Segment* own = detach(c);
    feed(c, Range{own, pending_head(*own).begin, own->used}, own);
}

// Copies `rest` to a block of the link's own.  Errors: kNoMemory; kPacketTooLarge, if the protocol
// cannot say what it needs after 192 KiB.
Error Net::keep(Connection& c, const Range& rest, const Consumed& taken) {
    const uint32_t size = rest.size();
    const bool stopped = taken.stop != StopReason::kNone;
    MQTTD_DCHECK(stopped || taken.need == 0 || taken.need > size);
    PendingHead head;
    uint32_t capacity = size;
    if (!stopped) {
        head.need = taken.need > size ? taken.need : PendingHead::kUnknown;
        if (head.need == PendingHead::kUnknown && size >= kInboundBytes / 2) {
            return Error::kPacketTooLarge;
        }
        if (size > PendingHead::kPrependMax) {
            capacity = static_cast<uint32_t>(std::min<uint64_t>(head.need, uint64_t{size} * 2));
        }
    }
    // One that waits for memory must not be closed for lack of it.
    const Arena::Use use = stopped ? Arena::Use::kReserve : Arena::Use::kNormal;
    Segment* block =
        Segment::make(arena_, capacity + static_cast<uint32_t>(sizeof(PendingHead)), use);
    if (block == nullptr) return Error::kNoMemory;
    // Ranges of what a stopped link had left may not pin all of it; those of one packet may.
    block->shared = stopped;
    pending_head(*block) = head;
    std::memcpy(block->data() + head.begin, rest.segment->data() + rest.begin, size);
    block->used = head.begin + size;
    attach(c, block);
    return Error::kNone;
}

// Gives the assembly block twice the room, at most what the packet needs.
bool Net::grow(Connection& c) {
    Segment* old = c.kept();
    const PendingHead head = pending_head(*old);
    const uint64_t size = pending_size(*old);
    const auto capacity = static_cast<uint32_t>(std::min<uint64_t>(head.need, size * 2));
    Segment* block = Segment::make(arena_, capacity + static_cast<uint32_t>(sizeof(PendingHead)));
    if (block == nullptr) return false;
    MQTTD_ASSERT(old->refs == 1 && head.begin == sizeof(PendingHead));
    std::memcpy(block->data(), old->data(), old->used);
    block->used = old->used;
    c.set_kept(block);
    old->drop(arena_);
    return true;
}

void Net::attach(Connection& c, Segment* block) {
    MQTTD_ASSERT(c.kept() == nullptr);
    c.set_kept(block);
    stats_.pending_input_bytes += pending_size(*block);
}

Segment* Net::detach(Connection& c) {
    Segment* block = c.kept();
    MQTTD_ASSERT(block != nullptr && stats_.pending_input_bytes >= pending_size(*block));
    stats_.pending_input_bytes -= pending_size(*block);
    c.set_kept(nullptr);
    return block;
}

void Net::drop_pending(Connection& c) {
    if (c.kept() != nullptr) detach(c)->drop(arena_);
}

}  // namespace mqttd
