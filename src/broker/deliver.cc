// One message to one receiver: at once, or later through its queue, or dropped by name.

#include "base/assert.h"
#include "broker/core.h"

#include <algorithm>

namespace mqttd {

void Core::deliver(Session& session, uint8_t qos, Publication& publication) {
    if (session.dead || publication.refused) return;
    if (qos == 0) {
        deliver_qos0(session, publication);
    } else {
        deliver_counted(session, qos, publication);
    }
    publication.begun = true;
}

void Core::deliver_qos0(Session& session, Publication& publication) {
    Link* link = session.link.get();
    if (publication.system && !session.direct) {
        replay_missed(session, publication);
        return;
    }
    if (link == nullptr || link->broken) {
        if (options_.queue_qos0_messages) {
            deliver_later(session, 0, publication);
        } else {
            drop(&session, Drop::kOffline, publication.count);
        }
        return;
    }
    Outbox& outbox = *session.outbox;
    if (outbox.blocked() || !session.direct) {
        if (publication.system) {
            replay_missed(session, publication);
            return;
        }
        if (outbox.blocked()) became_slow(session);
        if (options_.queue_qos0_messages) {
            deliver_later(session, 0, publication);
        } else {
            drop(&session, Drop::kBlocked, publication.count);
        }
        return;
    }
    bool appended = false;
    if (publication.wire.size() != 0) {
        appended = outbox.append(arena_, publication.wire);
    } else if (encode_qos0(publication)) {
        appended = outbox.append(arena_, publication.head0);
        if (appended && !publication.head0_whole &&
            !outbox.append(arena_, publication.tail, Arena::Use::kReserve)) {
            doom(*link);
            return;
        }
    }
    if (!appended) {
        if (publication.system) {
            replay_missed(session, publication);
            return;
        }
        drop(&session, Drop::kMemory, publication.count);
        return;
    }
    if (!publication.system) count_sent(publication);
    delivered(*link, false);
}

// QoS 0 that waits.  Runs are not formed while queue_qos0_messages is on.
void Core::deliver_later(Session& session, uint8_t qos, Publication& publication) {
    MQTTD_ASSERT(publication.count == 1);
    const bool shed = qos == 0 && arena_.pressure() >= Arena::Pressure::kQos0;
    if (shed || !ensure_message(publication)) {
        drop(&session, Drop::kMemory, 1);
        return;
    }
    if (!enqueue(session, *publication.message, qos, false, true)) {
        drop(&session, Drop::kMemory, 1);
    }
}

void Core::deliver_counted(Session& session, uint8_t qos, Publication& publication) {
    MQTTD_ASSERT(publication.message != nullptr);
    spend(limits::kCountedUnits - 1);  // the loop over receivers spends one for each
    Message& message = *publication.message;
    const Link* link = session.link.get();
    const bool writable = link != nullptr && !link->broken && !session.outbox->blocked();
    if (writable && window_open(session)) {
        if (send_inflight(session, message, qos, false)) return;
        starve(session);  // it waits in the queue
    }
    if (link != nullptr && session.outbox->blocked()) became_slow(session);
    if (enqueue(session, message, qos, false, true)) return;
    // Nobody has it yet: its publisher waits.  Else only this receiver goes without.
    if (publication.begun) {
        drop(&session, Drop::kMemory, 1);
    } else {
        publication.refused = true;
    }
}

// Whether a QoS 1 or 2 message may go out right now, ahead of nothing.
bool Core::window_open(Session& session) {
    const Outflow* outflow = session.outflow.get();
    if (outflow == nullptr) return true;
    return outflow->queue.size() == outflow->queue.qos0() &&
           outflow->resend == outflow->resend_end &&
           outflow->window.live() < options_.max_inflight_messages && !outflow->window.span_full();
}

// The packet as a receiver at QoS 0 gets it when the publisher's own bytes will not do: encoded
// once into the turn's scratch segment.
bool Core::encode_qos0(Publication& publication) {
    if (publication.head0.size() != 0) return true;
    PublishHead head;
    head.topic_name = publication.topic;
    head.tail_size = publication.tail.size() - publication.properties_size;
    const Range payload{publication.tail.segment,
                        publication.tail.begin + publication.properties_size,
                        publication.tail.end};
    const uint32_t head_size = publish_head_size(head);
    publication.head0_whole = payload.size() < limits::kTailCopyBytes;
    const uint32_t size = head_size + (publication.head0_whole ? payload.size() : 0);
    Segment* segment = scratch(size);
    if (segment == nullptr) return false;
    uint8_t* at = segment->end();
    encode_publish_head(at, head);
    if (publication.head0_whole && payload.size() > 0) {
        std::memcpy(at + head_size, bytes_of(payload).data(), payload.size());
    }
    publication.head0 = {segment, segment->used, segment->used + size};
    segment->used += size;
    return true;
}

// Encodes a PUBLISH for one receiver.  False if the arena refused and nothing was appended.
bool Core::append_publish(Link& link,
                          Message& message,
                          uint8_t qos,
                          bool dup,
                          bool retain,
                          uint16_t packet_id,
                          Arena::Use use) {
    PublishHead head;
    head.version = link.version;
    head.qos = qos;
    head.dup = dup;
    head.retain = retain;
    head.packet_id = packet_id;
    head.topic_name = message.topic();
    head.tail_size = message.payload_size();
    Range payload = message.tail();
    payload.begin += message.properties_size;
    const uint32_t head_size = publish_head_size(head);
    const bool copy = payload.size() < limits::kTailCopyBytes;
    const uint32_t size = head_size + (copy ? payload.size() : 0);
    Outbox& outbox = *link.outbox;
    uint8_t* at = outbox.room(arena_, size, use);
    if (at == nullptr) return false;
    encode_publish_head(at, head);
    if (copy && payload.size() > 0) {
        std::memcpy(at + head_size, bytes_of(payload).data(), payload.size());
    }
    outbox.commit(size);
    // A packet that has begun may use the reserve: half of one would end the link.
    if (!copy && !outbox.append(arena_, payload, Arena::Use::kReserve)) doom(link);
    count_sent(message, qos);
    delivered(link, false);
    return true;
}

bool Core::send_qos0(Session& session, Message& message, bool retain) {
    return append_publish(*session.link, message, 0, false, retain, 0);
}

// Sends at QoS 1 or 2 and keeps the message until it is acknowledged.  False if the arena refused.
bool Core::send_inflight(
    Session& session, Message& message, uint8_t qos, bool retain, Arena::Use use) {
    Outflow* outflow = ensure_outflow(session);
    InflightSlot* slot = outflow != nullptr ? outflow->window.push(arena_, use) : nullptr;
    if (slot == nullptr) return false;
    const uint32_t place = outflow->window.span() - 1;
    slot->position = session.outbox->appended();
    slot->sent_ms = now_ms();
    slot->sent = true;
    slot->retain = retain;
    slot->state = qos == 1 ? FlowState::kAwaitPuback : FlowState::kAwaitPubrec;
    ++stats_.inflight_out;
    if (!append_publish(
            *session.link, message, qos, false, retain, outflow->window.id_at(place), use)) {
        finish_slot(session, place);
        return false;
    }
    messages_.hold(message);
    slot->message = &message;
    if (options_.unack_retry_interval_s != 0) {
        arm_session_by(session, now_ + options_.unack_retry_interval_s * kSecond);
    }
    return true;
}

Outflow* Core::ensure_outflow(Session& session) {
    if (!session.outflow) session.outflow = arena_.make<Outflow>(Arena::Use::kNormal);
    return session.outflow.get();
}

// Into the session's queue, within its limits; a full one drops the newest.  False if the arena
// refused: the caller says what becomes of the message.
bool Core::enqueue(Session& session, Message& message, uint8_t qos, bool retain, bool limited) {
    Outflow* outflow = ensure_outflow(session);
    if (outflow == nullptr) return false;
    const uint32_t bytes = message.payload_size();
    const bool full = (options_.max_queued_messages != 0 &&
                       outflow->queue.limited() >= options_.max_queued_messages) ||
                      (options_.max_queued_bytes != 0 &&
                       outflow->queue.limited_bytes() + bytes > options_.max_queued_bytes);
    if (limited && full) {
        drop(&session, Drop::kQueueFull, 1);
        return true;
    }
    if (!outflow->queue.push(arena_, {&message, qos, retain, limited})) return false;
    messages_.hold(message);
    ++stats_.queued;
    stats_.queued_bytes += bytes;
    if (qos == 0) session.direct = false;
    return true;
}

// Every drop has a name, a counter and, the first time in a row, a log line.
void Core::drop(Session* session, Drop reason, uint64_t count) {
    stats_.drops[static_cast<uint32_t>(reason)] += count;
    const bool receiver_lost =
        reason == Drop::kBlocked || reason == Drop::kQueueFull || reason == Drop::kMemory;
    if (!receiver_lost) return;
    stats_.dropped += count;
    if (session == nullptr) return;
    session->dropped += static_cast<uint32_t>(count);
    if (session->warned) return;
    session->warned = true;
    log_.write(LogKind::kNotice,
               "Outgoing messages are being dropped for client %s.",
               Clean(session->id->text()).c_str());
}

void Core::became_slow(Session& session) {
    Link& link = *session.link;
    if (link.slow_hook.in_list) return;
    slow_.push_back(link);
    link.slow_since_ms = now_ms();
}

// Half a packet is in the outbox and the rest was refused: the stream cannot be continued.  The
// session notices when the connection has gone; nothing more is sent to it.
void Core::doom(Link& link) {
    ++stats_.refused_memory;
    link.broken = true;
    if (link.session) link.session->direct = false;
    transport_.close(*link.outbox, Error::kNoMemory);
}

void Core::count_sent(const Publication& publication) {
    stats_.publish_sent += publication.count;
    stats_.publish_sent_qos[0] += publication.count;
    stats_.publish_bytes_sent += publication.payload_bytes;
    stats_.packets_sent_all += publication.count;
    stats_.packets_sent[static_cast<uint32_t>(PacketType::kPublish)] += publication.count;
}

void Core::count_sent(const Message& message, uint8_t qos) {
    if (message.system) return;
    ++stats_.packets_sent_all;
    ++stats_.packets_sent[static_cast<uint32_t>(PacketType::kPublish)];
    ++stats_.publish_sent;
    ++stats_.publish_sent_qos[qos];
    stats_.publish_bytes_sent += message.payload_size();
}

}  // namespace mqttd
