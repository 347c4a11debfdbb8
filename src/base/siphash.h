#pragma once

// SipHash-1-3: the keyed hash of every table over foreign bytes.
//
// Topics, client identifiers and levels are chosen by strangers; with an unkeyed hash they could
// pile up one bucket and make every look-up a walk. The key is random in the server and comes from
// the seed in tests, so a run can be replayed. ~12 ns for a topic of 20 bytes.

#include "mqttd/bytes.h"

#include <cstdint>

namespace mqttd {

struct HashKey {
    uint64_t k0 = 0;
    uint64_t k1 = 0;
};

inline uint64_t rotate_left(uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
}

// Fewer than eight bytes, the first lowest: two loads that overlap, or three bytes.
inline uint64_t load_short(const uint8_t* at, size_t size) {
    if (size >= 4) {
        uint32_t low;
        uint32_t high;
        std::memcpy(&low, at, 4);
        std::memcpy(&high, at + size - 4, 4);
        return low | uint64_t{high} << (8 * (size - 4));
    }
    if (size == 0) return 0;
    return at[0] | uint64_t{at[size / 2]} << (8 * (size / 2)) |
           uint64_t{at[size - 1]} << (8 * (size - 1));
}

inline uint64_t siphash(const HashKey& key, Bytes text) {
    uint64_t v0 = key.k0 ^ 0x736f6d6570736575u;
    uint64_t v1 = key.k1 ^ 0x646f72616e646f6du;
    uint64_t v2 = key.k0 ^ 0x6c7967656e657261u;
    uint64_t v3 = key.k1 ^ 0x7465646279746573u;
    const auto round = [&] {
        v0 += v1;
        v1 = rotate_left(v1, 13) ^ v0;
        v0 = rotate_left(v0, 32);
        v2 += v3;
        v3 = rotate_left(v3, 16) ^ v2;
        v0 += v3;
        v3 = rotate_left(v3, 21) ^ v0;
        v2 += v1;
        v1 = rotate_left(v1, 17) ^ v2;
        v2 = rotate_left(v2, 32);
    };
    const uint8_t* at = text.data();
    size_t left = text.size();
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word;
        std::memcpy(&word, at, 8);
        v3 ^= word;
        round();
        v0 ^= word;
    }
    const uint64_t last = uint64_t{text.size()} << 56 | load_short(at, left);
    v3 ^= last;
    round();
    v0 ^= last;
    v2 ^= 0xff;
    round();
    round();
    round();
    return v0 ^ v1 ^ v2 ^ v3;
}

// Of two numbers, e.g. a pair of object identities.
inline uint64_t siphash(const HashKey& key, uint64_t a, uint64_t b) {
    const uint64_t words[2] = {a, b};
    return siphash(key, Bytes{reinterpret_cast<const uint8_t*>(words), sizeof words});
}

}  // namespace mqttd
