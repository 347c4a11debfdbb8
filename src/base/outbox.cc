#include "base/outbox.h"

#include <algorithm>

namespace mqttd {

namespace {

// Room of the next own tail block: small for the one answer of a quiet link, larger the more is
// waiting already.
uint32_t tail_block_bytes(uint32_t need, uint32_t pending) {
    const uint32_t wanted = pending == 0     ? 240
                            : pending < 1024 ? 2032
                            : pending < 8192 ? 8176
                                             : 16368;
    return std::max(need, wanted);
}

constexpr uint32_t kOwnBlock = Arena::kSmallMax - sizeof(Segment);

// The block that ends `list` and can take more bytes, or nullptr.
Segment* open_block(const Range* list, uint32_t count) {
    if (count == 0) return nullptr;
    const Range& last = list[count - 1];
    Segment* tail = last.segment;
    const bool open =
        tail->refs == 1 && !tail->shared && tail->room() > 0 && tail->used == last.end;
    return open ? tail : nullptr;
}

// Puts `range` behind list[count]: as it is if its segment is not shared, else as a copy in blocks.
// False if the arena refused.
bool own_range(Arena& arena, const Range& range, Range* list, uint32_t& count) {
    if (!range.segment->shared) {
        list[count++] = range;
        range.segment->hold();
        return true;
    }
    for (uint32_t from = range.begin; from < range.end;) {
        const uint32_t left = range.end - from;
        Segment* tail = open_block(list, count);
        if (tail == nullptr) {
            const uint32_t capacity = std::min(std::max(left, 1008u), kOwnBlock);
            tail = Segment::make(arena, capacity, Arena::Use::kReserve);
            if (tail == nullptr) return false;
            list[count++] = Range{tail, 0, 0};
        }
        const uint32_t size = std::min(left, tail->room());
        std::memcpy(tail->end(), range.segment->data() + from, size);
        tail->used += size;
        list[count - 1].end += size;
        from += size;
    }
    return true;
}

uint32_t power_of_two_above(uint32_t n) {
    uint32_t room = 4;
    while (room < n)
        room *= 2;
    return room;
}

}  // namespace

bool Outbox::append_apart(Arena& arena, const Range& range, Arena::Use use) {
    if (range.size() == 0) return true;
    if (pending_ != 0 && range.size() < kCopyMax) return copy(arena, bytes_of(range), use);
    if (!push(arena, range, use)) return false;
    range.segment->hold();
    count_bytes(range.size());
    return true;
}

// Puts `range` behind the others; counts neither bytes nor references.
bool Outbox::push(Arena& arena, const Range& range, Arena::Use use) {
    if (pending_ == 0) {
        first_ = range;
        return true;
    }
    if (more_count_ == more_room_ && !grow(arena, more_count_ + 1u, use)) return false;
    more_[(more_head_ + more_count_) & (more_room_ - 1u)] = range;
    ++more_count_;
    return true;
}

bool Outbox::grow(Arena& arena, uint32_t room, Arena::Use use) {
    if (room > kRangesMax) return false;
    room = power_of_two_above(room);
    auto* ring = static_cast<Range*>(arena.allocate(room * sizeof(Range), use));
    if (ring == nullptr) return false;
    for (uint32_t i = 0; i < more_count_; ++i) {
        ring[i] = more_[(more_head_ + i) & (more_room_ - 1u)];
    }
    if (more_) arena.release(more_.get());
    more_ = ring;
    more_head_ = 0;
    more_room_ = static_cast<uint16_t>(room);
    return true;
}

bool Outbox::copy(Arena& arena, Bytes bytes, Arena::Use use) {
    const auto size = static_cast<uint32_t>(bytes.size());
    if (size == 0) return true;
    uint8_t* at = room(arena, size, use);
    if (at == nullptr) return false;
    std::memcpy(at, bytes.data(), size);
    commit(size);
    return true;
}

// A fresh block is put behind as an empty range.
uint8_t* Outbox::room_in_new_block(Arena& arena, uint32_t size, Arena::Use use) {
    if (pending_ != 0 && more_count_ == more_room_ && !grow(arena, more_count_ + 1u, use)) {
        return nullptr;
    }
    Segment* tail = Segment::make(arena, tail_block_bytes(size, pending_), use);
    if (tail == nullptr) return nullptr;
    if (pending_ == 0) {
        first_ = Range{tail, 0, 0};
    } else {
        push(arena, Range{tail, 0, 0}, use);
    }
    return tail->data();
}

// Copies first and lets go after, so that a refusal half way leaves the old ranges as they were.
bool Outbox::own(Arena& arena) {
    uint32_t room = 0;
    bool any_shared = false;
    for (uint32_t i = 0; i < ranges(); ++i) {
        const Range& range = at(i);
        any_shared = any_shared || range.segment->shared;
        room += range.segment->shared ? 1 + (range.size() + kOwnBlock - 1) / kOwnBlock : 1;
    }
    if (!any_shared) return true;
    room = power_of_two_above(room);
    auto* list = static_cast<Range*>(arena.allocate(room * sizeof(Range), Arena::Use::kReserve));
    if (list == nullptr) return false;
    uint32_t count = 0;
    for (uint32_t i = 0; i < ranges(); ++i) {
        if (own_range(arena, at(i), list, count)) continue;
        for (uint32_t j = 0; j < count; ++j)
            list[j].segment->drop(arena);
        arena.release(list);
        return false;
    }
    const uint64_t appended = appended_;
    const uint32_t pending = pending_;
    clear(arena);
    appended_ = appended;
    pending_ = pending;
    first_ = list[0];
    more_ = list;
    more_head_ = 1;
    more_count_ = static_cast<uint16_t>(count - 1);
    more_room_ = static_cast<uint16_t>(room);
    return true;
}

uint32_t Outbox::gather(std::span<Piece> pieces) const {
    if (pending_ == 0) return 0;
    const auto count = static_cast<uint32_t>(std::min<size_t>(pieces.size(), 1u + more_count_));
    for (uint32_t i = 0; i < count; ++i) {
        const Range& range = at(i);
        pieces[i] = Piece{range.segment->data() + range.begin, range.size()};
    }
    return count;
}

void Outbox::drain(Arena& arena, uint64_t bytes) {
    MQTTD_ASSERT(bytes <= pending_);
    pending_ -= static_cast<uint32_t>(bytes);
    while (bytes > 0) {
        if (bytes < first_.size()) {
            first_.begin += static_cast<uint32_t>(bytes);
            return;
        }
        bytes -= first_.size();
        first_.segment->drop(arena);
        if (more_count_ > 0) {
            first_ = more_[more_head_];
            more_head_ = static_cast<uint16_t>((more_head_ + 1u) & (more_room_ - 1u));
            --more_count_;
        }
    }
    if (pending_ == 0) {
        MQTTD_ASSERT(more_count_ == 0);
        first_ = Range{};
        if (more_) {
            arena.release(more_.get());
            more_ = nullptr;
            more_room_ = more_head_ = 0;
        }
    }
}

void Outbox::clear(Arena& arena) {
    const uint64_t written = this->written();
    if (pending_ != 0) {
        first_.segment->drop(arena);
        for (uint32_t i = 0; i < more_count_; ++i) {
            more_[(more_head_ + i) & (more_room_ - 1u)].segment->drop(arena);
        }
    }
    if (more_) arena.release(more_.get());
    more_ = nullptr;
    more_head_ = more_count_ = more_room_ = 0;
    first_ = Range{};
    pending_ = 0;
    appended_ = written;
}

}  // namespace mqttd
