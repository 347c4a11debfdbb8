#pragma once

// Packets of MQTT 5.0 as a client writes them and as a test reads them; see packets.h.
//
// Properties are strings of encoded properties, put together with `property` and `user`. They are
// described in braces behind their packet, by short names: "PUBLISH(t,x,q0){alias=1,user=a:b}".
// What follows from our defaults is left out of a CONNACK: receive maximum, maximum packet size,
// alias maximum.

#include "mqttd/packet.h"

#include "support/packets.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd::packets5 {

std::string property(Property id, uint32_t number);
std::string property(Property id, std::string_view text);
std::string user(std::string_view name, std::string_view value);

struct Connect {
    std::string client_id = "client";
    bool clean = true;
    std::string properties = {};
    uint16_t keep_alive_s = 0;
    std::string will_topic = {};
    std::string will_payload = {};
    int will_qos = 0;
    bool will_retain = false;
    std::string will_properties = {};
    std::string user_name = {};
};

struct Publish {
    std::string topic;
    std::string payload = {};
    int qos = 0;
    uint16_t packet_id = 0;
    std::string properties = {};
    bool retain = false;
    bool dup = false;
};

// Subscription options: QoS, and these.
constexpr int kNoLocal = 4;
constexpr int kRetainAsPublished = 8;
constexpr int kRetainIfNew = 16;
constexpr int kRetainNever = 32;

using Filters = std::vector<std::pair<std::string, int>>;

std::string connect(const Connect& fields);
std::string publish(const Publish& fields);
std::string ack(PacketType type, uint16_t packet_id, int reason = 0);
std::string subscribe(uint16_t packet_id, const Filters& filters, std::string_view properties = {});
std::string unsubscribe(uint16_t packet_id, const std::vector<std::string>& filters);
std::string disconnect(int reason = 0, std::string_view properties = {});

std::string describe(std::string_view bytes);

}  // namespace mqttd::packets5
