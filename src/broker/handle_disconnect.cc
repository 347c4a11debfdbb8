// DISCONNECT and PINGREQ.   MQTT 3.1.1 §3.14, §3.12.

#include "base/mutant.h"
#include "broker/core.h"
#include "mqtt/properties.h"

namespace mqttd {

// An orderly end: the will is thrown away.  With any other reason than 0 a 5.0 client says that it
// is none, and the will is sent.  It may change how long its session stays, but not bring one to
// life that was to end.   [MQTT-3.14.4-3], [MQTT-3.1.2-8]
Core::Taken Core::handle_disconnect(Link& link, const Input& input) {
    const Result<DisconnectView> decoded =
        decode_disconnect(input.body(), input.frame.flags(), link.version);
    if (!decoded) {
        fail(link, decoded.error());
        return Taken::kYes;
    }
    Session& session = *link.session;
    if (decoded->property_set.has(Property::kSessionExpiryInterval)) {
        const uint32_t wanted =
            property_number(decoded->properties, Property::kSessionExpiryInterval, 0);
        if (wanted != 0 && session.expiry_s == 0) {
            fail(link, Error::kProtocolError);  // [MQTT5-3.1.2-23]
            return Taken::kYes;
        }
        set_expiry(session, capped_expiry(wanted));
    }
    end_link(
        link,
        Error::kNone,
        decoded->reason != kReasonSuccess || MQTTD_MUTANT(4));  // a will in spite of DISCONNECT
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
