#include "io/file.h"

#include "io/sockets_errno.h"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

namespace mqttd {

namespace {

constexpr size_t kStep = 64 * 1024;

Result<std::string> read_all(int fd, size_t bytes_max) {
    std::string text;
    for (;;) {
        const size_t had = text.size();
        text.resize(had + kStep);
        const ssize_t got = read(fd, text.data() + had, kStep);
        const int number = errno;
        text.resize(had + (got > 0 ? static_cast<size_t>(got) : 0));
        if (got == 0) return text;
        if (got < 0 && number == EISDIR) return Error::kInvalid;
        if (got < 0 && number != EINTR) return error_of_errno(number);
        if (text.size() > bytes_max) return Error::kQuotaExceeded;
    }
}

}  // namespace

Result<std::string> read_file(const char* path, size_t bytes_max) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error_of_errno(errno);
    Result<std::string> text = read_all(fd, bytes_max);
    close(fd);
    return text;
}

const char* file_error_text(Error error) {
    switch (error) {
        case Error::kNotFound:
            return "there is no such file";
        case Error::kPermission:
            return "permission denied";
        case Error::kInvalid:
            return "it is a directory";
        case Error::kQuotaExceeded:
            return "it is too large";
        default:
            return error_text(error);
    }
}

void print(Stream stream, std::string_view text) {
    while (!text.empty()) {
        const ssize_t wrote = write(static_cast<int>(stream), text.data(), text.size());
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return;
        text.remove_prefix(static_cast<size_t>(wrote));
    }
}

const char* environment(const char* name) {
    return std::getenv(name);
}

}  // namespace mqttd
