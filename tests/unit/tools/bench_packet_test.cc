// What mqttbench sends is read back by the product's own decoder; what it reads is cut everywhere.

#include "tools/bench_packet.h"

#include "mqttd/codec.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

using namespace mqttd::bench;

namespace {

const uint8_t* bytes_of(const std::string& text) {
    return reinterpret_cast<const uint8_t*>(text.data());
}

Frame frame_of(const std::string& text) {
    return next_frame(bytes_of(text), text.size());
}

}  // namespace

TEST_CASE("a frame is whole exactly when its last byte is there", "[tools]") {
    for (const size_t payload : {0u, 8u, 100u, 127u, 128u, 16'384u, 70'000u}) {
        const std::string text = publish_form(Protocol::k311, "t", payload, 0).bytes;
        for (size_t cut = 0; cut < text.size(); cut += 1 + cut / 50) {
            REQUIRE(next_frame(bytes_of(text), cut).whole == 0);
        }
        REQUIRE(next_frame(bytes_of(text), text.size() - 1).whole == 0);
        REQUIRE(frame_of(text).whole == text.size());
        REQUIRE(frame_of(text + "more").whole == text.size());
    }
}

TEST_CASE("a length of five bytes is malformed, not waited for", "[tools]") {
    REQUIRE(frame_of("\x30\xff\xff\xff\xff\x01").malformed);
    REQUIRE(!frame_of("\x30\xff\xff\xff").malformed);
}

TEST_CASE("a PUBLISH that was built is parsed into the same parts", "[tools]") {
    for (const Protocol protocol : {Protocol::k31, Protocol::k311, Protocol::k50}) {
        for (uint8_t qos = 0; qos <= 2; ++qos) {
            PublishForm form = publish_form(protocol, "some/topic", 40, qos, true);
            REQUIRE(form.bytes.size() == publish_bytes(protocol, 10, 40, qos));
            if (qos > 0) put_id(reinterpret_cast<uint8_t*>(form.bytes.data()) + form.id_at, 4711);
            const Frame frame = frame_of(form.bytes);
            const auto first = static_cast<uint8_t>(form.bytes[0]);
            REQUIRE(first == (0x31 | qos << 1));
            const Arrived arrived = parse_publish(protocol, first, frame);
            REQUIRE(arrived.topic == "some/topic");
            REQUIRE(arrived.payload_bytes == 40);
            REQUIRE(arrived.payload == bytes_of(form.bytes) + form.payload_at);
            REQUIRE(arrived.id == (qos > 0 ? 4711 : 0));
        }
    }
}

TEST_CASE("a PUBLISH whose lengths do not fit has no payload", "[tools]") {
    const auto parsed = [](const std::string& text) {
        return parse_publish(Protocol::k50, static_cast<uint8_t>(text[0]), frame_of(text));
    };
    REQUIRE(parsed(std::string("\x30\x01\x00", 3)).payload == nullptr);
    REQUIRE(parsed(std::string("\x30\x03\x00\x09t", 5)).payload == nullptr);
    REQUIRE(parsed(std::string("\x30\x03\x00\x01t", 5)).payload == nullptr);      // no properties
    REQUIRE(parsed(std::string("\x30\x04\x00\x01t\x05", 6)).payload == nullptr);  // too long
    REQUIRE(parsed(std::string("\x32\x04\x00\x01t\x05", 6)).payload == nullptr);  // half an id
    REQUIRE(parsed(std::string("\x30\x04\x00\x01t\x00", 6)).payload != nullptr);
}

TEST_CASE("the Receive Maximum is found among other properties", "[tools]") {
    const auto maximum = [](const std::string& properties) {
        std::string body("\x00\x00", 2);
        body += static_cast<char>(properties.size());
        body += properties;
        return connack_receive_maximum(
            frame_of(std::string("\x20") + static_cast<char>(body.size()) + body));
    };
    using namespace std::string_literals;
    REQUIRE(maximum("") == 65535);
    REQUIRE(maximum("\x21\x00\x14"s) == 20);
    REQUIRE(maximum("\x27\x00\x01\x00\x00\x24\x01\x22\x00\x0a\x21\x01\x00"s) == 256);
    REQUIRE(maximum("\x12\x00\x03"s + "abc\x21\x00\x05"s) == 5);
    REQUIRE(maximum("\x26\x00\x01"s + "k\x00\x01v\x21\x00\x07"s) == 7);
    REQUIRE(maximum("\x12\x00\x30"s + "abc"s) == 65535);  // a string that does not fit
    REQUIRE(maximum("\x21\x00"s) == 65535);
    REQUIRE(connack_receive_maximum(frame_of("\x20\x02\x00\x00"s)) == 65535);
}
