#pragma once

// Packets as a client writes them and as a test reads them.
//
// The builders return wire bytes; `describe` turns what the broker sent into one short word per
// packet ("CONNACK(0)", "PUBLISH(t,hello,q1,id1,dup)"), so that a test compares whole conversations
// as text.  Only MQTT 3.1 and 3.1.1; raw() is there for everything malformed.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mqttd::packets {

struct Connect {
    std::string client_id = "client";
    bool clean = true;
    uint16_t keep_alive_s = 0;
    int level = 4;
    std::string will_topic = {};
    std::string will_payload = {};
    int will_qos = 0;
    bool will_retain = false;
    std::string user_name = {};
};

struct Publish {
    std::string topic;
    std::string payload = {};
    int qos = 0;
    uint16_t packet_id = 0;
    bool retain = false;
    bool dup = false;
};

using Filters = std::vector<std::pair<std::string, int>>;

std::string raw(uint8_t first, std::string_view body);
std::string text(std::string_view text);  // two length bytes, then the text
std::string number(uint16_t value);

std::string connect(const Connect& fields);
std::string connect(std::string_view client_id, bool clean = true);
std::string publish(const Publish& fields);
std::string puback(uint16_t packet_id);
std::string pubrec(uint16_t packet_id);
std::string pubrel(uint16_t packet_id);
std::string pubcomp(uint16_t packet_id);
std::string subscribe(uint16_t packet_id, const Filters& filters);
std::string unsubscribe(uint16_t packet_id, const std::vector<std::string>& filters);
std::string pingreq();
std::string disconnect();

// All packets in `bytes`, separated by blanks; payloads over 40 bytes as their length.  What is
// left of an unfinished packet is shown as "+N".
std::string describe(std::string_view bytes);

// The size of the first packet in `bytes`, 0 if it is not whole.
size_t packet_size(std::string_view bytes);

}  // namespace mqttd::packets
