#include "support/packets5.h"

#include "mqttd/codec.h"

#include "mqtt/properties.h"

namespace mqttd::packets5 {

namespace {

using packets::number;
using packets::raw;
using packets::text;

struct Name {
    Property id;
    const char* name;
};

constexpr Name kNames[] = {
    {Property::kPayloadFormatIndicator,          "format"        },
    {Property::kMessageExpiryInterval,           "expiry"        },
    {Property::kContentType,                     "type"          },
    {Property::kResponseTopic,                   "response"      },
    {Property::kCorrelationData,                 "correlation"   },
    {Property::kSubscriptionIdentifier,          "sub"           },
    {Property::kSessionExpiryInterval,           "session-expiry"},
    {Property::kAssignedClientIdentifier,        "id"            },
    {Property::kServerKeepAlive,                 "keep-alive"    },
    {Property::kReasonString,                    "why"           },
    {Property::kReceiveMaximum,                  "receive-max"   },
    {Property::kTopicAliasMaximum,               "alias-max"     },
    {Property::kTopicAlias,                      "alias"         },
    {Property::kMaximumQos,                      "max-qos"       },
    {Property::kRetainAvailable,                 "retain"        },
    {Property::kMaximumPacketSize,               "max-packet"    },
    {Property::kWildcardSubscriptionAvailable,   "wildcard"      },
    {Property::kSubscriptionIdentifierAvailable, "ids"           },
    {Property::kSharedSubscriptionAvailable,     "shared"        },
};

bool usual(const PropertyView& property) {
    return (property.id == Property::kReceiveMaximum && property.number == 100) ||
           (property.id == Property::kMaximumPacketSize && property.number == 2'000'000) ||
           (property.id == Property::kTopicAliasMaximum && property.number == 10);
}

std::string describe_property(const PropertyView& property) {
    if (property.id == Property::kUserProperty) {
        return "user=" + std::string(as_text(property.text)) + ":" +
               std::string(as_text(property.value));
    }
    std::string name = std::to_string(static_cast<int>(property.id));
    for (const Name& row : kNames) {
        if (row.id == property.id) name = row.name;
    }
    const bool texts = property.text.data() != nullptr;
    return name + "=" +
           (texts ? std::string(as_text(property.text)) : std::to_string(property.number));
}

std::string take(std::string_view& body, size_t size) {
    std::string taken(body.substr(0, size));
    body.remove_prefix(taken.size());
    return taken;
}

unsigned take_number(std::string_view& body) {
    const std::string bytes = take(body, 2);
    return static_cast<unsigned>(static_cast<uint8_t>(bytes[0]) << 8 |
                                 static_cast<uint8_t>(bytes[1]));
}

// A property block with its length, described; "" if there are none.
std::string take_properties(std::string_view& body) {
    size_t length = 0;
    for (int shift = 0;; shift += 7) {
        const auto byte = static_cast<uint8_t>(take(body, 1)[0]);
        length |= static_cast<size_t>(byte & 127) << shift;
        if (byte < 128) break;
    }
    const std::string block = take(body, length);
    Bytes rest = as_bytes(block);
    std::string words;
    while (!rest.empty()) {
        const PropertyView property = next_property(rest);
        if (usual(property)) continue;
        words += (words.empty() ? "" : ",") + describe_property(property);
    }
    return words.empty() ? "" : "{" + words + "}";
}

std::string describe_publish(uint8_t first, std::string_view body) {
    const int qos = first >> 1 & 3;
    std::string word = "PUBLISH(" + take(body, take_number(body)) + ",";
    const std::string id = qos > 0 ? ",id" + std::to_string(take_number(body)) : "";
    const std::string properties = take_properties(body);
    word += body.size() > 40 ? std::to_string(body.size()) + "B" : std::string(body);
    word += ",q" + std::to_string(qos) + id;
    if ((first & 1) != 0) word += ",retain";
    if ((first & 8) != 0) word += ",dup";
    return word + ")" + properties;
}

std::string hex(uint8_t code) {
    constexpr char kDigits[] = "0123456789abcdef";
    return code < 16 ? std::to_string(code)
                     : std::string{'x', kDigits[code >> 4], kDigits[code & 15]};
}

std::string describe_one(uint8_t first, std::string_view body) {
    const auto ack = [&](const char* name) {
        std::string word = std::string(name) + "(" + std::to_string(take_number(body));
        if (!body.empty()) word += "," + hex(static_cast<uint8_t>(take(body, 1)[0]));
        return word + ")" + (body.empty() ? "" : take_properties(body));
    };
    const auto codes = [&](const char* name) {
        std::string word = std::string(name) + "(" + std::to_string(take_number(body));
        const std::string properties = take_properties(body);
        for (const char code : body)
            word += "," + hex(static_cast<uint8_t>(code));
        return word + ")" + properties;
    };
    switch (first >> 4) {
        case 2: {
            const bool present = take(body, 1)[0] == 1;
            const std::string code = hex(static_cast<uint8_t>(take(body, 1)[0]));
            return "CONNACK(" + code + (present ? ",present)" : ")") + take_properties(body);
        }
        case 3:
            return describe_publish(first, body);
        case 4:
            return ack("PUBACK");
        case 5:
            return ack("PUBREC");
        case 6:
            return ack("PUBREL");
        case 7:
            return ack("PUBCOMP");
        case 9:
            return codes("SUBACK");
        case 11:
            return codes("UNSUBACK");
        case 13:
            return "PINGRESP";
        case 14: {
            const std::string code =
                body.empty() ? "0" : hex(static_cast<uint8_t>(take(body, 1)[0]));
            return "DISCONNECT(" + code + ")" + (body.empty() ? "" : take_properties(body));
        }
        default:
            return "TYPE" + std::to_string(first >> 4);
    }
}

std::string with_length(std::string_view properties) {
    uint8_t length[4];
    const uint32_t size = encode_varint(length, static_cast<uint32_t>(properties.size()));
    return std::string(reinterpret_cast<char*>(length), size) + std::string(properties);
}

}  // namespace

std::string property(Property id, uint32_t number) {
    uint8_t out[8];
    const uint32_t size = encode_property(out, id, number);
    return {reinterpret_cast<char*>(out), size};
}

std::string property(Property id, std::string_view text) {
    return static_cast<char>(id) + packets::text(text);
}

std::string user(std::string_view name, std::string_view value) {
    return static_cast<char>(Property::kUserProperty) + text(name) + text(value);
}

std::string connect(const Connect& fields) {
    const bool will = !fields.will_topic.empty();
    const int flags = (fields.clean ? 2 : 0) | (will ? 4 | fields.will_qos << 3 : 0) |
                      (will && fields.will_retain ? 32 : 0) | (fields.user_name.empty() ? 0 : 128);
    std::string body = text("MQTT") + '\5' + static_cast<char>(flags);
    body += number(fields.keep_alive_s) + with_length(fields.properties) + text(fields.client_id);
    if (will) {
        body += with_length(fields.will_properties) + text(fields.will_topic) +
                text(fields.will_payload);
    }
    if (!fields.user_name.empty()) body += text(fields.user_name);
    return raw(0x10, body);
}

std::string publish(const Publish& fields) {
    std::string body = text(fields.topic);
    if (fields.qos > 0) body += number(fields.packet_id);
    body += with_length(fields.properties) + fields.payload;
    const int flags = (fields.dup ? 8 : 0) | fields.qos << 1 | (fields.retain ? 1 : 0);
    return raw(static_cast<uint8_t>(0x30 | flags), body);
}

std::string ack(PacketType type, uint16_t packet_id, int reason) {
    const int flags = type == PacketType::kPubrel ? 2 : 0;
    std::string body = number(packet_id);
    if (reason != 0) body += static_cast<char>(reason);
    return raw(static_cast<uint8_t>(static_cast<int>(type) << 4 | flags), body);
}

std::string subscribe(uint16_t packet_id, const Filters& filters, std::string_view properties) {
    std::string body = number(packet_id) + with_length(properties);
    for (const auto& [filter, options] : filters)
        body += text(filter) + static_cast<char>(options);
    return raw(0x82, body);
}

std::string unsubscribe(uint16_t packet_id, const std::vector<std::string>& filters) {
    std::string body = number(packet_id) + with_length("");
    for (const std::string& filter : filters)
        body += text(filter);
    return raw(0xa2, body);
}

std::string disconnect(int reason, std::string_view properties) {
    if (reason == 0 && properties.empty()) return raw(0xe0, "");
    std::string body(1, static_cast<char>(reason));
    if (!properties.empty()) body += with_length(properties);
    return raw(0xe0, body);
}

std::string describe(std::string_view bytes) {
    std::string words;
    while (!bytes.empty()) {
        const size_t size = packets::packet_size(bytes);
        if (!words.empty()) words += ' ';
        if (size == 0) return words + "+" + std::to_string(bytes.size());
        size_t header = 2;
        while ((static_cast<uint8_t>(bytes[header - 1]) & 128) != 0)
            ++header;
        words += describe_one(static_cast<uint8_t>(bytes[0]), bytes.substr(header, size - header));
        bytes.remove_prefix(size);
    }
    return words;
}

}  // namespace mqttd::packets5
