#pragma once

// Disk: the only way store reaches files; one folder of them.
//
// Every call may wait for the device, so none is made by the loop: the scribe and the recovery
// before the first client make them. The class is virtual, unlike Sockets: a call costs hundreds of
// times what the indirection does, and a test program can hold the real one and a lying one
// (tests/support/fake_disk.h) side by side. So what is said here has to hold for both:
//
//   - What was written is safe once `sync` of its file said kNone, and not before; a name (made,
//     changed, removed) once `sync_names` did. Until then a power cut may leave any of it, in any
//     order, in pieces of a sector.
//   - After a failed `write` or `sync` nothing that was written since the last good `sync` may be
//     believed, whatever a later `sync` says.
//
// Names are plain file names, at most kNameMax bytes. EINTR is retried inside.
// Errors: kNotFound, kExists, kNoSpace (also a quota), kPermission, kProcessFiles, kIo.

#include "mqttd/bytes.h"
#include "mqttd/result.h"

#include <cstdint>
#include <string_view>

namespace mqttd {

class Disk {
  public:
    static constexpr size_t kNameMax = 63;

    // Calls `visit` with each file's name and size, in no order.
    using Visit = void (*)(void* context, std::string_view name, uint64_t bytes);
    virtual Error list(Visit visit, void* context) = 0;

    // For reading and writing.  `create`: it must not exist yet.
    virtual Result<int> open(std::string_view name, bool create) = 0;
    virtual void close(int file) = 0;

    // Bytes read; fewer than asked for only at the end of the file.
    virtual Result<size_t> read(int file, uint64_t offset, std::span<uint8_t> into) = 0;
    // All of them, or an error.
    virtual Error write(int file, uint64_t offset, Bytes bytes) = 0;
    virtual Error sync(int file) = 0;

    virtual Error rename(std::string_view from, std::string_view to) = 0;
    virtual Error remove(std::string_view name) = 0;
    virtual Error sync_names() = 0;

  protected:
    ~Disk() = default;
};

}  // namespace mqttd
