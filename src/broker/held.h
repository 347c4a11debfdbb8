#pragma once

// Held: the answers of one link that wait until what they acknowledge is durable.
//
// One FIFO a link: an answer goes straight out only when it is empty, so acknowledgements keep
// their order. Deliveries at QoS 0 and 1 and PINGRESP do not wait; a QoS 2 delivery to a durable
// session does, by its packet identifier. While a CONNACK is held the link is *corked*: its outbox
// is marked as blocked, and everything, PINGRESP too, waits behind it.

#include "mqttd/packet.h"

#include "base/arena.h"
#include "base/intrusive_list.h"
#include "base/ptr32.h"

#include <cstdint>

namespace mqttd {

struct Link;

struct HeldAnswer {
    uint64_t position = 0;  // has to be durable; or Recorder::kAfterRound, kAfterFanout
    Ptr32<uint8_t> packet;  // of an answer longer than four bytes: its size (4), the packet
    uint16_t packet_id = 0;
    PacketType type = PacketType::kPuback;  // kPublish: the packet under way with this identifier
    uint8_t reason = 0;
};

static_assert(sizeof(HeldAnswer) == 16);

// One outside the arena, where a Ptr32 cannot be.
struct Answer {
    PacketType type = PacketType::kPuback;
    uint16_t packet_id = 0;
    uint8_t reason = 0;
    uint8_t* packet = nullptr;
};

struct alignas(16) Held {
    ListHook<Held> hook;  // of all that hold something
    Ptr32<Link> link;
    uint32_t count = 0;
    uint64_t least = 0;  // for this all of them wait: the client was let in before it was durable

    const HeldAnswer& front() const { return ring_[head_]; }

    HeldAnswer& at(uint32_t i) { return ring_[(head_ + i) & (room_ - 1)]; }

    // False if the arena refused.
    bool push(Arena& arena, uint64_t position, const Answer& answer);
    Answer pop();

    // Something else is to be said instead of the first one.
    void replace_front(PacketType type) { ring_[head_].type = type; }

    void release(Arena& arena);

  private:
    Ptr32<HeldAnswer> ring_;
    uint32_t head_ = 0;
    uint32_t room_ = 0;  // a power of two, or 0
};

}  // namespace mqttd
