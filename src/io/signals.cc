#include "io/signals.h"

#include "io/sockets_errno.h"

#include <cerrno>
#include <csignal>
#include <sys/signalfd.h>
#include <unistd.h>

namespace mqttd {

namespace {

struct Row {
    int number;
    SignalEvent event;
};

// Not constexpr: SIGRTMIN is a function of the C library.
const Row kRows[] = {
    {SIGINT,   SignalEvent::kStop      },
    {SIGTERM,  SignalEvent::kStop      },
    {SIGHUP,   SignalEvent::kReload    },
    {SIGRTMIN, SignalEvent::kReopenLogs},
    {SIGUSR1,  SignalEvent::kSync      },
    {SIGUSR2,  SignalEvent::kDump      },
};

}  // namespace

void ignore_broken_pipes() {
    std::signal(SIGPIPE, SIG_IGN);
}

Result<int> open_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const Row& row : kRows)
        sigaddset(&set, row.number);
    if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return error_of_errno(errno);
    const int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) return error_of_errno(errno);
    return fd;
}

uint32_t read_signals(int fd, std::span<SignalEvent> out) {
    uint32_t count = 0;
    while (count < out.size()) {
        signalfd_siginfo info;
        const ssize_t got = read(fd, &info, sizeof info);
        if (got < 0 && errno == EINTR) continue;
        if (got != static_cast<ssize_t>(sizeof info)) break;
        for (const Row& row : kRows) {
            if (static_cast<uint32_t>(row.number) == info.ssi_signo) out[count++] = row.event;
        }
    }
    return count;
}

}  // namespace mqttd
