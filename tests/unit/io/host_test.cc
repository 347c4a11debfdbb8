#include "io/host.h"

#include "support/temp_folder.h"

#include <catch2/catch.hpp>

using namespace mqttd;

namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

void write_ram(const TempFolder& root, uint64_t bytes) {
    root.write("proc/meminfo",
               "MemTotal:       " + std::to_string(bytes / 1024) + " kB\nMemFree:        5 kB\n");
}

}  // namespace

TEST_CASE("without a cgroup the memory is the machine's") {
    // An ordinary server.
    const TempFolder root;
    write_ram(root, 512 * kMiB);
    REQUIRE(memory_available(root.path()) == 512 * kMiB);
}

TEST_CASE("a cgroup v2 limit counts, of the group or of any above it") {
    // A container's limit may be set on its slice.
    const TempFolder root;
    write_ram(root, 512 * kMiB);
    root.write("proc/self/cgroup", "0::/system.slice/mqttd.service\n");
    root.write("sys/fs/cgroup/system.slice/mqttd.service/memory.max", "max\n");
    REQUIRE(memory_available(root.path()) == 512 * kMiB);
    root.write("sys/fs/cgroup/system.slice/memory.max", std::to_string(100 * kMiB) + "\n");
    REQUIRE(memory_available(root.path()) == 100 * kMiB);
    root.write("sys/fs/cgroup/system.slice/mqttd.service/memory.max", std::to_string(64 * kMiB));
    REQUIRE(memory_available(root.path()) == 64 * kMiB);
}

TEST_CASE("a cgroup v1 limit counts, also where the container sees only the root of it") {
    // The path in /proc is the host's; below the mount there is only our own group.
    const TempFolder root;
    write_ram(root, 512 * kMiB);
    root.write(
        "proc/self/cgroup",
        "12:cpu,cpuacct:/docker/abc\n7:memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n");
    root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", std::to_string(96 * kMiB) + "\n");
    REQUIRE(memory_available(root.path()) == 96 * kMiB);
    root.write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", std::to_string(32 * kMiB));
    REQUIRE(memory_available(root.path()) == 32 * kMiB);
}

TEST_CASE("no limit in a cgroup is no limit") {
    // v1 writes a number near 2^63 for it.
    const TempFolder root;
    write_ram(root, 512 * kMiB);
    root.write("proc/self/cgroup", "7:memory:/\n");
    root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    REQUIRE(memory_available(root.path()) == 512 * kMiB);
}

TEST_CASE("files that are missing or hold nonsense limit nothing") {
    // Sandboxes hide /proc and /sys.
    const TempFolder root;
    REQUIRE(memory_available(root.path()) == 0);
    root.write("proc/self/cgroup", "nonsense\n:::\n0::relative\n\n");
    root.write("proc/meminfo", "nonsense");
    REQUIRE(memory_available(root.path()) == 0);
    const KernelLimits limits = kernel_limits(root.path());
    REQUIRE(limits.somaxconn == 0);
    REQUIRE(limits.file_max == 0);
    REQUIRE(limits.port_first == 0);
    REQUIRE(limits.port_last == 0);
}

TEST_CASE("the kernel's limits are read as written there") {
    // They end up in the start-up lines.
    const TempFolder root;
    root.write("proc/sys/net/core/somaxconn", "4096\n");
    root.write("proc/sys/fs/file-max", "9223372036854775807\n");
    root.write("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
    const KernelLimits limits = kernel_limits(root.path());
    REQUIRE(limits.somaxconn == 4096);
    REQUIRE(limits.file_max == 9223372036854775807u);
    REQUIRE(limits.port_first == 32768);
    REQUIRE(limits.port_last == 60999);
}

TEST_CASE("this process has memory and files") {
    // The real /proc.
    REQUIRE(resident_bytes() > 100'000);
    REQUIRE(files_open() >= 3);
    REQUIRE(memory_available() > 16 * kMiB);
}
