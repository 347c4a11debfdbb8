#pragma once

// What clients say on the paths that are counted, in both versions, and what they answer.

#include "bench/engine/engine.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace mqttd::bench {

enum class Speech : uint8_t { k3, k5 };

struct Hello {
    std::string client_id;
    bool clean = true;          // else the session stays
    uint16_t keep_alive_s = 0;  // 0: none
};

std::string connect(Speech speech, const Hello& hello);
std::string subscribe(Speech speech, const std::string& filter, int qos);
std::string unsubscribe(Speech speech, const std::string& filter);
std::string disconnect();

// 64 bytes of payload.
std::string publish(Speech speech,
                    const std::string& topic,
                    int qos = 0,
                    uint16_t packet_id = 0,
                    bool retain = false);

// PUBLISH to one topic with the identifiers 1 … count.
std::string publishes(Speech speech, const std::string& topic, int qos, uint16_t count);

// What a client answers to all this: PUBACK, PUBREC, PUBREL, PUBCOMP.
std::string replies(std::string_view output);

// Both lines say what they have to until neither is owed an answer.
void converse(Engine& engine, int one, int other);

}  // namespace mqttd::bench
