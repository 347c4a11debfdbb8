#pragma once

// FileView: a file that somebody else wrote, to be read as if it lay in memory.
//
// Mapped, so a file of any size costs address space only. What a disk cannot read any more would
// end the process with SIGBUS when it is looked at; so the whole file is read through once, in
// pieces, and the view ends before the first byte that did not come. (A file that is cut short
// while it is viewed ends the process all the same: look from one that may end.)

#include "mqttd/bytes.h"
#include "mqttd/result.h"

#include <cstdint>
#include <string>

namespace mqttd {

class FileView {
  public:
    FileView() = default;
    ~FileView();
    FileView(const FileView&) = delete;
    FileView& operator=(const FileView&) = delete;

    // Once.  A symbolic link is followed.  Errors: kNotFound, kPermission, kInvalid (no regular
    // file), kNoMemory (no address space), kIo.
    Error open(const std::string& path);

    // What could be read.
    Bytes bytes() const { return {data_, readable_}; }

    // What there should be, and when it was written last (Unix seconds).
    uint64_t size() const { return size_; }

    int64_t written_s() const { return written_s_; }

  private:
    const uint8_t* data_ = nullptr;
    uint64_t size_ = 0;
    uint64_t readable_ = 0;
    int64_t written_s_ = 0;
};

}  // namespace mqttd
