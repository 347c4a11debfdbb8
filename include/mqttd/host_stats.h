#pragma once

// HostStats: what only the shell can count: system calls, descriptors, turns.
//
// net and server fill it in; the broker asks for it once per `sys_interval` (ports.h) and publishes
// it below `$SYS`.

#include <cstdint>

namespace mqttd {

// What only the shell can count; sampled when `$SYS` is built.
struct HostStats {
    uint64_t accepted = 0;
    uint64_t accept_refused = 0;   // closed at once: above every cap
    uint64_t accept_no_files = 0;  // EMFILE, ENFILE
    uint64_t reads = 0;
    uint64_t read_bytes = 0;
    uint64_t read_bytes_max = 0;  // by one call, last interval
    uint64_t writes = 0;
    uint64_t write_bytes = 0;
    uint64_t write_ranges = 0;
    uint64_t write_ranges_max = 0;
    uint64_t short_writes = 0;
    uint64_t epoll_controls = 0;
    uint64_t accepts = 0;  // accept4 calls
    uint64_t stale_events = 0;
    uint64_t edges_pending = 0;  // links left readable by a budget
    uint64_t pending_input_bytes = 0;
    uint64_t lingering = 0;
    uint64_t turns = 0;
    uint64_t events = 0;
    uint64_t turn_us_p50 = 0;  // last interval
    uint64_t turn_us_p90 = 0;
    uint64_t turn_us_p99 = 0;
    uint64_t turn_us_p999 = 0;
    uint64_t turn_us_max = 0;
    uint64_t busy_permille = 0;
    uint64_t files_used = 0;
    uint64_t files_limit = 0;
    uint64_t resident_bytes = 0;
    uint64_t log_lines_dropped = 0;
    uint64_t config_reloads = 0;         // since the start
    uint64_t config_reloads_failed = 0;  // the old configuration stayed in force
    uint64_t config_loaded_s = 0;        // wall clock of the last good one, or of the start
};

}  // namespace mqttd
