#pragma once

// Event: one process tells another that there is something to look at.
//
// An eventfd, made before the processes part. Telling it twice before it is taken is telling it
// once; what there is to see lies in shared memory. Non-blocking, so the loop can watch it.

#include "mqttd/result.h"
#include "mqttd/time.h"

namespace mqttd {

// A descriptor for both sides.
Result<int> open_event();

void tell_event(int fd);

// Whether it was told since it was taken last.
bool take_event(int fd);

// A pipe of which nothing is ever written: its read end shows when the last holder of the write end
// is gone.
struct LifeLine {
    int read_end = -1;
    int write_end = -1;
};

Result<LifeLine> open_life_line();

// What a process sees that waits for an event, or for the end of the one it works for.
struct Waited {
    bool told = false;
    bool alone = false;  // nobody holds the write end any more
};

// Waits at most `most` (kNever: for ever).
Waited wait_event(int event, int life_read_end, Duration most);

}  // namespace mqttd
