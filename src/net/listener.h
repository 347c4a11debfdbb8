#pragma once

// Listener: one listening socket; ListenerState: what the sockets of one listener share.
//
// A listener of the configuration may need two sockets (IPv4 and IPv6); they share its index, and
// with it the limits, the counters and the cap. Limits may be changed while it serves
// (Net::set_limits): they hold for the next accept and the next read. A socket cut short by its
// batch stays on the ready list; one that found no free descriptor is `starved` and comes back when
// one is freed, for no edge will bring it back.

#include "base/intrusive_list.h"
#include "net/access.h"
#include "net/meter.h"

#include <cstdint>
#include <span>

namespace mqttd {

struct ListenerLimits {
    uint16_t index = 0;                       // Arrival::listener; below Net::kListenersMax
    int64_t max_connections = -1;             // open links of this index; -1 = no cap
    uint32_t accept_batch = 64;               // accepts per turn, >= 1
    uint32_t rate_bytes_s = 0;                // input of one connection; 0 = no bound
    uint32_t rate_burst_bytes = 0;            // that it may send at once; 0 = what a second brings
    std::span<const AccessRule> access = {};  // the first that matches decides; borrowed
};

// Counted per read, write and accept, never per message.
struct ListenerStats {
    uint64_t connections = 0;  // open links now, those above a cap not included
    uint64_t maximum = 0;      // the most there were
    uint64_t accepted = 0;     // let in
    uint64_t refused_max = 0;  // above a cap: told so, or closed at once
    uint64_t refused_access = 0;
    uint64_t refused_rate = 0;  // there is no bound on new connections per second yet
    uint64_t rate_paused = 0;   // not read at the moment: above their rate
    uint64_t rate_pauses = 0;   // how often one was
    uint64_t bytes_received = 0;
    uint64_t bytes_sent = 0;
    uint64_t handshake_timeout = 0;  // closed because their CONNECT did not come in time
};

struct alignas(16) ListenerState {
    void set_limits(const ListenerLimits& changed) {
        limits = changed;
        if (limits.accept_batch == 0) limits.accept_batch = 1;
        rate = {changed.rate_burst_bytes, changed.rate_bytes_s};
        if (rate.burst == 0) rate.burst = rate.per_second;
    }

    ListenerLimits limits;
    Rate rate;
    uint32_t user_timeout_ms = 0;  // of connections that are closing
    ListenerStats stats;
};

struct alignas(16) Listener {
    ListHook<Listener> ready;
    int fd = -1;
    ListenerState* state = nullptr;
    bool unix_socket = false;
    bool starved = false;
    char path[108] = {};  // of a Unix socket, to remove it in the end
};

}  // namespace mqttd
