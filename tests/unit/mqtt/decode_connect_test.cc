#include "mqttd/codec.h"

#include "unit/mqtt/wire.h"

#include <catch2/catch.hpp>

namespace mqttd {
namespace {

using test::Exact;
using test::kVersions;
using test::text_of;
using test::Wire;

Wire protocol(Version version) {
    return Wire()
        .text(version == Version::k31 ? "MQIsdp" : "MQTT")
        .byte(static_cast<unsigned>(version));
}

// A CONNECT whose payload has just the fields that `flags` announce.
Wire connect(Version version, unsigned flags) {
    Wire wire = protocol(version);
    wire.byte(flags).u16(30);
    if (is_v5(version)) wire.block(Wire().byte(0x21).u16(20));
    wire.text("client");
    if ((flags & 0x04) != 0) {
        if (is_v5(version)) wire.block(Wire().byte(0x18).u32(5));
        wire.text("will/topic").text("gone");
    }
    if ((flags & 0x80) != 0) wire.text("user");
    if ((flags & 0x40) != 0) wire.text("secret");
    return wire;
}

// §3.1.2.3 and its forerunners, flag by flag.
bool flags_legal(Version version, unsigned flags) {
    const bool will = (flags & 0x04) != 0;
    const unsigned will_qos = flags >> 3 & 3;
    const bool will_retain = (flags & 0x20) != 0;
    if (will_qos == 3) return false;
    if (version == Version::k31) return true;
    if ((flags & 0x01) != 0) return false;
    if (!will && (will_qos != 0 || will_retain)) return false;
    if (version == Version::k311 && (flags & 0x40) != 0 && (flags & 0x80) == 0) return false;
    return true;
}

TEST_CASE("each flag byte of CONNECT is taken or refused as its version says",
          "[MQTT-3.1.2-3][MQTT-3.1.2-11][MQTT-3.1.2-13][MQTT-3.1.2-14][MQTT-3.1.2-15]"
          "[MQTT-3.1.2-22][MQTT5-3.1.2-3][MQTT5-3.1.2-11][MQTT5-3.1.2-12][MQTT5-3.1.2-13]") {
    // Exhaustive over flags and versions; what is taken must come out field by field.
    for (const Version version : kVersions) {
        for (unsigned flags = 0; flags < 256; ++flags) {
            const Exact body(connect(version, flags));
            const Result<ConnectView> view = decode_connect(body, 0);
            INFO("version " << static_cast<int>(version) << " flags " << flags);
            if (!flags_legal(version, flags)) {
                CHECK(view.error() == Error::kMalformedPacket);
                continue;
            }
            REQUIRE(view.error() == Error::kNone);
            CHECK(view->version == version);
            CHECK_FALSE(view->bridge);
            CHECK(view->clean_start == ((flags & 0x02) != 0));
            CHECK(view->keep_alive_s == 30);
            CHECK(text_of(view->client_id) == "client");
            CHECK(view->has_will == ((flags & 0x04) != 0));
            CHECK(view->has_user_name == ((flags & 0x80) != 0));
            CHECK(view->has_password == ((flags & 0x40) != 0));
            CHECK(text_of(view->user_name) == (view->has_user_name ? "user" : ""));
            CHECK(text_of(view->password) == (view->has_password ? "secret" : ""));
            CHECK(view->property_set.has(Property::kReceiveMaximum) == is_v5(version));
            if (!view->has_will) continue;
            CHECK(view->will.qos == (flags >> 3 & 3));
            CHECK(view->will.retain == ((flags & 0x20) != 0));
            CHECK(text_of(view->will.topic_name) == "will/topic");
            CHECK(text_of(view->will.payload) == "gone");
            CHECK(view->will.property_set.has(Property::kWillDelayInterval) == is_v5(version));
        }
    }
}

TEST_CASE("a CONNECT cut anywhere, or with bytes left over, is refused",
          "[MQTT-3.1.4-1][MQTT-3.1.2-9][MQTT-3.1.2-19][MQTT-3.1.2-21][MQTT-3.1.3-3]"
          "[MQTT5-3.1.4-1][MQTT5-3.1.2-9][MQTT5-3.1.2-17][MQTT5-3.1.2-19][MQTT5-3.1.3-3]") {
    // Every cut of a full packet; no look past the end.  3.1 alone may leave out what its flags
    // announce last: user name and password.
    for (const Version version : kVersions) {
        const Wire whole = connect(version, 0xc6);
        const size_t password_at = whole.size() - 2 - 6;
        const size_t user_name_at = password_at - 2 - 4;
        for (size_t cut = 0; cut < whole.size(); ++cut) {
            const Exact body(Bytes(whole).first(cut));
            const bool loose =
                version == Version::k31 && (cut == user_name_at || cut == password_at);
            const Error error = decode_connect(body, 0).error();
            if (error != (loose ? Error::kNone : Error::kMalformedPacket)) {
                FAIL("version " << static_cast<int>(version) << " cut " << cut);
            }
        }
        const Exact longer(Wire(whole).byte(0));
        CHECK(decode_connect(longer, 0).error() == Error::kMalformedPacket);
    }
}

TEST_CASE("a 3.1 client may announce a user name and leave it out", "[A1]") {
    // MQTT 3.1: the Remaining Length takes precedence over the user name flag.
    Wire wire = protocol(Version::k31);
    wire.byte(0xc2).u16(0).text("client");
    const Result<ConnectView> view = decode_connect(Exact(wire), 0);
    REQUIRE(view);
    CHECK_FALSE(view->has_user_name);
    CHECK_FALSE(view->has_password);
}

TEST_CASE("only the known pairs of name and level are spoken",
          "[MQTT-3.1.2-1][MQTT-3.1.2-2][MQTT5-3.1.2-1][MQTT5-3.1.2-2]") {
    // All levels with each name; the bridge bit is known for 3.1 and 3.1.1.
    for (const std::string_view name : {"MQTT", "MQIsdp", "MQTX", "mqtt", "", "MQTTT", "MQT"}) {
        for (unsigned level = 0; level < 256; ++level) {
            Wire wire;
            wire.text(name).byte(level).byte(0x02).u16(0);
            if (level == 5) wire.byte(0);
            wire.text("c");
            const Exact body(wire);
            const bool old_name = name == "MQIsdp" && (level == 3 || level == 0x83);
            const bool new_name = name == "MQTT" && (level == 4 || level == 5 || level == 0x84);
            const Result<ConnectView> view = decode_connect(body, 0);
            INFO(name << " " << level);
            if (!old_name && !new_name) {
                CHECK(view.error() == Error::kUnsupportedVersion);
                CHECK(connect_version(body) == Version::kNone);
                continue;
            }
            REQUIRE(view.error() == Error::kNone);
            CHECK(view->bridge == (level >= 0x80));
            CHECK(static_cast<unsigned>(view->version) == (level & 0x7f));
            CHECK(connect_version(body) == view->version);
        }
    }
}

TEST_CASE("an unknown version is known right after its level", "[A4]") {
    // The rest of such a packet is written by rules that we do not know.
    CHECK(decode_connect(Exact(Wire().text("MQTT").byte(6)), 0).error() ==
          Error::kUnsupportedVersion);
    CHECK(decode_connect(Exact(Wire().text("MQTT").byte(6).byte(0xff)), 0).error() ==
          Error::kUnsupportedVersion);
    CHECK(decode_connect(Exact(Wire().text("HTTP")), 0).error() == Error::kUnsupportedVersion);
    CHECK(decode_connect(Exact(Wire().text("MQTT")), 0).error() == Error::kMalformedPacket);
    CHECK(connect_version(Exact(Wire().text("MQTT"))) == Version::kNone);
}

TEST_CASE("the version of a malformed CONNECT can be told", "[mqtt]") {
    // The refusal is written in the client's own form.
    const Exact body(protocol(Version::k50).byte(0x01));
    CHECK(decode_connect(body, 0).error() == Error::kMalformedPacket);
    CHECK(connect_version(body) == Version::k50);
}

TEST_CASE("CONNECT has no header flags", "[MQTT-2.2.2-2][MQTT5-2.1.3-1]") {
    for (const Version version : kVersions) {
        const Exact body(connect(version, 0x02));
        for (uint8_t flags = 1; flags < 16; ++flags) {
            CHECK(decode_connect(body, flags).error() == Error::kMalformedPacket);
        }
    }
}

TEST_CASE("the texts of CONNECT are UTF-8 and the will topic is a name",
          "[MQTT-3.1.3-4][MQTT-3.1.3-10][MQTT-3.1.3-11][MQTT5-3.1.3-4][MQTT5-3.1.3-11]"
          "[MQTT5-3.1.3-12]") {
    // One bad byte in each field; password and will payload are binary and may hold anything.
    struct Case {
        std::string_view client, topic, payload, user, password;
        Error want;
    };

    constexpr std::string_view kNul("\0", 1);
    const Case cases[] = {
        {"c",    "t",            "p",    "u",        "w",    Error::kNone            },
        {"\xff", "t",            "p",    "u",        "w",    Error::kMalformedPacket },
        {"c",    "\xed\xa0\x80", "p",    "u",        "w",    Error::kMalformedPacket },
        {"c",    "t/#",          "p",    "u",        "w",    Error::kTopicNameInvalid},
        {"c",    "",             "p",    "u",        "w",    Error::kTopicNameInvalid},
        {"c",    "t",            "\xff", "u",        "w",    Error::kNone            },
        {"c",    "t",            "p",    "\xc0\x80", "w",    Error::kMalformedPacket },
        {"c",    "t",            "p",    kNul,       "w",    Error::kMalformedPacket },
        {"c",    "t",            "p",    "u",        "\xff", Error::kNone            },
        {"",     "t",            "",     "",         "",     Error::kNone            },
    };
    for (const Version version : kVersions) {
        for (const Case& c : cases) {
            Wire wire = protocol(version);
            wire.byte(0xc6).u16(0);
            if (is_v5(version)) wire.byte(0);
            wire.text(c.client);
            if (is_v5(version)) wire.byte(0);
            wire.text(c.topic).text(c.payload).text(c.user).text(c.password);
            CHECK(decode_connect(Exact(wire), 0).error() == c.want);
        }
    }
}

TEST_CASE("authentication data comes with a method only", "[mqtt]") {
    const auto with = [](const Wire& properties) {
        Wire wire = protocol(Version::k50);
        wire.byte(0x02).u16(0).block(properties).text("c");
        return decode_connect(Exact(wire), 0).error();
    };
    const Wire method = Wire().byte(0x15).text("SCRAM");
    const Wire data = Wire().byte(0x16).text("\xff");
    CHECK(with(method) == Error::kNone);
    CHECK(with(Wire(method).raw(data)) == Error::kNone);
    CHECK(with(Wire(data).raw(method)) == Error::kNone);
    CHECK(with(data) == Error::kProtocolError);
}

}  // namespace
}  // namespace mqttd
