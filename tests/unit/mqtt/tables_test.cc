#include "mqtt/tables.h"

#include "unit/mqtt/wire.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

namespace mqttd {
namespace {

using test::kVersions;

TEST_CASE("every error has its own text", "[errors]") {
    std::set<std::string> texts;
    for (unsigned i = 0; i < static_cast<unsigned>(Error::kCount); ++i) {
        texts.insert(error_text(static_cast<Error>(i)));
    }
    CHECK(texts.size() == static_cast<size_t>(Error::kCount));
    CHECK(std::string(error_text(Error::kMalformedPacket)) == "malformed packet");
    CHECK(std::string(error_text(Error::kCount)) == "unknown error");
}

TEST_CASE("an error is told with codes that its packet may carry",
          "[MQTT5-3.2.2-8][MQTT5-3.14.2-1]") {
    for (unsigned i = 0; i < static_cast<unsigned>(Error::kCount); ++i) {
        const auto error = static_cast<Error>(i);
        const uint8_t v3 = connack_code(error, Version::k311);
        const uint8_t v5 = connack_code(error, Version::k50);
        const uint8_t leaving = disconnect_code(error);
        CHECK((v3 <= 5 || v3 == 0xff));
        CHECK((v5 == 0xff || reason_valid(PacketType::kConnack, v5)));
        CHECK((leaving == 0xff || reason_valid(PacketType::kDisconnect, leaving)));
        // Only success is told as success.
        CHECK((v3 == 0) == (error == Error::kNone));
        CHECK((v5 == 0) == (error == Error::kNone));
        CHECK((leaving == 0) == (error == Error::kNone));
        CHECK(connack_code(error, Version::k31) == v3);
        CHECK(connack_code(error, Version::kNone) == v3);
    }
}

TEST_CASE("refusals are told in the words of each version", "[mqtt]") {
    CHECK(connack_code(Error::kUnsupportedVersion, Version::kNone) == 1);
    CHECK(connack_code(Error::kClientIdInvalid, Version::k311) == 2);
    CHECK(connack_code(Error::kServerBusy, Version::k311) == 3);
    CHECK(connack_code(Error::kBadCredentials, Version::k311) == 4);
    CHECK(connack_code(Error::kNotAuthorized, Version::k311) == 5);
    CHECK(connack_code(Error::kMalformedPacket, Version::k311) == 0xff);
    CHECK(connack_code(Error::kUnsupportedVersion, Version::k50) == 0x84);
    CHECK(connack_code(Error::kClientIdInvalid, Version::k50) == 0x85);
    CHECK(connack_code(Error::kBadCredentials, Version::k50) == 0x86);
    CHECK(disconnect_code(Error::kProtocolError) == 0x82);
    CHECK(disconnect_code(Error::kSessionTakenOver) == 0x8e);
    CHECK(disconnect_code(Error::kKeepAliveTimeout) == 0x8d);
    CHECK(disconnect_code(Error::kPacketTooLarge) == 0x95);
    CHECK(disconnect_code(Error::kReset) == 0xff);
}

TEST_CASE("a packet's shape is judged by its row", "[mqtt]") {
    // Types, versions, flags and a few sizes; the reserved type never passes, AUTH not before 5.0.
    for (const Version version : kVersions) {
        for (unsigned type = 0; type < 16; ++type) {
            const auto packet = static_cast<PacketType>(type);
            const PacketRow& row = packet_row(packet);
            CHECK(row.type == packet);
            const Bounds body = is_v5(version) ? row.body_v5 : row.body_v3;
            const bool known =
                packet != PacketType::kReserved && (packet != PacketType::kAuth || is_v5(version));
            CHECK((body.min <= body.max) == known);
            for (size_t size = 0; size < 20; ++size) {
                const bool fits = size >= body.min && size <= body.max;
                CHECK(packet_shape_valid(packet, row.flags, size, version) == fits);
                if (packet == PacketType::kPublish) continue;
                CHECK_FALSE(packet_shape_valid(packet, row.flags ^ 1, size, version));
                CHECK_FALSE(packet_shape_valid(packet, row.flags ^ 2, size, version));
            }
        }
    }
}

TEST_CASE("names of reasons are found", "[reasons]") {
    for (const ReasonRow& row : reason_rows()) {
        CHECK(reason_name(row.code) == row.name);
    }
    CHECK(std::string(reason_name(0x55)) == "unknown reason");
    CHECK(property_rows().size() == 27);
}

}  // namespace
}  // namespace mqttd
