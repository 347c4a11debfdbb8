#include "mqtt/properties.h"

#include "mqttd/topic.h"

#include "base/assert.h"
#include "mqtt/reader.h"
#include "mqtt/tables.h"
#include "mqtt/writer.h"

namespace mqttd {
namespace {

// Takes the value of a property; what it may be is not judged here.
PropertyView take_value(Reader& reader, const PropertyRow& row) {
    PropertyView property;
    property.id = row.id;
    switch (row.type) {
        case PropertyType::kByte:
            property.number = reader.take_byte();
            break;
        case PropertyType::kTwoByte:
            property.number = reader.take_u16();
            break;
        case PropertyType::kFourByte:
            property.number = reader.take_u32();
            break;
        case PropertyType::kVarint:
            property.number = reader.take_varint();
            break;
        case PropertyType::kText:
        case PropertyType::kBinary:
            property.text = reader.take_binary();
            break;
        case PropertyType::kPair:
            property.text = reader.take_binary();
            property.value = reader.take_binary();
            break;
    }
    return property;
}

constexpr bool is_text(PropertyType type) {
    return type == PropertyType::kText || type == PropertyType::kPair;
}

constexpr bool is_number(PropertyType type) {
    return type <= PropertyType::kVarint;
}

Error judge_value(const PropertyView& property, const PropertyRow& row) {
    if (is_text(row.type) && !(utf8_valid(property.text) && utf8_valid(property.value))) {
        return Error::kMalformedPacket;
    }
    const size_t measure = is_number(row.type) ? property.number : property.text.size();
    if (measure < row.bounds.min || measure > row.bounds.max) return Error::kProtocolError;
    if (row.id == Property::kResponseTopic && has_wildcard(property.text)) {
        return Error::kProtocolError;
    }
    return Error::kNone;
}

}  // namespace

Result<PropertySet> check_properties(Bytes block, PacketType place) {
    PropertySet set;
    Reader reader(block);
    while (!reader.at_end()) {
        const PropertyRow* row = property_row(reader.take_byte());
        if (row == nullptr || (row->packets & packet_bit(place)) == 0) {
            return Error::kMalformedPacket;
        }
        const PropertyView property = take_value(reader, *row);
        if (reader.failed()) return reader.error();
        if (set.has(row->id) && (row->repeatable & packet_bit(place)) == 0) {
            return Error::kProtocolError;
        }
        set.bits |= PropertySet::bit(row->id);
        if (const Error error = judge_value(property, *row); error != Error::kNone) return error;
    }
    const bool data_alone =
        set.has(Property::kAuthenticationData) && !set.has(Property::kAuthenticationMethod);
    if (data_alone) return Error::kProtocolError;
    return set;
}

PropertyView next_property(Bytes& block) {
    Reader reader(block);
    const PropertyRow* row = property_row(reader.take_byte());
    MQTTD_ASSERT(row != nullptr);
    PropertyView property = take_value(reader, *row);
    MQTTD_ASSERT(!reader.failed());
    property.encoded = block.first(block.size() - reader.rest().size());
    block = reader.rest();
    return property;
}

PropertyView find_property(Bytes block, Property id) {
    while (!block.empty()) {
        const PropertyView property = next_property(block);
        if (property.id == id) return property;
    }
    return {};
}

uint32_t property_number(Bytes block, Property id, uint32_t absent) {
    const PropertyView property = find_property(block, id);
    return property.id == id ? property.number : absent;
}

// --- writing -----------------------------------------------------------------------------------

uint32_t property_size(Property id, uint32_t number) {
    const PropertyRow* row = property_row(static_cast<uint32_t>(id));
    MQTTD_ASSERT(row != nullptr && is_number(row->type));
    switch (row->type) {
        case PropertyType::kByte:
            return 2;
        case PropertyType::kTwoByte:
            return 3;
        case PropertyType::kFourByte:
            return 5;
        default:
            return 1 + varint_size(number);
    }
}

uint32_t encode_property(uint8_t* out, Property id, uint32_t number) {
    const PropertyRow* row = property_row(static_cast<uint32_t>(id));
    MQTTD_ASSERT(row != nullptr && is_number(row->type));
    MQTTD_DCHECK(number >= row->bounds.min && number <= row->bounds.max);
    Writer writer(out);
    writer.put_byte(static_cast<uint8_t>(id));
    switch (row->type) {
        case PropertyType::kByte:
            writer.put_byte(static_cast<uint8_t>(number));
            break;
        case PropertyType::kTwoByte:
            writer.put_u16(static_cast<uint16_t>(number));
            break;
        case PropertyType::kFourByte:
            writer.put_u32(number);
            break;
        default:
            writer.put_varint(number);
            break;
    }
    return writer.written();
}

uint32_t property_size(Property, Bytes text) {
    return 1 + binary_size(text);
}

uint32_t encode_property(uint8_t* out, Property id, Bytes text) {
    Writer writer(out);
    writer.put_byte(static_cast<uint8_t>(id));
    writer.put_binary(text);
    return writer.written();
}

uint32_t user_property_size(Bytes name, Bytes value) {
    return 1 + binary_size(name) + binary_size(value);
}

uint32_t encode_user_property(uint8_t* out, Bytes name, Bytes value) {
    Writer writer(out);
    writer.put_byte(static_cast<uint8_t>(Property::kUserProperty));
    writer.put_binary(name);
    writer.put_binary(value);
    return writer.written();
}

}  // namespace mqttd
