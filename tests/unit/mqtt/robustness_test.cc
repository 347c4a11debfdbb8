#include "base/prng.h"
#include "fuzz/decode_all.h"
#include "unit/mqtt/wire.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace mqttd {
namespace {

using test::Exact;
using test::Wire;

constexpr uint64_t kSeed = 20'240'607;

// Good packets of 5.0, as a starting point for damage; most are good in 3.x too.
std::vector<std::string> good_packets() {
    const auto packet = [](unsigned first, const Wire& body) {
        return std::string(as_text(Wire().byte(first).block(body)));
    };
    const Wire user = Wire().byte(0x26).text("k").text("v");
    const Wire will = Wire(user).byte(0x18).u32(5);
    const Wire login = Wire().byte(0x15).text("M").byte(0x16).text("d");
    return {
        packet(0x10,
               Wire()
                   .text("MQTT")
                   .byte(5)
                   .byte(0xf6)
                   .u16(9)
                   .block(login)
                   .text("id")
                   .block(will)
                   .text("t")
                   .text("p")
                   .text("u")
                   .text("w")),
        packet(0x10,
               Wire()
                   .text("MQTT")
                   .byte(4)
                   .byte(0xc6)
                   .u16(9)
                   .text("id")
                   .text("t")
                   .text("p")
                   .text("u")
                   .text("w")),
        packet(0x10, Wire().text("MQIsdp").byte(3).byte(0x02).u16(9).text("id")),
        packet(0x3d, Wire().text("a/b").u16(7).block(Wire(user).byte(0x23).u16(1)).raw("pay")),
        packet(0x30, Wire().text("a/b").raw("payload")),
        packet(0x40, Wire().u16(7).byte(0x10).block(user)),
        packet(0x62, Wire().u16(7)),
        packet(0x82, Wire().u16(7).block(Wire().byte(0x0b).byte(5)).text("a/#").byte(0x2d)),
        packet(0xa2, Wire().u16(7).block(user).text("a/#").text("+/b")),
        packet(0xc0, Wire()),
        packet(0xe0, Wire().byte(4).block(Wire().byte(0x11).u32(60))),
        packet(0xf0, Wire().byte(0x18).block(login)),
    };
}

void damage(std::string& bytes, Prng& prng) {
    const auto at = [&] { return prng.below(static_cast<uint32_t>(bytes.size())); };
    const auto any = [&] { return static_cast<char>(prng.below(256)); };
    switch (prng.below(5)) {
        case 0:
            bytes[at()] = any();
            break;
        case 1:
            bytes[at()] ^= static_cast<char>(1u << prng.below(8));
            break;
        case 2:
            bytes.insert(at(), 1, any());
            break;
        case 3:
            bytes.erase(at(), 1 + prng.below(3));
            break;
        default:
            bytes.append(1, any());
            break;
    }
    if (bytes.empty()) bytes = "x";
}

TEST_CASE("damaged packets are judged without harm", "[robustness]") {
    // Good packets with one to four wounds; decode_all aborts on anything that must not be.
    INFO("seed " << kSeed);
    Prng prng(kSeed);
    const std::vector<std::string> packets = good_packets();
    for (int round = 0; round < 200'000; ++round) {
        std::string bytes = packets[prng.below(static_cast<uint32_t>(packets.size()))];
        for (uint32_t wounds = 1 + prng.below(4); wounds != 0; --wounds) {
            damage(bytes, prng);
        }
        // Often repair the length, or most of them would end at the frame.
        if (bytes.size() >= 2 && bytes.size() < 130 && prng.below(4) != 0) {
            bytes[1] = static_cast<char>(bytes.size() - 2);
        }
        fuzz::decode_all(Exact(as_bytes(static_cast<char>(prng.below(3)) + bytes)));
    }
    SUCCEED();
}

TEST_CASE("random bodies are judged without harm", "[robustness]") {
    // Every type and flag nibble, with bytes that are small numbers more often than not.
    INFO("seed " << kSeed + 1);
    Prng prng(kSeed + 1);
    for (int round = 0; round < 200'000; ++round) {
        std::string bytes(1, static_cast<char>(prng.below(3)));
        const uint32_t size = prng.below(60);
        bytes += static_cast<char>(prng.below(256));
        bytes += static_cast<char>(size);
        for (uint32_t i = 0; i < size; ++i) {
            bytes += static_cast<char>(prng.below(4) == 0 ? prng.below(256) : prng.below(8));
        }
        fuzz::decode_all(Exact(as_bytes(bytes)));
    }
    SUCCEED();
}

TEST_CASE("good packets are good before they are damaged", "[robustness]") {
    // Keeps the test above honest: damage to packets that were refused anyway would show nothing.
    for (const std::string& bytes : good_packets()) {
        const Bytes input = as_bytes(bytes);
        const Result<Frame> frame = find_frame(input);
        REQUIRE(frame);
        const Bytes body = input.subspan(2);
        const uint8_t flags = frame->flags();
        INFO("packet type " << static_cast<int>(frame->type()));
        switch (frame->type()) {
            case PacketType::kConnect:
                CHECK(decode_connect(body, flags));
                break;
            case PacketType::kPublish:
                CHECK(decode_publish(body, flags, body.size() < 15 ? Version::k311 : Version::k50));
                break;
            case PacketType::kSubscribe:
            case PacketType::kUnsubscribe:
                CHECK(decode_subscribe(frame->type(), body, flags, Version::k50));
                break;
            case PacketType::kPingreq:
                CHECK(decode_pingreq(body, flags));
                break;
            case PacketType::kDisconnect:
                CHECK(decode_disconnect(body, flags, Version::k50));
                break;
            case PacketType::kAuth:
                CHECK(decode_auth(body, flags));
                break;
            default:
                CHECK(decode_ack(frame->type(), body, flags, Version::k50));
                break;
        }
    }
}

}  // namespace
}  // namespace mqttd
