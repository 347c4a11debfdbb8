// Small packets to the very link whose input asked for them. They are flushed before deliveries and
// may use the arena's reserve; if even that is refused the link cannot go on and ends.

#include "broker/core.h"

namespace mqttd {

bool Core::answer_bytes(Link& link, Bytes packet, PacketType type) {
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

bool Core::answer(Link& link, PacketType type, uint16_t packet_id) {
    uint8_t packet[kAckSize];
    encode_ack(packet, type, packet_id, link.version, 0);
    return answer_bytes(link, packet, type);
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
