#pragma once

// The standard as data: packets, properties, reason codes, and how an Error is told to a peer.
//
// Decoding has no rule about a packet, property or reason of its own; it looks here.  Each table is
// constexpr, and static_asserts in tables.cc hold it complete and in order, so that a row can be
// found by index.  Sets of packet types are masks: bit n is packet type n.  The properties of a
// will stand inside CONNECT but are a list of their own; they take bit 0, which no packet uses.

#include "mqttd/codec.h"
#include "mqttd/packet.h"
#include "mqttd/result.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace mqttd {

using PacketMask = uint16_t;

constexpr PacketMask packet_bit(PacketType type) {
    return static_cast<PacketMask>(1u << static_cast<unsigned>(type));
}

// Where a property list stands when it belongs to a will.
constexpr PacketType kWillProperties = PacketType::kReserved;

// --- packets -----------------------------------------------------------------------------------

struct Bounds {
    uint32_t min;
    uint32_t max;
};

struct PacketRow {
    PacketType type;
    const char* name;
    uint8_t flags;            // the low bits of byte 1 as they must be; of PUBLISH: not used
    uint8_t flags_loose_v31;  // bits that 3.1 gives no meaning, and a receiver ignores
    bool from_client;
    bool from_server;
    Bounds body_v3;  // Remaining Length in 3.1 and 3.1.1, from the variable header on
    Bounds body_v5;  // the same in 5.0; min above max: no such packet
};

const PacketRow& packet_row(PacketType type);

// Flags of PUBLISH are DUP, QoS (2 bits), RETAIN.  QoS 3 does not exist, and DUP says that a packet
// with an identifier is sent again, so there is none at QoS 0.   [MQTT-3.3.1-2], [MQTT-3.3.1-4]
constexpr bool publish_flags_valid(uint8_t flags) {
    return (0b1100'0011'1100'0000u >> (flags & 0x0f) & 1) == 0;
}

// Whether byte 1 and Remaining Length are possible for this packet at all.
bool packet_shape_valid(PacketType type, uint8_t flags, size_t body_size, Version version);

// --- properties --------------------------------------------------------------------------------

enum class PropertyType : uint8_t { kByte, kTwoByte, kFourByte, kVarint, kText, kBinary, kPair };

struct PropertyRow {
    Property id;
    PropertyType type;
    PacketMask packets;     // where it may stand
    PacketMask repeatable;  // where it may stand more than once
    Bounds bounds;          // of a number; of text or binary data: of its size
};

std::span<const PropertyRow> property_rows();

// The row of the property with identifier `id`; nullptr if there is none.
const PropertyRow* property_row(uint32_t id);

// --- reason codes ------------------------------------------------------------------------------

struct ReasonRow {
    Reason code;
    const char* name;
    PacketMask packets;  // which may carry it
};

std::span<const ReasonRow> reason_rows();

// Whether packets of `type` may carry reason `code`.   MQTT 5.0 §2.4
bool reason_valid(PacketType type, uint8_t code);

const char* reason_name(uint8_t code);  // "unknown reason" if there is none

}  // namespace mqttd
