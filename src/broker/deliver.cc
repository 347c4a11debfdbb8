// One message to one receiver: at once, or later through its queue, or dropped by name.

#include "base/assert.h"
#include "broker/append_run.h"
#include "broker/core.h"

#include <algorithm>

namespace mqttd {

void Core::deliver(Session& session, Publication& publication, const Delivery& delivery) {
    if (session.dead || publication.refused) return;
    if (delivery.qos == 0) {
        deliver_qos0(session, publication, delivery);
    } else {
        deliver_counted(session, publication, delivery);
    }
    publication.begun = true;
}

void Core::deliver_qos0(Session& session, Publication& publication, const Delivery& delivery) {
    Link* link = session.link.get();
    if (publication.system && session.direct == Direct::kNo) return;  // there is a newer value soon
    if (link == nullptr || link->broken) {
        if (options_.queue_qos0_messages) {
            deliver_later(session, publication, delivery);
        } else {
            drop(&session, Drop::kOffline, publication.count);
        }
        return;
    }
    if (session.outbox->blocked() || session.direct == Direct::kNo) {
        if (publication.system) return;
        if (session.outbox->blocked()) became_slow(session);
        if (options_.queue_qos0_messages) {
            deliver_later(session, publication, delivery);
        } else {
            drop(&session, Drop::kBlocked, publication.count);
        }
        return;
    }
    publication.taken = true;
    if (session.direct == Direct::kOwnHead || !delivery.ids.empty()) {
        append_apart(*link, publication, delivery);
    } else if (!append_shared(*link, publication, delivery.retain) && !publication.system) {
        drop(&session, Drop::kMemory, publication.count);
    }
}

// The bytes that all receivers of the same family share.  False if the arena refused.
bool Core::append_shared(Link& link, Publication& publication, bool retain) {
    Outbox& outbox = *link.outbox;
    const bool v5 = is_v5(link.version);
    if (publication.wire_fits == (v5 ? Direct::k5 : Direct::k3)) {
        if (!outbox.append(arena_, publication.wire)) return false;
    } else {
        if (!encode_qos0(publication, v5, retain)) return false;
        const Publication::Encoded& encoded = publication.encoded[v5][retain];
        if (!outbox.append(arena_, encoded.range)) return false;
        if (!encoded.whole && !outbox.append(arena_, publication.payload, Arena::Use::kReserve)) {
            doom(link);
            return true;
        }
    }
    if (!publication.system) count_sent(publication);
    delivered(link, false);
    return true;
}

// One packet after the other, each with a head of its own; or the bytes as they came, if only the
// size had to be looked at.
void Core::append_apart(Link& link, Publication& publication, const Delivery& delivery) {
    const LinkExtras* extras = link.extras.get();
    const bool as_it_is = delivery.ids.empty() && extras != nullptr && !extras->outbound &&
                          !extras->mounted && publication.wire_largest <= extras->max_packet_size &&
                          publication.wire_fits == (is_v5(link.version) ? Direct::k5 : Direct::k3);
    if (as_it_is && append_shared(link, publication, delivery.retain)) return;
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

// QoS 0 that waits.  Runs are not formed while queue_qos0_messages is on.
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
    if (queued == Queued::kNoMemory && !publication.begun) {
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

// How many PUBLISH packets the client lets us have under way.
uint32_t Core::window_of(const Session& session) const {
    const LinkExtras* extras = session.link ? session.link->extras.get() : nullptr;
    const uint32_t theirs = extras != nullptr ? extras->receive_maximum : InflightWindow::kIds;
    return std::min(options_.max_inflight_messages, theirs);
}

// Whether a QoS 1 or 2 message may go out right now, ahead of nothing.
bool Core::window_open(Session& session, uint32_t bytes) {
    const Outflow* outflow = session.outflow.get();
    if (outflow == nullptr) return true;
    return outflow->queue.size() == outflow->queue.qos0() &&
           outflow->resend == outflow->resend_end && window_has_room(session, bytes);
}

// One message may always be under way, however large.
bool Core::window_has_room(const Session& session, uint32_t bytes) const {
    const Outflow& outflow = *session.outflow;
    if (outflow.window.span_full() || outflow.window.live() >= options_.max_inflight_messages ||
        outflow.unacknowledged >= window_of(session)) {
        return false;
    }
    return options_.max_inflight_bytes == 0 || outflow.bytes == 0 ||
           outflow.bytes + bytes <= options_.max_inflight_bytes;
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
    const Appended appended = append_publish(
        *session.link, parts_of(message), delivery, false, outflow->window.id_at(place), use);
    if (appended != Appended::kYes) {
        outflow->window.take_back();  // a place in the span would wait for all before it
        if (ids != nullptr) arena_.release(ids);
        if (appended == Appended::kTooLarge) drop(&session, Drop::kReceiverSize, 1);
        return appended == Appended::kTooLarge;
    }
    slot->ids = ids;
    slot->position = position;
    slot->sent_ms = now_ms();
    slot->sent = true;
    slot->counted = true;
    slot->retain = delivery.retain;
    ++stats_.inflight_out;
    ++outflow->unacknowledged;
    messages_.hold(message);
    slot->message = &message;
    outflow->bytes += message.payload_size;
    if (options_.unack_retry_interval_s != 0 && !is_v5(session.link->version)) {
        arm_session_by(session, now_ + options_.unack_retry_interval_s * kSecond);
    }
    return true;
}

Outflow* Core::ensure_outflow(Session& session) {
    if (!session.outflow) session.outflow = arena_.make<Outflow>(Arena::Use::kNormal);
    return session.outflow.get();
}

// Into the session's queue, within its limits; what a full one drops is `queue_full`.
Core::Queued Core::enqueue(Session& session, Message& message, const Delivery& delivery) {
    Outflow* outflow = ensure_outflow(session);
    if (outflow == nullptr) return Queued::kNoMemory;
    // Nobody knows when it comes; who reads too slowly is shed in time.
    const bool scarce = !session.link && arena_.pressure() >= Arena::Pressure::kGrowth;
    if (delivery.limited && scarce) return Queued::kNoMemory;
    if (delivery.limited && !make_room(session, message.payload_size)) return Queued::kFull;
    SubscriptionIds* ids = nullptr;
    if (!delivery.ids.empty()) {
        ids = SubscriptionIds::make(arena_, delivery.ids);
        if (ids == nullptr) return Queued::kNoMemory;
    }
    if (!outflow->queue.push(arena_,
                             {&message, ids, delivery.qos, delivery.retain, delivery.limited})) {
        if (ids != nullptr) arena_.release(ids);
        return Queued::kNoMemory;
    }
    messages_.hold(message);
    ++stats_.queued;
    stats_.queued_bytes += message.payload_size;
    if (delivery.qos == 0) session.direct = Direct::kNo;
    return Queued::kYes;
}

// Whether another message of so many bytes fits the session's queue, or what is oldest was dropped
// to make it fit.
bool Core::make_room(Session& session, uint32_t bytes) {
    OutQueue& queue = session.outflow->queue;
    const auto full = [&] {
        return (options_.max_queued_messages != 0 &&
                queue.limited() >= options_.max_queued_messages) ||
               (options_.max_queued_bytes != 0 &&
                queue.limited_bytes() + bytes > options_.max_queued_bytes);
    };
    while (full() && !queue.empty() && queue.front().message->expired(now_s()))
        drop_front(session, Drop::kExpired);
    if (!full()) return true;
    if (options_.queue_full == QueueFull::kDropOld) {
        while (full() && !queue.empty())
            drop_front(session, Drop::kQueueFull);
        if (!full()) return true;
    }
    drop(&session, Drop::kQueueFull, 1);
    if (options_.queue_full == QueueFull::kDisconnect && session.link && !session.link->broken) {
        ++stats_.slow_closed;
        tell_why(*session.link, Error::kQuotaExceeded);
        break_off(*session.link, Error::kQuotaExceeded);
    }
    return false;
}

// The oldest message that waits is not sent any more.
void Core::drop_front(Session& session, Drop reason) {
    forget(session.outflow->queue.pop(arena_));
    drop(&session, reason, 1);
}

// Lets go of what came out of a queue.
void Core::forget(const Waiting& waiting) {
    --stats_.queued;
    stats_.queued_bytes -= waiting.message->payload_size;
    messages_.drop(*waiting.message);
    if (waiting.ids != nullptr) arena_.release(waiting.ids);
}

// Every drop has a name, a counter and, the first time in a row, a log line.
void Core::drop(Session* session, Drop reason, uint64_t count) {
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
    if (!link.slow_hook.in_list) slow_.push_back(link);
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
