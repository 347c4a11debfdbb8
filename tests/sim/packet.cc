#include "sim/packet.h"

namespace mqttd::sim {

namespace {

// ---- Writing
// -------------------------------------------------------------------------------------------

void put8(std::string& to, uint32_t value) {
    to.push_back(static_cast<char>(value));
}

void put16(std::string& to, uint32_t value) {
    put8(to, value >> 8);
    put8(to, value);
}

void put32(std::string& to, uint32_t value) {
    put16(to, value >> 16);
    put16(to, value);
}

void put_text(std::string& to, std::string_view text) {
    put16(to, static_cast<uint32_t>(text.size()));
    to += text;
}

void put_varint(std::string& to, size_t value) {
    do {
        const size_t rest = value >> 7;
        put8(to, static_cast<uint32_t>(value & 127) | (rest != 0 ? 128u : 0u));
        value = rest;
    } while (value != 0);
}

void put_packet(std::string& to, uint32_t first, std::string_view body) {
    put8(to, first);
    put_varint(to, body.size());
    to += body;
}

uint32_t first_of(Type type) {
    const bool flagged =
        type == Type::kPubrel || type == Type::kSubscribe || type == Type::kUnsubscribe;
    return static_cast<uint32_t>(type) << 4 | (flagged ? 2u : 0u);
}

// ---- Reading
// -------------------------------------------------------------------------------------------

struct Cursor {
    std::string_view rest;
    bool bad = false;

    uint32_t byte() {
        if (rest.empty()) {
            bad = true;
            return 0;
        }
        const auto value = static_cast<uint8_t>(rest[0]);
        rest.remove_prefix(1);
        return value;
    }

    uint32_t two() {
        const uint32_t high = byte();
        return high << 8 | byte();
    }

    uint32_t four() {
        const uint32_t high = two();
        return high << 16 | two();
    }

    uint32_t varint() {
        uint32_t value = 0;
        for (uint32_t shift = 0; shift < 28; shift += 7) {
            const uint32_t next = byte();
            value |= (next & 127) << shift;
            if ((next & 128) == 0) {
                bad = bad || (shift > 0 && next == 0);  // longer than need be
                return value;
            }
        }
        bad = true;
        return 0;
    }

    std::string_view take(size_t size) {
        if (size > rest.size()) {
            bad = true;
            return {};
        }
        const std::string_view taken = rest.substr(0, size);
        rest.remove_prefix(size);
        return taken;
    }

