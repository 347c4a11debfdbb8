#pragma once

// Outbox: what a link is about to send, as a FIFO of counted ranges.
//
// Plain data between two rooms: the core appends, net drains, no virtual call on the way. What is
// in an outbox is committed: never dropped, reordered or expired. It counts the bytes ever appended
// and those still pending, so "has packet p left?" is a compare with `written()`.
//
//     first_ ─ more_[0] ─ more_[1] … the last one grows when the next range continues it
//
// Fan-out appends a range of the inbound segment: when it begins where the last one ended, only
// that end moves. Small things are copied instead: an iovec costs about as much as copying half a
// kilobyte, so a short range that joins nothing goes into the outbox's own tail block, where the
// next one joins it. The first range is kept inline: most links have just one.
//
// When a write comes short net sets `blocked` and calls `own`, which copies all ranges of shared
// segments to blocks of this outbox, in the same turn. From then on only answers are appended.
//
// A refused allocation makes append, copy or room fail without having changed anything.

#include "base/arena.h"
#include "base/assert.h"
#include "base/intrusive_list.h"
#include "base/segment.h"

#include <cstdint>
#include <span>

namespace mqttd {

// One piece of a gathered write; laid out as struct iovec.
struct Piece {
    const void* data;
    size_t size;
};

class alignas(16) Outbox {
  public:
    static constexpr uint32_t kFlushBytes = 256 * 1024;  // past either mark: flush on the spot
    static constexpr uint32_t kFlushRanges = 256;
    static constexpr uint32_t kRangesMax = 1024;
    static constexpr uint32_t kCopyMax = 1024;  // shorter ranges are copied unless they join

    Outbox() = default;
    Outbox(const Outbox&) = delete;
    Outbox& operator=(const Outbox&) = delete;

    // Appends `range`, holding its segment (or copying it, if short).
    bool append(Arena& arena, const Range& range, Arena::Use use = Arena::Use::kNormal) {
        Range& last = back();
        if (last.segment == range.segment && last.end == range.begin && pending_ != 0) {
            last.end = range.end;
            count_bytes(range.size());
            return true;
        }
        return append_apart(arena, range, use);
    }

    // Appends a copy of `bytes`.
    bool copy(Arena& arena, Bytes bytes, Arena::Use use = Arena::Use::kNormal);

    // Contiguous room for `size` bytes to encode into, or nullptr; `commit` appends what was used.
    uint8_t* room(Arena& arena, uint32_t size, Arena::Use use = Arena::Use::kNormal) {
        // The tail block is the last range's segment if it is ours alone and the range ends where
        // the block's content does.
        if (pending_ != 0) {
            const Range& last = back();
            Segment* tail = last.segment;
            if (tail->refs == 1 && !tail->shared && tail->used == last.end && tail->room() >= size)
                return tail->end();
        }
        return room_in_new_block(arena, size, use);
    }

    void commit(uint32_t size) {
        Range& last = back();
        last.segment->used += size;
        last.end += size;
        count_bytes(size);
        MQTTD_DCHECK(last.end == last.segment->used);
    }

    // Copies every range of a shared segment to own blocks.  False if memory was refused: the
    // outbox is unchanged and the link has to go.
    bool own(Arena& arena);

    // The first ranges as pieces for one write; returns how many were filled in.
    uint32_t gather(std::span<Piece> pieces) const;

    // `bytes` of the front have left.
    void drain(Arena& arena, uint64_t bytes);

    // Lets go of everything.
    void clear(Arena& arena);

    bool empty() const { return pending_ == 0; }

    uint32_t pending() const { return pending_; }

    uint64_t appended() const { return appended_; }

    uint64_t written() const { return appended_ - pending_; }

    uint32_t ranges() const { return pending_ == 0 ? 0 : 1u + more_count_; }

    bool wants_flush(uint32_t bytes = kFlushBytes) const {
        return pending_ >= bytes || more_count_ >= kFlushRanges;
    }

    bool blocked() const { return blocked_; }

    void set_blocked(bool blocked) { blocked_ = blocked; }

    bool urgent() const { return urgent_; }

    ListHook<Outbox> hook;  // Dirty

  private:
    friend class Dirty;

    Range& back() {
        return more_count_ == 0 ? first_
                                : more_[(more_head_ + more_count_ - 1u) & (more_room_ - 1u)];
    }

    const Range& at(uint32_t i) const {
        return i == 0 ? first_ : more_[(more_head_ + i - 1u) & (more_room_ - 1u)];
    }

    void count_bytes(uint32_t bytes) {
        appended_ += bytes;
        pending_ += bytes;
    }

    uint8_t* room_in_new_block(Arena& arena, uint32_t size, Arena::Use use);
    bool append_apart(Arena& arena, const Range& range, Arena::Use use);
    bool push(Arena& arena, const Range& range, Arena::Use use);
    bool grow(Arena& arena, uint32_t room, Arena::Use use);

    Range first_;            // valid while pending_ > 0
    uint64_t appended_ = 0;  // bytes since the link was opened
    uint32_t pending_ = 0;   // bytes not yet written
    Ptr32<Range> more_;      // ring of `more_room_` ranges behind the first
    uint16_t more_head_ = 0;
    uint16_t more_count_ = 0;
    uint16_t more_room_ = 0;  // a power of two, or 0
    bool blocked_ = false;    // a write came short and the rest has not left yet
    bool urgent_ = false;     // on Dirty's list of replies
};

// The outboxes that have something to write this turn.  Answers to what a link itself just sent
// come before deliveries, so that a ping does not wait behind a fan-out to thousands.
class Dirty {
  public:
    using List = IntrusiveList<Outbox, &Outbox::hook>;

    void add_reply(Outbox& outbox) {
        if (outbox.hook.in_list) {
            if (outbox.urgent_) return;
            deliveries_.remove(outbox);
        }
        outbox.urgent_ = true;
        replies_.push_back(outbox);
    }

    void add_delivery(Outbox& outbox) {
        if (outbox.hook.in_list) return;
        outbox.urgent_ = false;
        deliveries_.push_back(outbox);
    }

    void remove(Outbox& outbox) {
        if (!outbox.hook.in_list) return;
        (outbox.urgent_ ? replies_ : deliveries_).remove(outbox);
    }

    // The next one to write, taken off its list, or nullptr.  Two lists, so that each gets its
    // share.
    Outbox* take_reply() { return replies_.pop_front(); }

    Outbox* take_delivery() { return deliveries_.pop_front(); }

    Outbox* take() {
        Outbox* outbox = take_reply();
        return outbox != nullptr ? outbox : take_delivery();
    }

    bool empty() const { return replies_.empty() && deliveries_.empty(); }

    uint32_t size() const { return replies_.size() + deliveries_.size(); }

    // What the last flush left behind, in writes of about 8 KiB; noted at the end of a flush from
    // what its writes took on average.
    uint32_t backlog() const { return backlog_; }

    void note_backlog(uint32_t units_per_write = 1) {
        backlog_ = deliveries_.size() * units_per_write;
    }

  private:
    List replies_;
    List deliveries_;
    uint32_t backlog_ = 0;
};

}  // namespace mqttd
