// PUBACK, PUBREC, PUBREL, PUBCOMP.   MQTT 3.1.1 §3.4–3.7, §4.3.
//
// An acknowledgement for something that is not in flight is ignored, or answered so that the other
// side can finish: after a crash or a timeout the two sides may well remember different things.

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/core.h"
#include "broker/recorder.h"

#include <algorithm>

namespace mqttd {

Core::Taken Core::handle_ack(Link& link, const Input& input) {
    const PacketType type = input.frame.type();
    const Result<AckView> decoded =
        decode_ack(type, input.body(), input.frame.flags(), link.version);
    if (!decoded) {
        fail(link, decoded.error());
        return Taken::kYes;
    }
    switch (type) {
        case PacketType::kPuback:
            handle_puback(link, decoded->packet_id);
            return Taken::kYes;
        case PacketType::kPubrec:
            handle_pubrec(link, decoded->packet_id, decoded->reason);
            return Taken::kYes;
        case PacketType::kPubrel:
            return handle_pubrel(link, decoded->packet_id);
        default:
            handle_pubcomp(link, decoded->packet_id);
            return Taken::kYes;
    }
}

// A row of PUBACKs at the front of `input`, in their shortest form (5.0: for success), as they come
// from a client that takes many messages at a time; returns the bytes taken.  What they make room
// for leaves when the row is done.
uint32_t Core::handle_pubacks(Link& link, Bytes input) {
    constexpr uint32_t kSize = 4;
    const size_t most = std::min<size_t>(input.size() / kSize, visit_units_);
    Session& session = *link.session;
    Outflow* outflow = session.outflow.get();
    size_t taken = 0;
    for (const uint8_t* at = input.data(); taken < most; ++taken, at += kSize) {
        if (at[0] != 0x40 || at[1] != 2) break;
        const auto packet_id = static_cast<uint16_t>(at[2] << 8 | at[3]);
        if (packet_id == 0) break;
        const int64_t found = outflow != nullptr ? outflow->window.find(packet_id) : -1;
        if (found < 0) continue;
        const auto i = static_cast<uint32_t>(found);
        if (outflow->window.at(i).state != FlowState::kAwaitPuback) break;
        finish_slot(session, i);
    }
    if (taken == 0) return 0;
    stats_.packets_received_all += taken;
    stats_.packets_received[static_cast<uint32_t>(PacketType::kPuback)] += taken;
    spend(static_cast<uint32_t>(taken));
    const bool more = outflow != nullptr && (!outflow->queue.empty() || session.replays ||
                                             outflow->resend != outflow->resend_end);
    if (more && !MQTTD_MUTANT(59)) pump(session);  // nothing moves up behind a row of PUBACKs
    return static_cast<uint32_t>(taken) * kSize;
}

void Core::handle_puback(Link& link, uint16_t packet_id) {
    Session& session = *link.session;
    if (!session.outflow) return;
    InflightWindow& window = session.outflow->window;
    const int64_t i = window.find(packet_id);
    if (i < 0) return;
    InflightSlot& slot = window.at(static_cast<uint32_t>(i));
    if (slot.state != FlowState::kAwaitPuback) {
        fail(link, Error::kProtocolError);
        return;
    }
    finish_slot(session, static_cast<uint32_t>(i));
    if (MQTTD_MUTANT(47)) return;  // the queue does not move when the window does
    pump(session);
}

void Core::handle_pubrec(Link& link, uint16_t packet_id, uint8_t reason) {
    Session& session = *link.session;
    const int64_t found = session.outflow ? session.outflow->window.find(packet_id) : -1;
    const auto i = static_cast<uint32_t>(found);
    if (found < 0) {
        if (reason >= kReasonUnspecifiedError) return;
        answer(link, PacketType::kPubrel, packet_id, kReasonPacketIdNotFound);
        return;
    }
    InflightSlot& slot = session.outflow->window.at(i);
    if (slot.state == FlowState::kAwaitPuback) {
        fail(link, Error::kProtocolError);
        return;
    }
    if (reason >= kReasonUnspecifiedError) {  // the receiver does not want it: that was all
        finish_slot(session, i);
        pump(session);
        return;
    }
    let_message_go(session, slot);
    slot.state = FlowState::kAwaitPubcomp;
    if (session.durable) recorder_->progress(session.number, packet_id, DurableState::kReleased);
    slot.sent_ms = now_ms();
    slot.position = link.outbox->appended();
    arm_flow(session, slot);
    answer(link, PacketType::kPubrel, packet_id);
}

void Core::handle_pubcomp(Link& link, uint16_t packet_id) {
    Session& session = *link.session;
    if (!session.outflow) return;
    InflightWindow& window = session.outflow->window;
    const int64_t i = window.find(packet_id);
    if (i < 0) return;
    if (window.at(static_cast<uint32_t>(i)).state != FlowState::kAwaitPubcomp) {
        fail(link, Error::kProtocolError);
        return;
    }
    finish_slot(session, static_cast<uint32_t>(i));
    pump(session);
}

// The message is passed on now, and the identifier is free again.
Core::Taken Core::handle_pubrel(Link& link, uint16_t packet_id) {
    Session& session = *link.session;
    AwaitingEntry* entry = session.awaiting ? session.awaiting->find(packet_id) : nullptr;
    Taken taken = Taken::kYes;
    const bool recorded = entry != nullptr && session.durable;
    if (recorded) recorder_->begin_whole();
    if (entry != nullptr) {
        if (entry->message && entry->message->expired(now_s())) {  // [MQTT5-3.3.2-5]
            drop(nullptr, Drop::kExpired, 1);
            messages_.drop(*entry->message);
        } else if (entry->message) {
            Publication publication = publication_of(*entry->message, &session);
            taken = pass_on(link, publication);
            if (taken == Taken::kAgain) {
                if (recorded) {
                    recorder_->end_whole();
                    settle_whole();
                }
                return taken;
            }
            messages_.drop(*entry->message);
        }
        session.awaiting->erase(*entry);
        --stats_.inflight_in;
    }
    if (recorded) {
        // While a job hands it out, that is said when it is done: rather twice than not at all.
        if (link.fanout) {
            link.fanout->released = packet_id;
        } else {
            recorder_->released(session.number, packet_id);
        }
        recorder_->end_whole();
        settle_whole();
    }
    if (MQTTD_MUTANT(14)) return taken;  // PUBREL without PUBCOMP
    const uint8_t reason = entry != nullptr ? kReasonSuccess : kReasonPacketIdNotFound;
    if (link.state == LinkState::kConnected) {
        answer(link, PacketType::kPubcomp, packet_id, reason);
    }
    return taken;
}

// The receiver has the message, or will not get it: only the flow goes on.
void Core::let_message_go(Session& session, InflightSlot& slot) {
    if (!slot.message) return;
    session.outflow->bytes -= slot.message->payload_size;
    messages_.drop(*slot.message);
    slot.message = nullptr;
}

// The flow of slot i is over.
void Core::finish_slot(Session& session, uint32_t i) {
    Outflow& outflow = *session.outflow;
    InflightSlot& slot = outflow.window.at(i);
    if (session.durable && !session.dead) {
        recorder_->progress(session.number, outflow.window.id_at(i), DurableState::kDone);
    }
    let_message_go(session, slot);
    if (slot.ids) arena_.release(slot.ids.get());
    slot.ids = nullptr;
    if (slot.counted) --outflow.unacknowledged;
    slot.counted = false;
    const uint32_t span = outflow.window.span();
    outflow.window.finish(i);
    const uint32_t gone = span - outflow.window.span();
    outflow.resend -= std::min(outflow.resend, gone);
    outflow.resend_end -= std::min(outflow.resend_end, gone);
    --stats_.inflight_out;
}

}  // namespace mqttd
