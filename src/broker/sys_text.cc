#include "broker/sys_text.h"

#include <charconv>
#include <cstdio>
#include <cstring>

namespace mqttd {

namespace {

constexpr char kHex[] = "0123456789ABCDEF";

bool needs_escape(unsigned char c) {
    return c < 0x20 || c == 0x7f || c == '/' || c == '+' || c == '#' || c == '%';
}

// Days since 1970 as year, month and day of the Gregorian calendar, in years that begin in March,
// so that the leap day is the last one.
struct Date {
    int64_t year;
    int64_t month;
    int64_t day;
};

Date date_of(int64_t days) {
    days += 719'468;  // from 0000-03-01
    const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
    const int64_t day_of_era = days - era * 146'097;
    const int64_t year_of_era =
        (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
    const int64_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t shifted = (5 * day_of_year + 2) / 153;
    const int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
    return {year_of_era + era * 400 + (month <= 2 ? 1 : 0),
            month,
            day_of_year - (153 * shifted + 2) / 5 + 1};
}

}  // namespace

SysText& SysText::add(std::string_view text) {
    whole_ = whole_ && text.size() <= room_size_ - size_;
    if (!whole_) return *this;
    std::memcpy(room_ + size_, text.data(), text.size());
    size_ += text.size();
    return *this;
}

SysText& SysText::number(uint64_t value) {
    char digits[20];
    const std::to_chars_result end = std::to_chars(digits, digits + sizeof digits, value);
    return add({digits, static_cast<size_t>(end.ptr - digits)});
}

SysText& SysText::decimal(double value) {
    char digits[40];
    const int size = std::snprintf(digits, sizeof digits, "%.2f", value);
    return add({digits, static_cast<size_t>(size)});
}

SysText& SysText::level(std::string_view text) {
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const char escaped[3] = {'%', kHex[byte >> 4], kHex[byte & 15]};
        if (needs_escape(byte)) {
            add({escaped, sizeof escaped});
        } else {
            add({&c, 1});
        }
    }
    return *this;
}

SysText& SysText::json(std::string_view text) {
    add("\"");
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            const char escaped[2] = {'\\', c};
            add({escaped, sizeof escaped});
        } else if (byte < 0x20 || byte == 0x7f) {
            const char escaped[6] = {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
            add({escaped, sizeof escaped});
        } else {
            add({&c, 1});
        }
    }
    return add("\"");
}

SysText& SysText::time(int64_t unix_s) {
    constexpr int64_t kDay = 86'400;
    const int64_t days = (unix_s >= 0 ? unix_s : unix_s - kDay + 1) / kDay;
    const int64_t second = unix_s - days * kDay;
    const Date date = date_of(days);
    const auto two = [&](int64_t value) {
        const char digits[2] = {static_cast<char>('0' + value / 10 % 10),
                                static_cast<char>('0' + value % 10)};
        add({digits, sizeof digits});
    };
    two(date.year / 100);
    two(date.year);
    add("-");
    two(date.month);
    add("-");
    two(date.day);
    add("T");
    two(second / 3'600);
    add(":");
    two(second / 60 % 60);
    add(":");
    two(second % 60);
    return add("Z");
}

}  // namespace mqttd
