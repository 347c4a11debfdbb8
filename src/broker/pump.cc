// From a session's queue to its link: whatever waited goes out as soon as window and outbox allow.

#include "base/mutant.h"
#include "broker/core.h"
#include "broker/paging.h"
#include "broker/recorder.h"
#include "broker/window.h"

namespace mqttd {

// Called when something may have become possible: a link was attached or is writable again, the
// window has room.  Does a slice; if more could go it comes again as a job.
void Core::pump(Session& session) {
    Link* link = session.link.get();
    if (session.starved) {
        starved_.remove(session);
        session.starved = false;
    }
    if (link == nullptr || link->state != LinkState::kConnected || link->broken) return;
    Outbox& outbox = *session.outbox;
    const auto may_append = [&] {
        return !outbox.blocked() && !link->broken && outbox.pending() < limits::kPumpBytes;
    };
    if (session.durable && !recorder_->has_room(limits::kPumpSlice * 64)) {
        starve(session);
        return;
    }
    if (Outflow* outflow = session.outflow.get()) {
        if (session.durable) paging_->want(session);
        uint32_t slice = limits::kPumpSlice;
        OutQueue& queue = outflow->queue;
        const auto next_may_go = [&] {
            if (queue.empty() || queue.front_away()) return false;
            const QueueEntry& front = queue.front();
            return front.qos == 0 || window_has_room(session, front.message->payload_size);
        };
        resend_some(session, slice);
        const bool resent = outflow->resend == outflow->resend_end;
        while (resent && slice > 0 && may_append() && next_may_go()) {
            --slice;
            spend(limits::kCountedUnits);
            const QueueEntry& front = queue.front();
            Message& message = *front.message;
            const bool expired = message.expired(now_s());  // [MQTT5-3.3.2-5]
            if (expired && !MQTTD_MUTANT(11)) {             // expiry ignored while queued
                drop_queued(session, queue.pop(arena_), Drop::kExpired);
                continue;
            }
            Delivery delivery;
            delivery.qos = front.qos;
            delivery.retain = front.retain;
            delivery.ids = encoded_ids(front.ids.get());
            delivery.shared = front.shared;
            delivery.queued = front.delivery;
            // The first one may use the reserve: what leaves a queue makes room.
            const auto use = outbox.pending() == 0 ? Arena::Use::kReserve : Arena::Use::kNormal;
            const bool sent = front.qos == 0 ? send_qos0(session, message, delivery)
                                             : send_inflight(session, message, delivery, use);
            if (!sent && front.qos > 0) {
                starve(session);
                break;
            }
            if (!sent) drop(&session, Drop::kMemory, 1);
            forget(session, queue.pop(arena_));
        }
        // It was not the next one when it was looked for, and there may have been no place to read.
        if (session.durable && queue.front_away()) paging_->want(session);
        update_direct(session);
        const bool waits = !resent && outflow->unacknowledged >= window_of(session);
        if ((resent ? next_may_go() : !waits) && !outbox.blocked() && !link->broken)
            pump_later(session);
    }
    if (!session.replays || !replay_may_go_on(session)) return;
    for (Replay* replay = session.replays.get(); replay != nullptr && replay->running;
         replay = replay->next.get()) {
        if (!replay->hook.in_list) replays_.push_back(*replay);
    }
}

void Core::pump_later(Session& session) {
    if (!session.job_hook.in_list) pumping_.push_back(session);
}

// What is next in the queue could not be sent for lack of memory: it is tried again in a while.
void Core::starve(Session& session) {
    ++stats_.refused_memory;
    if (session.starved) return;
    if (session.job_hook.in_list) pumping_.remove(session);
    starved_.push_back(session);
    session.starved = true;
}

// After a reconnect: repeats what was in flight, in its order, with DUP where the bytes had left.
//   [MQTT-4.4.0-1], [MQTT-4.6.0-1]
bool Core::resend_some(Session& session, uint32_t& slice) {
    Outflow& outflow = *session.outflow;
    Link& link = *session.link;
    while (outflow.resend < outflow.resend_end) {
        if (slice == 0 || link.outbox->blocked() || link.broken ||
            link.outbox->pending() >= limits::kPumpBytes) {
            return false;
        }
        --slice;  // a hole, too, was looked at
        spend(1);
        const uint32_t i = outflow.resend;
        const FlowState state = outflow.window.at(i).state;
        const bool again = state == FlowState::kAwaitPuback || state == FlowState::kAwaitPubrec;
        if (again && outflow.unacknowledged >= window_of(session)) return false;
        InflightSlot& slot = outflow.window.at(i);
        const uint16_t packet_id = outflow.window.id_at(i);
        if (slot.state == FlowState::kAwaitPubcomp) {
            slot.position = link.outbox->appended();
            if (!answer(link, PacketType::kPubrel, packet_id)) return false;
        } else if (slot.state != FlowState::kHole) {
            // Only what had begun to leave is too late to expire.   [MQTT5-3.3.2-5]
            const bool begun = slot.left || MQTTD_MUTANT(58);  // nothing in flight expires
            if (!begun && slot.message->expired(now_s())) {
                drop(&session, Drop::kExpired, 1);
                ++outflow.resend;
                finish_slot(session, i);
                continue;
            }
            if (slot.state == FlowState::kAwaitPubrec && session.durable && let_in_early(link)) {
                hold_publish(link, packet_id);
                slot.counted = true;
                ++outflow.unacknowledged;
                ++outflow.resend;
                continue;
            }
            const uint64_t position = link.outbox->appended();
            Delivery delivery;
            delivery.qos = slot.state == FlowState::kAwaitPuback ? 1 : 2;
            delivery.retain = slot.retain;
            delivery.ids = encoded_ids(slot.ids.get());
            const auto use =
                link.outbox->pending() == 0 ? Arena::Use::kReserve : Arena::Use::kNormal;
            const bool dup = slot.left && !MQTTD_MUTANT(3);  // DUP forgotten
            const Appended appended =
                append_publish(link, parts_of(*slot.message), delivery, dup, packet_id, use);
            if (appended == Appended::kNoMemory) {
                starve(session);
                return false;
            }
            if (appended == Appended::kTooLarge) {  // as if it had been sent  [MQTT5-3.1.2-25]
                drop(&session, Drop::kReceiverSize, 1);
                const bool released = !MQTTD_MUTANT(54);  // an identifier is given away twice
                if (delivery.qos == 2 && slot.left && released) {
                    // The client may have the identifier: it has to let go of it, too.
                    let_message_go(session, slot);
                    slot.state = FlowState::kAwaitPubcomp;
                    continue;
                }
                ++outflow.resend;
                finish_slot(session, i);
                continue;
            }
            slot.counted = true;
            ++outflow.unacknowledged;
            slot.position = position;
            spend(limits::kCountedUnits - 1);
        }
        if (slot.state != FlowState::kHole) arm_flow(session, slot);
        slot.sent = true;
        slot.sent_ms = now_ms();
        ++outflow.resend;
    }
    outflow.resend = outflow.resend_end = 0;
    return true;
}

}  // namespace mqttd
