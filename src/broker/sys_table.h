#pragma once

// The table of the broker's own values: one row per number, with its topic below `$SYS/broker/`,
// what kind of number it is, and how it is read.
//
// A row feeds whatever shows values: `$SYS` now (sys_topics.cc), `/metrics` later. Rows that repeat
// for each pool or listener have tables of their own, in which the name is only the last part.
// Names and formats of mosquitto's are mosquitto's.

#include "mqttd/host_stats.h"
#include "mqttd/stats.h"

#include "base/arena.h"
#include "broker/sys_loads.h"

#include <cstdint>
#include <span>

namespace mqttd {

// What rows are computed from; a snapshot of one moment.
struct SysView {
    const Stats& stats;
    const HostStats& host;
    const Arena& arena;
    uint64_t subscriptions = 0;
    uint64_t shared = 0;  // subscriptions with a group
    uint64_t filters = 0;
    uint64_t retained = 0;  // messages, without our own
    uint64_t retained_bytes = 0;
    uint64_t stored = 0;  // messages in memory, without our own
    uint64_t stored_bytes = 0;
    uint64_t unsent_links = 0;  // links with bytes the kernel did not take yet
    uint64_t unsent_bytes = 0;
    uint64_t blocked = 0;   // links that do not read while messages wait or are dropped
    uint64_t slow = 0;      // of them, for slow_consumer_ms and longer
    uint64_t drift_ms = 0;  // how late the tick came
};

enum class SysKind : uint8_t {
    kCounter,  // since the start, only grows
    kGauge,    // as it is now, or was in the last interval
    kMaximum,  // the largest since the start
};

struct SysRow {
    const char* name;
    SysKind kind;
    uint64_t (*value)(const SysView&);
};

struct SysLoadRow {
    const char* name;  // "/1min" and so on follow
    uint64_t (*value)(const SysView&);
};

struct SysPoolRow {
    const char* name;  // behind "pool/<bytes>/"
    SysKind kind;
    uint64_t Arena::ClassStats::*value;
};

struct SysListenerRow {
    const char* name;  // behind "listener/<name>/"
    SysKind kind;
    uint64_t ListenerHostStats::*value;
};

std::span<const SysRow> sys_rows();
std::span<const SysLoadRow, SysLoads::kLoads> sys_load_rows();
std::span<const SysPoolRow> sys_pool_rows();
std::span<const SysListenerRow> sys_listener_rows();

constexpr const char* kSysSpanNames[SysLoads::kSpans] = {"1min", "5min", "15min"};

constexpr uint32_t kSysRowsMax = 208;
constexpr uint32_t kSysPoolRows = 3;
constexpr uint32_t kSysListenerRows = 10;

}  // namespace mqttd
