#include "io/log_sink.h"

#include "base/assert.h"
#include "io/sockets_errno.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

namespace mqttd {

namespace {

constexpr uint32_t kPipeAtOnce = 4096;  // a pipe that poll calls writable takes this much

// Severities of syslog, by LogKind.
constexpr int kSeverity[] = {3, 4, 5, 6, 6, 6, 7};
static_assert(sizeof kSeverity / sizeof kSeverity[0] == static_cast<size_t>(LogKind::kCount));

Result<int> open_log_file(const std::string& path) {
    const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    if (fd < 0 && errno == EISDIR) return Error::kInvalid;
    if (fd < 0) return error_of_errno(errno);
    return fd;
}

bool accepts_now(int fd) {
    pollfd asked{fd, POLLOUT, 0};
    return poll(&asked, 1, 0) > 0 && (asked.revents & POLLOUT) != 0;
}

uint32_t format_time(const char* format, int64_t wall_s, char* out, size_t room) {
    const auto seconds = static_cast<time_t>(wall_s);
    tm parts{};
    if (localtime_r(&seconds, &parts) == nullptr) return 0;
    return static_cast<uint32_t>(std::strftime(out, room, format, &parts));
}

}  // namespace

LogSink::LogSink() : bytes_(new char[kBytes]), lines_(new Line[kLines]) {}

LogSink::~LogSink() {
    for (Target& target : targets_) {
        if (target.fd >= 0 && target.kind != Kind::kBorrowed) close(target.fd);
    }
    delete[] bytes_;
    delete[] lines_;
}

Error LogSink::open(const Options& options) {
    options_ = options;
    set_form();
    if (options_.to_stdout) open_stream(kStdout, STDOUT_FILENO);
    if (options_.to_stderr) open_stream(kStderr, STDERR_FILENO);
    if (options_.to_syslog) {
        targets_[kSyslog].kind = Kind::kSyslog;
        open_syslog();
    }
    if (options_.file.empty()) return Error::kNone;
    const Result<int> file = open_log_file(options_.file);
    if (!file.ok()) return file.error();
    targets_[kFile].kind = Kind::kFile;
    targets_[kFile].fd = *file;
    return Error::kNone;
}

// A format is also a promise about length: what does not fit the stamp falls back to seconds.
void LogSink::set_form() {
    if (options_.timestamp_format.size() > sizeof stamp_ / 2) options_.timestamp_format.clear();
    stamp_size_ = 0;
}

Error LogSink::reconfigure(const Options& options) {
    int file = -1;
    if (!options.file.empty()) {
        const Result<int> opened = open_log_file(options.file);
        if (!opened.ok()) return opened.error();
        file = *opened;
    }
    flush();
    const bool same_file = options.file == options_.file && targets_[kFile].kind == Kind::kFile;
    options_ = options;
    set_form();
    set_time(wall_s_);
    set_wanted(kStdout, options.to_stdout);
    set_wanted(kStderr, options.to_stderr);
    set_wanted(kSyslog, options.to_syslog);
    if (same_file) {
        close(targets_[kFile].fd);
        targets_[kFile].fd = file;
        return Error::kNone;
    }
    set_wanted(kFile, false);
    if (file >= 0) {
        targets_[kFile].kind = Kind::kFile;
        targets_[kFile].fd = file;
        targets_[kFile].line = next_line_;
    }
    return Error::kNone;
}

// A destination that is new begins with the next line.
void LogSink::set_wanted(Place place, bool wanted) {
    Target& target = targets_[place];
    if (wanted == (target.kind != Kind::kNone)) return;
    if (!wanted) {
        if (target.fd >= 0 && target.kind != Kind::kBorrowed) close(target.fd);
        target = Target{};
        return;
    }
    target.line = next_line_;
    if (place == kSyslog) {
        target.kind = Kind::kSyslog;
        open_syslog();
    } else {
        open_stream(place, place == kStdout ? STDOUT_FILENO : STDERR_FILENO);
    }
}

Error LogSink::reopen() {
    if (options_.file.empty()) return Error::kNone;
    const Result<int> file = open_log_file(options_.file);
    if (!file.ok()) return file.error();
    Target& target = targets_[kFile];
    if (target.fd >= 0) {
        flush_bytes(target);
        close(target.fd);
    }
    target.kind = Kind::kFile;
    target.fd = *file;
    return Error::kNone;
}

void LogSink::give_file_to(uint32_t uid, uint32_t gid) {
    if (targets_[kFile].fd < 0) return;
    static_cast<void>(!fchown(targets_[kFile].fd, uid, gid));  // best effort: it is open already
}

void LogSink::restart_streams() {
    for (const Place place : {kStdout, kStderr}) {
        Target& target = targets_[place];
        if (target.kind == Kind::kNone) continue;
        if (target.kind != Kind::kBorrowed && target.fd >= 0) close(target.fd);
        open_stream(place, place == kStdout ? STDOUT_FILENO : STDERR_FILENO);
    }
}

void LogSink::open_stream(Place place, int fd) {
    Target& target = targets_[place];
    struct stat status;
    target.fd = fd;
    target.kind = Kind::kBorrowed;
    if (fstat(fd, &status) != 0) {
        target = Target{};
        return;
    }
    if (S_ISREG(status.st_mode)) {
        target.kind = Kind::kFile;
        target.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return;
    }
    char path[32];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const int own = ::open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (own < 0) return;
    target.kind = Kind::kOpened;
    target.fd = own;
}

// At most once a second: a machine without a syslog must not pay for it in every turn.
void LogSink::open_syslog() {
    if (wall_s_ < syslog_again_s_) return;
    syslog_again_s_ = wall_s_ + 1;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (options_.syslog_path.size() >= sizeof address.sun_path) return;
    std::memcpy(address.sun_path, options_.syslog_path.data(), options_.syslog_path.size());
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        complain(targets_[kSyslog], errno);
        close(fd);
        return;
    }
    targets_[kSyslog].fd = fd;
    targets_[kSyslog].complained = false;
}

