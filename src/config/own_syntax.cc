#include "config/own_syntax.h"

#include "config/address.h"
#include "config/values.h"

#include <algorithm>
#include <optional>

namespace mqttd {

namespace {

constexpr uint8_t kMappedBits = 96;  // of ::ffff:a.b.c.d in front of the IPv4 address

// The address in 16 bytes, an IPv4 one as ::ffff:a.b.c.d.
std::array<uint8_t, 16> mapped(const IpAddress& address) {
    if (address.is_v6) {
        return address.bytes;
    }
    std::array<uint8_t, 16> out{};
    out[10] = out[11] = 0xff;
    std::copy_n(address.bytes.begin(), 4, out.begin() + 12);
    return out;
}

void clear_behind(std::array<uint8_t, 16>& bytes, uint32_t bits) {
    for (uint32_t bit = bits; bit < 128; ++bit) {
        bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] & ~(0x80u >> bit % 8));
    }
}

std::string read_network(std::string_view text, AddressRule& out) {
    if (text == "all") {
        return {};
    }
    const size_t slash = text.find('/');
    const std::optional<IpAddress> address = parse_address(text.substr(0, slash));
    if (!address) {
        return "names no network: give all, an IPv4 or IPv6 address, or ADDRESS/BITS";
    }
    const int64_t bits_max = address->is_v6 ? 128 : 32;
    Number bits{bits_max};
    if (slash != std::string_view::npos) {
        bits = parse_digits(text.substr(slash + 1), 10);
    }
    if (bits.error != NumberError::kNone || bits.value > bits_max) {
        return "has a wrong prefix length: give 0 to " + std::to_string(bits_max);
    }
    out.prefix_bits = static_cast<uint8_t>(bits.value + (address->is_v6 ? 0 : kMappedBits));
    out.address = mapped(*address);
    clear_behind(out.address, out.prefix_bits);
    return {};
}

}  // namespace

std::string read_address_rule(std::string_view rest, AddressRule& out) {
    const std::string_view verdict = take_word(rest);
    const std::string_view network = take_word(rest);
    if (verdict != "allow" && verdict != "deny") {
        return "begins with neither allow nor deny: give one of them and a network";
    }
    if (network.empty()) {
        return "names no network: give all, an IPv4 or IPv6 address, or ADDRESS/BITS";
    }
    if (!rest.empty()) {
        return "says more than one thing: give one network a line";
    }
    out = AddressRule{};
    out.allow = verdict == "allow";
    return read_network(network, out);
}

std::string read_topic_rank(std::string_view rest, TopicRank& out) {
    const size_t blank = rest.find_last_of(" \t");
    const std::string_view last =
        blank == std::string_view::npos ? std::string_view() : rest.substr(blank + 1);
    const Number rank = parse_number(last);
    if (last.empty() || rank.error == NumberError::kNotANumber) {
        return "has no priority: give a topic filter and a number from 0 to 255";
    }
    if (rank.error != NumberError::kNone || rank.value < 0 || rank.value > 255) {
        return "has a priority that is out of range: give 0 to 255";
    }
    const std::string_view filter = trim_blanks(rest.substr(0, blank));
    if (filter.size() > 65535 || !is_utf8_text(filter) || !is_topic_filter(filter)) {
        return "names no topic filter: '#' stands alone and last, '+' alone in its level";
    }
    out = {std::string(filter), static_cast<uint8_t>(rank.value)};
    return {};
}

bool is_topic_filter(std::string_view text) {
    if (text.empty()) {
        return false;
    }
    for (;;) {
        const size_t slash = text.find('/');
        const std::string_view level = text.substr(0, slash);
        const bool last = slash == std::string_view::npos;
        if (level.find_first_of("+#") != std::string_view::npos && level.size() > 1) {
            return false;
        }
        if (level == "#" && !last) {
            return false;
        }
        if (last) {
            return true;
        }
        text = text.substr(slash + 1);
    }
}

}  // namespace mqttd
