#pragma once

// Meter: the token bucket of one connection whose listener has a rate.
//
// A token is a byte that may be read. The bucket starts full (`burst`) and gains `per_second`; a
// read takes at most what is in it, so the bound holds within one packet, too. When it is empty the
// connection is not read: its socket fills, and the window tells the client. It then waits, in the
// PauseRing, not for the next byte but for about 60 ms worth of them, or 1 KiB where that is less:
// a slow rate must not become a thousand tiny reads. No pause is longer than a second.
//
// Times count in whole milliseconds and nothing is lost to rounding: what a millisecond gained
// below one token stays as thousandths.
//
// A connection gets its meter when its first byte arrives: 32 bytes that idle connections of other
// listeners do not have. There was no room for a pointer to it, so it sits where the pending input
// hung and holds that in turn.

#include "mqttd/limits.h"
#include "mqttd/time.h"

#include "base/intrusive_list.h"
#include "base/ptr32.h"
#include "base/segment.h"

#include <algorithm>
#include <cstdint>

namespace mqttd {

struct Connection;

struct Rate {
    uint32_t burst = 0;
    uint32_t per_second = 0;  // 0: no bound
};

struct alignas(16) Meter {
    static constexpr uint32_t kPauseBytes = 1024;
    static constexpr uint32_t kPausesPerSecond = 16;  // of a link that is always above its rate

    void fill(Rate rate, Instant now) {
        tokens = rate.burst;
        thousandths = 0;
        refilled_ms = static_cast<uint32_t>(now);
    }

    void refill(Rate rate, Instant now) {
        const uint64_t elapsed = static_cast<uint32_t>(now) - refilled_ms;
        refilled_ms = static_cast<uint32_t>(now);
        const uint64_t gained = elapsed * rate.per_second + thousandths;
        const uint64_t sum = tokens + gained / 1000;
        tokens = static_cast<uint32_t>(std::min<uint64_t>(sum, rate.burst));
        thousandths = sum >= rate.burst ? uint16_t{0} : static_cast<uint16_t>(gained % 1000);
    }

    void spend(uint32_t bytes) { tokens -= std::min(tokens, bytes); }

    // How long until it is worth reading again; at least 1 ms, at most a second.
    Duration pause(Rate rate) const {
        const uint32_t least = std::min(rate.per_second, kPauseBytes);
        const uint64_t enough =
            std::min(rate.burst, std::max(rate.per_second / kPausesPerSecond, least));
        const uint64_t wanted = enough * 1000;
        const uint64_t have = uint64_t{tokens} * 1000 + thousandths;
        if (have >= wanted) return 1;
        return (wanted - have + rate.per_second - 1) / rate.per_second;
    }

    ListHook<Meter> hook;  // PauseRing
    Ptr32<Connection> connection;
    Ptr32<Segment> kept;  // pending input (pending.h)
    uint32_t tokens = 0;
    uint32_t refilled_ms = 0;  // when they were counted; modulo 2^32
    uint16_t thousandths = 0;  // of a token
    uint16_t slot = 0;         // PauseRing
};

static_assert(sizeof(Meter) <= limits::kMeterBytes);

}  // namespace mqttd
