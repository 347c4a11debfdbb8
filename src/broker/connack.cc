// CONNACK: what a client is told when it comes in.   MQTT 5.0 §3.2.

#include "base/assert.h"
#include "broker/core.h"
#include "mqtt/properties.h"

namespace mqttd {

namespace {

constexpr uint32_t kPropertiesMax = 256;  // all numbers, and an assigned identifier
constexpr uint32_t kLargestPacket = kVarintMax + 5;

}  // namespace

// Everything that is not as the standard assumes it.
Bytes Core::connack_properties(uint8_t* room,
                               const Link& link,
                               const ConnectView& connect,
                               Bytes assigned_id) const {
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
         options_.max_packet_size < kLargestPacket,
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
    if (!assigned_id.empty()) {
        end += encode_property(end, Property::kAssignedClientIdentifier, assigned_id);
    }
    MQTTD_ASSERT(end <= room + kPropertiesMax);
    return {room, end};
}

// Whether the client takes a packet as large as its CONNACK would be.
bool Core::may_welcome(const Link& link, const ConnectView& connect, Bytes assigned_id) const {
    if (!is_v5(link.version) || !link.extras) return true;
    uint8_t room[kPropertiesMax];
    const Bytes properties = connack_properties(room, link, connect, assigned_id);
    return connack_size(link.version, properties) <= link.extras->max_packet_size;
}

bool Core::welcome(Link& link, const ConnectView& connect, Bytes assigned_id, bool present) {
    uint8_t room[kPropertiesMax];
    Bytes properties;
    if (is_v5(link.version)) properties = connack_properties(room, link, connect, assigned_id);
    const bool told = present && link.version != Version::k31;  // 3.1: a reserved byte
    return send_connack(link, told, kReasonSuccess, properties);
}

// False if the arena refused: the link has ended then.
bool Core::send_connack(Link& link, bool present, uint8_t code, Bytes properties) {
    uint8_t packet[kPropertiesMax + 16];
    MQTTD_ASSERT(connack_size(link.version, properties) <= sizeof packet);
    const uint32_t size = encode_connack(packet, link.version, present, code, properties);
    return answer_bytes(link, {packet, size}, PacketType::kConnack);
}

}  // namespace mqttd
