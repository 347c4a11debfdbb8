#pragma once

// Journal: where the core puts what must survive a power cut.
//
// One endless sequence of bodies (broker/durable_records.h). A body's position is its name for
// ever. A start hands every body to Broker::restore, in order, and what the core still needs it
// writes again at the end before it lets go of the begin. While the broker serves a body can be
// asked for and comes later; a few at a time, each in a place of its own.
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

    // How many bodies can be asked for at a time, and how large they may be.
    static constexpr uint32_t kReads = 4;
    virtual uint64_t read_most() const = 0;

    // Asks for the body of `size` bytes at `position`, which was appended and is not forgotten. The
    // place `read` (< kReads) must be free: never used, or looked at until it did not wait.
    virtual void ask(uint32_t read, uint64_t position, uint64_t size) = 0;

    enum class Read : uint8_t {
        kWaiting,
        kHere,  // `body` is valid until the place is used again
        kLost,  // it cannot be read, or is not what was written
    };
    virtual Read look(uint32_t read, Bytes& body) = 0;

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
