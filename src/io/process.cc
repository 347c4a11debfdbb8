#include "io/process.h"

#include "io/file.h"
#include "io/sockets_errno.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mqttd {

namespace {

std::string clause(const char* what) {
    return std::string(what) + ": " + std::strerror(errno);
}

void point_to_nothing(int fd) {
    const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing < 0) return;
    dup2(nothing, fd);
    if (nothing != fd) close(nothing);
}

bool is_file_or_pipe(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISFIFO(status.st_mode));
}

[[noreturn]] void end_like_the_child(int pipe, pid_t child) {
    char byte = 0;
    ssize_t got = 0;
    do {
        got = read(pipe, &byte, 1);
    } while (got < 0 && errno == EINTR);
    if (got == 1) _exit(0);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) _exit(128 + WTERMSIG(status));
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

}  // namespace

bool is_process_one() {
    return getpid() == 1;
}

void close_inherited_files() {
    constexpr unsigned kFirst = 3;
    if (syscall(SYS_close_range, kFirst, ~0u, 0) == 0) return;
    // A kernel before 5.9.  Whoever leaves files open leaves them low.
    for (unsigned fd = kFirst; fd < 1024; ++fd)
        close(static_cast<int>(fd));
}

bool is_root() {
    return geteuid() == 0;
}

Error Daemon::start() {
    started_ = true;
    if (is_process_one()) return Error::kNone;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return error_of_errno(errno);
    const pid_t child = fork();
    if (child < 0) return error_of_errno(errno);
    if (child > 0) {
        close(ends[1]);
        end_like_the_child(ends[0], child);
    }
    close(ends[0]);
    pipe_ = ends[1];
    setsid();
    point_to_nothing(STDIN_FILENO);
    return Error::kNone;
}

void Daemon::running() {
    if (!started_ || pipe_ < 0) return;
    for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
        if (!is_file_or_pipe(fd)) point_to_nothing(fd);
    }
    const char byte = 0;
    while (write(pipe_, &byte, 1) < 0 && errno == EINTR) {
    }
    close(pipe_);
    pipe_ = -1;
}

// Whether `path` still leads to the open file.
bool PidFile::is_at(const std::string& path) const {
    struct stat ours;
    struct stat there;
    return fstat(fd_, &ours) == 0 && lstat(path.c_str(), &there) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

std::string PidFile::open(const std::string& path) {
    std::string problem = lock(path);
    if (problem.empty()) {
        char line[16];
        const int length = std::snprintf(line, sizeof line, "%d\n", static_cast<int>(getpid()));
        if (ftruncate(fd_, 0) == 0 && pwrite(fd_, line, static_cast<size_t>(length), 0) == length) {
            path_ = path;
            return {};
        }
        problem = clause("it cannot be written");
    }
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
    return problem;
}

std::string PidFile::lock(const std::string& path) {
    // The last owner may be removing the file while we open it; then there is another try.
    for (int attempt = 0; attempt < 10; ++attempt) {
        if (fd_ >= 0) close(fd_);
        fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd_ < 0) return clause("it cannot be written");
        if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
            char other[16] = {};
            const ssize_t got = pread(fd_, other, sizeof other - 1, 0);
            const long pid = got > 0 ? std::strtol(other, nullptr, 10) : 0;
            return "another process has locked it (pid " + std::to_string(pid) + ")";
        }
        if (is_at(path)) return {};
    }
    return "it goes away again and again";
}

void PidFile::remove() {
    if (path_.empty()) return;
    // Where even emptying fails a stale number stays behind, but the lock goes with us.
    if (is_at(path_) && unlink(path_.c_str()) != 0) static_cast<void>(!ftruncate(fd_, 0));
    close(fd_);
    fd_ = -1;
    path_.clear();
}

Result<Account> system_account(std::string_view user) {
    constexpr size_t kFileMax = 16 * 1024 * 1024;
    const Result<std::string> passwd = read_file("/etc/passwd", kFileMax);
    const Result<std::string> group = read_file("/etc/group", kFileMax);
    return find_account(user,
                        passwd.ok() ? std::string_view(*passwd) : std::string_view(),
                        group.ok() ? std::string_view(*group) : std::string_view());
}

std::string become(const Account& account) {
    if (setgroups(account.groups.size(), account.groups.data()) != 0) return clause("setgroups");
    if (setgid(account.gid) != 0) return clause("setgid");
    if (setuid(account.uid) != 0) return clause("setuid");
    if (account.uid != 0 && setuid(0) == 0) return "the way back to root is still open";
    return {};
}

void allow_no_new_privileges() {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

bool set_file_mask(const char* octal) {
    char* end = nullptr;
    const long mask = std::strtol(octal, &end, 8);
    if (end == octal || *end != 0 || mask < 0 || mask > 0777) return false;
    umask(static_cast<mode_t>(mask));
    return true;
}

}  // namespace mqttd
