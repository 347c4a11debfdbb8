#include "mqttd/codec.h"

#include "unit/mqtt/wire.h"

#include <catch2/catch.hpp>

namespace mqttd {
namespace {

using test::Exact;
using test::kVersions;
using test::text_of;
using test::Wire;

Wire publish(Version version, unsigned qos, const Wire& properties = {}) {
    Wire wire;
    wire.text("sensors/1/temperature");
    if (qos != 0) wire.u16(0x1234);
    if (is_v5(version)) wire.block(properties);
    return wire.raw("21.5");
}

TEST_CASE("each flag nibble of PUBLISH is taken or refused",
          "[MQTT-3.3.1-2][MQTT-3.3.1-4][MQTT5-3.3.1-2][MQTT5-3.3.1-4]") {
    // Exhaustive: QoS 3 does not exist, and DUP needs an identifier to be a duplicate of.
    for (const Version version : kVersions) {
        for (uint8_t flags = 0; flags < 16; ++flags) {
            const unsigned qos = flags >> 1 & 3;
            const bool dup = (flags & 8) != 0;
            const Exact body(publish(version, qos));
            const Result<PublishView> view = decode_publish(body, flags, version);
            INFO("version " << static_cast<int>(version) << " flags " << int{flags});
            if (qos == 3 || (qos == 0 && dup)) {
                CHECK(view.error() == Error::kMalformedPacket);
                continue;
            }
            REQUIRE(view.error() == Error::kNone);
            CHECK(view->qos == qos);
            CHECK(view->dup == dup);
            CHECK(view->retain == ((flags & 1) != 0));
            CHECK(view->packet_id == (qos == 0 ? 0 : 0x1234));
            CHECK(text_of(view->topic_name) == "sensors/1/temperature");
            CHECK(text_of(view->payload) == "21.5");
            CHECK(view->properties.empty());
        }
    }
}

TEST_CASE("a PUBLISH cut before its payload is refused", "[MQTT-3.3.2-1][MQTT5-3.3.2-1]") {
    // Every cut; what is left of the payload is a payload, of a header it is malformed.
    const Wire properties = Wire().byte(0x02).u32(60).byte(0x26).text("k").text("v");
    for (const Version version : kVersions) {
        for (const uint8_t flags : {uint8_t{0}, uint8_t{2}, uint8_t{0x0c}}) {
            const Wire whole = publish(version, flags >> 1 & 3, properties);
            const size_t payload_at = whole.size() - 4;
            for (size_t cut = 0; cut <= whole.size(); ++cut) {
                const Exact body(Bytes(whole).first(cut));
                const Result<PublishView> view = decode_publish(body, flags, version);
                INFO("version " << static_cast<int>(version) << " cut " << cut);
                if (cut < payload_at) {
                    CHECK(view.error() == Error::kMalformedPacket);
                } else {
                    REQUIRE(view.error() == Error::kNone);
                    CHECK(view->payload.size() == cut - payload_at);
                    CHECK(view->properties.size() == (is_v5(version) ? properties.size() : 0));
                }
            }
        }
    }
}

TEST_CASE("packet identifier 0 is refused above QoS 0", "[MQTT-2.3.1-1][MQTT5-2.2.1-3]") {
    for (const Version version : kVersions) {
        for (const uint8_t flags : {uint8_t{2}, uint8_t{4}}) {
            Wire wire;
            wire.text("t").u16(0).byte(0).raw("payload");
            CHECK(decode_publish(Exact(wire), flags, version).error() == Error::kPacketIdInvalid);
        }
    }
}

TEST_CASE("the topic of a PUBLISH is a name in UTF-8",
          "[MQTT-3.3.2-1][MQTT-3.3.2-2][MQTT5-3.3.2-1][MQTT5-3.3.2-2]") {
    constexpr std::string_view kNul("a\0", 2);
    const std::pair<std::string_view, Error> cases[] = {
        {"a/b",            Error::kNone            },
        {"/",              Error::kNone            },
        {"$SYS/x",         Error::kNone            },
        {"\xc3\xa9",       Error::kNone            },
        {"a/#",            Error::kTopicNameInvalid},
        {"+",              Error::kTopicNameInvalid},
        {"a+b",            Error::kTopicNameInvalid},
        {"\xff",           Error::kMalformedPacket },
        {"a/\xed\xa0\x80", Error::kMalformedPacket },
        {kNul,             Error::kMalformedPacket },
    };
    for (const Version version : kVersions) {
        for (const auto& [topic, want] : cases) {
            Wire wire;
            wire.text(topic);
            if (is_v5(version)) wire.byte(0);
            CHECK(decode_publish(Exact(wire), 0, version).error() == want);
        }
    }
}

TEST_CASE("an empty topic needs an alias", "[MQTT-4.7.3-1][MQTT5-4.7.3-1]") {
    // 3.x knows no alias; in 5.0 it is the alias that names the topic.  Alias 0 comes through: the
    // handler refuses it together with what is above the maximum (0x94).
    const Exact empty(Wire().text("").byte(0).raw("payload"));
    CHECK(decode_publish(empty, 0, Version::k31).error() == Error::kTopicNameInvalid);
    CHECK(decode_publish(empty, 0, Version::k311).error() == Error::kTopicNameInvalid);
    CHECK(decode_publish(empty, 0, Version::k50).error() == Error::kProtocolError);
    for (const unsigned alias : {0u, 1u, 65'535u}) {
        const Exact body(Wire().text("").block(Wire().byte(0x23).u16(alias)).raw("payload"));
        const Result<PublishView> view = decode_publish(body, 0, Version::k50);
        REQUIRE(view);
        CHECK(view->property_set.has(Property::kTopicAlias));
        CHECK(text_of(view->payload) == "payload");
    }
}

TEST_CASE("the properties of a PUBLISH are checked and kept in order", "[mqtt]") {
    const Wire good = Wire().byte(0x26).text("k").text("1").byte(0x26).text("k").text("2");
    const Exact body(publish(Version::k50, 0, good));
    const Result<PublishView> view = decode_publish(body, 0, Version::k50);
    REQUIRE(view);
    CHECK(same_bytes(view->properties, good));
    CHECK(view->property_set.bits == PropertySet::bit(Property::kUserProperty));

    const Wire foreign = Wire().byte(0x11).u32(1);
    CHECK(decode_publish(Exact(publish(Version::k50, 0, foreign)), 0, Version::k50).error() ==
          Error::kMalformedPacket);
    const Wire twice = Wire().byte(0x01).byte(1).byte(0x01).byte(1);
    CHECK(decode_publish(Exact(publish(Version::k50, 0, twice)), 0, Version::k50).error() ==
          Error::kProtocolError);
}

TEST_CASE("a property length in a longer form than needed is refused", "[MQTT5-1.5.5-1]") {
    // The bytes may be passed on as they are, and then they would be our mistake.
    const Exact body(Wire().text("t").byte(0x80).byte(0x00));
    CHECK(decode_publish(body, 0, Version::k50).error() == Error::kMalformedPacket);
}

}  // namespace
}  // namespace mqttd
