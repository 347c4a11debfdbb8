#include "io/clock.h"

#include <ctime>

namespace mqttd {

namespace {

timespec read_clock(clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return time;
}

}  // namespace

Instant boot_ms() {
    const timespec time = read_clock(CLOCK_BOOTTIME);
    return static_cast<uint64_t>(time.tv_sec) * 1000 +
           static_cast<uint64_t>(time.tv_nsec) / 1'000'000;
}

int64_t wall_s() {
    return read_clock(CLOCK_REALTIME_COARSE).tv_sec;
}

uint64_t monotonic_us() {
    const timespec time = read_clock(CLOCK_MONOTONIC);
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000 +
           static_cast<uint64_t>(time.tv_nsec) / 1000;
}

}  // namespace mqttd
