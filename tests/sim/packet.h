#pragma once

// Packets as the simulated clients write and read them.
//
// Written apart from src/mqtt, so that a fault there is not repeated here. What a client writes is
// an Op: the model gets the same Op when the broker has taken its bytes. What it reads is a Packet.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd::sim {

enum class Type : uint8_t {
    kConnect = 1,
    kConnack,
    kPublish,
    kPuback,
    kPubrec,
    kPubrel,
    kPubcomp,
    kSubscribe,
    kSuback,
    kUnsubscribe,
    kUnsuback,
    kPingreq,
    kPingresp,
    kDisconnect,
    kAuth,
    kGarbage,  // not a packet at all
};

constexpr uint32_t kNever32 = ~uint32_t{0};

// A publication, the will of a client included. Its payload begins with its number.
struct Message {
    uint32_t number = 0;
    uint32_t publisher = 0;  // index of the client
    uint32_t topic = 0;      // index in the world's table
    uint32_t size = 0;       // of the payload; 0: an empty one, which has no number in it
    uint32_t expiry_s = kNever32;
    uint8_t qos = 0;
    bool retain = false;
};

struct WillPlan {
    uint32_t message = 0;
    uint32_t delay_s = 0;
};

struct ConnectPlan {
    uint8_t level = 4;
    bool clean = true;
    uint16_t keep_alive_s = 0;
    uint32_t expiry_s = 0;  // 5.0
    uint16_t receive_maximum = 65'535;
    uint16_t alias_maximum = 0;
    uint32_t packet_maximum = 0;  // 0: not said
    bool has_will = false;
    WillPlan will;
};

struct FilterPlan {
    uint32_t filter = 0;  // index in the world's table
    uint32_t identifier = 0;
    uint8_t qos = 0;
    uint8_t retain_handling = 0;
    bool no_local = false;
    bool retain_as_published = false;
    bool doubtful = false;  // it was answered with a refusal: it may hold or not
};

struct Op {
    Type type = Type::kGarbage;
    uint16_t packet_id = 0;
    uint8_t reason = 0;
    bool dup = false;
    uint32_t message = 0;          // PUBLISH
    uint32_t expiry_s = kNever32;  // DISCONNECT: as changed
    uint32_t size = 0;             // bytes on the wire
    std::shared_ptr<const ConnectPlan> connect;
    std::vector<FilterPlan> filters;  // SUBSCRIBE, UNSUBSCRIBE
};

struct Packet {
    Type type = Type::kGarbage;
    bool dup = false;
    bool retain = false;
    bool session_present = false;
    bool malformed = false;
    bool has_expiry = false;
    uint8_t qos = 0;
    uint8_t reason = 0;
    uint16_t packet_id = 0;
    uint16_t alias = 0;
    uint16_t receive_maximum = 65'535;
    uint16_t alias_maximum = 0;
    uint32_t expiry_s = 0;
    uint32_t size = 0;  // bytes on the wire
    std::string_view topic;
    std::string_view payload;
    std::string_view codes;  // SUBACK, UNSUBACK
    uint32_t ids[8] = {};    // subscription identifiers
    uint32_t id_count = 0;
};

// The first packet of `bytes`; size 0: it is not whole yet. The views live as long as `bytes`.
Packet read_packet(std::string_view bytes, bool v5);

// ---- Writing: each appends one packet
// ---------------------------------------------------------------

struct Words {
    const std::vector<std::string>& topics;
    const std::vector<std::string>& filters;
};

void write_connect(std::string& to,
                   std::string_view client_id,
                   const ConnectPlan& plan,
                   const Message* will,
                   const Words& words);
//   alias   0: none
//   named   the topic is written out; else the alias stands for it
void write_publish(std::string& to,
                   const Message& message,
                   std::string_view topic,
                   bool v5,
                   uint16_t packet_id,
                   bool dup,
                   uint16_t alias,
                   bool named);
void write_ack(std::string& to, Type type, uint16_t packet_id, uint8_t reason, bool v5);
void write_subscribe(std::string& to, const Op& op, bool v5, const Words& words);
void write_unsubscribe(std::string& to, const Op& op, bool v5, const Words& words);
void write_pingreq(std::string& to);
void write_disconnect(std::string& to, const Op& op, bool v5);

// A message's payload: its number, then bytes that follow from it.
void write_payload(std::string& to, const Message& message);
// The number in a payload, 0 if there is none or a byte behind it is wrong.
uint32_t number_in(std::string_view payload);

}  // namespace mqttd::sim
