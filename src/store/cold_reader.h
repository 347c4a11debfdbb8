#pragma once

// ColdReader: a body from the files again, by its position and size.
//
// Where the pieces of a body lie follows from its position and its size (record.h), so nothing is
// searched: each record is read where it has to be, and verified. The file read last stays open.

#include "io/disk.h"
#include "store/file_name.h"
#include "store/record.h"

#include <span>

namespace mqttd {

class ColdReader {
  public:
    ColdReader(Disk& disk, const JournalShape& shape) : disk_(disk), shape_(shape) {}

    ~ColdReader() { close(); }

    ColdReader(const ColdReader&) = delete;
    ColdReader& operator=(const ColdReader&) = delete;

    // All of the body at `position`, which has been written.  Errors: kInvalid (it does not
    // verify), and what the disk says.
    Error read(Position position, std::span<uint8_t> into);

    // Where the last record of the body ends: all before that has to be written.
    Position end_of(Position position, uint64_t size) const;

    // Another part of the file may have been made since.
    void close();

  private:
    Error read_body(Position position, std::span<uint8_t> into);
    Error open_for(Position position);
    Error read_record(const RecordPlace& place, uint8_t* into);

    Disk& disk_;
    JournalShape shape_;
    int file_ = -1;
    FileName name_;
    Position from_ = 0;  // what the open part holds
    Position until_ = 0;
};

}  // namespace mqttd
