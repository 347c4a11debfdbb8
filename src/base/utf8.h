#pragma once

// UTF-8 as MQTT wants text: well formed, shortest form, no surrogates, nothing above U+10FFFF, and
// no U+0000.
//
// Nearly all text on the wire is ASCII, so a scan looks at words of eight bytes and asks of each
// word, in a few operations without a branch per byte, whether anything in it needs a closer look:
//
//     ((word - 0x01..01) | word) & 0x80..80
//
// Subtracting 1 from every byte sets the top bit of a byte that was 0; or-ing the word adds the
// bytes that were not ASCII.  A borrow can only leave a byte that was 0, and that one is reported
// already, so the answer "nothing special" is exact.  The same trick finds any wanted byte once it
// has been turned into 0 by an exclusive or; topic_rules.cc looks for `+` and `#` that way in the
// same pass.  What is special is then taken sequence by sequence.

#include "mqttd/bytes.h"

#include <cstdint>
#include <cstring>

namespace mqttd {

constexpr uint64_t kOnes = 0x0101010101010101;
constexpr uint64_t kTops = 0x8080808080808080;

inline uint64_t load_word(const uint8_t* at) {
    uint64_t word;
    std::memcpy(&word, at, sizeof(word));
    return word;
}

// The 1 to 7 bytes at `at` as one word: each at least once, some repeated, the rest 'a'.
inline uint64_t load_short_word(const uint8_t* at, size_t size) {
    if (size >= 4) {
        uint32_t low;
        uint32_t high;
        std::memcpy(&low, at, sizeof(low));
        std::memcpy(&high, at + size - 4, sizeof(high));
        return uint64_t{high} << 32 | low;
    }
    return kOnes * 'a' << 24 | uint64_t{at[size - 1]} << 16 | uint64_t{at[size / 2]} << 8 | at[0];
}

// Zero if all eight bytes are ASCII and none is 0.
constexpr uint64_t not_plain_text(uint64_t word) {
    return ((word - kOnes) | word) & kTops;
}

// Bytes of the well-formed sequence of two to four bytes at `at`, whose first byte is 0x80 or
// above; 0 if it is not well formed or runs past `end`.
inline uint32_t utf8_sequence(const uint8_t* at, const uint8_t* end) {
    const size_t left = static_cast<size_t>(end - at);
    const uint8_t first = at[0];
    const auto follows = [](uint8_t byte) { return (byte & 0xc0) == 0x80; };
    if (first < 0xc2) return 0;  // a following byte, or an overlong two-byte form
    if (first < 0xe0) return left >= 2 && follows(at[1]) ? 2 : 0;
    if (first < 0xf0) {
        if (left < 3 || !follows(at[1]) || !follows(at[2])) return 0;
        if (first == 0xe0 && at[1] < 0xa0) return 0;   // overlong
        if (first == 0xed && at[1] >= 0xa0) return 0;  // U+D800 to U+DFFF, the surrogates
        return 3;
    }
    if (first > 0xf4 || left < 4) return 0;
    if (!follows(at[1]) || !follows(at[2]) || !follows(at[3])) return 0;
    if (first == 0xf0 && at[1] < 0x90) return 0;   // overlong
    if (first == 0xf4 && at[1] >= 0x90) return 0;  // above U+10FFFF
    return 4;
}

// Whether `text` is well formed and holds no U+0000.  Empty text is.  O(n), allocates nothing.
bool utf8_text(Bytes text);

}  // namespace mqttd
