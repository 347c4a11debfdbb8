#include "bench/engine/people.h"

#include "support/packets.h"
#include "support/packets5.h"

namespace mqttd::bench {

namespace {

const std::string kPayload(64, 'x');

}  // namespace

std::string connect(Speech speech, const Hello& hello) {
    if (speech == Speech::k3) {
        return packets::connect({.client_id = hello.client_id,
                                 .clean = hello.clean,
                                 .keep_alive_s = hello.keep_alive_s});
    }
    packets5::Connect fields{.client_id = hello.client_id, .clean = hello.clean};
    fields.keep_alive_s = hello.keep_alive_s;
    if (!hello.clean)
        fields.properties = packets5::property(Property::kSessionExpiryInterval, 100'000);
    return packets5::connect(fields);
}

std::string subscribe(Speech speech, const std::string& filter, int qos) {
    const packets::Filters filters(1, {filter, qos});
    return speech == Speech::k3 ? packets::subscribe(1, filters) : packets5::subscribe(1, filters);
}

std::string unsubscribe(Speech speech, const std::string& filter) {
    return speech == Speech::k3 ? packets::unsubscribe(1, {filter})
                                : packets5::unsubscribe(1, {filter});
}

std::string disconnect() {
    return packets::disconnect();
}

std::string publish(
    Speech speech, const std::string& topic, int qos, uint16_t packet_id, bool retain) {
    if (speech == Speech::k3) {
        return packets::publish({.topic = topic,
                                 .payload = kPayload,
                                 .qos = qos,
                                 .packet_id = packet_id,
                                 .retain = retain});
    }
    packets5::Publish fields{
        .topic = topic, .payload = kPayload, .qos = qos, .packet_id = packet_id};
    fields.retain = retain;
    return packets5::publish(fields);
}

std::string publishes(Speech speech, const std::string& topic, int qos, uint16_t count) {
    std::string bytes;
    for (uint16_t id = 1; id <= count; ++id)
        bytes += publish(speech, topic, qos, qos == 0 ? uint16_t{0} : id);
    return bytes;
}

std::string replies(std::string_view output) {
    std::string answers;
    while (const size_t size = packets::packet_size(output)) {
        const std::string_view packet = output.substr(0, size);
        output.remove_prefix(size);
        size_t at = 1;  // behind the fixed header
        while ((packet[at++] & 0x80) != 0) {
        }
        const auto type = static_cast<uint8_t>(packet[0]) >> 4;
        const int qos = packet[0] >> 1 & 3;
        uint8_t answer = 0;
        if (type == 3 && qos != 0) {
            at += 2 + (static_cast<size_t>(static_cast<uint8_t>(packet[at])) << 8 |
                       static_cast<uint8_t>(packet[at + 1]));
            answer = qos == 1 ? 0x40 : 0x50;
        } else if (type == 5) {
            answer = 0x62;
        } else if (type == 6) {
            answer = 0x70;
        }
        if (answer != 0) answers += packets::raw(answer, packet.substr(at, 2));
    }
    return answers;
}

void converse(Engine& engine, int one, int other) {
    for (;;) {
        const std::string first = replies(engine.kernel.take(one));
        const std::string second = replies(engine.kernel.take(other));
        if (first.empty() && second.empty()) return;
        if (!first.empty()) engine.kernel.feed(one, first);
        if (!second.empty()) engine.kernel.feed(other, second);
        engine.settle();
    }
}

}  // namespace mqttd::bench
