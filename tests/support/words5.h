#pragma once

// Short words for the packets that the tests of MQTT 5.0 send and look at most.

#include "support/packets5.h"

#include <string>
#include <string_view>

namespace mqttd::packets5 {

// SUBSCRIBE 1 to one filter.
inline std::string sub(std::string_view filter, int options, std::string_view properties = {}) {
    const Filters one(1, {std::string(filter), options});
    return subscribe(1, one, properties);
}

// The same in 3.1.1.
inline std::string sub3(std::string_view filter, int qos) {
    const packets::Filters one(1, {std::string(filter), qos});
    return packets::subscribe(1, one);
}

// PUBLISH at QoS 0.
inline std::string pub(std::string_view topic,
                       std::string_view payload,
                       std::string_view properties = {}) {
    return publish({.topic = std::string(topic),
                    .payload = std::string(payload),
                    .properties = std::string(properties)});
}

// PUBLISH at QoS 1 or 2.
inline std::string pub(std::string_view topic,
                       std::string_view payload,
                       int qos,
                       uint16_t packet_id,
                       std::string_view properties = {}) {
    return publish({.topic = std::string(topic),
                    .payload = std::string(payload),
                    .qos = qos,
                    .packet_id = packet_id,
                    .properties = std::string(properties)});
}

// PUBLISH with RETAIN at QoS 0.
inline std::string keep(std::string_view topic,
                        std::string_view payload,
                        std::string_view properties = {}) {
    return publish({.topic = std::string(topic),
                    .payload = std::string(payload),
                    .properties = std::string(properties),
                    .retain = true});
}

// A client whose session stays for so many seconds.
inline Connect durable(std::string_view id, uint32_t stays_s = 1'000) {
    return {.client_id = std::string(id),
            .clean = false,
            .properties = property(Property::kSessionExpiryInterval, stays_s)};
}

// Of received(): the first packet without its properties.
inline std::string head(std::string_view words) {
    return std::string(words.substr(0, words.find('{')));
}

inline std::string alias(uint16_t number) {
    return property(Property::kTopicAlias, number);
}

inline std::string expiry(uint32_t seconds) {
    return property(Property::kMessageExpiryInterval, seconds);
}

inline std::string identifier(uint32_t number) {
    return property(Property::kSubscriptionIdentifier, number);
}

}  // namespace mqttd::packets5
