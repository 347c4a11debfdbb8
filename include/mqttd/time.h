#pragma once

// Instant and Duration: milliseconds that somebody else counted.
//
// Nothing outside io/ reads a clock. The loop reads CLOCK_BOOTTIME once per turn and hands it down
// as an Instant; a jump of the wall clock moves no deadline. Wall time (seconds since 1970) is only
// ever printed.

#include <cstdint>

namespace mqttd {

using Instant = uint64_t;   // ms of CLOCK_BOOTTIME
using Duration = uint64_t;  // ms

constexpr Duration kSecond = 1000;

constexpr Instant kNever = ~Instant{0};

}  // namespace mqttd
