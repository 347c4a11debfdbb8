#include "net/access.h"

#include <algorithm>
#include <cstring>

namespace mqttd {

namespace {

constexpr uint32_t kAddressBits = 128;

// Do the first `bits` bits agree?
bool same_prefix(const uint8_t* a, const uint8_t* b, uint32_t bits) {
    bits = std::min(bits, kAddressBits);
    const uint32_t whole = bits / 8;
    if (std::memcmp(a, b, whole) != 0) return false;
    if (bits % 8 == 0) return true;
    return (a[whole] ^ b[whole]) >> (8 - bits % 8) == 0;
}

}  // namespace

bool access_allowed(std::span<const AccessRule> rules, const Peer& peer) {
    uint8_t address[16] = {};
    if (peer.family == Peer::kIpv4) {
        address[10] = address[11] = 0xff;
        std::memcpy(address + 12, peer.address, 4);
    } else {
        std::memcpy(address, peer.address, sizeof(address));
    }
    for (const AccessRule& rule : rules) {
        if (peer.family == Peer::kUnix && rule.prefix != 0) continue;
        if (same_prefix(rule.address, address, rule.prefix)) return rule.allow;
    }
    return true;
}

}  // namespace mqttd
