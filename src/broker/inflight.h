#pragma once

// InflightWindow: what was sent to one session at QoS 1 or 2 and is not yet acknowledged.
//
// A ring of slots in the order of sending. Packet identifiers are handed out in the same order,
// 1 … 65535 and round again, so slot and identifier say the same thing: an acknowledgement finds
// its slot by subtraction. A slot whose flow has ended stays as a hole until all before it have,
// hence the span (first to last slot) may exceed the number in flight; it is bounded by kSpanMax.
//
//     head_number_                     head_number_ + span_
//        │ live │ hole │ live │ live │
//
// Each slot remembers where in the outbox its packet began, so that "had it left?" is a compare:
// DUP is set at redelivery only where the bytes had left.

#include "base/arena.h"
#include "base/assert.h"
#include "base/ptr32.h"
#include "broker/message.h"
#include "broker/subscription_ids.h"

#include <cstdint>

namespace mqttd {

enum class FlowState : uint8_t {
    kHole,          // ended
    kAwaitPuback,   // QoS 1 sent
    kAwaitPubrec,   // QoS 2 sent
    kAwaitPubcomp,  // PUBREL sent
};

struct InflightSlot {
    Ptr32<Message> message;  // null from PUBREC on
    Ptr32<SubscriptionIds> ids;
    uint64_t position = 0;  // outbox.appended() before it was appended
    uint32_t sent_ms = 0;   // low bits of the time it was last sent
    uint16_t shared = 0;    // number of the shared group it came through; 0: none
    uint8_t repeats = 0;    // PUBRELs, by the retry of 3.x
    FlowState state : 2 = FlowState::kHole;
    bool retain : 1 = false;
    bool left : 1 = false;     // its first byte went to the kernel on an earlier connection
    bool sent : 1 = false;     // appended to the outbox of the present connection
    bool counted : 1 = false;  // as a PUBLISH: counts against Receive Maximum
};

static_assert(sizeof(InflightSlot) == 24);

class InflightWindow {
  public:
    static constexpr uint32_t kIds = 65'535;
    static constexpr uint32_t kSpanMax = 32'768;

    uint32_t live() const { return live_; }

    uint32_t span() const { return span_; }

    bool span_full() const { return span_ >= kSpanMax; }

    // Slot number i of the span, 0 = oldest.
    InflightSlot& at(uint32_t i) { return ring_[(head_ + i) & (room_ - 1)]; }

    uint16_t id_at(uint32_t i) const { return static_cast<uint16_t>((first_ + i) % kIds + 1); }

    // Appends a slot; nullptr if the arena refused a larger ring.  Its identifier is
    // id_at(span() - 1) afterwards.
    InflightSlot* push(Arena& arena, Arena::Use use = Arena::Use::kNormal) {
        if (span_ == room_ && !grow(arena, use)) return nullptr;
        InflightSlot* slot = new (&at(span_)) InflightSlot;
        ++span_;
        ++live_;
        return slot;
    }

    // An empty window goes on with this identifier; then a slot with a later one, holes before it.
    // nullptr: refused, or too far.
    void begin_at(uint16_t packet_id) {
        MQTTD_ASSERT(span_ == 0 && packet_id != 0);
        first_ = packet_id - 1u;
    }

    InflightSlot* push_at(Arena& arena, uint16_t packet_id);

    // The place of a live slot in the span, or -1.
    int64_t find(uint16_t packet_id) {
        const uint32_t number = packet_id - 1u;
        const uint32_t i = number >= first_ ? number - first_ : number + kIds - first_;
        if (packet_id == 0 || i >= span_ || at(i).state == FlowState::kHole) return -1;
        return i;
    }

    // The slot pushed last was not sent after all: its identifier is the next one's.
    void take_back();

    // The flow of slot i has ended; its message was already taken.
    void finish(uint32_t i) {
        InflightSlot& slot = at(i);
        MQTTD_ASSERT(slot.state != FlowState::kHole && !slot.message);
        slot.state = FlowState::kHole;
        --live_;
        while (span_ > 0 && at(0).state == FlowState::kHole) {
            head_ = (head_ + 1) & (room_ - 1);
            first_ = first_ + 1 == kIds ? 0 : first_ + 1;
            --span_;
        }
    }

    void release(Arena& arena);

  private:
    bool grow(Arena& arena, Arena::Use use);

    Ptr32<InflightSlot> ring_;
    uint32_t room_ = 0;   // a power of two, or 0
    uint32_t head_ = 0;   // index in the ring of the oldest slot
    uint32_t first_ = 0;  // number of the oldest slot, modulo kIds; identifier - 1
    uint32_t span_ = 0;
    uint32_t live_ = 0;
};

}  // namespace mqttd
