#pragma once

// What a test that watches `$SYS` reads: PUBLISH packets at QoS 0 as topics and payloads.

#include "support/packets.h"

#include <string>
#include <string_view>
#include <vector>

namespace mqttd {

struct SysValue {
    std::string name;  // below "$SYS/broker/"
    std::string payload;
    bool retain = false;
};

// All QoS 0 PUBLISH packets in `bytes`; other packets are passed over.
inline std::vector<SysValue> sys_values(std::string_view bytes) {
    constexpr std::string_view kRoot = "$SYS/broker/";
    std::vector<SysValue> values;
    while (const size_t size = packets::packet_size(bytes)) {
        const std::string_view packet = bytes.substr(0, size);
        bytes.remove_prefix(size);
        if ((static_cast<uint8_t>(packet[0]) & 0xf6) != 0x30) continue;
        size_t at = 1;
        while ((static_cast<uint8_t>(packet[at]) & 0x80) != 0)
            ++at;
        ++at;
        const size_t topic_size = static_cast<size_t>(static_cast<uint8_t>(packet[at])) << 8 |
                                  static_cast<uint8_t>(packet[at + 1]);
        const std::string_view topic = packet.substr(at + 2, topic_size);
        if (!topic.starts_with(kRoot)) continue;
        values.push_back({std::string(topic.substr(kRoot.size())),
                          std::string(packet.substr(at + 2 + topic_size)),
                          (packet[0] & 1) != 0});
    }
    return values;
}

// The last payload of one name, or "-".
inline std::string sys_value(const std::vector<SysValue>& values, std::string_view name) {
    std::string last = "-";
    for (const SysValue& value : values) {
        if (value.name == name) last = value.payload;
    }
    return last;
}

}  // namespace mqttd
