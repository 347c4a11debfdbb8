#include "config/address.h"

#include "config/values.h"

namespace mqttd {

namespace {

// Four decimal numbers into `out`. False if `text` is anything else.
bool parse_v4(std::string_view text, uint8_t* out) {
    for (int i = 0; i < 4; ++i) {
        const size_t end = text.find('.');
        if ((end == std::string_view::npos) != (i == 3)) {
            return false;
        }
        const std::string_view part = text.substr(0, end);
        const Number number = parse_digits(part, 10);
        const bool octal_looking = part.size() > 1 && part[0] == '0';
        if (number.error != NumberError::kNone || number.value > 255 || octal_looking) {
            return false;
        }
        out[i] = static_cast<uint8_t>(number.value);
        text = i == 3 ? std::string_view() : text.substr(end + 1);
    }
    return true;
}

// A run of 16-bit groups, the last of which may be an IPv4 address if `v4_may_end` it.
// Returns the bytes written, or nothing if the text is wrong or too long.
std::optional<size_t> parse_groups(std::string_view text, bool v4_may_end, uint8_t (&out)[16]) {
    size_t used = 0;
    while (!text.empty()) {
        const size_t end = text.find(':');
        const std::string_view part = text.substr(0, end);
        if (v4_may_end && end == std::string_view::npos &&
            part.find('.') != std::string_view::npos) {
            if (used > 12 || !parse_v4(part, out + used)) {
                return std::nullopt;
            }
            return used + 4;
        }
        const Number group = parse_digits(part, 16);
        if (group.error != NumberError::kNone || part.size() > 4 || used > 14) {
            return std::nullopt;
        }
        out[used++] = static_cast<uint8_t>(group.value >> 8);
        out[used++] = static_cast<uint8_t>(group.value & 0xff);
        if (end == std::string_view::npos) {
            break;
        }
        text = text.substr(end + 1);
        if (text.empty()) {
            return std::nullopt;  // a colon at the end
        }
    }
    return used;
}

std::optional<IpAddress> parse_v6(std::string_view text) {
    IpAddress address;
    address.is_v6 = true;
    uint8_t head[16];
    uint8_t tail[16];
    const size_t gap = text.find("::");
    const bool has_gap = gap != std::string_view::npos;
    const auto front = parse_groups(text.substr(0, gap), !has_gap, head);
    const auto back = parse_groups(has_gap ? text.substr(gap + 2) : "", true, tail);
    if (!front || !back || (has_gap ? *front + *back > 14 : *front != 16)) {
        return std::nullopt;
    }
    for (size_t i = 0; i < *front; ++i) {
        address.bytes[i] = head[i];
    }
    for (size_t i = 0; i < *back; ++i) {
        address.bytes[16 - *back + i] = tail[i];
    }
    return address;
}

}  // namespace

std::optional<IpAddress> parse_address(std::string_view text) {
    if (text.find(':') != std::string_view::npos) {
        return parse_v6(text);
    }
    IpAddress address;
    return parse_v4(text, address.bytes.data()) ? std::optional(address) : std::nullopt;
}

bool is_wildcard(const IpAddress& address) {
    return address == IpAddress{address.is_v6, {}};
}

}  // namespace mqttd
