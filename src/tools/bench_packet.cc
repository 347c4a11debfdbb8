#include "tools/bench_packet.h"

namespace mqttd::bench {

namespace {

void put_u16(std::string& out, size_t value) {
    out += static_cast<char>(value >> 8);
    out += static_cast<char>(value & 0xff);
}

void put_string(std::string& out, std::string_view text) {
    put_u16(out, text.size());
    out += text;
}

std::string fixed_header(uint8_t first, size_t body_bytes) {
    std::string out(1, static_cast<char>(first));
    do {
        out += static_cast<char>((body_bytes & 0x7f) | (body_bytes > 0x7f ? 0x80 : 0));
        body_bytes >>= 7;
    } while (body_bytes > 0);
    return out;
}

std::string packet(uint8_t first, const std::string& body) {
    return fixed_header(first, body.size()) + body;
}

size_t publish_body_bytes(Protocol protocol, size_t topic, size_t payload, uint8_t qos) {
    return 2 + topic + (qos > 0 ? 2 : 0) + (protocol == Protocol::k50 ? 1 : 0) + payload;
}

}  // namespace

std::string connect_packet(Protocol protocol, const ConnectText& text) {
    constexpr char kCleanStart = 0x02;
    constexpr char kForever[] = "\x05\x11\xff\xff\xff\xff";  // Session Expiry Interval
    std::string body;
    put_string(body, protocol == Protocol::k31 ? "MQIsdp" : "MQTT");
    body += static_cast<char>(protocol);
    body += static_cast<char>((text.durable ? 0 : kCleanStart) | (text.user.empty() ? 0 : 0x80) |
                              (text.password.empty() ? 0 : 0x40));
    put_u16(body, 0);  // no keep-alive: a client that measures does not ping
    if (protocol == Protocol::k50) {
        body += text.durable ? std::string(kForever, sizeof kForever - 1) : std::string(1, '\0');
    }
    put_string(body, text.client_id);
    if (!text.user.empty()) put_string(body, text.user);
    if (!text.password.empty()) put_string(body, text.password);
    return packet(0x10, body);
}

std::string subscribe_packet(Protocol protocol,
                             uint16_t id,
                             const std::vector<std::string>& filters,
                             uint8_t qos) {
    std::string body;
    put_u16(body, id);
    if (protocol == Protocol::k50) body += '\0';
    for (const std::string& filter : filters) {
        put_string(body, filter);
        body += static_cast<char>(qos);
    }
    return packet(0x82, body);
}

std::string disconnect_packet() {
    return std::string("\xe0\x00", 2);
}

std::string ping_packet() {
    return std::string("\xc0\x00", 2);
}

PublishForm publish_form(
    Protocol protocol, std::string_view topic, size_t payload_bytes, uint8_t qos, bool retain) {
    PublishForm form;
    const auto first = static_cast<uint8_t>(kPublish | qos << 1 | (retain ? 1 : 0));
    form.bytes =
        fixed_header(first, publish_body_bytes(protocol, topic.size(), payload_bytes, qos));
    form.topic_at = form.bytes.size() + 2;
    put_string(form.bytes, topic);
    if (qos > 0) {
        form.id_at = form.bytes.size();
        put_u16(form.bytes, 0);
    }
    if (protocol == Protocol::k50) form.bytes += '\0';
    form.payload_at = form.bytes.size();
    for (size_t i = 0; i < payload_bytes; ++i)
        form.bytes += static_cast<char>('a' + i % 26);
    return form;
}

uint16_t connack_receive_maximum(const Frame& connack) {
    constexpr uint16_t kNoLimit = 65535;
    constexpr uint8_t kReceiveMaximum = 0x21;
    const uint8_t* at = connack.body + 3;  // flags, code, length: a CONNACK has few properties
    const uint8_t* const end = connack.body + connack.body_bytes;
    if (connack.body_bytes < 3 || (connack.body[2] & 0x80) != 0) return kNoLimit;
    while (end - at >= 2) {
        const uint8_t property = *at++;
        size_t bytes = 0;
        switch (property) {
            case kReceiveMaximum:
                return end - at >= 2 ? get_id(at) : kNoLimit;
            case 0x24:  // Maximum QoS, and other flags
            case 0x25:
            case 0x28:
            case 0x29:
            case 0x2a:
                bytes = 1;
                break;
            case 0x13:  // Server Keep Alive, Topic Alias Maximum
            case 0x22:
                bytes = 2;
                break;
            case 0x11:  // Session Expiry Interval, Maximum Packet Size
            case 0x27:
                bytes = 4;
                break;
            default:  // strings
                bytes = 2u + get_id(at);
                if (property != 0x26) break;
                if (static_cast<size_t>(end - at) < bytes + 2) return kNoLimit;
                bytes += 2u + get_id(at + bytes);  // a pair
        }
        if (static_cast<size_t>(end - at) < bytes) return kNoLimit;
        at += bytes;
    }
    return kNoLimit;
}

size_t publish_bytes(Protocol protocol, size_t topic_bytes, size_t payload_bytes, uint8_t qos) {
    const size_t body = publish_body_bytes(protocol, topic_bytes, payload_bytes, qos);
    return fixed_header(kPublish, body).size() + body;
}

}  // namespace mqttd::bench
