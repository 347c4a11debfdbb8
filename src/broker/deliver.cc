// One message to one receiver: at once, or later through its queue, or dropped by name.

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/append_run.h"
#include "broker/core.h"
#include "broker/held.h"
#include "broker/recorder.h"
#include "broker/window.h"

#include <algorithm>

namespace mqttd {

void Core::deliver(Session& session, Publication& publication, const Delivery& delivery) {
    if (session.dead || publication.refused) return;
    if (publication.late) {
        drop(&session, Drop::kExpired, publication.count);
        return;
    }
    if (delivery.qos == 0) {
        deliver_qos0(session, publication, delivery);
    } else {
        deliver_counted(session, publication, delivery);
    }
    publication.begun = true;
}

void Core::deliver_qos0(Session& session, Publication& publication, const Delivery& delivery) {
    Link* link = session.link.get();
    if (publication.system && session.direct == Direct::kNo) {
        replay_missed(session, publication, delivery);
        return;
    }
    if (link == nullptr || link->broken) {
        if (publication.queue_qos0) {
            deliver_later(session, publication, delivery);
        } else {
            drop(&session, Drop::kOffline, publication.count);
        }
        return;
    }
    if (session.outbox->blocked() || session.direct == Direct::kNo) {
        if (publication.system) {
            replay_missed(session, publication, delivery);
            return;
        }
        if (session.outbox->blocked()) became_slow(session);
        if (publication.queue_qos0) {
            deliver_later(session, publication, delivery);
        } else {
            drop(&session, Drop::kBlocked, publication.count);
        }
        return;
    }
    publication.taken = true;
    const bool apart = session.direct == Direct::kOwnHead || !delivery.ids.empty();
    const Appended appended =
        apart ? Appended::kTooLarge : append_shared(*link, publication, delivery.retain);
    if (appended == Appended::kTooLarge) append_apart(*link, publication, delivery);
    if (appended != Appended::kNoMemory) return;
    if (publication.system) {
        replay_missed(session, publication, delivery);
    } else {
        drop(&session, Drop::kMemory, publication.count);
    }
}

// The bytes that all receivers of the same family share.
Core::Appended Core::append_shared(Link& link, Publication& publication, bool retain) {
    Outbox& outbox = *link.outbox;
    const bool v5 = is_v5(link.version);
    if (publication.wire_fits == (v5 ? Direct::k5 : Direct::k3)) {
        if (!outbox.append(arena_, publication.wire)) return Appended::kNoMemory;
    } else {
        const Appended made = encode_qos0(publication, v5, retain);
        if (made != Appended::kYes) return made;
        const EncodedOnce& encoded = publication.encodings->qos0[v5][retain];
        if (!outbox.append(arena_, encoded.range)) return Appended::kNoMemory;
        if (!encoded.whole && !outbox.append(arena_, publication.payload, Arena::Use::kReserve)) {
            doom(link);
            return Appended::kYes;
        }
    }
    if (!publication.system) count_sent(publication);
    delivered(link, false);
    return Appended::kYes;
}

// One packet after the other, each with a head of its own; or the bytes as they came, if only the
// size had to be looked at.
void Core::append_apart(Link& link, Publication& publication, const Delivery& delivery) {
    const LinkExtras* extras = link.extras.get();
    const bool as_it_is = delivery.ids.empty() && extras != nullptr && !extras->outbound &&
                          !extras->mounted && publication.wire_largest <= extras->max_packet_size &&
                          publication.wire_fits == (is_v5(link.version) ? Direct::k5 : Direct::k3);
    if (as_it_is && append_shared(link, publication, delivery.retain) == Appended::kYes) return;
    Session& session = *link.session;
    for_each_packet(publication, [&](const MessageParts& parts) {
        const Appended appended = append_publish(link, parts, delivery, false, 0);
        if (appended == Appended::kTooLarge) drop(&session, Drop::kReceiverSize, 1);
        if (appended == Appended::kNoMemory && !publication.system) {
            drop(&session, Drop::kMemory, 1);
        }
        spend(1);
        return !link.broken;
    });
}

// QoS 0 that waits: never a run, see handle_run.
void Core::deliver_later(Session& session, Publication& publication, const Delivery& delivery) {
    MQTTD_ASSERT(publication.count == 1);
    const bool shed = arena_.pressure() >= Arena::Pressure::kQos0;
    if (shed || !ensure_message(publication)) {
        drop(&session, Drop::kMemory, 1);
        return;
    }
    note_queued(session, publication, enqueue(session, *publication.message, delivery));
}

void Core::deliver_counted(Session& session, Publication& publication, const Delivery& delivery) {
    MQTTD_ASSERT(publication.message != nullptr);
    spend(limits::kCountedUnits - 1);  // the loop over receivers spends one for each
    Message& message = *publication.message;
    const Link* link = session.link.get();
    const bool writable = link != nullptr && !link->broken && !session.outbox->blocked();
    if (writable && window_open(session, message.payload_size)) {
        if (send_inflight(session, message, delivery)) {
            publication.taken = true;
            return;
        }
        starve(session);  // it waits in the queue
    }
    if (link != nullptr && session.outbox->blocked()) became_slow(session);
    const Queued queued = enqueue(session, message, delivery);
    if (queued == Queued::kNoMemory && !publication.begun && publication.qos > 0) {
        publication.refused = true;  // nobody has it yet: its publisher waits
        return;
    }
    note_queued(session, publication, queued);
}

// Only this receiver goes without.
void Core::note_queued(Session& session, Publication& publication, Queued queued) {
    publication.taken = publication.taken || queued == Queued::kYes;
    publication.full = publication.full || queued == Queued::kFull;
    if (queued == Queued::kNoMemory) drop(&session, Drop::kMemory, 1);
}

// False if the arena refused.
bool Core::send_qos0(Session& session, Message& message, const Delivery& delivery) {
    const Appended appended = append_publish(*session.link, parts_of(message), delivery, false, 0);
    if (appended == Appended::kTooLarge) drop(&session, Drop::kReceiverSize, 1);
    return appended != Appended::kNoMemory;
}

// Sends at QoS 1 or 2 and keeps the message until it is acknowledged.  False if the arena refused.
bool Core::send_inflight(Session& session,
                         Message& message,
                         const Delivery& delivery,
                         Arena::Use use) {
    Outflow* outflow = ensure_outflow(session);
    SubscriptionIds* ids = nullptr;
    if (!delivery.ids.empty()) {
        ids = SubscriptionIds::make(arena_, delivery.ids);
        if (ids == nullptr) return false;
    }
    InflightSlot* slot = outflow != nullptr ? outflow->window.push(arena_, use) : nullptr;
    if (slot == nullptr) {
        if (ids != nullptr) arena_.release(ids);
        return false;
    }
    const uint32_t place = outflow->window.span() - 1;
    slot->state = delivery.qos == 1 ? FlowState::kAwaitPuback : FlowState::kAwaitPubrec;
    const uint64_t position = session.outbox->appended();
    const bool recorded = session.durable && message.named;
    const bool waits = recorded && delivery.qos == 2 && recorder_->holds_answers();
    Appended appended = Appended::kYes;
    if (!waits) {
        appended = append_publish(
            *session.link, parts_of(message), delivery, false, outflow->window.id_at(place), use);
    }
    if (appended != Appended::kYes) {
        outflow->window.take_back();  // a place in the span would wait for all before it
        if (ids != nullptr) arena_.release(ids);
        if (appended != Appended::kTooLarge) return false;
        drop(&session, Drop::kReceiverSize, 1);
        if (delivery.queued != 0) recorder_->dropped(session.number, delivery.queued);
        return true;
    }
    slot->ids = ids;
    slot->position = position;
    slot->sent_ms = now_ms();
    slot->sent = !waits;
    slot->counted = true;
    slot->retain = delivery.retain;
    slot->shared = delivery.shared;
    ++stats_.inflight_out;
    ++outflow->unacknowledged;
    messages_.hold(message);
    slot->message = &message;
    outflow->bytes += message.payload_size;
    if (recorded) record_sent(session, message, delivery, outflow->window.id_at(place));
    if (waits) hold_publish(*session.link, outflow->window.id_at(place));
    if (options_.unack_retry_interval_s != 0 && !is_v5(session.link->version)) {
        arm_session_by(session, now_ + options_.unack_retry_interval_s * kSecond);
    }
    return true;
}

// A message went into the window: out of the queue, or at once.
void Core::record_sent(Session& session,
                       Message& message,
                       const Delivery& delivery,
                       uint16_t packet_id) {
    if (delivery.queued != 0) {
        recorder_->sent(session.number, delivery.queued, packet_id);
        return;
    }
    const Recorder::Flow flow{packet_id, true, delivery.qos, delivery.retain, delivery.limited};
    recorder_->delivery(session.number, message, flow, delivery.ids);
}

// At QoS 2 it leaves when it is known for good what its identifier stands for.  This may be in the
// middle of somebody else's packet: a link for which there is no memory is doomed, and not ended.
void Core::hold_publish(Link& link, uint16_t packet_id) {
    const bool whole = recorder_->in_whole();
    const uint64_t position = whole ? Recorder::kAfterWhole : recorder_->flush();
    const Holding holding = try_to_hold(link, position, {PacketType::kPublish, packet_id});
    if (holding == Holding::kRefused) return doom(link);
    if (holding == Holding::kNotNeeded) return (void)send_held(link, packet_id);
    if (!whole) return;
    if (touched_count_ < kTouchedMost) touched_[touched_count_] = link.extras->held.get();
    ++touched_count_;
}

// Every drop has a name, a counter and, the first time in a row, a log line.
void Core::drop(Session* session, Drop reason, uint64_t count) {
    if (MQTTD_MUTANT(34) && reason == Drop::kBlocked) return;  // dropped and not counted
    stats_.drops[static_cast<uint32_t>(reason)] += count;
    const bool receiver_lost = reason == Drop::kBlocked || reason == Drop::kQueueFull ||
                               reason == Drop::kMemory || reason == Drop::kExpired ||
                               reason == Drop::kReceiverSize;
    if (!receiver_lost) return;
    stats_.dropped += count;
    if (session == nullptr) return;
    session->dropped += static_cast<uint32_t>(count);
    if (session->warned || reason == Drop::kExpired) return;
    session->warned = true;
    log_.write(LogKind::kNotice,
               "Outgoing messages are being dropped for client %s.",
               Clean(session->id->text()).c_str());
}

void Core::became_slow(Session& session) {
    Link& link = *session.link;
    if (link.slow_hook.in_list) return;
    link.slow_since_ms = now_ms();
    slow_.push_back(link);
}

// Half a packet is in the outbox and the rest was refused: the stream cannot be continued.
void Core::doom(Link& link) {
    ++stats_.refused_memory;
    break_off(link, Error::kNoMemory);
}

// Ends a link in the middle of somebody else's packet: its session notices when the connection has
// gone; nothing more is sent to it.
void Core::break_off(Link& link, Error why) {
    link.broken = true;
    if (link.session) link.session->direct = Direct::kNo;
    transport_.close(*link.outbox, why);
}

void Core::count_sent(const Publication& publication) {
    stats_.publish_sent += publication.count;
    stats_.publish_sent_qos[0] += publication.count;
    stats_.publish_bytes_sent += publication.payload_bytes;
    stats_.packets_sent_all += publication.count;
    stats_.packets_sent[static_cast<uint32_t>(PacketType::kPublish)] += publication.count;
}

void Core::count_sent(uint8_t qos, uint64_t payload_bytes) {
    ++stats_.packets_sent_all;
    ++stats_.packets_sent[static_cast<uint32_t>(PacketType::kPublish)];
    ++stats_.publish_sent;
    ++stats_.publish_sent_qos[qos];
    stats_.publish_bytes_sent += payload_bytes;
}

}  // namespace mqttd
