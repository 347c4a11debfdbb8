#pragma once

// The common case of topic_name_check, inline: a name of plain ASCII without wildcards.
//
// A name is looked at in words of eight bytes (base/utf8.h tells how).  `#` is 0x23 and `+` 0x2b:
// they differ in one bit, so that setting it lets one test find both.  A word costs seven
// operations and a branch that is never taken.

#include "mqttd/bytes.h"

#include "base/utf8.h"

namespace mqttd {

static_assert(('#' | 0x08) == '+');

constexpr bool is_wildcard(uint8_t byte) {
    return (byte | 0x08) == '+';
}

// Zero if all eight bytes are ASCII and none is 0, `+` or `#`.
constexpr uint64_t not_plain_name(uint64_t word) {
    const uint64_t wildcard_is_zero = (word | kOnes * 0x08) ^ kOnes * '+';
    return ((word - kOnes) | word | (wildcard_is_zero - kOnes)) & kTops;
}

static_assert(not_plain_name(kOnes * 'a') == 0 && not_plain_name(kOnes * 0x7f) == 0);
static_assert(not_plain_name(kOnes * 'a' ^ uint64_t{'a' ^ '+'} << 56) != 0);
static_assert(not_plain_name(kOnes * 'a' ^ uint64_t{'a' ^ '#'} << 8) != 0);

// True: `name` is legal.  False: it is empty, not ASCII or not legal; topic_name_check knows.
inline bool plain_name(Bytes name) {
    const uint8_t* at = name.data();
    const uint8_t* const end = at + name.size();
    if (name.size() < 8) {
        return !name.empty() && not_plain_name(load_short_word(at, name.size())) == 0;
    }
    for (; end - at > 8; at += 8) {
        if (not_plain_name(load_word(at)) != 0) [[unlikely]]
            return false;
    }
    return not_plain_name(load_word(end - 8)) == 0;  // may overlap the word before
}

}  // namespace mqttd
