// One function per packet, each with the size it takes.  Lengths are always written in their
// shortest form.   [MQTT5-1.5.5-1]

#include "mqttd/codec.h"

#include "base/assert.h"
#include "mqtt/tables.h"
#include "mqtt/writer.h"

namespace mqttd {
namespace {

void put_header(Writer& writer, PacketType type, uint32_t remaining) {
    const auto high = static_cast<uint8_t>(static_cast<unsigned>(type) << 4);
    writer.put_byte(high | packet_row(type).flags);
    writer.put_varint(remaining);
}

constexpr uint32_t packet_size(uint32_t remaining) {
    return 1 + varint_size(remaining) + remaining;
}

}  // namespace

uint32_t encode_varint(uint8_t* out, uint32_t value) {
    Writer writer(out);
    writer.put_varint(value);
    return writer.written();
}

// --- answers -----------------------------------------------------------------------------------

namespace {

uint32_t connack_remaining(Version version, Bytes properties) {
    return 2 + (is_v5(version) ? properties_size(properties) : 0);
}

}  // namespace

uint32_t connack_size(Version version, Bytes properties) {
    return packet_size(connack_remaining(version, properties));
}

uint32_t encode_connack(
    uint8_t* out, Version version, bool session_present, uint8_t code, Bytes properties) {
    MQTTD_ASSERT(!session_present || code == 0);  // [MQTT5-3.2.2-6]
    Writer writer(out);
    put_header(writer, PacketType::kConnack, connack_remaining(version, properties));
    writer.put_byte(session_present ? 1 : 0);
    writer.put_byte(code);
    if (is_v5(version)) writer.put_properties(properties);
    return writer.written();
}

uint32_t encode_ack(
    uint8_t* out, PacketType type, uint16_t packet_id, Version version, uint8_t reason) {
    const bool with_reason = is_v5(version) && reason != 0;
    Writer writer(out);
    put_header(writer, type, with_reason ? 3 : 2);
    writer.put_u16(packet_id);
    if (with_reason) writer.put_byte(reason);
    return writer.written();
}

uint32_t encode_pingresp(uint8_t* out) {
    Writer writer(out);
    put_header(writer, PacketType::kPingresp, 0);
    return writer.written();
}

namespace {

uint32_t disconnect_remaining(uint8_t reason, Bytes properties) {
    if (!properties.empty()) return 1 + properties_size(properties);
    return reason == 0 ? 0 : 1;
}

}  // namespace

uint32_t disconnect_size(uint8_t reason, Bytes properties) {
    return packet_size(disconnect_remaining(reason, properties));
}

uint32_t encode_disconnect(uint8_t* out, uint8_t reason, Bytes properties) {
    const uint32_t remaining = disconnect_remaining(reason, properties);
    Writer writer(out);
    put_header(writer, PacketType::kDisconnect, remaining);
    if (remaining > 0) writer.put_byte(reason);
    if (remaining > 1) writer.put_properties(properties);
    return writer.written();
}

namespace {

uint32_t suback_remaining(uint32_t count, Version version) {
    return 2 + (is_v5(version) ? 1 : 0) + count;
}

}  // namespace

uint32_t suback_header_size(uint32_t count, Version version) {
    const uint32_t remaining = suback_remaining(count, version);
    return packet_size(remaining) - count;
}

uint32_t encode_suback_header(
    uint8_t* out, PacketType type, uint16_t packet_id, uint32_t count, Version version) {
    Writer writer(out);
    put_header(writer, type, suback_remaining(count, version));
    writer.put_u16(packet_id);
    if (is_v5(version)) writer.put_properties({});
    return writer.written();
}

// --- PUBLISH -----------------------------------------------------------------------------------

namespace {

// Bytes of the head behind the fixed header; the tail follows them.
uint64_t publish_head_body(const PublishHead& head) {
    uint64_t size = uint64_t{2} + head.topic_name.size() + (head.qos != 0 ? 2 : 0);
    if (is_v5(head.version)) {
        const size_t properties = head.own_properties.size() + head.tail_properties;
        size += varint_size(static_cast<uint32_t>(properties)) + head.own_properties.size();
    }
    return size;
}

}  // namespace

uint32_t publish_head_size(const PublishHead& head) {
    const uint64_t body = publish_head_body(head);
    const uint64_t remaining = body + head.tail_size;
    if (remaining > kVarintMax) return 0;
    return static_cast<uint32_t>(1 + varint_size(static_cast<uint32_t>(remaining)) + body);
}

uint32_t encode_publish_head(uint8_t* out, const PublishHead& head) {
    const uint64_t remaining = publish_head_body(head) + head.tail_size;
    MQTTD_ASSERT(remaining <= kVarintMax);
    MQTTD_DCHECK((head.qos != 0) == (head.packet_id != 0));
    Writer writer(out);
    writer.put_byte(
        static_cast<uint8_t>(0x30 | (head.dup ? 8 : 0) | head.qos << 1 | (head.retain ? 1 : 0)));
    writer.put_varint(static_cast<uint32_t>(remaining));
    writer.put_binary(head.topic_name);
    if (head.qos != 0) writer.put_u16(head.packet_id);
    if (is_v5(head.version)) {
        const size_t properties = head.own_properties.size() + head.tail_properties;
        writer.put_varint(static_cast<uint32_t>(properties));
        writer.put_bytes(head.own_properties);
    }
    return writer.written();
}

// --- CONNECT -----------------------------------------------------------------------------------

namespace {

constexpr std::string_view protocol_name(Version version) {
    return version == Version::k31 ? "MQIsdp" : "MQTT";
}

uint32_t connect_remaining(const ConnectFields& fields) {
    const bool v5 = is_v5(fields.version);
    uint32_t size = binary_size(as_bytes(protocol_name(fields.version))) + 4;
    if (v5) size += properties_size(fields.properties);
    size += binary_size(fields.client_id);
    if (fields.will != nullptr) {
        if (v5) size += properties_size(fields.will->properties);
        size += binary_size(fields.will->topic_name) + binary_size(fields.will->payload);
    }
    if (fields.user_name != nullptr) size += binary_size(*fields.user_name);
    if (fields.password != nullptr) size += binary_size(*fields.password);
    return size;
}

uint8_t connect_flags(const ConnectFields& fields) {
    unsigned flags = fields.clean_start ? 0x02 : 0;
    if (fields.will != nullptr) {
        flags |= 0x04u | unsigned{fields.will->qos} << 3 | (fields.will->retain ? 0x20u : 0u);
    }
    if (fields.password != nullptr) flags |= 0x40;
    if (fields.user_name != nullptr) flags |= 0x80;
    return static_cast<uint8_t>(flags);
}

}  // namespace

uint32_t connect_size(const ConnectFields& fields) {
    return packet_size(connect_remaining(fields));
}

uint32_t encode_connect(uint8_t* out, const ConnectFields& fields) {
    const bool v5 = is_v5(fields.version);
    Writer writer(out);
    put_header(writer, PacketType::kConnect, connect_remaining(fields));
    writer.put_binary(as_bytes(protocol_name(fields.version)));
    const auto level = static_cast<uint8_t>(fields.version);
    writer.put_byte(static_cast<uint8_t>(level | (fields.bridge ? 0x80 : 0)));
    writer.put_byte(connect_flags(fields));
    writer.put_u16(fields.keep_alive_s);
    if (v5) writer.put_properties(fields.properties);
    writer.put_binary(fields.client_id);
    if (fields.will != nullptr) {
        if (v5) writer.put_properties(fields.will->properties);
        writer.put_binary(fields.will->topic_name);
        writer.put_binary(fields.will->payload);
    }
    if (fields.user_name != nullptr) writer.put_binary(*fields.user_name);
    if (fields.password != nullptr) writer.put_binary(*fields.password);
    return writer.written();
}

}  // namespace mqttd
