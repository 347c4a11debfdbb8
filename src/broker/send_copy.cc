// QoS 1 and 2 to many: one packet, copied.
//
// Where a subscription asks for nothing of its own (its slot says *plain*, its session says
// *direct*), the packets of all receivers of a family are the same but for the first byte and the
// packet identifier. It is encoded once, when the first of them needs it; each gets a copy with its
// own three bytes. Whoever waits, or has an alias, an identifier, a limit, goes through deliver().

#include "broker/core.h"
#include "broker/recorder.h"
#include "broker/window.h"
#include "mqtt/properties.h"

namespace mqttd {

// False, with nothing done, if this receiver needs another way.
bool Core::send_copy(Publication& publication, Session& session, uint8_t options) {
    const bool v5 = session.direct == Direct::k5;
    if (!v5 && session.direct != Direct::k3) return false;
    if ((options & suboption::kPlain) == 0 || publication.late || publication.system) return false;
    const uint8_t qos = granted_qos(publication, options);
    Outflow* outflow = session.outflow.get();
    Message& message = *publication.message;
    if (qos == 0 || outflow == nullptr || publication.refused) return false;
    if (session.durable && qos == 2) return false;  // it may have to wait for the journal
    Outbox& outbox = *session.outbox;
    if (outbox.blocked() || !window_open(session, message.payload_size)) return false;
    const EncodedCounted& packet = publication.made().counted[v5];
    if (packet.range.size() == 0 && !encode_counted(publication, v5)) return false;

    InflightSlot* slot = outflow->window.push(arena_);
    if (slot == nullptr) return false;
    slot->state = qos == 1 ? FlowState::kAwaitPuback : FlowState::kAwaitPubrec;
    const uint32_t size = packet.range.size();
    uint8_t* at = outbox.room(arena_, size);
    if (at == nullptr) {
        outflow->window.take_back();
        return false;
    }
    const bool retain = shown_retain(publication, options);
    const uint16_t packet_id = outflow->window.id_at(outflow->window.span() - 1);
    std::memcpy(at, bytes_of(packet.range).data(), size);
    at[0] = static_cast<uint8_t>(at[0] | qos << 1 | (retain ? 1 : 0));
    at[packet.id_at] = static_cast<uint8_t>(packet_id >> 8);
    at[packet.id_at + 1] = static_cast<uint8_t>(packet_id);

    slot->position = outbox.appended();
    slot->sent_ms = now_ms();
    slot->sent = true;
    slot->counted = true;
    slot->retain = retain;
    slot->message = &message;
    messages_.hold(message);
    outbox.commit(size);
    ++outflow->unacknowledged;
    outflow->bytes += message.payload_size;
    ++stats_.inflight_out;
    count_sent(qos, message.payload_size);
    spend(limits::kCountedUnits - 1);  // the loop over receivers spends one for each
    publication.begun = true;
    publication.taken = true;
    if (session.durable && message.named) {
        recorder_->delivery(session.number, message, {packet_id, true, qos, retain, true}, {});
    }
    if (options_.unack_retry_interval_s != 0 && !v5) {
        arm_session_by(session, now_ + options_.unack_retry_interval_s * kSecond);
    }
    dirty_.add_delivery(outbox);
    if (outbox.wants_flush(options_.outbox_bytes_max)) flush(outbox);
    return true;
}

// The packet of a family, with QoS and RETAIN zero, into the turn's scratch segment; kept until the
// publication ends.  False if it is long (its payload is better not copied), or memory is short.
bool Core::encode_counted(Publication& publication, bool v5) {
    const MessageParts parts = parts_of(*publication.message);
    if (parts.payload.size() >= limits::kTailCopyBytes) return false;
    PublishHead head;
    head.version = v5 ? Version::k50 : Version::k311;
    head.qos = 1;
    head.packet_id = 1;
    head.topic_name = parts.topic;
    uint8_t expiry[5];
    Bytes properties;
    if (v5) {
        if (parts.expires_s != kNeverExpires) {
            const uint32_t left = remaining_s(parts.expires_s);
            head.own_properties = {expiry,
                                   encode_property(expiry, Property::kMessageExpiryInterval, left)};
        }
        properties = parts.properties;
        head.tail_properties = static_cast<uint32_t>(properties.size());
    }
    head.tail_size = head.tail_properties + parts.payload.size();
    const uint32_t size = publish_head_size(head) + head.tail_size;
    Segment* segment = scratch(size);
    if (segment == nullptr) return false;
    const uint32_t begin = segment->used;
    uint8_t* at = segment->end();
    at += encode_publish_head(at, head);
    if (!properties.empty()) std::memcpy(at, properties.data(), properties.size());
    at += properties.size();
    if (parts.payload.size() > 0) {
        std::memcpy(at, bytes_of(parts.payload).data(), parts.payload.size());
    }
    uint8_t* packet = segment->end();
    packet[0] = static_cast<uint8_t>(packet[0] & 0xf0);
    uint32_t topic_at = 1;  // behind the length
    while ((packet[topic_at++] & 0x80) != 0) {
    }
    segment->used += size;
    segment->hold();
    publication.made().counted[v5] = {
        {segment, begin, segment->used},
        topic_at + 2 + static_cast<uint32_t>(parts.topic.size())
    };
    return true;
}

}  // namespace mqttd
