#include "base/peer_text.h"

#include <cstdio>

namespace mqttd {

namespace {

// The shortest form of RFC 5952: the longest run of at least two zero groups becomes `::`.
void write_ipv6(char* out, size_t room, const uint8_t* address) {
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
    size_t at = 0;
    for (uint32_t i = 0; i < 8;) {
        if (i == run_begin) {
            at += static_cast<size_t>(std::snprintf(out + at, room - at, "::"));
            i += run_size;
            continue;
        }
        const bool first = i == 0 || i == run_begin + run_size;
        at += static_cast<size_t>(
            std::snprintf(out + at, room - at, first ? "%x" : ":%x", groups[i]));
        ++i;
    }
}

}  // namespace

PeerText::PeerText(const Peer& peer) {
    const uint8_t* a = peer.address;
    switch (peer.family) {
        case Peer::kIpv4:
            std::snprintf(text_, sizeof text_, "%u.%u.%u.%u:%u", a[0], a[1], a[2], a[3], peer.port);
            return;
        case Peer::kIpv6: {
            char address[48];
            write_ipv6(address, sizeof address, a);
            std::snprintf(text_, sizeof text_, "[%s]:%u", address, peer.port);
            return;
        }
        default:
            std::snprintf(text_, sizeof text_, "unix");
            return;
    }
}

}  // namespace mqttd