    std::string_view text() { return take(two()); }
};

void read_property(Cursor& at, Packet& packet) {
    switch (at.varint()) {
        case 0x01:  // payload format
        case 0x24:  // maximum QoS
        case 0x25:  // retain available
        case 0x28:  // wildcards
        case 0x29:  // identifiers
        case 0x2a:  // shared
            at.byte();
            break;
        case 0x02:
            packet.has_expiry = true;
            packet.expiry_s = at.four();
            break;
        case 0x0b:
            if (packet.id_count < 8) packet.ids[packet.id_count++] = at.varint();
            break;
        case 0x11:  // session expiry
        case 0x27:  // maximum packet size
            at.four();
            break;
        case 0x13:  // server keep alive
            at.two();
            break;
        case 0x21:
            packet.receive_maximum = static_cast<uint16_t>(at.two());
            break;
        case 0x22:
            packet.alias_maximum = static_cast<uint16_t>(at.two());
            break;
        case 0x23:
            packet.alias = static_cast<uint16_t>(at.two());
            break;
        case 0x03:
        case 0x08:
        case 0x09:
        case 0x12:
        case 0x1a:
        case 0x1c:
        case 0x1f:
            at.text();
            break;
        case 0x26:
            at.text();
            at.text();
            break;
        default:
            at.bad = true;
    }
}

void read_properties(Cursor& at, Packet& packet) {
    Cursor block;
    block.rest = at.take(at.varint());
    while (!block.rest.empty() && !block.bad)
        read_property(block, packet);
    at.bad = at.bad || block.bad;
}

void read_body(Cursor& at, Packet& packet, uint32_t flags, bool v5) {
    switch (packet.type) {
        case Type::kConnack:
            packet.session_present = (at.byte() & 1) != 0;
            packet.reason = static_cast<uint8_t>(at.byte());
            if (v5) read_properties(at, packet);
            break;
        case Type::kPublish:
            packet.dup = (flags & 8) != 0;
            packet.qos = static_cast<uint8_t>(flags >> 1 & 3);
            packet.retain = (flags & 1) != 0;
            packet.topic = at.text();
            if (packet.qos > 0) packet.packet_id = static_cast<uint16_t>(at.two());
            if (v5) read_properties(at, packet);
            packet.payload = at.take(at.rest.size());
            break;
        case Type::kPuback:
        case Type::kPubrec:
        case Type::kPubrel:
        case Type::kPubcomp:
            packet.packet_id = static_cast<uint16_t>(at.two());
            if (v5 && !at.rest.empty()) packet.reason = static_cast<uint8_t>(at.byte());
            if (v5 && !at.rest.empty()) read_properties(at, packet);
            break;
        case Type::kSuback:
        case Type::kUnsuback:
            packet.packet_id = static_cast<uint16_t>(at.two());
            if (v5) read_properties(at, packet);
            packet.codes = at.take(at.rest.size());
            break;
        case Type::kPingresp:
            break;
        case Type::kDisconnect:
            if (v5 && !at.rest.empty()) packet.reason = static_cast<uint8_t>(at.byte());
            if (v5 && !at.rest.empty()) read_properties(at, packet);
            break;
        default:
            at.bad = true;
    }
    if (packet.type != Type::kPublish) {
        const uint32_t wanted = packet.type == Type::kPubrel ? 2 : 0;
        at.bad = at.bad || flags != wanted;
    }
    at.bad = at.bad || !at.rest.empty();
}

}  // namespace

Packet read_packet(std::string_view bytes, bool v5) {
    Packet packet;
    if (bytes.size() < 2) return packet;
    uint32_t length = 0;
    size_t header = 1;
    for (uint32_t shift = 0;; shift += 7) {
        if (header == bytes.size()) return packet;
        const auto next = static_cast<uint8_t>(bytes[header++]);
        length |= (next & 127u) << shift;
        if ((next & 128) == 0) break;
        if (shift == 21) {
            packet.malformed = true;
            packet.size = 1;
            return packet;
        }
    }
    if (bytes.size() - header < length) return packet;
    const auto first = static_cast<uint8_t>(bytes[0]);
    packet.type = static_cast<Type>(first >> 4);
    packet.size = static_cast<uint32_t>(header) + length;
    Cursor at;
    at.rest = bytes.substr(header, length);
    read_body(at, packet, first & 15, v5);
    packet.malformed = at.bad;
    return packet;
}

void write_payload(std::string& to, const Message& message) {
    if (message.size == 0) return;
    put32(to, message.number);
    for (uint32_t i = 4; i < message.size; ++i)
        put8(to, message.number + i);
}

uint32_t number_in(std::string_view payload) {
    if (payload.size() < 4) return 0;
    Cursor at;
    at.rest = payload;
    const uint32_t number = at.four();
    for (size_t i = 4; i < payload.size(); ++i) {
        if (static_cast<uint8_t>(payload[i]) != static_cast<uint8_t>(number + i)) return 0;
    }
    return number;
}

void write_connect(std::string& to,
                   std::string_view client_id,
                   const ConnectPlan& plan,
                   const Message* will,
                   const Words& words) {
    const bool v5 = plan.level == 5;
    std::string body;
    put_text(body, plan.level == 3 ? "MQIsdp" : "MQTT");
    put8(body, plan.level);
    uint32_t flags = plan.clean ? 2 : 0;
    if (will != nullptr) {
        flags |= 4u | static_cast<uint32_t>(will->qos) << 3 | (will->retain ? 32u : 0u);
    }
    put8(body, flags);
    put16(body, plan.keep_alive_s);
    if (v5) {
        std::string properties;
        if (plan.expiry_s != 0) {
            put8(properties, 0x11);
            put32(properties, plan.expiry_s);
        }
        if (plan.receive_maximum != 65'535) {
            put8(properties, 0x21);
            put16(properties, plan.receive_maximum);
        }
        if (plan.alias_maximum != 0) {
            put8(properties, 0x22);
            put16(properties, plan.alias_maximum);
        }
        if (plan.packet_maximum != 0) {
            put8(properties, 0x27);
            put32(properties, plan.packet_maximum);
        }
        put_varint(body, properties.size());
        body += properties;
    }
    put_text(body, client_id);
    if (will != nullptr) {
        if (v5) {
            std::string properties;
            if (plan.will.delay_s != 0) {
                put8(properties, 0x18);
                put32(properties, plan.will.delay_s);
            }
            if (will->expiry_s != kNever32) {
                put8(properties, 0x02);
                put32(properties, will->expiry_s);
            }
            put_varint(body, properties.size());
            body += properties;
        }
        put_text(body, words.topics[will->topic]);
        std::string payload;
        write_payload(payload, *will);
        put_text(body, payload);
    }
    put_packet(to, first_of(Type::kConnect), body);
}

void write_publish(std::string& to,
                   const Message& message,
                   std::string_view topic,
                   bool v5,
                   uint16_t packet_id,
                   bool dup,
                   uint16_t alias,
                   bool named) {
    const std::string_view written = named ? topic : std::string_view();
    const size_t properties =
        (alias != 0 ? 3u : 0u) + (v5 && message.expiry_s != kNever32 ? 5u : 0u);
    const size_t size =
        2 + written.size() + (message.qos > 0 ? 2u : 0u) + (v5 ? 1 + properties : 0) + message.size;
    put8(to,
         0x30u | (dup ? 8u : 0u) | static_cast<uint32_t>(message.qos) << 1 |
             (message.retain ? 1u : 0u));
    put_varint(to, size);
    put_text(to, written);
    if (message.qos > 0) put16(to, packet_id);
    if (v5) {
        put_varint(to, properties);
        if (alias != 0) {
            put8(to, 0x23);
            put16(to, alias);
        }
        if (message.expiry_s != kNever32) {
            put8(to, 0x02);
            put32(to, message.expiry_s);
        }
    }
    write_payload(to, message);
}

void write_ack(std::string& to, Type type, uint16_t packet_id, uint8_t reason, bool v5) {
    put8(to, first_of(type));
    const bool said = v5 && reason != 0;
    put8(to, said ? 3 : 2);
    put16(to, packet_id);
    if (said) put8(to, reason);
}

void write_subscribe(std::string& to, const Op& op, bool v5, const Words& words) {
    std::string body;
    put16(body, op.packet_id);
    if (v5) {
        const uint32_t identifier = op.filters.empty() ? 0 : op.filters[0].identifier;
        if (identifier == 0) {
            put8(body, 0);
        } else {
            std::string property;
            put8(property, 0x0b);
            put_varint(property, identifier);
            put_varint(body, property.size());
            body += property;
        }
    }
    for (const FilterPlan& plan : op.filters) {
        put_text(body, words.filters[plan.filter]);
        uint32_t options = plan.qos;
        if (v5) {
            options |= (plan.no_local ? 4u : 0u) | (plan.retain_as_published ? 8u : 0u) |
                       static_cast<uint32_t>(plan.retain_handling) << 4;
        }
        put8(body, options);
    }
    put_packet(to, first_of(Type::kSubscribe), body);
}

void write_unsubscribe(std::string& to, const Op& op, bool v5, const Words& words) {
    std::string body;
    put16(body, op.packet_id);
    if (v5) put8(body, 0);
    for (const FilterPlan& plan : op.filters)
        put_text(body, words.filters[plan.filter]);
    put_packet(to, first_of(Type::kUnsubscribe), body);
}

void write_pingreq(std::string& to) {
    put_packet(to, first_of(Type::kPingreq), {});
}

void write_disconnect(std::string& to, const Op& op, bool v5) {
    std::string body;
    if (v5 && (op.reason != 0 || op.expiry_s != kNever32)) {
        put8(body, op.reason);
        if (op.expiry_s != kNever32) {
            put8(body, 5);
            put8(body, 0x11);
            put32(body, op.expiry_s);
        }
    }
    put_packet(to, first_of(Type::kDisconnect), body);
}

}  // namespace mqttd::sim
