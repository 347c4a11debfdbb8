// Numeric IP addresses as text. mqttd is one static binary without a resolver, so a listener's
// address must be written in numbers; this says whether it is, and when two mean the same.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mqttd {

struct IpAddress {
    bool is_v6 = false;
    std::array<uint8_t, 16> bytes{};  // network order; an IPv4 address uses the first four

    bool operator==(const IpAddress&) const = default;
};

// "192.168.0.1" (four decimal numbers), "::1", "fe80::1:2", "::ffff:10.0.0.1". No zone, no
// brackets, no port; leading zeros in IPv4 numbers are refused, as they mean octal to some.   RFC
// 4291 §2.2.
std::optional<IpAddress> parse_address(std::string_view text);

// 0.0.0.0 or ::
bool is_wildcard(const IpAddress& address);

}  // namespace mqttd
