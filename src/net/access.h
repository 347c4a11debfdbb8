#pragma once

// Access rules: which networks a listener lets in.
//
// A rule is a prefix of a 16-byte address and a verdict. IPv4 stands as ::ffff:a.b.c.d, so a client
// that comes to an IPv6 socket with a mapped address meets the same rules as one that comes to an
// IPv4 socket. A prefix of 0 bits is everybody, clients on Unix sockets included; those have no
// address and match nothing else. The first rule that matches decides, and where none does the
// client is let in: a list of allowed networks ends with `deny all`.
//
// It is asked right after accept, before the connection costs any memory; O(rules).

#include "mqttd/stream.h"

#include <cstdint>
#include <span>

namespace mqttd {

struct AccessRule {
    uint8_t address[16] = {};  // network order
    uint8_t prefix = 0;        // leading bits that count, 0 … 128; an IPv4 prefix counts from 96
    bool allow = true;
};

bool access_allowed(std::span<const AccessRule> rules, const Peer& peer);

}  // namespace mqttd
