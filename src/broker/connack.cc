// CONNACK: what a client is told when it comes in.   MQTT 5.0 §3.2.

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/core.h"
#include "broker/recorder.h"
#include "mqtt/properties.h"

namespace mqttd {

namespace {

constexpr uint32_t kNumbersMax = 64;  // all properties but an assigned identifier

}  // namespace

// Everything that is not as the standard assumes it; at most kNumbersMax bytes.
Bytes Core::connack_numbers(uint8_t* room, const Link& link, const ConnectView& connect) const {
    const ListenerOptions& listener = listener_of(link);
    const uint32_t asked = property_number(connect.properties, Property::kSessionExpiryInterval, 0);
    uint64_t expiry = asked;
    if (options_.persistent_client_expiration_s != 0) {
        expiry = std::min<uint64_t>(expiry, options_.persistent_client_expiration_s);
    }

    struct Row {
        Property id;
        bool tell;
        uint64_t value;
    };

    const Row rows[] = {
        {Property::kSessionExpiryInterval,           expiry != asked,                           expiry                  },
        {Property::kReceiveMaximum,
         options_.max_awaiting_rel != 0 && options_.max_awaiting_rel < InflightWindow::kIds,
         options_.max_awaiting_rel                                                                                      },
        {Property::kMaximumQos,                      listener.max_qos < 2,                      listener.max_qos        },
        {Property::kRetainAvailable,                 !options_.retain_available,                0                       },
        {Property::kMaximumPacketSize,
         options_.max_packet_size < limits::kLargestPacket,
         options_.max_packet_size                                                                                       },
        {Property::kTopicAliasMaximum,               listener.max_topic_alias != 0,             listener.max_topic_alias},
        {Property::kWildcardSubscriptionAvailable,   !options_.wildcard_available,              0                       },
        {Property::kSubscriptionIdentifierAvailable, !options_.subscription_ids_available,      0                       },
        {Property::kSharedSubscriptionAvailable,     !options_.shared_available,                0                       },
        {Property::kServerKeepAlive,                 link.keep_alive_s != connect.keep_alive_s, link.keep_alive_s       },
    };
    uint8_t* end = room;
    for (const Row& row : rows) {
        if (row.tell) end += encode_property(end, row.id, static_cast<uint32_t>(row.value));
    }
    MQTTD_ASSERT(end <= room + kNumbersMax);
    return {room, end};
}

// Whether the client takes a packet as long as the CONNACK that it is about to get.
//   [MQTT5-3.1.2-24]
bool Core::connack_fits(const Link& link, const ConnectView& connect, Bytes assigned_id) const {
    if (!link.extras) return true;
    uint8_t room[kNumbersMax];
    size_t properties = connack_numbers(room, link, connect).size();
    if (!assigned_id.empty()) {
        properties += property_size(Property::kAssignedClientIdentifier, assigned_id);
    }
    const auto size = static_cast<uint32_t>(properties);
    const uint32_t remaining = 2 + varint_size(size) + size;
    return 1 + varint_size(remaining) + remaining <= link.extras->max_packet_size;
}

// False if the arena refused: the link has ended then.
bool Core::welcome(Link& link, const ConnectView& connect, Bytes assigned_id, bool present) {
    if (!is_v5(link.version)) {
        const bool told = present && link.version != Version::k31;  // 3.1: a reserved byte
        return send_connack(link, told, kReasonSuccess, {});
    }
    uint8_t room[kNumbersMax];
    const Bytes numbers = connack_numbers(room, link, connect);
    if (assigned_id.empty()) return send_connack(link, present, kReasonSuccess, numbers);
    const uint32_t size = static_cast<uint32_t>(numbers.size()) +
                          property_size(Property::kAssignedClientIdentifier, assigned_id);
    Segment* segment = scratch(size);  // a user name may be long
    if (segment == nullptr) {
        ++stats_.refused_memory;
        end_link(link, Error::kNoMemory, true);
        return false;
    }
    uint8_t* at = segment->end();
    std::memcpy(at, numbers.data(), numbers.size());
    encode_property(at + numbers.size(), Property::kAssignedClientIdentifier, assigned_id);
    return send_connack(link, present, kReasonSuccess, {at, size});
}

bool Core::send_connack(Link& link, bool present, uint8_t code, Bytes properties) {
    const uint32_t size = connack_size(link.version, properties);
    // Also of a session that does not stay: an earlier one that did may have ended for it.
    uint64_t position = link.session && code == kReasonSuccess ? owed(link) : 0;
    // It may be for this client that it ended, in an earlier CONNECT that was never answered.
    if (position == 0 && link.session && code == kReasonSuccess && recorder_ != nullptr &&
        recorder_->holds_answers() && !recorder_->durable(discarded_at_) && !disk_fails()) {
        position = discarded_at_;
    }
    // A disk that fails does not keep those out for whom something waits.
    const bool uncorked = MQTTD_MUTANT(68);  // CONNACK does not wait for what it says
    bool let_in = present && link.session->safe && disk_fails();
    if (let_in) {
        Held* held = ensure_held(link);
        let_in = held != nullptr;
        if (let_in) held->least = position;
    }
    if (position != 0 && !recorder_->durable(position) && !let_in && !uncorked) {
        Segment* segment = scratch(size);
        if (segment == nullptr) {
            ++stats_.refused_memory;
            end_link(link, Error::kNoMemory, true);
            return false;
        }
        encode_connack(segment->end(), link.version, present, code, properties);
        cork(link);
        return hold_packet(link, position, PacketType::kConnack, {segment->end(), size}) &&
               link.state == LinkState::kConnected;
    }
    if (position != 0 && recorder_->durable(position)) link.session->safe = true;
    uint8_t* at = link.outbox->room(arena_, size, Arena::Use::kReserve);
    if (at == nullptr) {
        ++stats_.refused_memory;
        end_link(link, Error::kNoMemory, true);
        return false;
    }
    encode_connack(at, link.version, present, code, properties);
    link.outbox->commit(size);
    ++stats_.packets_sent_all;
    ++stats_.packets_sent[static_cast<uint32_t>(PacketType::kConnack)];
    delivered(link, true);
    return true;
}

}  // namespace mqttd
