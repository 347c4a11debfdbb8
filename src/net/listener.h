#pragma once

// Listener: one listening socket, and whose connections it counts.
//
// A listener of the configuration may need two sockets (IPv4 and IPv6); they share its index, and
// with it the cap. A socket cut short by its batch stays on the ready list; one that found no free
// descriptor is `starved` and comes back when one is freed, for no edge will bring it back.

#include "base/intrusive_list.h"

#include <cstdint>

namespace mqttd {

struct ListenerLimits {
    uint16_t index = 0;            // Arrival::listener; below Net::kListenersMax
    int64_t max_connections = -1;  // open links of this index; -1 = no cap
    uint32_t accept_batch = 64;    // accepts per turn, >= 1
};

struct alignas(16) Listener {
    ListHook<Listener> ready;
    int fd = -1;
    ListenerLimits limits;
    bool unix_socket = false;
    bool starved = false;
    char path[108] = {};  // of a Unix socket, to remove it in the end
};

}  // namespace mqttd
