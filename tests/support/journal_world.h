#pragma once

// JournalWorld: writer, scribe and reader over a FakeDisk, life after life.
//
// A life reads what is there, holds it against what was appended, and goes on until it is killed or
// the power is cut. The model is the list of all units that were ever appended.

#include "base/prng.h"
#include "store/log_reader.h"
#include "store/log_writer.h"
#include "store/scribe.h"
#include "support/fake_disk.h"

#include <memory>
#include <string>
#include <vector>

namespace mqttd {

class JournalWorld {
  public:
    explicit JournalWorld(uint64_t seed, bool faults);

    // One life, from its start to its end.  What went wrong; empty: nothing.
    std::string live(uint32_t steps, bool power_cut);

    struct Unit {
        uint64_t number = 0;
        std::vector<std::vector<uint8_t>> bodies;
        std::vector<Position> positions;
        Position end = 0;
    };

    FakeDisk disk;
    JournalShape shape;
    LogReport report;  // of the last start
    uint64_t units_read = 0;
    uint64_t bytes_appended = 0;

    // Reads all there is.  `exact`: nothing that was safe may be missing; else what is read must
    // still be in order and unchanged.
    std::string read_all(bool exact, Position& begin, Position& end);

    const std::vector<Unit>& log() const { return log_; }

  private:
    void append_unit(LogWriter& writer);
    std::vector<uint8_t> random_body(uint64_t number, uint32_t place);

    Prng dice_;
    bool faults_;
    std::vector<Unit> log_;
    uint64_t next_number_ = 1;
    size_t safe_ = 0;    // units of log_ that must be there
    size_t needed_ = 0;  // the first one that must be
    std::vector<uint8_t> memory_;
    RingHead head_;
    Ring ring_;
};

}  // namespace mqttd
