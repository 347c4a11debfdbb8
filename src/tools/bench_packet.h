#pragma once

// The few packets of a client that measures, and a parser that has time for nothing else.
//
// Building happens before a run (a PUBLISH is built once and then only has its mark and packet id
// patched), so it may use strings. Parsing happens per message, so it is inlined, takes the broker
// at its word about everything but lengths, and hands the caller pointers into what was read. The
// product's own codec checks what a measurement need not and would cost more than the broker.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd::bench {

enum class Protocol : uint8_t { k31 = 3, k311 = 4, k50 = 5 };

inline constexpr uint8_t kConnack = 0x20;
inline constexpr uint8_t kPublish = 0x30;
inline constexpr uint8_t kPuback = 0x40;
inline constexpr uint8_t kPubrec = 0x50;
inline constexpr uint8_t kPubrel = 0x62;  // with the flags it must have
inline constexpr uint8_t kPubcomp = 0x70;
inline constexpr uint8_t kSuback = 0x90;
inline constexpr uint8_t kPingresp = 0xd0;
inline constexpr uint8_t kDisconnect = 0xe0;

struct ConnectText {
    std::string client_id;
    bool durable = false;  // a session that outlives the connection
    std::string user;
    std::string password;
};

std::string connect_packet(Protocol protocol, const ConnectText& text);
std::string subscribe_packet(Protocol protocol,
                             uint16_t id,
                             const std::vector<std::string>& filters,
                             uint8_t qos);
std::string disconnect_packet();
std::string ping_packet();

// A PUBLISH with room for a mark, and where the parts to be patched are.
struct PublishForm {
    std::string bytes;
    size_t topic_at = 0;
    size_t id_at = 0;  // 0: QoS 0 has none
    size_t payload_at = 0;
};

PublishForm publish_form(Protocol protocol,
                         std::string_view topic,
                         size_t payload_bytes,
                         uint8_t qos,
                         bool retain = false);

// How many bytes a PUBLISH takes on the wire.
size_t publish_bytes(Protocol protocol, size_t topic_bytes, size_t payload_bytes, uint8_t qos);

inline void put_id(uint8_t* to, uint16_t id) {
    to[0] = static_cast<uint8_t>(id >> 8);
    to[1] = static_cast<uint8_t>(id);
}

inline uint16_t get_id(const uint8_t* from) {
    return static_cast<uint16_t>(from[0] << 8 | from[1]);
}

// One packet at the beginning of some bytes. `whole` is 0 while it is not all there.
struct Frame {
    const uint8_t* body = nullptr;
    uint32_t body_bytes = 0;
    uint32_t whole = 0;      // bytes with the fixed header
    bool malformed = false;  // a length of five bytes: not MQTT
};

inline Frame next_frame(const uint8_t* at, size_t bytes) {
    Frame frame;
    if (bytes < 2) return frame;
    uint32_t length = at[1] & 0x7fu, header = 2;
    if ((at[1] & 0x80) != 0) {
        for (uint32_t shift = 7;; shift += 7, ++header) {
            if (shift > 21) {
                frame.malformed = true;
                return frame;
            }
            if (header >= bytes) return frame;
            length |= (at[header] & 0x7fu) << shift;
            if ((at[header] & 0x80) == 0) break;
        }
        ++header;
    }
    if (bytes - header < length) return frame;
    frame.body = at + header;
    frame.body_bytes = length;
    frame.whole = header + length;
    return frame;
}

// How many QoS 1 and 2 messages the broker lets a 5.0 client have unacknowledged; 65535 if the
// CONNACK says nothing.
uint16_t connack_receive_maximum(const Frame& connack);

// The parts of an arrived PUBLISH. `payload` is null if the lengths do not fit.
struct Arrived {
    std::string_view topic;
    const uint8_t* payload = nullptr;
    uint32_t payload_bytes = 0;
    uint16_t id = 0;
};

inline Arrived parse_publish(Protocol protocol, uint8_t first, const Frame& frame) {
    Arrived arrived;
    const uint8_t* at = frame.body;
    const uint8_t* const end = frame.body + frame.body_bytes;
    if (frame.body_bytes < 2) return arrived;
    const uint32_t topic_bytes = static_cast<uint32_t>(at[0] << 8 | at[1]);
    const bool has_id = (first & 0x06) != 0;
    if (frame.body_bytes < 2 + topic_bytes + (has_id ? 2 : 0)) return arrived;
    arrived.topic = {reinterpret_cast<const char*>(at + 2), topic_bytes};
    at += 2 + topic_bytes;
    if (has_id) {
        arrived.id = get_id(at);
        at += 2;
    }
    if (protocol == Protocol::k50) {
        uint32_t properties = 0;
        for (uint32_t shift = 0;; shift += 7) {
            if (at == end || shift > 21) return arrived;
            const uint8_t byte = *at++;
            properties |= (byte & 0x7fu) << shift;
            if ((byte & 0x80) == 0) break;
        }
        if (properties > static_cast<uint32_t>(end - at)) return arrived;
        at += properties;
    }
    arrived.payload = at;
    arrived.payload_bytes = static_cast<uint32_t>(end - at);
    return arrived;
}

}  // namespace mqttd::bench
