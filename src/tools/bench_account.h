#pragma once

// What the broker's process has used so far, from /proc.
//
// Processor time comes from schedstat, in nanoseconds on a core, summed over the threads and over
// the process's descendants (a broker may have helpers; their work is its work). It does not depend
// on what else the machine does, which makes it the figure to compare brokers by. Split into user
// and system only in clock ticks, for that is all the kernel tells. Memory is what the process
// itself has resident.

#include <cstdint>

namespace mqttd::bench {

struct Account {
    bool known = false;
    uint64_t cpu_ns = 0;
    uint64_t user_ms = 0;
    uint64_t system_ms = 0;
    uint64_t resident_bytes = 0;
};

// pid 0, or a process that is gone: not known.
Account read_account(uint64_t pid);

// Waits until resident memory has stopped moving, at most two seconds.
Account settled_account(uint64_t pid);

}  // namespace mqttd::bench
