#pragma once

// Segment: a counted block of bytes from the arena.
//
// Input is read into segments, messages are kept in them, output is gathered from them. Whoever
// keeps a Range across calls holds one count; the last one to let go gives the block back. There is
// one thread, so a count is a plain integer.
//
//     | refs capacity used shared | data ...                                    |
//       16 bytes                    `capacity` bytes, filled up to `used`
//
// `shared` marks a block that many links read into or write from within one turn (the inbound
// segment, the turn's own encodings). No range of such a block may outlive the turn on a link that
// is blocked: its outbox copies them (Outbox::own), so that nobody pins other people's memory.

#include "mqttd/bytes.h"

#include "base/arena.h"
#include "base/assert.h"

#include <cstdint>

namespace mqttd {

struct Segment {
    uint32_t refs = 1;
    uint32_t capacity = 0;
    uint32_t used = 0;
    bool shared = false;

    uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }

    const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(this + 1); }

    uint32_t room() const { return capacity - used; }

    uint8_t* end() { return data() + used; }

    // A block with room for at least `capacity` bytes and one count, or nullptr.
    static Segment* make(Arena& arena, uint32_t capacity, Arena::Use use = Arena::Use::kNormal) {
        void* memory = arena.allocate(sizeof(Segment) + size_t{capacity}, use);
        if (memory == nullptr) return nullptr;
        auto* segment = new (memory) Segment;
        segment->capacity = static_cast<uint32_t>(arena.room(memory) - sizeof(Segment));
        return segment;
    }

    void hold() { ++refs; }

    void drop(Arena& arena) {
        MQTTD_DCHECK(refs > 0);
        if (--refs == 0) arena.release(this);
    }
};

static_assert(sizeof(Segment) == 16);

inline Bytes bytes_of(const Range& range) {
    return {range.segment->data() + range.begin, range.size()};
}

// A counted copy of `bytes`, or nullptr.
inline Segment* copy_to_segment(Arena& arena, Bytes bytes, Arena::Use use = Arena::Use::kNormal) {
    Segment* segment = Segment::make(arena, static_cast<uint32_t>(bytes.size()), use);
    if (segment == nullptr) return nullptr;
    if (!bytes.empty()) std::memcpy(segment->data(), bytes.data(), bytes.size());
    segment->used = static_cast<uint32_t>(bytes.size());
    return segment;
}

}  // namespace mqttd
