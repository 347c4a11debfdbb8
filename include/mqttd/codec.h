#pragma once

// The MQTT wire: find a packet in a run of bytes, decode it, encode one.
//
// Pure functions over bytes for 3.1, 3.1.1 and 5.0.  Decoding checks everything the standard lets a
// receiver check without state (reserved bits, lengths, UTF-8, packet identifier 0, properties by
// table) and allocates nothing; views point into the input.  Encoding writes into room the caller
// has measured with the matching *_size function and returns the bytes written.

#include "mqttd/packet.h"
#include "mqttd/result.h"

#include <cstdint>

namespace mqttd {

// --- frames ------------------------------------------------------------------------------------

struct Frame {
    uint8_t first = 0;           // byte 1: packet type and flags
    uint8_t header = 0;          // bytes of the fixed header (2 to 5); 0: not yet complete
    uint32_t size = 0;           // whole packet, fixed header included
    bool length_minimal = true;  // the Remaining Length used as few bytes as possible

    bool header_complete() const { return header != 0; }

    PacketType type() const { return static_cast<PacketType>(first >> 4); }

    uint8_t flags() const { return first & 0x0f; }
};

// Reads the fixed header at the front of `input` (which may be cut anywhere).
// Returns a frame with header == 0 if more bytes are needed.  Never looks past five bytes.
// Error: kMalformedPacket (fourth length byte with its continuation bit set).
//   MQTT 5.0 §1.5.5, §2.1.4.
Result<Frame> find_frame(Bytes input);

// --- decoding: `body` is what follows the fixed header, its size the Remaining Length -----------

// Errors: kUnsupportedVersion (name or level, decided right after the level byte),
// kMalformedPacket, kProtocolError, kTopicNameInvalid (will topic).  For 3.x an empty or long
// client id is not judged here.  Level 0x83 and 0x84 set `bridge`.   §3.1
Result<ConnectView> decode_connect(Bytes body, uint8_t flags);

// The version a CONNECT asks for, also when decode_connect refused the rest of it; kNone if it is
// not one of ours.  Says in which form the refusal is to be written.
Version connect_version(Bytes body);

// Errors: kMalformedPacket (short body, QoS 3, DUP at QoS 0, bad UTF-8), kTopicNameInvalid
// (wildcards, empty for 3.x), kPacketIdInvalid, kProtocolError (5.0: empty without an alias,
// property repeated or out of bounds).  Both directions decode alike; a server still has to refuse
// a Subscription Identifier (property_set) and a Topic Alias of 0 or above its maximum.   §3.3
Result<PublishView> decode_publish(Bytes body, uint8_t flags, Version version);

// PUBACK, PUBREC, PUBREL, PUBCOMP.  Errors: kMalformedPacket, kPacketIdInvalid.   §3.4–3.7
Result<AckView> decode_ack(PacketType type, Bytes body, uint8_t flags, Version version);

// SUBSCRIBE and UNSUBSCRIBE; checks the whole list (QoS bits, UTF-8, at least one filter, filter
// syntax: kTopicFilterInvalid).  No filter at all is a kProtocolError.  3.1 ignores flag DUP.
//   §3.8, §3.10
Result<SubscribeView> decode_subscribe(PacketType type, Bytes body, uint8_t flags, Version version);

// The head of a body that decode_subscribe has accepted before; does not count the filters.
SubscribeView reread_subscribe(PacketType type, Bytes body, Version version);

// Takes the next filter from the front of `filters` (as left by decode_subscribe), which must not
// be empty.  `type` tells whether an options byte follows each filter.
FilterView next_filter(Bytes& filters, PacketType type);

// PINGREQ and (3.x) DISCONNECT have no body; 5.0 DISCONNECT may carry a reason and properties.
Result<DisconnectView> decode_disconnect(Bytes body, uint8_t flags, Version version);
Result<bool> decode_pingreq(Bytes body, uint8_t flags);

// 5.0 only.  Errors: kMalformedPacket, kProtocolError (reason not of AUTH, no method).   §3.15
Result<AuthView> decode_auth(Bytes body, uint8_t flags);

// --- encoding: returns bytes written; `out` has room for them ----------------------------------

constexpr uint32_t kAckSize = 4;      // PUBACK, PUBREC, PUBREL, PUBCOMP, UNSUBACK of 3.x
constexpr uint32_t kConnackSize = 4;  // CONNACK of 3.x
constexpr uint32_t kPingrespSize = 2;
constexpr uint32_t kAckSizeMax = 5;  // of 5.0: with a reason other than 0

// `properties` (5.0 only, already encoded) go out behind their length.  Version::kNone is written
// in the form of 3.x: it refuses a version that is not spoken here.
uint32_t connack_size(Version version, Bytes properties = {});
uint32_t encode_connack(
    uint8_t* out, Version version, bool session_present, uint8_t code, Bytes properties = {});

// PUBACK, PUBREC, PUBREL, PUBCOMP and the UNSUBACK of 3.x.  kAckSize bytes, or kAckSizeMax for 5.0
// with a reason other than 0; 3.x ignores the reason.
uint32_t encode_ack(
    uint8_t* out, PacketType type, uint16_t packet_id, Version version, uint8_t reason);
uint32_t encode_pingresp(uint8_t* out);

// 5.0 only.
uint32_t disconnect_size(uint8_t reason, Bytes properties = {});
uint32_t encode_disconnect(uint8_t* out, uint8_t reason, Bytes properties = {});

// SUBACK header for `count` codes; the caller appends the codes.  For 5.0 with no properties.
uint32_t suback_header_size(uint32_t count, Version version);
uint32_t encode_suback_header(
    uint8_t* out, PacketType type, uint16_t packet_id, uint32_t count, Version version);

// The head of a PUBLISH: fixed header, topic name, packet id (QoS > 0) and, for 5.0, the property
// length and `own_properties` (subscription ids, alias, expiry; already encoded).  What follows on
// the wire is the shared tail: the publisher's properties and the payload, `tail_size` bytes of
// which `tail_properties` belong to the property block.
struct PublishHead {
    Version version = Version::k311;
    uint8_t qos = 0;
    bool dup = false;
    bool retain = false;
    uint16_t packet_id = 0;
    Bytes topic_name;
    Bytes own_properties;
    uint32_t tail_properties = 0;
    uint32_t tail_size = 0;
};

// 0 if the whole packet would be longer than MQTT can say (own properties on top of a message of
// nearly kVarintMax bytes): it cannot be sent to this receiver.
uint32_t publish_head_size(const PublishHead& head);
uint32_t encode_publish_head(uint8_t* out, const PublishHead& head);

// Client-side packets, for tools, bridges and tests.
struct ConnectFields {
    Version version = Version::k311;
    bool clean_start = true;
    uint16_t keep_alive_s = 0;
    Bytes client_id;
    const WillView* will = nullptr;
    const Bytes* user_name = nullptr;
    const Bytes* password = nullptr;
    Bytes properties;     // 5.0, already encoded
    bool bridge = false;  // 3.x: bit 7 of the level
};

uint32_t connect_size(const ConnectFields& fields);
uint32_t encode_connect(uint8_t* out, const ConnectFields& fields);

// --- Variable Byte Integer ---------------------------------------------------------------------

constexpr uint32_t kVarintMax = 268'435'455;

constexpr uint32_t varint_size(uint32_t value) {
    return value < 128 ? 1 : value < 16'384 ? 2 : value < 2'097'152 ? 3 : 4;
}

uint32_t encode_varint(uint8_t* out, uint32_t value);

// The CONNACK return code (3.x) or reason code (5.0) that tells a peer about `error`, and the
// reason code of a DISCONNECT (5.0).  0xff where the version has no way to say it: just close.
uint8_t connack_code(Error error, Version version);
uint8_t disconnect_code(Error error);

}  // namespace mqttd
