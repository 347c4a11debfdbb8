#include "tools/bench_crowd.h"

#include "tools/bench_client.h"

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>

namespace mqttd::bench {

namespace {

constexpr uint64_t kPerProcess = 18'000;
constexpr uint64_t kReportEvery = 250;
constexpr uint64_t kSpareFiles = 64;

void tell(int fd, uint64_t opened) {
    if (write(fd, &opened, sizeof opened) != sizeof opened) exit(1);  // the parent is gone
}

}  // namespace

Crowd::Child Crowd::start(uint64_t first,
                          uint64_t count,
                          const std::string& role,
                          const std::function<std::vector<std::string>(uint64_t)>& filters) {
    int reports[2], hold[2];
    if (pipe2(reports, O_CLOEXEC) != 0 || pipe2(hold, O_CLOEXEC) != 0) die_errno("pipe");
    // Made here: the children's process ids would give each its own.
    const std::string prefix = run_prefix(options_);
    const int pid = fork();
    if (pid < 0) die_errno("fork");
    if (pid > 0) {
        close(reports[1]);
        close(hold[0]);
        return {pid, reports[0], hold[1]};
    }
    for (const Child& other : children_)
        close(other.hold);  // else it would never see its pipe end
    close(hold[1]);
    std::vector<Client> clients;
    clients.reserve(count);
    OpenPlan plan;
    plan.count = count;
    plan.parallel = options_.parallel;
    plan.first_index = first;
    plan.hello = [&](uint64_t i) {
        return make_hello(
            options_, prefix + '-' + role + std::to_string(first + i), filters(first + i));
    };
    plan.opened = [&](uint64_t, Client&& client, bool) {
        clients.push_back(std::move(client));
        if (clients.size() % kReportEvery == 0 || clients.size() == count) {
            tell(reports[1], clients.size());
        }
    };
    open_clients(options_, plan);
    char byte = 0;
    while (read(hold[0], &byte, 1) > 0) {
    }
    _exit(0);
}

void Crowd::open(uint64_t count,
                 const std::string& role,
                 const std::function<std::vector<std::string>(uint64_t)>& filters) {
    const uint64_t files = file_limit();
    const uint64_t share = std::min(kPerProcess, files > 2 * kSpareFiles ? files - kSpareFiles : 1);
    const size_t begun = children_.size();
    for (uint64_t first = 0; first < count; first += share)
        children_.push_back(start(first, std::min(share, count - first), role, filters));
    Progress progress(options_);
    std::vector<pollfd> polled;
    std::vector<uint64_t> opened(children_.size() - begun);
    for (size_t i = begun; i < children_.size(); ++i)
        polled.push_back({children_[i].reports, POLLIN, 0});
    uint64_t total = 0;
    while (total < count && !interrupted()) {
        poll(polled.data(), polled.size(), 1000);
        total = 0;
        for (size_t i = 0; i < polled.size(); ++i) {
            if ((polled[i].revents & (POLLIN | POLLHUP)) != 0 &&
                read(polled[i].fd, &opened[i], sizeof opened[i]) <= 0) {
                die("opening idle clients failed");  // the child has said why
            }
            total += opened[i];
        }
        progress.show(now_ns(), "clients", total);
    }
    size_ += total;
}

void Crowd::leave() {
    for (const Child& child : children_)
        close(child.hold);
    for (const Child& child : children_) {
        close(child.reports);
        waitpid(child.pid, nullptr, 0);
    }
    children_.clear();
    size_ = 0;
}

}  // namespace mqttd::bench
