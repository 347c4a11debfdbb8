#include "broker/inflight.h"

#include "base/assert.h"

namespace mqttd {

bool InflightWindow::grow(Arena& arena, Arena::Use use) {
    const uint32_t room = room_ == 0 ? 4 : room_ * 2;
    void* memory = arena.allocate(room * sizeof(InflightSlot), use);
    if (memory == nullptr) return false;
    auto* ring = static_cast<InflightSlot*>(memory);
    for (uint32_t i = 0; i < span_; ++i)
        new (&ring[i]) InflightSlot(at(i));
    if (ring_) arena.release(ring_.get());
    ring_ = ring;
    room_ = room;
    head_ = 0;
    return true;
}

InflightSlot* InflightWindow::push_at(Arena& arena, uint16_t packet_id) {
    const uint32_t number = packet_id - 1u;
    const uint32_t place = number >= first_ ? number - first_ : number + kIds - first_;
    if (place < span_ || place >= kSpanMax) return nullptr;
    while (span_ < place) {
        if (push(arena) == nullptr) return nullptr;
        --live_;  // a hole
    }
    return push(arena);
}

void InflightWindow::take_back() {
    InflightSlot& slot = at(span_ - 1);
    MQTTD_ASSERT(span_ > 0 && slot.state != FlowState::kHole && !slot.message);
    slot.state = FlowState::kHole;
    --live_;
    --span_;
}

void InflightWindow::release(Arena& arena) {
    MQTTD_ASSERT(live_ == 0);
    if (ring_) arena.release(ring_.get());
    ring_ = nullptr;
    room_ = head_ = 0;
}

}  // namespace mqttd
