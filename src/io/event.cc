#include "io/event.h"

#include "io/sockets_errno.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace mqttd {

Result<int> open_event() {
    const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) return error_of_errno(errno);
    return fd;
}

// It cannot fail but for a counter that is full, which is telling enough.
void tell_event(int fd) {
    const uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

bool take_event(int fd) {
    uint64_t count = 0;
    ssize_t got = 0;
    do {
        got = read(fd, &count, sizeof count);
    } while (got < 0 && errno == EINTR);
    return got == sizeof count;
}

Result<LifeLine> open_life_line() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return error_of_errno(errno);
    return LifeLine{ends[0], ends[1]};
}

Waited wait_event(int event, int life_read_end, Duration most) {
    pollfd watched[2] = {
        {event,         POLLIN, 0},
        {life_read_end, POLLIN, 0},
    };
    const int timeout = most == kNever ? -1 : static_cast<int>(std::min<Duration>(most, INT_MAX));
    if (poll(watched, 2, timeout) <= 0) return {};
    Waited waited;
    waited.told = (watched[0].revents & POLLIN) != 0 && take_event(event);
    waited.alone = watched[1].revents != 0;
    return waited;
}

}  // namespace mqttd
