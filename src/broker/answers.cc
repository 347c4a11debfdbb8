// Small packets to the very link whose input asked for them. They are flushed before deliveries and
// may use the arena's reserve; if even that is refused the link cannot go on and ends.

#include "broker/core.h"
#include "broker/held.h"
#include "broker/recorder.h"
#include "mqtt/properties.h"

namespace mqttd {

// False if the link has ended.  One that is being closed in the middle of its own packet, maybe
// with a DISCONNECT, is not answered.   [MQTT5-3.14.4-1]
bool Core::answer_now(Link& link, Bytes packet, PacketType type) {
    if (link.broken) return true;
    if (!link.outbox->copy(arena_, packet, Arena::Use::kReserve)) {
        ++stats_.refused_memory;
        end_link(link, Error::kNoMemory, true);
        return false;
    }
    ++stats_.packets_sent_all;
    ++stats_.packets_sent[static_cast<uint32_t>(type)];
    delivered(link, true);
    return true;
}

// One that waits for nothing but its link's CONNACK.
bool Core::answer_bytes(Link& link, Bytes packet, PacketType type) {
    if (link.corked && hold_packet(link, 0, type, packet))
        return link.state == LinkState::kConnected;
    return answer_now(link, packet, type);
}

// One that says what was done: it waits until that is safe.
bool Core::answer(Link& link, PacketType type, uint16_t packet_id, uint8_t reason) {
    if (recorder_ != nullptr) {
        if (hold(link, owed(link), {type, packet_id, reason}))
            return link.state == LinkState::kConnected;
    }
    uint8_t packet[kAckSizeMax];
    const uint32_t size = encode_ack(packet, type, packet_id, link.version, reason);
    return answer_now(link, {packet, size}, type);
}

// A 5.0 client is told why its connection ends.  What cannot be told is left unsaid.
//   [MQTT5-3.14.2-1], [MQTT5-3.14.2-3]
void Core::tell_why(Link& link, Error why) {
    const uint8_t code = disconnect_code(why);
    if (!is_v5(link.version) || link.state != LinkState::kConnected || link.broken) return;
    if (link.corked) return;  // it has not been told that it is in
    if (code == 0xff || code == kReasonSuccess) return;
    uint8_t property[64];
    const Bytes text = as_bytes(error_text(why));
    Bytes properties;
    if (property_size(Property::kReasonString, text) <= sizeof property) {
        properties = {property, encode_property(property, Property::kReasonString, text)};
    }
    const uint32_t most = link.extras ? link.extras->max_packet_size : ~uint32_t{0};
    if (disconnect_size(code, properties) > most) properties = {};
    if (disconnect_size(code, properties) > most) return;
    uint8_t packet[80];
    const uint32_t size = encode_disconnect(packet, code, properties);
    if (!link.outbox->copy(arena_, {packet, size}, Arena::Use::kReserve)) return;
    ++stats_.packets_sent_all;
    ++stats_.packets_sent[static_cast<uint32_t>(PacketType::kDisconnect)];
    dirty_.add_reply(*link.outbox);
}

// Something was appended to the link's outbox: it has to be written at the end of the turn, or now
// if it has grown long.
void Core::delivered(Link& link, bool reply) {
    Outbox& outbox = *link.outbox;
    if (reply) {
        dirty_.add_reply(outbox);
    } else {
        dirty_.add_delivery(outbox);
    }
    if (outbox.wants_flush(options_.outbox_bytes_max) && !outbox.blocked()) flush(outbox);
}

// A write in mid-turn is paid from the turn's budget.
void Core::flush(Outbox& outbox) {
    spend(transport_.flush(outbox) * limits::kWriteUnits);
}

}  // namespace mqttd
