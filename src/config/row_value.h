// Reads what stands behind a key as the kind its row asks for. The one place that knows how a kind
// is written: the parser reads files with it, table.cc proves its defaults with it when compiled.
#pragma once

#include "config/rates.h"
#include "config/table.h"
#include "config/values.h"

#include <cstdint>
#include <string_view>

namespace mqttd {

enum class ReadError : uint8_t { kNone, kWrongKind, kOutOfRange };

struct Reading {
    ConfigValue value;  // number for all kinds but text and word; text always the word or the line
    ReadError error = ReadError::kNone;
    std::string_view word;      // what was looked at; with an error, what is wrong
    std::string_view trailing;  // what stands behind a value that is one word only
};

constexpr bool is_one_word(Kind kind) {
    return !is_text(kind) && kind != Kind::kWords && kind != Kind::kAnything &&
           (!has_own_syntax(kind) || kind == Kind::kLogTypes);
}

constexpr bool is_number(Kind kind) {
    return kind == Kind::kInt || kind == Kind::kOctal || kind == Kind::kDuration ||
           kind == Kind::kHours || kind == Kind::kMinutes || kind == Kind::kShare ||
           kind == Kind::kRate || kind == Kind::kRateLimit;
}

// A set of words, divided by blanks or commas, as one bit per place in `words`.
constexpr Reading read_word_set(std::string_view words, std::string_view text) {
    Reading reading{
        {0,                                 text},
        ReadError::kNone, text, {                                 }
    };
    for (std::string_view left = text; !left.empty();) {
        const size_t end = left.find_first_of(", \t");
        const std::string_view word = left.substr(0, end);
        const int64_t bit = word.empty() ? 0 : word_bit(words, word);
        if (!word.empty() && bit == 0) {
            reading.error = ReadError::kWrongKind;
            reading.word = word;
            return reading;
        }
        reading.value.number |= bit;
        left = end == std::string_view::npos ? std::string_view() : left.substr(end + 1);
    }
    reading.error = reading.value.number == 0 ? ReadError::kWrongKind : ReadError::kNone;
    return reading;
}

constexpr Number read_number(Kind kind, std::string_view word) {
    switch (kind) {
        case Kind::kBool: {
            const std::optional<bool> flag = parse_bool(word);
            return flag ? Number{*flag ? 1 : 0} : Number{0, NumberError::kNotANumber};
        }
        case Kind::kOctal:
            return parse_digits(word, 8);
        case Kind::kDuration:
            return parse_duration(word);
        case Kind::kShare:
            return parse_share(word);
        case Kind::kRate:
            return parse_rate(word);
        case Kind::kRateLimit:
            return parse_rate_limit(word);
        default:
            return parse_number(word);
    }
}

// `rest` is not empty and carries no blanks at its ends. Kinds with a syntax of their own are the
// parser's; here they are any text.
constexpr Reading read_row_value(const ConfigKey& row, std::string_view rest) {
    Reading reading{
        {0,                                 rest},
        ReadError::kNone, rest, {                                 }
    };
    if (row.kind == Kind::kWords) {
        return read_word_set(row.words, rest);
    }
    if (is_text(row.kind)) {
        const bool fits = static_cast<int64_t>(rest.size()) <= row.max;
        const bool name =
            row.kind == Kind::kText || rest.find_first_of("+#") == std::string_view::npos;
        reading.error = !fits                        ? ReadError::kOutOfRange
                        : is_utf8_text(rest) && name ? ReadError::kNone
                                                     : ReadError::kWrongKind;
        return reading;
    }
    if (!is_one_word(row.kind)) {
        return reading;
    }
    reading.word = take_word(rest);
    reading.trailing = rest;
    reading.value.text = reading.word;
    if (row.kind == Kind::kWord || row.kind == Kind::kLogTypes) {
        reading.value.number = word_bit(row.words, reading.word);
        reading.error = reading.value.number == 0 ? ReadError::kWrongKind : ReadError::kNone;
        return reading;
    }
    const Number number = read_number(row.kind, reading.word);
    if (number.error == NumberError::kNotANumber) {
        reading.error = ReadError::kWrongKind;
    } else if (number.error == NumberError::kTooLarge || number.value < row.min ||
               number.value > row.max) {
        reading.error = ReadError::kOutOfRange;
    }
    reading.value.number = number.value;
    return reading;
}

// True if `value`, read by `row`, is one of those that ask for nothing: what mqttd does anyway.
constexpr bool is_off_value(const ConfigKey& row, const ConfigValue& value) {
    for (std::string_view rest = row.off; !rest.empty();) {
        const size_t end = rest.find('|');
        const ConfigValue off = read_row_value(row, rest.substr(0, end)).value;
        if (is_text(row.kind) ? off.text == value.text : off.number == value.number) {
            return true;
        }
        rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
    return false;
}

}  // namespace mqttd
