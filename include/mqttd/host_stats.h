#pragma once

// HostStats: what only the shell can count: system calls, descriptors, turns, listeners.
//
// net and server fill it in; the broker asks for it once per `sys_interval` (ports.h) and publishes
// it below `$SYS`. Texts and spans are borrowed until it is asked again.
//
// "Last interval" values begin anew whenever it is asked; everything else counts since the start or
// says how things are now. Durations are microseconds.

#include <cstdint>
#include <span>
#include <string_view>

namespace mqttd {

struct ListenerHostStats {
    std::string_view name;     // its port or path; no two have the same
    uint64_t connections = 0;  // now
    uint64_t maximum = 0;      // most at once
    uint64_t accepted = 0;
    uint64_t refused_max = 0;     // above a cap
    uint64_t refused_access = 0;  // its network may not come in
    uint64_t refused_rate = 0;    // too many new ones
    uint64_t rate_paused = 0;     // not read at the moment: above their rate
    uint64_t bytes_received = 0;
    uint64_t bytes_sent = 0;
    uint64_t handshake_timeout = 0;
};

struct HostStats {
    uint64_t accepted = 0;
    uint64_t accept_refused = 0;   // closed at once: above every cap
    uint64_t accept_no_files = 0;  // EMFILE, ENFILE
    uint64_t reads = 0;
    uint64_t read_bytes = 0;
    uint64_t read_bytes_avg = 0;  // by one call, last interval
    uint64_t read_bytes_max = 0;
    uint64_t writes = 0;
    uint64_t write_bytes = 0;
    uint64_t write_ranges = 0;
    uint64_t write_ranges_avg = 0;  // of one call, last interval
    uint64_t write_ranges_p99 = 0;
    uint64_t write_ranges_max = 0;
    uint64_t short_writes = 0;
    uint64_t write_again = 0;  // writes that took nothing at all
    uint64_t epoll_controls = 0;
    uint64_t accepts = 0;  // accept4 calls
    uint64_t stale_events = 0;
    uint64_t edges_pending = 0;  // links left readable by a budget
    uint64_t pending_input_bytes = 0;
    uint64_t lingering = 0;

    uint64_t turns = 0;
    uint64_t events = 0;
    uint64_t events_avg = 0;  // of one turn, last interval
    uint64_t events_max = 0;
    uint64_t turn_us_p50 = 0;  // last interval
    uint64_t turn_us_p90 = 0;
    uint64_t turn_us_p99 = 0;
    uint64_t turn_us_p999 = 0;
    uint64_t turn_us_max = 0;
    std::span<const uint64_t> turn_us_ends;    // upper bounds of the buckets but the last
    std::span<const uint64_t> turn_us_counts;  // turns in each, since the start
    uint64_t turn_us_sum = 0;
    uint64_t wait_us_p50 = 0;  // asleep before a turn, last interval
    uint64_t busy_permille = 0;
    uint64_t publish_us_p50 = 0;  // QoS 0, from read to write, last interval
    uint64_t publish_us_p99 = 0;
    uint64_t publish_us_max = 0;

    uint64_t files_used = 0;
    uint64_t files_limit = 0;
    uint64_t resident_bytes = 0;
    uint64_t cgroup_limit_bytes = 0;  // 0 = none
    uint64_t log_lines_dropped = 0;

    std::span<const ListenerHostStats> listeners;

    std::string_view persist_state = "off";  // reading, serving, failing: its last write failed
    uint64_t persist_bytes = 0;              // of the journal that are kept
    uint64_t persist_lag = 0;                // of them, not yet written and synced
    uint64_t persist_syncs = 0;
    uint64_t persist_sync_us_p99 = 0;        // since the last time they were looked at
    uint64_t persist_save_ms = 0;            // how long the last autosave or SIGUSR1 took
    uint64_t persist_written = 0;            // bytes since the start
    uint64_t persist_saved_s = 0;            // wall clock when all was last written; 0 = not yet
    uint64_t persist_restored_messages = 0;  // retained, queued and under way, at the start
    uint64_t persist_restore_ms = 0;
    uint64_t persist_scribes_lost = 0;  // scribes that ended and were replaced

    uint64_t config_reloads = 0;         // good ones, since the start
    uint64_t config_reloads_failed = 0;  // the old configuration stayed in force
    uint64_t config_loaded_s = 0;        // wall clock of the last good one, or of the start
    std::string_view config_error;       // of the last reload; empty: it worked
};

}  // namespace mqttd
