#include "broker/held.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/core.h"
#include "broker/recorder.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace mqttd {

bool Held::push(Arena& arena, uint64_t position, const Answer& answer) {
    if (count == room_) {
        const uint32_t room = room_ == 0 ? 4 : room_ * 2;
        void* memory = arena.allocate(room * sizeof(HeldAnswer), Arena::Use::kReserve);
        if (memory == nullptr) return false;
        auto* ring = static_cast<HeldAnswer*>(memory);
        for (uint32_t i = 0; i < count; ++i)
            new (&ring[i]) HeldAnswer(at(i));
        if (ring_) arena.release(ring_.get());
        ring_ = ring;
        room_ = room;
        head_ = 0;
    }
    auto* place = new (&at(count)) HeldAnswer;
    place->position = position;
    place->packet = answer.packet;
    place->packet_id = answer.packet_id;
    place->type = answer.type;
    place->reason = answer.reason;
    ++count;
    return true;
}

Answer Held::pop() {
    MQTTD_ASSERT(count > 0);
    HeldAnswer& first = ring_[head_];
    const Answer answer{first.type, first.packet_id, first.reason, first.packet.get()};
    head_ = (head_ + 1) & (room_ - 1);
    --count;
    return answer;
}

void Held::release(Arena& arena) {
    while (count > 0) {
        if (uint8_t* packet = pop().packet) arena.release(packet);
    }
    if (ring_) arena.release(ring_.get());
    ring_ = nullptr;
    head_ = room_ = 0;
}

// --- Core: which answers wait, and when they leave
// -------------------------------------------------

// Up to where the journal has to be durable before what the packet under way asked for may be
// answered; 0: nothing keeps it.
uint64_t Core::owed(const Link& link) {
    if (recorder_ == nullptr || !recorder_->holds_answers()) return 0;
    if (MQTTD_MUTANT(60)) return 0;  // an answer leaves before it is durable
    if (link.fanout) return Recorder::kAfterFanout;
    if (recorder_->said() == said_before_) return 0;
    return recorder_->flush();
}

// Whether an answer that waits for `position` cannot leave at once: then it is held, behind those
// that are.  True also if the arena refused; then the link has ended.
bool Core::hold(Link& link, uint64_t position, const Answer& answer) {
    const Holding holding = try_to_hold(link, position, answer);
    if (holding == Holding::kRefused) {
        if (answer.packet != nullptr) arena_.release(answer.packet);
        ++stats_.refused_memory;
        end_link(link, Error::kNoMemory, true);
    }
    return holding != Holding::kNotNeeded;
}

Core::Holding Core::try_to_hold(Link& link, uint64_t position, const Answer& answer) {
    Held* held = link.extras ? link.extras->held.get() : nullptr;
    const bool behind = held != nullptr && held->count > 0;
    if (held != nullptr) position = std::max(position, held->least);
    if (!behind && (position == 0 || recorder_->durable(position))) return Holding::kNotNeeded;
    held = ensure_held(link);
    if (held == nullptr || !held->push(arena_, position, answer)) return Holding::kRefused;
    if (!held->hook.in_list) held_.push_back(*held);
    ++stats_.answers_held;
    return Holding::kHeld;
}

// nullptr if the arena refused.
Held* Core::ensure_held(Link& link) {
    LinkExtras* extras = ensure_extras(link);
    if (extras == nullptr || extras->held) return extras != nullptr ? extras->held.get() : nullptr;
    Held* held = arena_.make<Held>(Arena::Use::kReserve);
    extras->held = held;
    if (held != nullptr) held->link = &link;
    return held;
}

// Whether what it was let in with is not durable yet.
bool Core::let_in_early(const Link& link) const {
    const Held* held = link.extras ? link.extras->held.get() : nullptr;
    return held != nullptr && held->least != 0 && !recorder_->durable(held->least);
}

// A packet that is longer than an acknowledgement, or any while the link is corked.  True: it is
// held, or the link has ended.
bool Core::hold_packet(Link& link, uint64_t position, PacketType type, Bytes packet) {
    const Held* held = link.extras ? link.extras->held.get() : nullptr;
    const bool behind = held != nullptr && held->count > 0;
    if (held != nullptr) position = std::max(position, held->least);
    if (!behind && (position == 0 || recorder_->durable(position))) return false;
    const auto size = static_cast<uint32_t>(packet.size());
    auto* copy = static_cast<uint8_t*>(arena_.allocate(sizeof size + size, Arena::Use::kReserve));
    if (copy == nullptr) {
        ++stats_.refused_memory;
        end_link(link, Error::kNoMemory, true);
        return true;
    }
    std::memcpy(copy, &size, sizeof size);
    std::memcpy(copy + sizeof size, packet.data(), size);
    return hold(link, position, {type, 0, 0, copy});
}

// What became durable lets its answers go.  In slices: `held_` is walked once over, and those that
// are still to be looked at stand in front.
void Core::release_held() {
    if (recorder_ == nullptr || held_.empty()) return;
    const uint64_t durable = recorder_->journal().durable();
    const bool again = held_stuck_ && now_ >= next_memory_try_;
    if (durable != released_ || again) {
        released_ = durable;
        release_left_ = held_.size();
        held_stuck_ = false;
    }
    release_left_ = std::min(release_left_, held_.size());
    for (; release_left_ > 0 && units_ > 0 && !held_.empty(); --release_left_) {
        Held& held = *held_.pop_front();
        Link& link = *held.link;
        link.overdue = false;
        release_answers(link, held);
        // The link may have ended; then its extras have gone with it.
        if (link.extras && link.extras->held.get() == &held && held.count > 0 &&
            !held.hook.in_list) {
            held_.push_back(held);
        }
    }
}

