#pragma once

// Ring: the memory between the loop, which makes records, and the scribe, which writes them.
//
// Shared by two processes and mapped before they part. The loop lays out the very bytes of the
// files; position p lies at p modulo the ring's size, so nothing but three numbers is said:
//
//     durable ≤ tail ≤ durable + bytes        what lies between them must not be overwritten
//
// Each number has one writer. A record stays in the ring until it is synced, so whatever becomes of
// a file or of the scribe, it can be written again.

#include "mqttd/bytes.h"

#include "store/record.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

namespace mqttd {

struct RingHead {
    // The loop's:
    std::atomic<Position> tail{0};    // up to here it may be written
    std::atomic<Position> oldest{0};  // nothing before it is needed any more
    // The scribe's:
    alignas(64) std::atomic<Position> durable{0};  // up to here it would survive a power cut
    std::atomic<uint32_t> error{0};                // Error of its last try; 0 when it went well
    std::atomic<uint64_t> syncs{0};
    std::atomic<uint64_t> written_bytes{0};  // also what was written a second time
};

static_assert(std::atomic<Position>::is_always_lock_free);

struct Ring {
    RingHead* head = nullptr;
    uint8_t* data = nullptr;
    uint64_t bytes = 0;  // a power of two

    // The contiguous piece that begins at `position` and is at most `size` long.
    std::span<uint8_t> piece(Position position, uint64_t size) const {
        const uint64_t at = position & (bytes - 1);
        return {data + at, static_cast<size_t>(std::min(size, bytes - at))};
    }

    void put(Position position, Bytes from) const {
        while (!from.empty()) {
            const std::span<uint8_t> to = piece(position, from.size());
            std::memcpy(to.data(), from.data(), to.size());
            position += to.size();
            from = from.subspan(to.size());
        }
    }

    void zero(Position position, uint64_t size) const {
        while (size > 0) {
            const std::span<uint8_t> to = piece(position, size);
            std::memset(to.data(), 0, to.size());
            position += to.size();
            size -= to.size();
        }
    }
};

}  // namespace mqttd
