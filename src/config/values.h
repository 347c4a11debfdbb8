// Reading single values: numbers, bools, durations, shares, UTF-8. No table and no messages here.
//
// All of it is constexpr, so that table.cc can prove at compile time that each default is a legal
// value of its own row. Numbers follow strtol with base 0, as mosquitto does: `0x10` is 16 and
// `010` is 8, a sign is allowed, and the whole word must be used. Unlike strtol, nothing here skips
// blanks, consults a locale or writes errno.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace mqttd {

enum class NumberError : uint8_t { kNone, kNotANumber, kTooLarge };

struct Number {
    int64_t value = 0;
    NumberError error = NumberError::kNone;
};

constexpr bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

constexpr std::string_view trim_blanks(std::string_view text) {
    while (!text.empty() && is_blank(text.front())) {
        text.remove_prefix(1);
    }
    while (!text.empty() && is_blank(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}

// Cuts the first word off `text`, together with the blanks around it. Empty when none is left.
constexpr std::string_view take_word(std::string_view& text) {
    text = trim_blanks(text);
    size_t length = 0;
    while (length < text.size() && !is_blank(text[length])) {
        ++length;
    }
    const std::string_view word = text.substr(0, length);
    text = trim_blanks(text.substr(length));
    return word;
}

constexpr int digit_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return 16;  // above every base
}

// The digits of `text` in `base`, without sign or prefix; all of it must be used.
constexpr Number parse_digits(std::string_view text, int base) {
    if (text.empty()) {
        return {0, NumberError::kNotANumber};
    }
    Number number;
    constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
    for (const char c : text) {
        const int digit = digit_value(c);
        if (digit >= base) {
            return {0, NumberError::kNotANumber};
        }
        if (number.value > (kMax - digit) / base) {
            number.error =
                NumberError::kTooLarge;  // go on: a later letter still makes it no number
            continue;
        }
        number.value = number.value * base + digit;
    }
    return number;
}

// A whole word as strtol(word, nullptr, 0) reads it.
constexpr Number parse_number(std::string_view word) {
    const bool negative = word.starts_with('-');
    if (negative || word.starts_with('+')) {
        word.remove_prefix(1);
    }
    int base = 10;
    if (word.size() > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X')) {
        base = 16;
        word.remove_prefix(2);
    } else if (word.size() > 1 && word[0] == '0') {
        base = 8;
    }
    Number number = parse_digits(word, base);
    if (negative) {
        number.value = -number.value;
    }
    return number;
}

constexpr std::optional<bool> parse_bool(std::string_view word) {
    if (word == "true" || word == "1") {
        return true;
    }
    if (word == "false" || word == "0") {
        return false;
    }
    return std::nullopt;
}

// Seconds in one unit of a duration: s h d w m y, a month being 30 days and a year 365. 0 = no
// unit.
constexpr int64_t duration_unit_s(char unit) {
    constexpr int64_t kDay = 86400;
    switch (unit) {
        case 's':
            return 1;
        case 'h':
            return 3600;
        case 'd':
            return kDay;
        case 'w':
            return 7 * kDay;
        case 'm':
            return 30 * kDay;
        case 'y':
            return 365 * kDay;
        default:
            return 0;
    }
}

// "14d" in seconds. The unit is obligatory, as in mosquitto.
constexpr Number parse_duration(std::string_view word) {
    const int64_t unit_s = word.empty() ? 0 : duration_unit_s(word.back());
    if (unit_s == 0) {
        return {0, NumberError::kNotANumber};
    }
    Number number = parse_digits(word.substr(0, word.size() - 1), 10);
    if (number.error == NumberError::kNone &&
        number.value > std::numeric_limits<int64_t>::max() / unit_s) {
        number.error = NumberError::kTooLarge;
    } else {
        number.value *= number.error == NumberError::kNone ? unit_s : 1;
    }
    return number;
}

// A share of a whole: "0", "1", "0.25", with at most three digits behind the point; in thousandths.
constexpr Number parse_share(std::string_view word) {
    const size_t point = word.find('.');
    const Number whole = parse_digits(word.substr(0, point), 10);
    if (whole.error != NumberError::kNone || point == std::string_view::npos) {
        return {whole.value > 1000 ? 1000001 : whole.value * 1000, whole.error};
    }
    const std::string_view digits = word.substr(point + 1);
    Number part = parse_digits(digits, 10);
    if (part.error != NumberError::kNone || digits.size() > 3) {
        return {0, NumberError::kNotANumber};
    }
    for (size_t i = digits.size(); i < 3; ++i) {
        part.value *= 10;
    }
    return {whole.value > 1000 ? 1000001 : whole.value * 1000 + part.value, NumberError::kNone};
}

// 1 << place of `word` in the blank-divided list `words`; 0 if it is not there.
constexpr int64_t word_bit(std::string_view words, std::string_view word) {
    for (int64_t bit = 1; !words.empty(); bit <<= 1) {
        if (take_word(words) == word) {
            return bit;
        }
    }
    return 0;
}

// Well-formed UTF-8 as MQTT wants it in strings: no overlong forms, surrogates or U+0000.
constexpr bool is_utf8_text(std::string_view text) {
    for (size_t i = 0; i < text.size();) {
        const auto byte_at = [&](size_t at) { return static_cast<unsigned char>(text[at]); };
        const unsigned lead = byte_at(i);
        const size_t length = lead < 0x80   ? 1u
                              : lead < 0xc2 ? 0u
                              : lead < 0xe0 ? 2u
                              : lead < 0xf0 ? 3u
                              : lead < 0xf5 ? 4u
                                            : 0u;
        if (length == 0 || lead == 0 || text.size() - i < length) {
            return false;
        }
        for (size_t k = 1; k < length; ++k) {
            if ((byte_at(i + k) & 0xc0) != 0x80) {
                return false;
            }
        }
        const unsigned second = length > 1 ? byte_at(i + 1) : 0;
        const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
        const bool surrogate = lead == 0xed && second > 0x9f;
        const bool too_high = lead == 0xf4 && second > 0x8f;
        if (overlong || surrogate || too_high) {
            return false;
        }
        i += length;
    }
    return true;
}

}  // namespace mqttd
