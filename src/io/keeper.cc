#include "io/keeper.h"

#include "base/assert.h"
#include "io/sockets_errno.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace mqttd {

namespace {

// What goes over the socket: up, the number of a helper; down, how one ended.
struct Report {
    uint32_t helper = 0;
    int32_t killed = 0;
    int32_t status = 0;
};

// SIGCHLD as a descriptor, and nothing that is meant for the loop.
int block_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD})
        sigaddset(&set, signal);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_SETMASK, &set, nullptr);
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    return signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
}

}  // namespace

Keeper::Keeper(const Helper* helpers, uint32_t count) : count_(count) {
    MQTTD_ASSERT(count <= kHelpersMax);
    std::copy_n(helpers, count, helpers_);
}

Keeper::~Keeper() {
    for (const int fd : {socket_, life_.read_end, life_.write_end}) {
        if (fd >= 0) close(fd);
    }
}

Error Keeper::start_again(Settle settle, void* context, std::span<const int> keep) {
    for (int* fd : {&socket_, &life_.read_end}) {
        if (*fd >= 0) close(*fd);
        *fd = -1;
    }
    // Helpers of the old keeper end by the old line: its write end stays open as long as we do.
    life_.write_end = -1;
    // It has closed its socket on its way out; it is not to stay as a zombie.
    while (pid_ > 0 && waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    gone_ = false;
    keep_ = keep;
    const Error error = start(settle, context);
    keep_ = {};
    gone_ = error != Error::kNone;
    return error;
}

// In the child: closes what is open behind the standard three and not in the list.
void Keeper::let_go_of_others(int socket) const {
    std::vector<unsigned> kept{static_cast<unsigned>(socket),
                               static_cast<unsigned>(life_.read_end)};
    for (const int fd : keep_)
        kept.push_back(static_cast<unsigned>(fd));
    std::sort(kept.begin(), kept.end());
    unsigned from = 3;
    for (const unsigned fd : kept) {
        if (fd > from) (void)close_range(from, fd - 1, 0);
        from = std::max(from, fd + 1);
    }
    (void)close_range(from, ~0u, 0);
}

Error Keeper::start(Settle settle, void* context) {
    const Result<LifeLine> life = open_life_line();
    if (!life) return life.error();
    life_ = *life;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return error_of_errno(errno);
    }
    const pid_t child = fork();
    if (child < 0) {
        const Error error = error_of_errno(errno);
        close(ends[0]);
        close(ends[1]);
        return error;
    }
    if (child == 0) {
        close(ends[0]);
        close(life_.write_end);
        life_.write_end = -1;
        if (!keep_.empty()) let_go_of_others(ends[1]);
        if (settle != nullptr && !settle(context)) _exit(1);
        keep(ends[1]);
    }
    close(ends[1]);
    pid_ = child;
    socket_ = ends[0];
    fcntl(socket_, F_SETFL, O_NONBLOCK);
    return Error::kNone;
}

// The keeper's life.  Whatever fails here ends it, and the loop sees that.
void Keeper::keep(int socket) {
    prctl(PR_SET_NAME, "mqttd-keeper");
    const int signals = block_signals();
    if (signals < 0) _exit(1);
    pollfd watched[2] = {
        {socket,  POLLIN, 0},
        {signals, POLLIN, 0},
    };
    while (true) {
        if (poll(watched, 2, -1) < 0 && errno != EINTR) _exit(1);
        if (watched[1].revents != 0) {
            signalfd_siginfo info;
            while (read(signals, &info, sizeof info) > 0) {
            }
            reap(socket);
        }
        if (watched[0].revents == 0) continue;
        uint32_t helper = 0;
        const ssize_t got = recv(socket, &helper, sizeof helper, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got != sizeof helper) break;  // the loop is gone
        if (helper < count_ && pids_[helper] == 0) fork_helper(helper, socket, signals);
    }
    // The helpers end by the life line, each when it has finished; somebody has to wait for them.
    while (wait(nullptr) > 0 || errno == EINTR) {
    }
    _exit(0);
}

void Keeper::fork_helper(uint32_t helper, int socket, int signals) {
    const pid_t child = fork();
    if (child == 0) {
        close(socket);
        close(signals);
        prctl(PR_SET_NAME, helpers_[helper].name);
        _exit(helpers_[helper].work(helpers_[helper].context, life_.read_end));
    }
    if (child > 0) {
        pids_[helper] = child;
        return;
    }
    const Report report{helper, 0, 1};
    (void)send(socket, &report, sizeof report, MSG_NOSIGNAL);
}

void Keeper::reap(int socket) {
    int status = 0;
    for (pid_t child = waitpid(-1, &status, WNOHANG); child > 0;
         child = waitpid(-1, &status, WNOHANG)) {
        for (uint32_t i = 0; i < count_; ++i) {
            if (pids_[i] != child) continue;
            pids_[i] = 0;
            const bool killed = WIFSIGNALED(status);
            const Report report{i, killed, killed ? WTERMSIG(status) : WEXITSTATUS(status)};
            (void)send(socket, &report, sizeof report, MSG_NOSIGNAL);
        }
    }
}

void Keeper::ask_for(uint32_t helper) {
    MQTTD_ASSERT(helper < count_);
    if (socket_ < 0 || gone_) return;
    if (send(socket_, &helper, sizeof helper, MSG_NOSIGNAL) < 0 && errno != EAGAIN) gone_ = true;
}

bool Keeper::take(Ended& out) {
    if (socket_ < 0 || gone_) return false;
    Report report;
    ssize_t got = 0;
    do {
        got = recv(socket_, &report, sizeof report, 0);
    } while (got < 0 && errno == EINTR);
    if (got == sizeof report) {
        out = {report.helper, report.killed != 0, report.status};
        return true;
    }
    if (got == 0 || (got < 0 && errno != EAGAIN)) gone_ = true;
    return false;
}

}  // namespace mqttd
