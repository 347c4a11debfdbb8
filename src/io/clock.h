#pragma once

// The three clocks, each for one purpose.
//
// Deadlines run on CLOCK_BOOTTIME: it never jumps and goes on while the machine sleeps, so a
// suspended laptop's clients are found overdue when it wakes. Wall time is only printed. Turns are
// timed in microseconds of CLOCK_MONOTONIC. All three are read without entering the kernel, ~20 ns;
// wall time in a quarter of that, for it is as old as the last tick (4 ms at most).

#include "mqttd/time.h"

#include <cstdint>

namespace mqttd {

Instant boot_ms();        // ms since the machine started, sleep included
int64_t wall_s();         // seconds since 1970
uint64_t monotonic_us();  // for differences only

}  // namespace mqttd
