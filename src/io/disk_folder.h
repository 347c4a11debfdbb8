#pragma once

// FolderDisk: a Disk that is a folder of a real file system.
//
// It holds the folder open, so a rename or a mount over its path changes nothing for us. Whoever
// writes in it holds a lock for its life, given back by the kernel however it ends: two brokers on
// one folder would write into each other's files.

#include "io/disk.h"

#include <string>

namespace mqttd {

class FolderDisk final : public Disk {
  public:
    FolderDisk() = default;
    ~FolderDisk();
    FolderDisk(const FolderDisk&) = delete;
    FolderDisk& operator=(const FolderDisk&) = delete;

    // Opens the folder, which must exist.  Errors: kNotFound, kPermission (also if no file can be
    // made in it), kInvalid (no folder), kIo.
    Error open_folder(const std::string& path);

    // Opens it to look only: makes nothing in it, not even the file of the lock, and whatever would
    // change it is refused with kPermission.  Errors: as open_folder; that no file can be made is
    // none.
    Error open_to_read(const std::string& path);

    // Takes the lock that a writer must hold; kWouldBlock while another process has it.  Errors: as
    // open.
    Error lock();

    // The process that has the lock; 0: nobody has; -1: somebody who did not say.
    int lock_owner() const;

    // Whoever wants to know how long each sync of a file takes, in microseconds.
    using SyncNote = void (*)(void* context, uint64_t us);

    void note_syncs(SyncNote note, void* context) {
        note_ = note;
        note_context_ = context;
    }

    Error list(Visit visit, void* context) override;
    Result<int> open(std::string_view name, bool create) override;
    void close(int file) override;
    Result<size_t> read(int file, uint64_t offset, std::span<uint8_t> into) override;
    Error write(int file, uint64_t offset, Bytes bytes) override;
    Error sync(int file) override;
    Error rename(std::string_view from, std::string_view to) override;
    Error remove(std::string_view name) override;
    Error sync_names() override;

  private:
    Error hold(const std::string& path);

    int folder_ = -1;
    int lock_ = -1;
    bool read_only_ = false;
    SyncNote note_ = nullptr;
    void* note_context_ = nullptr;
};

}  // namespace mqttd
