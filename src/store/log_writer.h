#pragma once

// LogWriter: the loop's side of the ring; lays out records.
//
// What is appended in a turn becomes visible to the scribe at once, with `hand_over`. A start
// begins with a file of its own, so that nothing is ever written behind a tail that may be torn.

#include "store/record.h"
#include "store/ring.h"

#include <cstdint>
#include <span>

namespace mqttd {

class LogWriter {
  public:
    // `begin` is where a file begins, and nothing was ever written at or behind it; the life before
    // ended at `ended`.  The ring is empty.
    LogWriter(const Ring& ring, const JournalShape& shape, Position begin, Position ended);

    // Bytes that a body of `size` would take from the ring, at most.
    uint64_t cost(uint64_t size) const;

    // Bytes that may still be appended; see cost().
    uint64_t room() const;

    // Appends one body, put together from `parts`; there must be room for it.  `joined`: it counts
    // only together with the next one.  Returns its position, which is its name.
    Position append(RecordType type, std::span<const Bytes> parts, bool joined = false);

    Position append(RecordType type, Bytes body, bool joined = false) {
        return append(type, std::span<const Bytes>(&body, 1), joined);
    }

    // Gives the scribe what was appended.  True if there is anything for it to do.  A unit must not
    // be open.
    bool hand_over();

    // Everything that was appended before this is safe.
    Position durable() const { return ring_.head->durable.load(std::memory_order_acquire); }

    Position tail() const { return tail_; }

  private:
    Position place_all(RecordType type, std::span<const Bytes> parts, uint8_t flags);
    void open_file(Position at);
    void begin_batch();

    Ring ring_;
    JournalShape shape_;
    Position tail_;
    bool in_batch_ = false;
    bool in_unit_ = false;
};

}  // namespace mqttd
