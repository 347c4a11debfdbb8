#include "io/signals.h"

#include <catch2/catch.hpp>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace mqttd;

namespace {

// Runs `check` in a child, for signals are blocked for a whole process; true if it said so.
template <class Check>
bool in_child(Check check) {
    const pid_t child = fork();
    if (child == 0) _exit(check() ? 0 : 1);
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("every signal of the table arrives as its event, in a descriptor") {
    // Nothing runs between two instructions; the loop reads them like any other input.
    REQUIRE(in_child([] {
        const Result<int> fd = open_signals();
        if (!fd.ok()) return false;
        const struct {
            int number;
            SignalEvent event;
        } rows[] = {
            {SIGINT,   SignalEvent::kStop      },
            {SIGTERM,  SignalEvent::kStop      },
            {SIGHUP,   SignalEvent::kReload    },
            {SIGRTMIN, SignalEvent::kReopenLogs},
            {SIGUSR1,  SignalEvent::kSync      },
            {SIGUSR2,  SignalEvent::kDump      }
        };
        for (const auto& row : rows) {
            SignalEvent events[4] = {};
            if (read_signals(*fd, events) != 0) return false;
            kill(getpid(), row.number);
            pollfd asked{*fd, POLLIN, 0};
            if (poll(&asked, 1, 1000) != 1) return false;
            if (read_signals(*fd, events) != 1 || events[0] != row.event) return false;
        }
        return true;
    }));
}

TEST_CASE("several signals are read as a list, and no more than there is room for") {
    // What does not fit comes with the next read.
    REQUIRE(in_child([] {
        const Result<int> fd = open_signals();
        if (!fd.ok()) return false;
        for (const int number : {SIGUSR1, SIGUSR2, SIGHUP})
            kill(getpid(), number);
        SignalEvent events[2];
        if (read_signals(*fd, events) != 2) return false;
        return read_signals(*fd, events) == 1 && read_signals(*fd, events) == 0;
    }));
}

TEST_CASE("writing to a pipe that nobody reads is an error, not the end") {
    // `mqttd | head` must not kill the broker.
    REQUIRE(in_child([] {
        ignore_broken_pipes();
        int ends[2];
        if (pipe(ends) != 0) return false;
        close(ends[0]);
        return write(ends[1], "x", 1) < 0;
    }));
}
