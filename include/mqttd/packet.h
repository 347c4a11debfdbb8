#pragma once

// Decoded MQTT control packets, as views into the bytes they were decoded from.
//
// Nothing here owns memory: every Bytes is valid as long as the decoded body is.  The layouts hold
// both protocol families: `properties` is the raw property block of MQTT 5.0 (without its length),
// empty for 3.1 and 3.1.1.  Names follow the standard.

#include "mqttd/bytes.h"

#include <cstdint>

namespace mqttd {

enum class PacketType : uint8_t {  // wire values, high nibble of byte 1
    kReserved = 0,
    kConnect = 1,
    kConnack = 2,
    kPublish = 3,
    kPuback = 4,
    kPubrec = 5,
    kPubrel = 6,
    kPubcomp = 7,
    kSubscribe = 8,
    kSuback = 9,
    kUnsubscribe = 10,
    kUnsuback = 11,
    kPingreq = 12,
    kPingresp = 13,
    kDisconnect = 14,
    kAuth = 15,
};

enum class Version : uint8_t { kNone = 0, k31 = 3, k311 = 4, k50 = 5 };  // protocol levels

constexpr bool is_v5(Version version) {
    return version == Version::k50;
}

enum class Property : uint8_t {  // wire values, MQTT 5.0 §2.2.2.2; what each may be: mqtt/tables.cc
    kNone = 0x00,
    kPayloadFormatIndicator = 0x01,
    kMessageExpiryInterval = 0x02,
    kContentType = 0x03,
    kResponseTopic = 0x08,
    kCorrelationData = 0x09,
    kSubscriptionIdentifier = 0x0b,
    kSessionExpiryInterval = 0x11,
    kAssignedClientIdentifier = 0x12,
    kServerKeepAlive = 0x13,
    kAuthenticationMethod = 0x15,
    kAuthenticationData = 0x16,
    kRequestProblemInformation = 0x17,
    kWillDelayInterval = 0x18,
    kRequestResponseInformation = 0x19,
    kResponseInformation = 0x1a,
    kServerReference = 0x1c,
    kReasonString = 0x1f,
    kReceiveMaximum = 0x21,
    kTopicAliasMaximum = 0x22,
    kTopicAlias = 0x23,
    kMaximumQos = 0x24,
    kRetainAvailable = 0x25,
    kUserProperty = 0x26,
    kMaximumPacketSize = 0x27,
    kWildcardSubscriptionAvailable = 0x28,
    kSubscriptionIdentifierAvailable = 0x29,
    kSharedSubscriptionAvailable = 0x2a,
};

// Which properties a block holds: one bit per identifier, so that a handler asks with one test
// before it walks the block (mqtt/properties.h).
struct PropertySet {
    uint64_t bits = 0;

    static constexpr uint64_t bit(Property id) { return uint64_t{1} << static_cast<unsigned>(id); }

    constexpr bool has(Property id) const { return (bits & bit(id)) != 0; }
};

enum Reason : uint8_t {  // wire values, MQTT 5.0 §2.4; which packets may carry which:
                         // mqtt/tables.cc
    kReasonSuccess = 0x00,
    kReasonGrantedQos1 = 0x01,
    kReasonGrantedQos2 = 0x02,
    kReasonDisconnectWithWill = 0x04,
    kReasonNoMatchingSubscribers = 0x10,
    kReasonNoSubscriptionExisted = 0x11,
    kReasonContinueAuthentication = 0x18,
    kReasonReauthenticate = 0x19,
    kReasonUnspecifiedError = 0x80,
    kReasonMalformedPacket = 0x81,
    kReasonProtocolError = 0x82,
    kReasonImplementationSpecific = 0x83,
    kReasonUnsupportedVersion = 0x84,
    kReasonClientIdInvalid = 0x85,
    kReasonBadCredentials = 0x86,
    kReasonNotAuthorized = 0x87,
    kReasonServerUnavailable = 0x88,
    kReasonServerBusy = 0x89,
    kReasonBanned = 0x8a,
    kReasonServerShuttingDown = 0x8b,
    kReasonBadAuthenticationMethod = 0x8c,
    kReasonKeepAliveTimeout = 0x8d,
    kReasonSessionTakenOver = 0x8e,
    kReasonTopicFilterInvalid = 0x8f,
    kReasonTopicNameInvalid = 0x90,
    kReasonPacketIdInUse = 0x91,
    kReasonPacketIdNotFound = 0x92,
    kReasonReceiveMaximumExceeded = 0x93,
    kReasonTopicAliasInvalid = 0x94,
    kReasonPacketTooLarge = 0x95,
    kReasonMessageRateTooHigh = 0x96,
    kReasonQuotaExceeded = 0x97,
    kReasonAdministrativeAction = 0x98,
    kReasonPayloadFormatInvalid = 0x99,
    kReasonRetainNotSupported = 0x9a,
    kReasonQosNotSupported = 0x9b,
    kReasonUseAnotherServer = 0x9c,
    kReasonServerMoved = 0x9d,
    kReasonSharedNotSupported = 0x9e,
    kReasonConnectionRateExceeded = 0x9f,
    kReasonMaximumConnectTime = 0xa0,
    kReasonSubscriptionIdsNotSupported = 0xa1,
    kReasonWildcardsNotSupported = 0xa2,
};

struct WillView {
    Bytes topic_name;
    Bytes payload;
    Bytes properties;
    PropertySet property_set;
    uint8_t qos = 0;
    bool retain = false;
};

struct ConnectView {
    Version version = Version::kNone;
    bool bridge = false;  // bit 7 of the level: the peer is a bridge (3.1, 3.1.1)
    bool clean_start = false;
    bool has_will = false;
    bool has_user_name = false;
    bool has_password = false;
    uint16_t keep_alive_s = 0;
    Bytes client_id;
    WillView will;
    Bytes user_name;
    Bytes password;
    Bytes properties;
    PropertySet property_set;
};

struct PublishView {
    bool dup = false;
    bool retain = false;
    uint8_t qos = 0;
    uint16_t packet_id = 0;  // 0 at QoS 0
    Bytes topic_name;
    Bytes properties;
    Bytes payload;
    PropertySet property_set;
};

// PUBACK, PUBREC, PUBREL, PUBCOMP.
struct AckView {
    uint16_t packet_id = 0;
    uint8_t reason = 0;  // 5.0; 0 otherwise
    Bytes properties;
};

// SUBSCRIBE and UNSUBSCRIBE: the filters stay encoded; walk them with next_filter (codec.h).
struct SubscribeView {
    uint16_t packet_id = 0;
    Bytes properties;
    PropertySet property_set;
    Bytes filters;
    uint32_t filter_count = 0;
};

struct DisconnectView {
    uint8_t reason = 0;
    Bytes properties;
    PropertySet property_set;
};

struct AuthView {  // 5.0 only
    uint8_t reason = 0;
    Bytes properties;
    PropertySet property_set;
};

// One topic filter of a SUBSCRIBE with its options byte, or of an UNSUBSCRIBE (options 0).
struct FilterView {
    Bytes topic_filter;
    uint8_t qos = 0;
    bool no_local = false;
    bool retain_as_published = false;
    uint8_t retain_handling = 0;
};

}  // namespace mqttd