void Core::release_answers(Link& link, Held& held) {
    while (held.count > 0 && recorder_->durable(held.front().position)) {
        if (held.front().type == PacketType::kPublish) {
            const HeldSent sent = send_held(link, held.front().packet_id);
            if (sent == HeldSent::kNotNow) {
                held_stuck_ = true;
                return;
            }
            if (sent == HeldSent::kRelease) {
                held.replace_front(PacketType::kPubrel);
            } else {
                held.pop();
            }
            continue;
        }
        const Answer answer = held.pop();
        spend(1);
        if (answer.packet == nullptr) {
            uint8_t packet[kAckSizeMax];
            const uint32_t size =
                encode_ack(packet, answer.type, answer.packet_id, link.version, answer.reason);
            if (!answer_now(link, {packet, size}, answer.type)) return;
            continue;
        }
        uint32_t size = 0;
        std::memcpy(&size, answer.packet, sizeof size);
        if (answer.type == PacketType::kConnack) {
            uncork(link);
            link.session->safe = true;
        }
        const bool sent = answer_now(link, {answer.packet + sizeof size, size}, answer.type);
        arena_.release(answer.packet);
        if (!sent) return;
        if (answer.type == PacketType::kConnack) pump(*link.session);
    }
}

// Until its CONNACK leaves nothing may be put into the outbox.
void Core::cork(Link& link) {
    link.corked = true;
    link.outbox->set_blocked(true);
}

void Core::uncork(Link& link) {
    link.corked = false;
    link.outbox->set_blocked(false);
    if (link.slow_hook.in_list) slow_.remove(link);
}

// Sends the QoS 2 message that waited for this, if it is still to be sent.
Core::HeldSent Core::send_held(Link& link, uint16_t packet_id) {
    if (!link.session || link.broken) return HeldSent::kDone;
    Session& session = *link.session;
    const int64_t found = session.outflow ? session.outflow->window.find(packet_id) : -1;
    if (found < 0) return HeldSent::kDone;
    InflightSlot& slot = session.outflow->window.at(static_cast<uint32_t>(found));
    if (slot.state != FlowState::kAwaitPubrec || slot.sent) return HeldSent::kDone;
    if (link.outbox->blocked()) return HeldSent::kNotNow;
    if (!slot.left && slot.message->expired(now_s())) {  // [MQTT5-3.3.2-5]
        drop(&session, Drop::kExpired, 1);
        finish_slot(session, static_cast<uint32_t>(found));
        pump_later(session);
        return HeldSent::kDone;
    }
    const uint64_t position = link.outbox->appended();
    Delivery delivery;
    delivery.qos = 2;
    delivery.retain = slot.retain;
    delivery.ids = encoded_ids(slot.ids.get());
    const Appended appended = append_publish(
        link, parts_of(*slot.message), delivery, slot.left, packet_id, Arena::Use::kReserve);
    spend(limits::kCountedUnits);
    if (appended == Appended::kNoMemory) return HeldSent::kNotNow;
    if (appended == Appended::kTooLarge) {  // as if it had been sent  [MQTT5-3.1.2-25]
        drop(&session, Drop::kReceiverSize, 1);
        if (!slot.left) {
            finish_slot(session, static_cast<uint32_t>(found));
            pump_later(session);
            return HeldSent::kDone;
        }
        // The client may have the identifier: it has to let go of it, too.
        let_message_go(session, slot);
        slot.state = FlowState::kAwaitPubcomp;
    }
    slot.position = position;
    slot.sent_ms = now_ms();
    slot.sent = true;
    return appended == Appended::kTooLarge ? HeldSent::kRelease : HeldSent::kDone;
}

// Answers that waited for something that has happened now wait for the journal alone.
void Core::settle_held(Link& link, uint64_t what, uint64_t position) {
    Held* held = link.extras ? link.extras->held.get() : nullptr;
    for (uint32_t i = 0; held != nullptr && i < held->count; ++i) {
        if (held->at(i).position == what) held->at(i).position = position;
    }
    released_ = ~uint64_t{0};  // look again
}

// The whole under way has been said.
void Core::settle_whole() {
    if (touched_count_ == 0) return;
    const uint64_t position = recorder_->flush();
    for (uint32_t i = 0; i < touched_count_ && touched_count_ <= kTouchedMost; ++i) {
        if (touched_[i] != nullptr) {
            settle_held(*touched_[i]->link, Recorder::kAfterWhole, position);
        }
    }
    if (touched_count_ > kTouchedMost) {
        for (Held* held = held_.front(); held != nullptr; held = held_.next(*held))
            settle_held(*held->link, Recorder::kAfterWhole, position);
    }
    touched_count_ = 0;
}

void Core::drop_held(Link& link) {
    LinkExtras* extras = link.extras.get();
    Held* held = extras != nullptr ? extras->held.get() : nullptr;
    if (held == nullptr) return;
    if (held->hook.in_list) held_.remove(*held);
    for (uint32_t i = 0; i < std::min(touched_count_, kTouchedMost); ++i) {
        if (touched_[i] == held) touched_[i] = nullptr;
    }
    held->release(arena_);
    arena_.destroy(held);
    extras->held = nullptr;
}

}  // namespace mqttd
