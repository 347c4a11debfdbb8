#pragma once

// Walk: the records of a journal in order, and where something is missing between them.
//
// LogReader (store/log_reader.h) says how much was damaged; a walk watches its count and says
// where: from the end of the last unit that was read to the begin of the next one.
//
// A journal that is being written is read as it was at a moment: `end_now` walks once to find where
// it ends, and a walk that stops there meets nothing that was half written when it was read. Files
// that the broker removes meanwhile cannot be held: `oldest_now` shows that it happened.

#include "io/disk.h"
#include "store/log_reader.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mqttd::check {

struct Damage {
    Position from = 0;
    Position until = 0;  // where the next unit begins, or the end
    uint64_t bytes = 0;  // that did not verify, and what they made incomplete
    bool at_end = false;

    bool operator==(const Damage&) const = default;
};

class Walk {
  public:
    explicit Walk(Disk& disk) : disk_(disk), reader_(disk) {}

    // Errors: as LogReader::open, and of a file that cannot be opened.
    Error open();

    // Nothing at or behind `end` is read.
    void stop_at(Position end) { stop_ = end; }

    // The next record; false at the end.
    bool next(LogRecord& out);

    const std::vector<Damage>& damages() const { return damages_; }

    const LogReport& report() const { return report_; }

    const JournalShape& shape() const { return shape_; }

    Position oldest() const { return reader_.oldest(); }

    Position next_begin() const { return reader_.next_begin(); }

    uint64_t file_bytes() const { return file_bytes_; }

    // The file that holds a position, and how far in: "0000000000000007.log+4096".
    std::string place_of(Position position) const;

  private:
    struct Part {
        FileName file;
        Position from = 0;
    };

    static void collect(void* context, std::string_view name, uint64_t bytes);
    void look_for_damage(Position until, bool at_end);

    Disk& disk_;
    LogReader reader_;
    JournalShape shape_;
    std::vector<Part> parts_;
    uint64_t file_bytes_ = 0;
    uint64_t largest_ = 0;
    Position stop_ = ~uint64_t{0};
    LogReport report_;  // without what lies behind the stop
    std::vector<Damage> damages_;
    Position read_to_ = 0;  // end of the last unit
    bool in_unit_ = false;  // and some of its bodies are to come
};

// Where a journal that is being written ends now.
Position end_now(Disk& disk);

// Where its oldest file begins now; the names alone are looked at.
uint64_t oldest_number_now(Disk& disk);

// Whether there are files of records.
bool holds_records(Disk& disk);

}  // namespace mqttd::check
