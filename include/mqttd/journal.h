#pragma once

// Journal: where the core puts what must survive a power cut.
//
// One endless sequence of bodies (broker/durable_records.h). A body's position is its name for
// ever. Nothing is read back while the broker serves: a start hands every body to Broker::restore,
// in order, and what the core still needs it writes again at the end before it lets go of the
// begin.
//
// Called from the loop only; a call costs a copy into memory, never a system call.

#include "mqttd/bytes.h"

#include <cstdint>
#include <span>

namespace mqttd {

class Journal {
  public:
    // Bytes that may be appended before something becomes durable, and when all of it is.
    virtual uint64_t room() const = 0;
    virtual uint64_t capacity() const = 0;

    // Appends one body of a DurableType, put together from `parts`; there must be room for
    // cost(size). `joined`: it counts only together with the next one, appended in the same turn.
    // Returns its name.
    virtual uint64_t append(uint8_t type, std::span<const Bytes> parts, bool joined) = 0;

    // What a body of so many bytes takes of the room, at most.
    static constexpr uint64_t cost(uint64_t size) { return size + size / 256 + 512; }

    // Where the next body would begin; all that ends before `durable` survives.
    virtual uint64_t tail() const = 0;
    virtual uint64_t durable() const = 0;

    // Nothing before this position is needed any more; and the oldest one that is kept.
    virtual void forget_before(uint64_t position) = 0;
    virtual uint64_t oldest() const = 0;

    // It cannot be written, or is as long as it may be: what would have to be kept is refused.
    virtual bool failing() const = 0;

    // False: acknowledgements need not wait until what they acknowledge is durable.
    virtual bool holds_answers() const = 0;

  protected:
    ~Journal() = default;
};

}  // namespace mqttd