void LogSink::set_time(int64_t wall_s) {
    if (wall_s == wall_s_ && stamp_size_ > 0) return;
    wall_s_ = wall_s;
    stamp_size_ = 0;
    if (!options_.timestamp) return;
    const size_t room = sizeof stamp_ - 3;
    if (!options_.timestamp_format.empty()) {
        stamp_size_ = format_time(options_.timestamp_format.c_str(), wall_s, stamp_, room);
    }
    if (stamp_size_ == 0) {
        stamp_size_ = static_cast<uint32_t>(
            std::snprintf(stamp_, room, "%lld", static_cast<long long>(wall_s)));
    }
    std::memcpy(stamp_ + stamp_size_, ": ", 2);
    stamp_size_ += 2;
}

void LogSink::take(void* sink, LogKind kind, std::string_view line) {
    static_cast<LogSink*>(sink)->add(kind, line);
}

void LogSink::add(LogKind kind, std::string_view text) {
    text = text.substr(0, Log::kLineMax);
    const uint32_t size = stamp_size_ + static_cast<uint32_t>(text.size()) + 1;
    make_room(size);
    Line& line = lines_[next_line_ % kLines];
    line = Line{
        next_byte_, size, static_cast<uint8_t>(kind), static_cast<uint8_t>(stamp_size_), wall_s_};
    put(next_byte_, {stamp_, stamp_size_});
    put(next_byte_ + stamp_size_, text);
    put(next_byte_ + size - 1, "\n");
    next_byte_ += size;
    ++next_line_;
}

void LogSink::put(uint64_t at, std::string_view text) {
    const auto place = static_cast<size_t>(at % kBytes);
    const size_t front = std::min<size_t>(text.size(), kBytes - place);
    std::memcpy(bytes_ + place, text.data(), front);
    std::memcpy(bytes_, text.data() + front, text.size() - front);
}

// Whoever has not read what the new line will overwrite loses all it had waiting.
void LogSink::make_room(uint32_t bytes) {
    for (Target& target : targets_) {
        if (target.kind == Kind::kNone || target.line == next_line_) continue;
        const uint64_t begin = lines_[target.line % kLines].begin;
        if (next_byte_ + bytes - begin <= kBytes && next_line_ + 1 - target.line <= kLines)
            continue;
        const uint64_t lost = next_line_ - target.line;
        target.lost += lost;
        dropped_ += lost;
        target.torn = target.torn || target.written > 0;
        target.line = next_line_;
        target.written = 0;
    }
}

void LogSink::flush() {
    for (Target& target : targets_) {
        if (target.kind == Kind::kNone) continue;
        if (target.line == next_line_ && target.lost == 0) continue;
        if (target.kind == Kind::kSyslog) {
            flush_datagrams(target);
        } else {
            flush_bytes(target);
        }
    }
}

bool LogSink::waiting() const {
    return std::any_of(std::begin(targets_), std::end(targets_), [this](const Target& target) {
        return target.fd >= 0 && (target.line != next_line_ || target.lost != 0);
    });
}

