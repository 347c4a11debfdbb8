#include "broker/inflight.h"

#include "base/assert.h"

namespace mqttd {

InflightSlot* InflightWindow::push(Arena& arena, Arena::Use use) {
    if (span_ == room_) {
        const uint32_t room = room_ == 0 ? 4 : room_ * 2;
        void* memory = arena.allocate(room * sizeof(InflightSlot), use);
        if (memory == nullptr) return nullptr;
        auto* ring = static_cast<InflightSlot*>(memory);
        for (uint32_t i = 0; i < span_; ++i)
            new (&ring[i]) InflightSlot(at(i));
        if (ring_) arena.release(ring_.get());
        ring_ = ring;
        room_ = room;
        head_ = 0;
    }
    InflightSlot* slot = new (&at(span_)) InflightSlot;
    ++span_;
    ++live_;
    return slot;
}

int64_t InflightWindow::find(uint16_t packet_id) {
    const uint32_t number = packet_id - 1u;
    const uint32_t i = number >= first_ ? number - first_ : number + kIds - first_;
    if (packet_id == 0 || i >= span_ || at(i).state == FlowState::kHole) return -1;
    return i;
}

void InflightWindow::take_back() {
    InflightSlot& slot = at(span_ - 1);
    MQTTD_ASSERT(span_ > 0 && slot.state != FlowState::kHole && !slot.message);
    slot.state = FlowState::kHole;
    --live_;
    --span_;
}

void InflightWindow::finish(uint32_t i) {
    InflightSlot& slot = at(i);
    MQTTD_ASSERT(slot.state != FlowState::kHole && !slot.message);
    slot.state = FlowState::kHole;
    --live_;
    while (span_ > 0 && at(0).state == FlowState::kHole) {
        head_ = (head_ + 1) & (room_ - 1);
        first_ = (first_ + 1) % kIds;
        --span_;
    }
}

void InflightWindow::release(Arena& arena) {
    MQTTD_ASSERT(live_ == 0);
    if (ring_) arena.release(ring_.get());
    ring_ = nullptr;
    room_ = head_ = 0;
}

}  // namespace mqttd
