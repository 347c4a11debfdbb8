#pragma once

// AwaitingRel: inbound QoS 2 messages that wait for their PUBREL.
//
// The client chooses the identifiers, so this is a small open-addressing table from identifier to
// message. The message is passed on at PUBREL, not before: so a flow that is never finished
// (await_rel_timeout) has delivered nothing, and a repeated PUBLISH finds its identifier taken.

#include "base/arena.h"
#include "base/ptr32.h"
#include "broker/message.h"

#include <cstdint>

namespace mqttd {

struct AwaitingEntry {
    uint16_t packet_id = 0;   // 0: free
    uint16_t connection = 0;  // number of the one it came on, modulo 2^16
    uint32_t since_s = 0;     // rounded up
    Ptr32<Message> message;   // null: completed for form's sake, nothing is passed on
};

static_assert(sizeof(AwaitingEntry) == 12);

class AwaitingRel {
  public:
    uint32_t size() const { return size_; }

    uint32_t room() const { return room_; }

    // A new connection begins: what came before does not count against its Receive Maximum.
    void begin_connection() {
        ++connection_;
        on_connection_ = 0;
    }

    uint32_t on_connection() const { return on_connection_; }

    AwaitingEntry* find(uint16_t packet_id);

    // `packet_id` is not in the table.  Takes over a hold on `message`.  False if refused.
    bool insert(Arena& arena, uint16_t packet_id, uint32_t since_s, Message* message);

    // The caller takes over the hold on the entry's message first.
    void erase(AwaitingEntry& entry);

    // Slot i of the table, 0 ≤ i < room(); free ones have packet_id 0.
    AwaitingEntry& slot(uint32_t i) { return entries_[i]; }

    void release(Arena& arena);

  private:
    uint32_t home(uint16_t packet_id) const { return (packet_id * 0x9e3779b1u) >> shift_; }

    Ptr32<AwaitingEntry> entries_;
    uint32_t room_ = 0;  // a power of two, or 0
    uint32_t shift_ = 32;
    uint32_t size_ = 0;
    uint32_t on_connection_ = 0;  // entries of the present connection
    uint16_t connection_ = 0;
};

}  // namespace mqttd
