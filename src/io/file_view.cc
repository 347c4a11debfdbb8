#include "io/file_view.h"

#include "io/sockets_errno.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace mqttd {

namespace {

constexpr size_t kPiece = size_t{1} << 20;

// How much of it comes when it is read.
uint64_t read_through(int file, uint64_t size) {
    std::vector<uint8_t> piece(kPiece);
    uint64_t at = 0;
    while (at < size) {
        const ssize_t got = pread(file, piece.data(), piece.size(), static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        at += static_cast<uint64_t>(got);
    }
    return at < size ? at : size;
}

}  // namespace

FileView::~FileView() {
    if (data_ != nullptr) munmap(const_cast<uint8_t*>(data_), size_);
}

Error FileView::open(const std::string& path) {
    // A pipe of that name must not be waited for.
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file < 0) return error_of_errno(errno);
    struct stat about;
    Error error = Error::kNone;
    if (fstat(file, &about) != 0) {
        error = error_of_errno(errno);
    } else if (!S_ISREG(about.st_mode)) {
        error = Error::kInvalid;
    } else if (about.st_size > 0) {
        size_ = static_cast<uint64_t>(about.st_size);
        void* got = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
        error = got == MAP_FAILED ? Error::kNoMemory : Error::kNone;
        data_ = error == Error::kNone ? static_cast<const uint8_t*>(got) : nullptr;
        if (data_ != nullptr) readable_ = read_through(file, size_);
    }
    if (error == Error::kNone) written_s_ = about.st_mtime;
    close(file);
    return error;
}

}  // namespace mqttd
