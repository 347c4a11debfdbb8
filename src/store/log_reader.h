#pragma once

// LogReader: what a start finds in the journal, in order.
//
// The files are walked from the oldest on and every record is checked. Where one does not verify,
// the question is whether it ever was safe:
//
//   torn     the life ended here: nothing behind it was ever acknowledged.  It is cut.
//   damaged  it had been synced: a later record of the same life says so (kBatch), or the life
//            after that one read it (kStart).  It is skipped up to the next unit that verifies, and
//            the loss is reported.
//
// Only whole units are handed out. Damage never ends the walk.

#include "io/disk.h"
#include "store/file_name.h"
#include "store/record.h"

#include <cstdint>
#include <vector>

namespace mqttd {

// A body as it was appended.
struct LogRecord {
    RecordType type = RecordType::kNone;
    bool joined = false;    // counts only together with the next one
    Position position = 0;  // its name
    Bytes body;             // until the next call
};

struct LogReport {
    uint64_t files = 0;
    uint64_t records = 0;        // handed out
    Position end = 0;            // where the last life ended
    uint64_t torn = 0;           // ends that were cut in the middle of a unit
    uint64_t damaged = 0;        // places at which something was lost
    uint64_t damaged_bytes = 0;  // all that did not verify there, and what it made incomplete
};

class LogReader {
  public:
    explicit LogReader(Disk& disk) : disk_(disk) {}

    ~LogReader();
    LogReader(const LogReader&) = delete;
    LogReader& operator=(const LogReader&) = delete;

    // Finds the files.  A journal that is there says what shape it has, else `shape` stays. Errors:
    // kUnsupportedVersion, kInvalid (files of two journals), and what the disk says.
    Error open(JournalShape& shape);

    // The next record; false at the end.
    bool next(LogRecord& out);

    // Makes safe what was read and is not known to be: a life that was killed left its last records
    // to the kernel, and if a sync had failed they are in its memory only, whatever a later sync
    // says. So they are written once more, to another part.  After the walk, before anything is
    // built on it.
    Error secure();

    const LogReport& report() const { return report_; }

    // Where the oldest file begins; next_begin() if there is none.
    Position oldest() const;

    // Where the next life begins: in a file that does not exist.
    Position next_begin() const { return next_begin_; }

  private:
    // What one file holds of the log.
    struct Extent {
        FileName file;
        Position from = 0;
        Position until = 0;
        uint32_t life = 0;
    };

    struct Found {  // a record that verifies
        RecordHead head;
        const uint8_t* body = nullptr;
    };

    struct Piece {  // of the unit at hand
        RecordType type;
        bool joined;
        Position position;
        size_t begin;
        size_t size;
    };

    Error copy(const FileName& file, Position from, Position until);
    static void collect(void* context, std::string_view name, uint64_t bytes);
    Error read_heads(JournalShape& shape);
    void cut_lives();
    bool read_unit();
    bool seek();
    bool find(Position at, const Extent& extent, Found& out);
    bool skip_damage(Position unit);
    bool was_safe(Position at, size_t extent);
    bool begins_unseen(Position at);
    bool next_valid(Position& at, size_t& extent, Found& out);
    bool ends_before(Position at, const Extent& extent);
    void leave_unit(Position unit);
    Bytes view(const Extent& extent, uint64_t offset, size_t size);

    Disk& disk_;
    JournalShape shape_;
    std::vector<FileName> names_;
    std::vector<Extent> extents_;
    uint32_t lives_ = 1;
    Position known_safe_ = 0;  // of the last life
    LogReport report_;
    Position next_begin_ = 0;

    size_t extent_ = 0;  // where the walk is
    Position at_ = 0;
    bool resuming_ = false;  // behind damage: up to the begin of a unit
    bool first_ = true;      // the same at the begin, for what began in files that are gone

    std::vector<uint8_t> bodies_;  // of the unit at hand
    std::vector<Piece> pieces_;
    size_t next_piece_ = 0;

    int file_ = -1;  // of which `window_` shows a part
    FileName file_name_;
    std::vector<uint8_t> window_;
    Error read_error_ = Error::kNone;  // of what was looked at last
    uint64_t window_at_ = 0;           // offset in the file
    size_t window_size_ = 0;
};

}  // namespace mqttd
