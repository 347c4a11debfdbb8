#pragma once

// What the machine allows: descriptors, backlog, ports, memory.
//
// Everything is read from /proc and /sys as text. `root` in front of these paths is empty in the
// server; tests put a small tree of files there. A file that is not there means "not known" (0),
// and what is not known limits nothing.

#include <cstdint>
#include <string>

namespace mqttd {

struct KernelLimits {
    uint64_t somaxconn = 0;   // longest accept queue
    uint64_t file_max = 0;    // open files of the whole machine
    uint64_t port_first = 0;  // local ports for outgoing connections; bounds local test clients
    uint64_t port_last = 0;
};

KernelLimits kernel_limits(const std::string& root = "");

// Sets RLIMIT_NOFILE to its hard limit, or to `most` if that is less: tables have a place for each.
// Returns what holds now.
uint64_t raise_file_limit(uint64_t most);

// Bytes this process may use at most: the smaller of RAM and the limits of its memory cgroup (v1 or
// v2) and of all cgroups above it.  0 if nothing could be read.
uint64_t memory_available(const std::string& root = "");

// What its memory cgroups alone allow; 0 = no limit.
uint64_t memory_cgroup_limit(const std::string& root = "");

// Resident set size in bytes.
uint64_t resident_bytes();

// Descriptors open now.  O(n) of them: for the start, not for the loop.
uint64_t files_open();

}  // namespace mqttd
