#pragma once

// Variable Byte Integer: seven bits a byte, low bits first, top bit set while more follow, at most
// four bytes.   MQTT 5.0 §1.5.5
//
// A sender must use as few bytes as possible.  Inside a packet a longer form is refused, because
// these bytes may be passed on to others as they are; for the Remaining Length, which is always
// written anew, it is only reported (Frame::length_minimal).

#include "mqttd/bytes.h"
#include "mqttd/codec.h"

#include <cstdint>

namespace mqttd {

constexpr uint32_t kVarintSizeMax = 4;

struct Varint {
    uint32_t value = 0;
    uint8_t size = 0;       // bytes used; 0: `input` ends too early, or `too_long`
    bool too_long = false;  // the fourth byte promises a fifth

    bool minimal() const { return varint_size(value) == size; }
};

inline Varint read_varint(Bytes input) {
    Varint varint;
    const size_t have = input.size() < kVarintSizeMax ? input.size() : kVarintSizeMax;
    for (size_t i = 0; i < have; ++i) {
        varint.value |= static_cast<uint32_t>(input[i] & 0x7f) << (7 * i);
        if (input[i] < 0x80) {
            varint.size = static_cast<uint8_t>(i + 1);
            return varint;
        }
    }
    varint.too_long = have == kVarintSizeMax;
    return varint;
}

// Writes `value` (at most kVarintMax) and returns the byte after it.
inline uint8_t* write_varint(uint8_t* out, uint32_t value) {
    while (value >= 0x80) {
        *out++ = static_cast<uint8_t>(value | 0x80);
        value >>= 7;
    }
    *out++ = static_cast<uint8_t>(value);
    return out;
}

}  // namespace mqttd