// One line about what is missing here; false if it could not be written now.
bool LogSink::report_lost(Target& target) {
    if (target.lost == 0) return true;
    char text[Log::kLineMax];
    const int length =
        std::snprintf(text,
                      sizeof text,
                      "%s%.*s%llu log lines were dropped here: written too slowly.\n",
                      target.torn ? "\n" : "",
                      static_cast<int>(stamp_size_),
                      stamp_,
                      static_cast<unsigned long long>(target.lost));
    if (target.kind == Kind::kBorrowed && !accepts_now(target.fd)) return false;
    // Short of a pipe's atomic size, so it goes whole or not at all.
    if (write(target.fd, text, static_cast<size_t>(length)) < 0) {
        give_up_if_gone(target, errno);
        return false;
    }
    target.lost = 0;
    target.torn = false;
    return true;
}

// What the operator cannot read where the log should be, once per trouble and without waiting.
void LogSink::complain(Target& target, int number) {
    if (target.complained || !accepts_now(STDERR_FILENO)) return;
    target.complained = true;
    char text[400];
    const int length = std::snprintf(
        text,
        sizeof text,
        "Error: log lines do not reach %.255s: %s. Trying on.\n",
        target.kind == Kind::kSyslog ? options_.syslog_path.c_str() : options_.file.c_str(),
        std::strerror(number));
    static_cast<void>(!write(STDERR_FILENO, text, static_cast<size_t>(length)));
}

// A reader that left does not come back.  A full disk or an unreachable one may: it keeps its
// place.
void LogSink::give_up_if_gone(Target& target, int number) {
    if (number == EPIPE || number == EBADF) {
        if (target.kind != Kind::kBorrowed) close(target.fd);
        target = Target{};
    } else if (number != EAGAIN && number != EINTR && &target == &targets_[kFile]) {
        complain(target, number);
    }
}

void LogSink::flush_bytes(Target& target) {
    if (!report_lost(target)) return;
    while (target.line != next_line_) {
        const uint64_t from = lines_[target.line % kLines].begin + target.written;
        uint64_t size = next_byte_ - from;
        if (target.kind == Kind::kBorrowed) {
            if (!accepts_now(target.fd)) return;
            size = std::min<uint64_t>(size, kPipeAtOnce);
        }
        const auto place = static_cast<size_t>(from % kBytes);
        const auto front = static_cast<size_t>(std::min<uint64_t>(size, kBytes - place));
        const iovec pieces[2] = {
            {bytes_ + place, front                            },
            {bytes_,         static_cast<size_t>(size) - front}
        };
        const ssize_t wrote = writev(target.fd, pieces, size > front ? 2 : 1);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            give_up_if_gone(target, errno);
            return;
        }
        target.complained = false;
        advance(target, static_cast<uint64_t>(wrote));
        if (target.kind != Kind::kBorrowed && static_cast<uint64_t>(wrote) < size) return;
    }
}

void LogSink::advance(Target& target, uint64_t bytes) {
    while (bytes > 0) {
        MQTTD_ASSERT(target.line != next_line_);
        const uint32_t left = lines_[target.line % kLines].size - target.written;
        if (bytes < left) {
            target.written += static_cast<uint32_t>(bytes);
            return;
        }
        bytes -= left;
        ++target.line;
        target.written = 0;
    }
}

// One datagram per line: "<PRIORITY>Mmm dd hh:mm:ss mqttd[PID]: TEXT".
void LogSink::flush_datagrams(Target& target) {
    if (target.fd < 0) open_syslog();
    const int facility = options_.facility < 0 ? 3 : 16 + options_.facility;
    while (target.fd >= 0 && target.line != next_line_) {
        const Line& line = lines_[target.line % kLines];
        char head[96];
        char time[32];
        time[format_time("%b %e %H:%M:%S", line.wall_s, time, sizeof time)] = 0;
        const int head_size = std::snprintf(head,
                                            sizeof head,
                                            "<%d>%s mqttd[%d]: ",
                                            facility * 8 + kSeverity[line.kind],
                                            time,
                                            static_cast<int>(getpid()));
        const auto place = static_cast<size_t>((line.begin + line.prefix) % kBytes);
        const size_t size = line.size - line.prefix - 1u;
        const size_t front = std::min<size_t>(size, kBytes - place);
        iovec pieces[3] = {
            {head,           static_cast<size_t>(head_size)},
            {bytes_ + place, front                         },
            {bytes_,         size - front                  }
        };
        msghdr message{};
        message.msg_iov = pieces;
        message.msg_iovlen = 3;
        if (sendmsg(target.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            if (errno == EAGAIN || errno == ENOBUFS) return;
            close(target.fd);  // the daemon was restarted: a new socket at the next flush
            target.fd = -1;
            return;
        }
        ++target.line;
    }
    if (target.fd >= 0) target.lost = 0;  // counted in lines_dropped only: syslog itself tells gaps
}

}  // namespace mqttd
