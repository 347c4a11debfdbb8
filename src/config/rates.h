// Reading rates: "100,50" of rate_limit and "64KB/s" of max_client_rate. constexpr like values.h,
// for the same reason.
#pragma once

#include "config/values.h"

#include <cstdint>
#include <string_view>

namespace mqttd {

// A bucket of `burst` KiB that fills with `rate` KiB a second; both 0 = none.
struct RateLimit {
    int64_t burst_kib = 0;
    int64_t rate_kib_s = 0;
};

inline constexpr int64_t kRateKibMax = (int64_t{1} << 22) - 1;  // in bytes it fits 32 bits

// A rate as one number, for a row's value.
constexpr int64_t pack_rate(RateLimit limit) {
    return limit.burst_kib << 32 | limit.rate_kib_s;
}

constexpr RateLimit unpack_rate(int64_t packed) {
    return {packed >> 32, packed & 0xffffffff};
}

// "BURST,RATE" in KiB and KiB/s, "off" or "0"; packed. kTooLarge: a number is 0 or too large.
constexpr Number parse_rate_limit(std::string_view word) {
    if (word == "off" || word == "0") {
        return {};
    }
    const size_t comma = word.find(',');
    if (comma == std::string_view::npos) {
        return {0, NumberError::kNotANumber};
    }
    const Number burst = parse_digits(word.substr(0, comma), 10);
    const Number rate = parse_digits(word.substr(comma + 1), 10);
    if (burst.error == NumberError::kNotANumber || rate.error == NumberError::kNotANumber) {
        return {0, NumberError::kNotANumber};
    }
    for (const Number& number : {burst, rate}) {
        const bool fits =
            number.error == NumberError::kNone && number.value >= 1 && number.value <= kRateKibMax;
        if (!fits) {
            return {0, NumberError::kTooLarge};
        }
    }
    return {pack_rate({burst.value, rate.value})};
}

// A number of bytes a second: "65536", "64k", "64KB", "64KB/s", "1m"; K = 1024, M = 1024 K. "off"
// and "0" are 0.
constexpr Number parse_rate(std::string_view word) {
    if (word == "off") {
        return {};
    }
    const auto drop = [&word](std::string_view lower, std::string_view upper) {
        if (!word.ends_with(lower) && !word.ends_with(upper)) {
            return false;
        }
        word.remove_suffix(lower.size());
        return true;
    };
    drop("/s", "/S");
    drop("b", "B");
    const int64_t unit = drop("k", "K") ? 1024 : drop("m", "M") ? 1024 * 1024 : 1;
    Number number = parse_digits(word, 10);
    if (number.error != NumberError::kNone) {
        return number;
    }
    if (number.value > std::numeric_limits<int64_t>::max() / unit) {
        return {0, NumberError::kTooLarge};
    }
    number.value *= unit;
    return number;
}

}  // namespace mqttd
