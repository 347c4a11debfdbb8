#include "io/host.h"

#include "io/file.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <string_view>
#include <sys/resource.h>
#include <unistd.h>

namespace mqttd {

namespace {

constexpr size_t kFileMax = 256 * 1024;
constexpr uint64_t kNoLimit = ~uint64_t{0};
constexpr uint64_t kUnlimited = uint64_t{1} << 62;  // above: v1's way to say "no limit"

std::string text_of(const std::string& path) {
    Result<std::string> text = read_file(path.c_str(), kFileMax);
    return text.ok() ? *text : std::string();
}

// The first number in the file; 0 if there is none.
uint64_t number_of(const std::string& path) {
    return std::strtoull(text_of(path).c_str(), nullptr, 10);
}

// "max" and the like of a memory limit: no limit.
uint64_t limit_of(const std::string& path) {
    const uint64_t bytes = number_of(path);
    return bytes == 0 ? kNoLimit : bytes;
}

// The smallest limit on the way from `path` up to the root of the hierarchy at `mount`.  In a
// container `path` may not be visible below the mount; the root then holds the container's limit.
uint64_t smallest_on_the_way(const std::string& mount, std::string path, const char* file) {
    uint64_t smallest = kNoLimit;
    for (;;) {
        if (path == "/") path.clear();
        smallest = std::min(smallest, limit_of(mount + path + "/" + file));
        if (path.empty()) return smallest;
        path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
}

bool has_word(std::string_view list, std::string_view word) {
    while (!list.empty()) {
        const size_t end = std::min(list.find(','), list.size());
        if (list.substr(0, end) == word) return true;
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return false;
}

// Lines of /proc/self/cgroup: "ID:CONTROLLERS:PATH"; v2 has ID 0 and no controllers.
uint64_t cgroup_limit(const std::string& root) {
    const std::string all = text_of(root + "/proc/self/cgroup");
    uint64_t smallest = kNoLimit;
    for (std::string_view rest = all; !rest.empty();) {
        const size_t end = std::min(rest.find('\n'), rest.size());
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        const size_t first = line.find(':');
        const size_t second = first == line.npos ? line.npos : line.find(':', first + 1);
        if (second == line.npos) continue;
        const std::string_view controllers = line.substr(first + 1, second - first - 1);
        const std::string path(line.substr(second + 1));
        if (controllers.empty()) {
            smallest = std::min(smallest,
                                smallest_on_the_way(root + "/sys/fs/cgroup", path, "memory.max"));
        } else if (has_word(controllers, "memory")) {
            smallest = std::min(
                smallest,
                smallest_on_the_way(root + "/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"));
        }
    }
    return smallest;
}

uint64_t ram_bytes(const std::string& root) {
    const std::string text = text_of(root + "/proc/meminfo");
    const size_t at = text.find("MemTotal:");
    if (at == text.npos) return kNoLimit;
    return std::strtoull(text.c_str() + at + std::strlen("MemTotal:"), nullptr, 10) * 1024;
}

}  // namespace

KernelLimits kernel_limits(const std::string& root) {
    KernelLimits limits;
    limits.somaxconn = number_of(root + "/proc/sys/net/core/somaxconn");
    limits.file_max = number_of(root + "/proc/sys/fs/file-max");
    const std::string ports = text_of(root + "/proc/sys/net/ipv4/ip_local_port_range");
    char* rest = nullptr;
    limits.port_first = std::strtoull(ports.c_str(), &rest, 10);
    limits.port_last = std::strtoull(rest, nullptr, 10);
    return limits;
}

uint64_t raise_file_limit(uint64_t most) {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::min<uint64_t>(1024, most);
    rlimit wanted = limit;
    wanted.rlim_cur = std::min<rlim_t>(limit.rlim_max, most);
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0) limit = wanted;
    return std::min<uint64_t>(limit.rlim_cur, most);
}

uint64_t memory_available(const std::string& root) {
    const uint64_t bytes = std::min(ram_bytes(root), cgroup_limit(root));
    return bytes == kNoLimit ? 0 : bytes;
}

uint64_t memory_cgroup_limit(const std::string& root) {
    const uint64_t bytes = cgroup_limit(root);
    return bytes == kNoLimit || bytes >= kUnlimited ? 0 : bytes;
}

// Read in the loop, so into a buffer of its own: the loop takes no memory from the system.
uint64_t resident_bytes() {
    const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    char text[128] = {};
    const ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0) return 0;
    // "size resident shared ...", in pages.
    char* rest = nullptr;
    std::strtoull(text, &rest, 10);
    return std::strtoull(rest, nullptr, 10) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t files_open() {
    DIR* folder = opendir("/proc/self/fd");
    if (folder == nullptr) return 0;
    uint64_t count = 0;
    while (const dirent* entry = readdir(folder)) {
        if (entry->d_name[0] != '.') ++count;
    }
    closedir(folder);
    return count - 1;  // the folder itself
}

}  // namespace mqttd
