#include "mqttd/codec.h"

#include "mqtt/tables.h"
#include "unit/mqtt/wire.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace mqttd {
namespace {

using test::Exact;
using test::kAckTypes;
using test::kVersions;
using test::text_of;
using test::Wire;

// Runs `encode` into exactly `size` bytes and expects it to fill them.
template <class Encode>
std::vector<uint8_t> encoded(uint32_t size, Encode encode) {
    const std::vector<uint8_t> room(size);
    Exact exact{Bytes(room)};
    REQUIRE(encode(exact.data()) == size);
    const Bytes bytes = exact;
    return {bytes.begin(), bytes.end()};
}

struct Packet {
    Frame frame;
    Bytes body;
};

Packet taken(Bytes bytes) {
    const Result<Frame> frame = find_frame(bytes);
    REQUIRE(frame);
    REQUIRE(frame->header_complete());
    REQUIRE(frame->length_minimal);
    return {*frame, bytes.subspan(frame->header)};
}

TEST_CASE("answers are written byte for byte", "[mqtt]") {
    using Bytes8 = std::vector<uint8_t>;
    const auto connack = [](Version version, bool present, uint8_t code) {
        return encoded(connack_size(version),
                       [&](uint8_t* out) { return encode_connack(out, version, present, code); });
    };
    CHECK(connack(Version::k31, false, 0) == Bytes8{0x20, 2, 0, 0});
    CHECK(connack(Version::k311, true, 0) == Bytes8{0x20, 2, 1, 0});
    CHECK(connack(Version::kNone, false, 1) == Bytes8{0x20, 2, 0, 1});
    CHECK(connack(Version::k50, true, 0) == Bytes8{0x20, 3, 1, 0, 0});
    CHECK(connack(Version::k50, false, 0x87) == Bytes8{0x20, 3, 0, 0x87, 0});
    CHECK(connack_size(Version::k311) == kConnackSize);

    const auto ack = [](uint32_t size, PacketType type, Version version, uint8_t reason) {
        return encoded(
            size, [&](uint8_t* out) { return encode_ack(out, type, 0x1234, version, reason); });
    };
    CHECK(ack(kAckSize, PacketType::kPuback, Version::k311, 0x87) == Bytes8{0x40, 2, 0x12, 0x34});
    CHECK(ack(kAckSize, PacketType::kPubrec, Version::k50, 0) == Bytes8{0x50, 2, 0x12, 0x34});
    CHECK(ack(kAckSize, PacketType::kPubrel, Version::k311, 0) == Bytes8{0x62, 2, 0x12, 0x34});
    CHECK(ack(kAckSizeMax, PacketType::kPubcomp, Version::k50, 0x92) ==
          Bytes8{0x70, 3, 0x12, 0x34, 0x92});
    CHECK(ack(kAckSize, PacketType::kUnsuback, Version::k311, 0) == Bytes8{0xb0, 2, 0x12, 0x34});

    CHECK(encoded(kPingrespSize, encode_pingresp) == Bytes8{0xd0, 0});
    CHECK(encoded(2, [](uint8_t* out) { return encode_disconnect(out, 0); }) == Bytes8{0xe0, 0});
    CHECK(encoded(disconnect_size(0x8b), [](uint8_t* out) {
              return encode_disconnect(out, 0x8b);
          }) == Bytes8{0xe0, 1, 0x8b});

    const auto suback = [](PacketType type, uint32_t count, Version version) {
        return encoded(suback_header_size(count, version), [&](uint8_t* out) {
            return encode_suback_header(out, type, 0x1234, count, version);
        });
    };
    CHECK(suback(PacketType::kSuback, 3, Version::k311) == Bytes8{0x90, 5, 0x12, 0x34});
    CHECK(suback(PacketType::kSuback, 3, Version::k50) == Bytes8{0x90, 6, 0x12, 0x34, 0});
    CHECK(suback(PacketType::kUnsuback, 1, Version::k50) == Bytes8{0xb0, 4, 0x12, 0x34, 0});
    CHECK(suback(PacketType::kUnsuback, 0, Version::k311) == Bytes8{0xb0, 2, 0x12, 0x34});
    CHECK(suback(PacketType::kSuback, 1000, Version::k311) == Bytes8{0x90, 0xea, 0x07, 0x12, 0x34});
}

TEST_CASE("a CONNACK carries its properties", "[mqtt]") {
    const Wire properties = Wire().byte(0x12).text(std::string(150, 'x'));
    const auto bytes = encoded(connack_size(Version::k50, properties), [&](uint8_t* out) {
        return encode_connack(out, Version::k50, false, 0, properties);
    });
    const Packet packet = taken(bytes);
    CHECK(packet.frame.size == bytes.size());
    CHECK(same_bytes(packet.body.subspan(4), properties));
}

TEST_CASE("acknowledgements read back as written", "[mqtt]") {
    // All types, versions, reasons of their tables, and identifiers at the edges.
    for (const Version version : kVersions) {
        for (const PacketType type : kAckTypes) {
            for (unsigned code = 0; code < 256; ++code) {
                const auto reason = static_cast<uint8_t>(code);
                if (!reason_valid(type, reason)) continue;
                for (const uint16_t id : {uint16_t{1}, uint16_t{0x100}, uint16_t{0xffff}}) {
                    uint8_t out[kAckSizeMax];
                    const uint32_t size = encode_ack(out, type, id, version, reason);
                    const Packet packet = taken({out, size});
                    REQUIRE(packet.frame.type() == type);
                    const Result<AckView> ack =
                        decode_ack(type, packet.body, packet.frame.flags(), version);
                    REQUIRE(ack);
                    CHECK(ack->packet_id == id);
                    CHECK(ack->reason == (is_v5(version) ? reason : 0));
                }
            }
        }
    }
}

TEST_CASE("a PUBLISH reads back as written", "[mqtt]") {
    // Versions, flags, own and shared properties, and payloads on both sides of a length byte.
    const Wire shared = Wire().byte(0x26).text("k").text("v");
    const Wire own = Wire().byte(0x0b).byte(5);
    for (const Version version : kVersions) {
        for (unsigned flags = 0; flags < 16; ++flags) {
            const unsigned qos = flags >> 1 & 3;
            if (qos == 3 || (qos == 0 && (flags & 8) != 0)) continue;
            for (const size_t payload_size : {0u, 1u, 90u, 120u, 128u, 16'300u, 16'400u}) {
                const std::string payload(payload_size, 'p');
                const Wire properties = is_v5(version) ? shared : Wire();
                const Wire tail = Wire(properties).raw(payload);
                PublishHead head;
                head.version = version;
                head.qos = static_cast<uint8_t>(qos);
                head.dup = (flags & 8) != 0;
                head.retain = (flags & 1) != 0;
                head.packet_id = qos == 0 ? 0 : 77;
                head.topic_name = as_bytes("a/b");
                if (is_v5(version)) head.own_properties = own;
                head.tail_properties = static_cast<uint32_t>(properties.size());
                head.tail_size = static_cast<uint32_t>(tail.size());

                const std::vector<uint8_t> front =
                    encoded(publish_head_size(head),
                            [&](uint8_t* out) { return encode_publish_head(out, head); });
                const Wire whole = Wire().raw(as_text(front)).raw(tail);
                const Packet packet = taken(whole);
                REQUIRE(packet.frame.size == whole.size());
                const Result<PublishView> view =
                    decode_publish(packet.body, packet.frame.flags(), version);
                REQUIRE(view);
                CHECK(packet.frame.flags() == flags);
                CHECK(text_of(view->topic_name) == "a/b");
                CHECK(view->packet_id == head.packet_id);
                CHECK(text_of(view->payload) == payload);
                if (is_v5(version)) CHECK(same_bytes(view->properties, Wire(own).raw(shared)));
            }
        }
    }
}

TEST_CASE("a PUBLISH longer than MQTT can say is not written", "[mqtt]") {
    // A message of nearly the largest size grows by what a receiver adds to it.
    PublishHead head;
    head.topic_name = as_bytes("t");
    head.tail_size = kVarintMax - 3;
    CHECK(publish_head_size(head) == 1 + 4 + 3);
    head.tail_size = kVarintMax - 2;
    CHECK(publish_head_size(head) == 0);
    head.tail_size = 0xffff'ffff;
    CHECK(publish_head_size(head) == 0);
}

TEST_CASE("a CONNECT reads back as written", "[mqtt]") {
    // Every combination of version, bridge, clean start, will, user name and password.
    const Wire will_properties = Wire().byte(0x18).u32(5);
    const Wire properties = Wire().byte(0x21).u16(20);
    const Bytes user_name = as_bytes("user");
    const Bytes password = as_bytes("secret");
    for (const Version version : kVersions) {
        for (unsigned choice = 0; choice < 64; ++choice) {
            WillView will;
            will.topic_name = as_bytes("gone");
            will.payload = as_bytes("x");
            will.qos = static_cast<uint8_t>(choice % 3);
            will.retain = (choice & 1) != 0;
            ConnectFields fields;
            fields.version = version;
            fields.clean_start = (choice & 1) != 0;
            fields.keep_alive_s = 0x1234;
            fields.client_id = as_bytes("client");
            if ((choice & 2) != 0) fields.will = &will;
            if ((choice & 4) != 0) fields.user_name = &user_name;
            if ((choice & 8) != 0 && fields.user_name != nullptr) fields.password = &password;
            fields.bridge = (choice & 16) != 0 && !is_v5(version);
            if (is_v5(version)) {
                will.properties = will_properties;
                fields.properties = properties;
            }
            const auto bytes = encoded(connect_size(fields),
                                       [&](uint8_t* out) { return encode_connect(out, fields); });
            const Packet packet = taken(bytes);
            REQUIRE(packet.frame.size == bytes.size());
            const Result<ConnectView> view = decode_connect(packet.body, packet.frame.flags());
            REQUIRE(view.error() == Error::kNone);
            CHECK(view->version == version);
            CHECK(view->bridge == fields.bridge);
            CHECK(view->clean_start == fields.clean_start);
            CHECK(view->keep_alive_s == 0x1234);
            CHECK(text_of(view->client_id) == "client");
            CHECK(view->has_will == (fields.will != nullptr));
            CHECK(view->has_user_name == (fields.user_name != nullptr));
            CHECK(view->has_password == (fields.password != nullptr));
            if (view->has_password) CHECK(text_of(view->password) == "secret");
            CHECK(same_bytes(view->properties, fields.properties));
            if (!view->has_will) continue;
            CHECK(view->will.qos == will.qos);
            CHECK(view->will.retain == will.retain);
            CHECK(text_of(view->will.topic_name) == "gone");
            CHECK(same_bytes(view->will.properties, will.properties));
        }
    }
}

}  // namespace
}  // namespace mqttd
