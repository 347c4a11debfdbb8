#pragma once

// What the broker answers to the first packet of a new connection.

#include "support/packets5.h"
#include "support/world.h"

#include <string>

namespace mqttd::packets5 {

inline std::string answer_to(World& world, const std::string& bytes) {
    auto& connection = world.connection();
    connection.speak_v5();
    connection.send(bytes);
    return connection.received();
}

inline std::string answer(World& world, const Connect& fields) {
    return answer_to(world, connect(fields));
}

inline std::string answer_old(World& world, const packets::Connect& fields) {
    auto& connection = world.connection();
    connection.send(packets::connect(fields));
    return connection.received();
}

}  // namespace mqttd::packets5
