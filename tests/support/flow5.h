#pragma once

// What the tests of 5.0 flows share: a reader with a Receive Maximum, numbered messages.

#include "support/packets5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <string>

namespace mqttd::packets5 {

inline Connect reader_with(uint32_t receive_maximum, uint32_t stays = 1'000, bool clean = false) {
    Connect fields{.client_id = "r", .clean = clean};
    if (receive_maximum != 0)
        fields.properties = property(Property::kReceiveMaximum, receive_maximum);
    if (stays != 0) fields.properties += property(Property::kSessionExpiryInterval, stays);
    return fields;
}

inline void subscribe_to_t(FakeConnection& reader, int qos = 2) {
    reader.send(subscribe(1,
                          {
                              {"t", qos}
    }));
    REQUIRE(reader.received() == "SUBACK(1," + std::to_string(qos) + ")");
}

// Publishes "begin" to "end - 1" at this QoS.
inline void publish_numbers(FakeConnection& writer, int begin, int end, int qos) {
    for (int i = begin; i < end; ++i) {
        writer.send(
            publish({.topic = "t", .payload = std::to_string(i), .qos = qos, .packet_id = 1}));
        if (qos == 2) writer.send(ack(PacketType::kPubrel, 1));
        writer.take_output();
    }
}

// "PUBLISH(t,3,q1,id4) PUBLISH(t,4,q1,id5) …" for the messages begin to end - 1.
inline std::string publishes(int begin, int end, int qos, const char* dup = "") {
    std::string words;
    for (int i = begin; i < end; ++i) {
        words += (words.empty() ? "PUBLISH(t," : " PUBLISH(t,") + std::to_string(i) + ",q" +
                 std::to_string(qos) + ",id" + std::to_string(i + 1) + dup + ")";
    }
    return words;
}

inline uint64_t dropped(World& world, Drop reason) {
    return world.stats().drops[static_cast<uint32_t>(reason)];
}

}  // namespace mqttd::packets5
