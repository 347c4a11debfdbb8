#include "base/peer_text.h"

#include "base/prng.h"

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <cstring>
#include <string>

namespace mqttd {

namespace {

Peer peer_of(const char* address, uint16_t port) {
    Peer peer;
    peer.port = port;
    peer.family = std::strchr(address, ':') == nullptr ? Peer::kIpv4 : Peer::kIpv6;
    const int family = peer.family == Peer::kIpv4 ? AF_INET : AF_INET6;
    REQUIRE(inet_pton(family, address, peer.address) == 1);
    return peer;
}

std::string shown(const char* address, uint16_t port) {
    return PeerText(peer_of(address, port)).c_str();
}

}  // namespace

TEST_CASE("a peer is shown as people write addresses") {
    // The narrowest and the widest of each kind, and where `::` goes.
    CHECK(shown("0.0.0.0", 0) == "0.0.0.0:0");
    CHECK(shown("192.0.2.1", 51'000) == "192.0.2.1:51000");
    CHECK(shown("255.255.255.255", 65'535) == "255.255.255.255:65535");
    CHECK(shown("::", 1) == "[::]:1");
    CHECK(shown("::1", 1883) == "[::1]:1883");
    CHECK(shown("2001:db8::", 9) == "[2001:db8::]:9");
    CHECK(shown("2001:db8:0:1:1:1:1:1", 10) == "[2001:db8:0:1:1:1:1:1]:10");
    CHECK(shown("1:0:0:2:0:0:0:3", 10) == "[1:0:0:2::3]:10");
    CHECK(shown("1:0:0:2:3:0:0:4", 10) == "[1::2:3:0:0:4]:10");
    CHECK(shown("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65'535) ==
          "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    CHECK(std::string(PeerText(Peer{}).c_str()) == "unix");
}

TEST_CASE("every IPv6 address reads as the C library writes it") {
    Prng dice(20'260'801);
    for (uint32_t round = 0; round < 20'000; ++round) {
        Peer peer;
        peer.family = Peer::kIpv6;
        peer.port = static_cast<uint16_t>(dice.below(65'536));
        for (uint32_t i = 0; i < 16; i += 2) {
            if (dice.below(2) == 0) continue;  // a group of zeros
            peer.address[i] = static_cast<uint8_t>(dice.below(256));
            peer.address[i + 1] = static_cast<uint8_t>(dice.below(256));
        }
        char text[INET6_ADDRSTRLEN];
        REQUIRE(inet_ntop(AF_INET6, peer.address, text, sizeof text) != nullptr);
        if (std::strchr(text, '.') != nullptr) continue;  // it shows an IPv4 address within
        CAPTURE(round);
        REQUIRE(PeerText(peer).c_str() ==
                "[" + std::string(text) + "]:" + std::to_string(peer.port));
    }
}

}  // namespace mqttd
