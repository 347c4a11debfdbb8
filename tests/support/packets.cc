#include "support/packets.h"

namespace mqttd::packets {

namespace {

std::string ack(uint8_t first, uint16_t packet_id) {
    return raw(first, number(packet_id));
}

uint16_t number_at(std::string_view bytes, size_t at) {
    return static_cast<uint16_t>(static_cast<uint8_t>(bytes[at]) << 8 |
                                 static_cast<uint8_t>(bytes[at + 1]));
}

std::string describe_publish(uint8_t first, std::string_view body) {
    const size_t topic_size = number_at(body, 0);
    const int qos = first >> 1 & 3;
    size_t at = 2 + topic_size;
    std::string word = "PUBLISH(" + std::string(body.substr(2, topic_size)) + ",";
    std::string id;
    if (qos > 0) {
        id = ",id" + std::to_string(number_at(body, at));
        at += 2;
    }
    const std::string_view payload = body.substr(at);
    word += payload.size() > 40 ? std::to_string(payload.size()) + "B" : std::string(payload);
    word += ",q" + std::to_string(qos) + id;
    if ((first & 1) != 0) word += ",retain";
    if ((first & 8) != 0) word += ",dup";
    return word + ")";
}

std::string describe_one(uint8_t first, std::string_view body) {
    const auto with_id = [&](const char* name) {
        return std::string(name) + "(" + std::to_string(number_at(body, 0)) + ")";
    };
    switch (first >> 4) {
        case 2:
            return "CONNACK(" + std::to_string(body[1]) + (body[0] == 1 ? ",present)" : ")");
        case 3:
            return describe_publish(first, body);
        case 4:
            return with_id("PUBACK");
        case 5:
            return with_id("PUBREC");
        case 6:
            return with_id("PUBREL");
        case 7:
            return with_id("PUBCOMP");
        case 9: {
            std::string word = "SUBACK(" + std::to_string(number_at(body, 0));
            for (const char code : body.substr(2)) {
                word += "," + std::to_string(static_cast<uint8_t>(code));
            }
            return word + ")";
        }
        case 11:
            return with_id("UNSUBACK");
        case 13:
            return "PINGRESP";
        default:
            return "TYPE" + std::to_string(first >> 4);
    }
}

struct Header {
    size_t header = 0;
    size_t size = 0;  // whole packet, 0 if not complete
};

Header header_of(std::string_view bytes) {
    size_t length = 0;
    for (size_t at = 1; at < 5 && at < bytes.size(); ++at) {
        const auto byte = static_cast<uint8_t>(bytes[at]);
        length |= static_cast<size_t>(byte & 127) << (7 * (at - 1));
        if (byte >= 128) continue;
        const size_t size = at + 1 + length;
        return size <= bytes.size() ? Header{at + 1, size} : Header{};
    }
    return {};
}

}  // namespace

std::string number(uint16_t value) {
    return {static_cast<char>(value >> 8), static_cast<char>(value & 255)};
}

std::string text(std::string_view text) {
    return number(static_cast<uint16_t>(text.size())) + std::string(text);
}

std::string raw(uint8_t first, std::string_view body) {
    std::string packet(1, static_cast<char>(first));
    size_t length = body.size();
    do {
        const size_t digit = length & 127;
        length >>= 7;
        packet += static_cast<char>(digit | (length != 0 ? 128 : 0));
    } while (length != 0);
    return packet += body;
}

std::string connect(const Connect& fields) {
    const bool will = !fields.will_topic.empty();
    const int flags = (fields.clean ? 2 : 0) | (will ? 4 | fields.will_qos << 3 : 0) |
                      (will && fields.will_retain ? 32 : 0) | (fields.user_name.empty() ? 0 : 128);
    std::string body = text((fields.level & 127) == 3 ? "MQIsdp" : "MQTT");
    body += static_cast<char>(fields.level);
    body += static_cast<char>(flags);
    body += number(fields.keep_alive_s);
    body += text(fields.client_id);
    if (will) body += text(fields.will_topic) + text(fields.will_payload);
    if (!fields.user_name.empty()) body += text(fields.user_name);
    return raw(0x10, body);
}

std::string connect(std::string_view client_id, bool clean) {
    Connect fields;
    fields.client_id = client_id;
    fields.clean = clean;
    return connect(fields);
}

std::string publish(const Publish& fields) {
    std::string body = text(fields.topic);
    if (fields.qos > 0) body += number(fields.packet_id);
    body += fields.payload;
    const int flags = (fields.dup ? 8 : 0) | fields.qos << 1 | (fields.retain ? 1 : 0);
    return raw(static_cast<uint8_t>(0x30 | flags), body);
}

std::string puback(uint16_t packet_id) {
    return ack(0x40, packet_id);
}

std::string pubrec(uint16_t packet_id) {
    return ack(0x50, packet_id);
}

std::string pubrel(uint16_t packet_id) {
    return ack(0x62, packet_id);
}

std::string pubcomp(uint16_t packet_id) {
    return ack(0x70, packet_id);
}

std::string subscribe(uint16_t packet_id, const Filters& filters) {
    std::string body = number(packet_id);
    for (const auto& [filter, qos] : filters)
        body += text(filter) + static_cast<char>(qos);
    return raw(0x82, body);
}

std::string unsubscribe(uint16_t packet_id, const std::vector<std::string>& filters) {
    std::string body = number(packet_id);
    for (const std::string& filter : filters)
        body += text(filter);
    return raw(0xa2, body);
}

std::string pingreq() {
    return raw(0xc0, "");
}

std::string disconnect() {
    return raw(0xe0, "");
}

size_t packet_size(std::string_view bytes) {
    return header_of(bytes).size;
}

std::string describe(std::string_view bytes) {
    std::string words;
    while (!bytes.empty()) {
        const Header header = header_of(bytes);
        if (!words.empty()) words += ' ';
        if (header.size == 0) return words + "+" + std::to_string(bytes.size());
        words += describe_one(static_cast<uint8_t>(bytes[0]),
                              bytes.substr(header.header, header.size - header.header));
        bytes.remove_prefix(header.size);
    }
    return words;
}

}  // namespace mqttd::packets
