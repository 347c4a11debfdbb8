#include "io/disk_folder.h"

#include "base/assert.h"
#include "io/clock.h"
#include "io/sockets_errno.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mqttd {

namespace {

constexpr const char* kLockName = "lock";

Error disk_error(int code) {
    switch (code) {
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
            return Error::kNoSpace;
        case EEXIST:
            return Error::kExists;
        default:
            return error_of_errno(code);
    }
}

// The name with a zero behind it.
struct Name {
    char text[Disk::kNameMax + 1];

    explicit Name(std::string_view name) {
        MQTTD_ASSERT(name.size() <= Disk::kNameMax);
        std::memcpy(text, name.data(), name.size());
        text[name.size()] = 0;
    }
};

// A lock of the file, not of the process: it stays when another descriptor of the file is closed.
struct flock whole_file(short type) {
    struct flock lock = {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    return lock;
}

}  // namespace

FolderDisk::~FolderDisk() {
    if (lock_ >= 0) ::close(lock_);
    if (folder_ >= 0) ::close(folder_);
}

Error FolderDisk::hold(const std::string& path) {
    folder_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_ < 0 && errno == ENOTDIR) return Error::kInvalid;
    return folder_ < 0 ? disk_error(errno) : Error::kNone;
}

Error FolderDisk::open_folder(const std::string& path) {
    const Error held = hold(path);
    if (held != Error::kNone) return held;
    lock_ = ::openat(folder_, kLockName, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return lock_ < 0 ? disk_error(errno) : Error::kNone;
}

// Where there is no lock, or none that may be looked at, nobody is known to have it.
Error FolderDisk::open_to_read(const std::string& path) {
    read_only_ = true;
    const Error held = hold(path);
    if (held != Error::kNone) return held;
    lock_ = ::openat(folder_, kLockName, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return Error::kNone;
}

Error FolderDisk::lock() {
    if (read_only_) return Error::kPermission;
    struct flock wanted = whole_file(F_WRLCK);
    if (fcntl(lock_, F_OFD_SETLK, &wanted) != 0) {
        return errno == EACCES ? Error::kWouldBlock : disk_error(errno);
    }
    // Only to be looked at.
    char text[24];
    const int size = std::snprintf(text, sizeof text, "%d\n", static_cast<int>(getpid()));
    if (ftruncate(lock_, 0) != 0 || pwrite(lock_, text, static_cast<size_t>(size), 0) != size) {
        return Error::kNone;
    }
    return Error::kNone;
}

int FolderDisk::lock_owner() const {
    struct flock asked = whole_file(F_WRLCK);
    if (lock_ < 0) return 0;
    if (fcntl(lock_, F_OFD_GETLK, &asked) != 0 || asked.l_type == F_UNLCK) return 0;
    char text[24] = {};
    int owner = 0;
    if (pread(lock_, text, sizeof text - 1, 0) > 0) (void)std::sscanf(text, "%d", &owner);
    return owner > 0 ? owner : -1;
}

Error FolderDisk::list(Visit visit, void* context) {
    const int copy = ::openat(folder_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* folder = copy < 0 ? nullptr : fdopendir(copy);
    if (folder == nullptr) {
        const Error error = disk_error(errno);
        if (copy >= 0) ::close(copy);
        return error;
    }
    Error error = Error::kNone;
    for (;;) {
        errno = 0;
        const dirent* entry = readdir(folder);
        if (entry == nullptr) {
            if (errno != 0) error = disk_error(errno);
            break;
        }
        struct stat about;
        if (std::strlen(entry->d_name) > kNameMax) continue;
        if (fstatat(folder_, entry->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (S_ISREG(about.st_mode)) {
            visit(context, entry->d_name, static_cast<uint64_t>(about.st_size));
        }
    }
    closedir(folder);
    return error;
}

Result<int> FolderDisk::open(std::string_view name, bool create) {
    if (read_only_ && create) return Error::kPermission;
    const int flags =
        (read_only_ ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT | O_EXCL : 0);
    const int file = ::openat(folder_, Name(name).text, flags, 0600);
    if (file < 0) return disk_error(errno);
    return file;
}

void FolderDisk::close(int file) {
    ::close(file);
}

Result<size_t> FolderDisk::read(int file, uint64_t offset, std::span<uint8_t> into) {
    size_t done = 0;
    while (done < into.size()) {
        const ssize_t got =
            pread(file, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return disk_error(errno);
        if (got == 0) break;
        done += static_cast<size_t>(got);
    }
    return done;
}

Error FolderDisk::write(int file, uint64_t offset, Bytes bytes) {
    if (read_only_) return Error::kPermission;
    while (!bytes.empty()) {
        const ssize_t put = pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return disk_error(errno);
        if (put == 0) return Error::kNoSpace;
        bytes = bytes.subspan(static_cast<size_t>(put));
        offset += static_cast<uint64_t>(put);
    }
    return Error::kNone;
}

Error FolderDisk::sync(int file) {
    const uint64_t began = note_ != nullptr ? monotonic_us() : 0;
    while (fdatasync(file) != 0) {
        if (errno != EINTR) return disk_error(errno);
    }
    if (note_ != nullptr) note_(note_context_, monotonic_us() - began);
    return Error::kNone;
}

Error FolderDisk::rename(std::string_view from, std::string_view to) {
    if (read_only_) return Error::kPermission;
    const bool done = renameat(folder_, Name(from).text, folder_, Name(to).text) == 0;
    return done ? Error::kNone : disk_error(errno);
}

Error FolderDisk::remove(std::string_view name) {
    if (read_only_) return Error::kPermission;
    return unlinkat(folder_, Name(name).text, 0) == 0 ? Error::kNone : disk_error(errno);
}

Error FolderDisk::sync_names() {
    while (fsync(folder_) != 0) {
        if (errno != EINTR) return disk_error(errno);
    }
    return Error::kNone;
}

}  // namespace mqttd
