// DISCONNECT and PINGREQ.   MQTT 3.1.1 §3.14, §3.12.

#include "broker/core.h"

namespace mqttd {

// An orderly end: the will is thrown away.   [MQTT-3.14.4-3]
Core::Taken Core::handle_disconnect(Link& link, const Input& input) {
    const Result<DisconnectView> decoded =
        decode_disconnect(input.body(), input.frame.flags(), link.version);
    if (!decoded) {
        fail(link, decoded.error());
        return Taken::kYes;
    }
    end_link(link, Error::kNone, false);
    return Taken::kYes;
}

Core::Taken Core::handle_pingreq(Link& link, const Input& input) {
    const Result<bool> decoded = decode_pingreq(input.body(), input.frame.flags());
    if (!decoded) {
        fail(link, decoded.error());
        return Taken::kYes;
    }
    uint8_t pingresp[kPingrespSize];
    encode_pingresp(pingresp);
    answer_bytes(link, pingresp, PacketType::kPingresp);
    return Taken::kYes;
}

}  // namespace mqttd
