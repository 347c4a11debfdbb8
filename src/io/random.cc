#include "io/random.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

namespace mqttd {

namespace {

// For kernels and sandboxes without getrandom.
Error read_urandom(std::span<uint8_t> out) {
    const int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return Error::kIo;
    while (!out.empty()) {
        const ssize_t got = read(fd, out.data(), out.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        out = out.subspan(static_cast<size_t>(got));
    }
    close(fd);
    return out.empty() ? Error::kNone : Error::kIo;
}

}  // namespace

Error random_bytes(std::span<uint8_t> out) {
    while (!out.empty()) {
        const ssize_t got = getrandom(out.data(), out.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return read_urandom(out);
        out = out.subspan(static_cast<size_t>(got));
    }
    return Error::kNone;
}

}  // namespace mqttd
