#include "tools/bench_account.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace mqttd::bench {

namespace {

constexpr int kGenerations = 8;  // of descendants; more would be a loop

std::string read_file(const std::string& path) {
    std::string text;
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return text;
    char piece[4096];
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;)
        text.append(piece, static_cast<size_t>(n));
    close(fd);
    return text;
}

void add_times(const std::string& folder, Account& account) {
    const std::string text = read_file(folder + "/stat");
    const size_t name_end = text.rfind(')');
    if (name_end == std::string::npos) return;
    unsigned long user = 0, system = 0;
    // From the third field on: state, then ten numbers, then utime and stime.
    if (sscanf(text.c_str() + name_end + 2,
               "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
               &user,
               &system) == 2) {
        const auto per_s = static_cast<unsigned long>(sysconf(_SC_CLK_TCK));
        account.user_ms += user * 1000 / per_s;
        account.system_ms += system * 1000 / per_s;
    }
}

void add_process(const std::string& pid, Account& account, int generation) {
    const std::string folder = "/proc/" + pid;
    DIR* threads = opendir((folder + "/task").c_str());
    if (threads == nullptr) return;
    add_times(folder, account);
    std::string children;
    while (const dirent* entry = readdir(threads)) {
        if (entry->d_name[0] == '.') continue;
        const std::string thread = folder + "/task/" + entry->d_name;
        account.cpu_ns += strtoull(read_file(thread + "/schedstat").c_str(), nullptr, 10);
        children += read_file(thread + "/children");
    }
    closedir(threads);
    if (generation == kGenerations) return;
    for (size_t at = 0; at < children.size();) {
        const size_t end = std::min(children.find(' ', at), children.size());
        if (end > at) add_process(children.substr(at, end - at), account, generation + 1);
        at = end + 1;
    }
}

}  // namespace

Account read_account(uint64_t pid) {
    Account account;
    if (pid == 0) return account;
    const std::string status = read_file("/proc/" + std::to_string(pid) + "/status");
    const size_t resident = status.find("VmRSS:");
    if (resident == std::string::npos) return account;
    account.known = true;
    account.resident_bytes = strtoull(status.c_str() + resident + 6, nullptr, 10) * 1024;
    add_process(std::to_string(pid), account, 0);
    return account;
}

Account settled_account(uint64_t pid) {
    Account before = read_account(pid);
    for (int i = 0; before.known && i < 10; ++i) {
        usleep(200'000);
        const Account now = read_account(pid);
        const bool same = now.resident_bytes == before.resident_bytes;
        before = now;
        if (same) break;
    }
    return before;
}

}  // namespace mqttd::bench
