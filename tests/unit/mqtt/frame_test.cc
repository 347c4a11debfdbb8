#include "mqtt/frame.h"

#include "mqtt/varint.h"
#include "unit/mqtt/wire.h"

#include <catch2/catch.hpp>

namespace mqttd {
namespace {

using test::Exact;

// The standard's own algorithm, digit by digit (§1.5.5).
struct SlowLength {
    uint32_t value = 0;
    uint32_t used = 0;  // 0: more bytes needed
    bool malformed = false;
};

SlowLength slow_length(Bytes input) {
    SlowLength length;
    uint32_t multiplier = 1;
    for (uint32_t i = 0;; ++i) {
        if (i == 4) return {0, 0, true};
        if (i == input.size()) return {};
        length.value += (input[i] & 127) * multiplier;
        multiplier *= 128;
        if ((input[i] & 128) == 0) {
            length.used = i + 1;
            return length;
        }
    }
}

void round_trip(uint32_t value) {
    uint8_t bytes[5] = {0, 0, 0, 0, 0xee};
    const uint32_t size = encode_varint(bytes, value);
    if (size != varint_size(value) || bytes[size] != (size == 4 ? 0xee : 0)) FAIL(value);
    const Varint back = read_varint({bytes, size});
    if (back.value != value || back.size != size || !back.minimal()) FAIL(value);
}

TEST_CASE("a varint reads back as written, in as few bytes as possible", "[MQTT5-1.5.5-1]") {
    // Exhaustive over all one-, two- and three-byte values; four bytes at both ends and a sample.
    for (uint32_t value = 0; value < 2'097'152 + 1000; ++value) {
        round_trip(value);
    }
    for (uint32_t value = 2'097'152; value < kVarintMax; value += 9973) {
        round_trip(value);
    }
    for (uint32_t back = 0; back < 1000; ++back) {
        round_trip(kVarintMax - back);
    }
    CHECK(varint_size(127) == 1);
    CHECK(varint_size(128) == 2);
    CHECK(varint_size(16'383) == 2);
    CHECK(varint_size(16'384) == 3);
    CHECK(varint_size(2'097'151) == 3);
    CHECK(varint_size(2'097'152) == 4);
    CHECK(varint_size(kVarintMax) == 4);
}

void compare_frame(Bytes all) {
    for (size_t cut = 0; cut <= all.size(); ++cut) {
        const Exact input(all.first(cut));
        const Bytes bytes = input;
        const Result<Frame> found = find_frame(bytes);
        const SlowLength slow = slow_length(bytes.empty() ? bytes : bytes.subspan(1));
        INFO("first " << int{all[0]} << " cut " << cut);
        if (slow.malformed) {
            if (found.error() != Error::kMalformedPacket) FAIL("accepted");
            continue;
        }
        if (!found) FAIL("refused");
        if (slow.used == 0) {
            if (found->header_complete()) FAIL("complete too early");
            continue;
        }
        const bool same = found->header == 1 + slow.used &&
                          found->size == found->header + slow.value && found->first == all[0] &&
                          found->length_minimal == (varint_size(slow.value) == slow.used);
        if (!same) FAIL("another frame");
    }
}

TEST_CASE("a fixed header cut anywhere is found, wanted or refused", "[mqtt]") {
    // Every first byte with every combination of telling length bytes, each cut everywhere: the
    // answer must be that of the standard's algorithm, and no byte past the cut is read.
    const uint8_t digits[] = {0x00, 0x01, 0x7f, 0x80, 0x81, 0xff};
    for (unsigned first = 0; first < 256; first += 15) {
        for (unsigned index = 0; index < 6 * 6 * 6 * 6; ++index) {
            const uint8_t bytes[6] = {static_cast<uint8_t>(first),
                                      digits[index % 6],
                                      digits[index / 6 % 6],
                                      digits[index / 36 % 6],
                                      digits[index / 216],
                                      0x00};
            compare_frame(bytes);
        }
    }
}

TEST_CASE("type and flags are the two halves of byte 1", "[mqtt]") {
    // A handler switches on both; every byte must come apart the same way.
    for (unsigned first = 0; first < 256; ++first) {
        const uint8_t bytes[2] = {static_cast<uint8_t>(first), 0};
        const Result<Frame> frame = find_frame(bytes);
        REQUIRE(frame);
        CHECK(static_cast<unsigned>(frame->type()) == first >> 4);
        CHECK(frame->flags() == (first & 15));
        CHECK(frame->size == 2);
    }
}

TEST_CASE("a length bomb is known after five bytes", "[A17]") {
    // The largest length is reported at once, so that the limit can refuse it without waiting.
    const uint8_t largest[5] = {0x30, 0xff, 0xff, 0xff, 0x7f};
    CHECK(find_frame(largest)->size == kVarintMax + 5);
    const uint8_t endless[5] = {0x30, 0xff, 0xff, 0xff, 0xff};
    CHECK(find_frame(endless).error() == Error::kMalformedPacket);
}

}  // namespace
}  // namespace mqttd
