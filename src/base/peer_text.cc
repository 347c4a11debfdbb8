#include "base/peer_text.h"

#include <charconv>
#include <cstring>

namespace mqttd {

namespace {

// Made by hand: printf would be half of the log line of a new client.

char* put(char* at, std::string_view text) {
    std::memcpy(at, text.data(), text.size());
    return at + text.size();
}

// `at` has room for the five digits of 16 bits.
char* put(char* at, uint32_t number, int base = 10) {
    return std::to_chars(at, at + 5, number, base).ptr;
}

char* put_ipv4(char* at, const uint8_t* address) {
    for (uint32_t i = 0; i < 4; ++i) {
        if (i > 0) *at++ = '.';
        at = put(at, address[i]);
    }
    return at;
}

// The shortest form of RFC 5952: the longest run of at least two zero groups becomes `::`.
char* put_ipv6(char* at, const uint8_t* address) {
    uint32_t groups[8];
    for (uint32_t i = 0; i < 8; ++i)
        groups[i] = uint32_t{address[2 * i]} << 8 | address[2 * i + 1];
    uint32_t run_begin = 8;
    uint32_t run_size = 1;
    for (uint32_t i = 0; i < 8; ++i) {
        uint32_t size = 0;
        while (i + size < 8 && groups[i + size] == 0)
            ++size;
        if (size <= run_size) continue;
        run_begin = i;
        run_size = size;
    }
    for (uint32_t i = 0; i < 8;) {
        if (i == run_begin) {
            at = put(at, "::");
            i += run_size;
            continue;
        }
        if (i != 0 && i != run_begin + run_size) *at++ = ':';
        at = put(at, groups[i], 16);
        ++i;
    }
    return at;
}

}  // namespace

PeerText::PeerText(const Peer& peer) {
    char* at = text_;
    switch (peer.family) {
        case Peer::kIpv4:
            at = put_ipv4(at, peer.address);
            break;
        case Peer::kIpv6:
            *at++ = '[';
            at = put_ipv6(at, peer.address);
            *at++ = ']';
            break;
        default:
            *put(at, "unix") = 0;
            return;
    }
    *at++ = ':';
    *put(at, peer.port) = 0;
}

}  // namespace mqttd
