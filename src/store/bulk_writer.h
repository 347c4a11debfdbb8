#pragma once

// BulkWriter: a whole journal in one go, by the process that knows what goes into it.
//
// The same writer and scribe as in the broker's life, with the ring in this process's own memory
// and without a sync for each batch: each file is synced when it is full, the last one by
// `finish`. Before that nothing of it may be believed, and nobody is told of it.

#include "mqttd/journal.h"

#include "io/disk.h"
#include "store/log_writer.h"
#include "store/scribe.h"

#include <cstdint>
#include <span>
#include <vector>

namespace mqttd {

class BulkWriter {
  public:
    // Writes behind `begin`, where a file of that number begins, of which there is none.
    // `largest_unit`: what the largest one costs (Journal::cost of its bodies).
    BulkWriter(Disk& disk, const JournalShape& shape, Position begin, uint64_t largest_unit);

    BulkWriter(const BulkWriter&) = delete;
    BulkWriter& operator=(const BulkWriter&) = delete;

    // Before each unit: its bodies may be appended, which cost so much together.  False: error()
    // says why not, now and from now on.
    bool begin_unit(uint64_t cost);

    // A body; there must be room for it.  Returns its position.
    Position append(RecordType type, std::span<const Bytes> parts, bool joined);

    // A unit of one body.  0 after an error.
    Position append(RecordType type, std::span<const Bytes> parts);

    // All of it is safe, and known to be but for what was appended since the call before: a start
    // writes once more what no later batch says to be safe.  error() otherwise.
    Error finish();

    Error error() const { return error_; }

  private:
    void write(bool syncs);

    std::vector<uint8_t> memory_;
    RingHead head_;
    Ring ring_;
    LogWriter writer_;
    Scribe scribe_;
    Error error_ = Error::kNone;
};

}  // namespace mqttd
