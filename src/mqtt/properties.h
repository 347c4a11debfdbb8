#pragma once

// Properties of MQTT 5.0: check a list, walk it, write one.
//
//     property length   identifier  value     identifier  value     ...
//     varint            1 byte      by type   1 byte      by type
//                       └─────────────── the block ───────────────┘
//
// A list stays what it is on the wire, a block of bytes without its length: checked once when its
// packet is decoded, driven by the table (mqtt/tables.h), and walked by whoever wants a value.
// Blocks are short, so a search is a walk; the PropertySet of the check says whether it is worth
// one.  The functions that walk take only blocks that passed the check.   §2.2.2

#include "mqttd/bytes.h"
#include "mqttd/packet.h"
#include "mqttd/result.h"

#include <cstdint>

namespace mqttd {

struct PropertyView {
    Property id = Property::kNone;
    uint32_t number = 0;  // of one, two or four bytes or a varint
    Bytes text;           // text or binary data; the name of a user property
    Bytes value;          // the value of a user property
    Bytes encoded;        // identifier and value as they stand in the block
};

// Checks the property block of a packet of type `place` (of a will: kWillProperties).
// Returns which properties it holds.  O(size); allocates nothing.
// Errors: kMalformedPacket (no such property, or not here; cut short; bad UTF-8), kProtocolError
// (repeated; value out of bounds; authentication data without a method; wildcard or nothing in a
// response topic).
Result<PropertySet> check_properties(Bytes block, PacketType place);

// Takes the next property from the front of `block`, which passed the check and is not empty.
PropertyView next_property(Bytes& block);

// The first property `id` of `block`; its id is kNone if there is none.
PropertyView find_property(Bytes block, Property id);

// The number in the first property `id` of `block`, or `absent`.
uint32_t property_number(Bytes block, Property id, uint32_t absent);

// Writing one property; `out` has room.  Each returns the bytes written.
uint32_t property_size(Property id, uint32_t number);
uint32_t encode_property(uint8_t* out, Property id, uint32_t number);
uint32_t property_size(Property id, Bytes text);
uint32_t encode_property(uint8_t* out, Property id, Bytes text);
uint32_t user_property_size(Bytes name, Bytes value);
uint32_t encode_user_property(uint8_t* out, Bytes name, Bytes value);

}  // namespace mqttd
