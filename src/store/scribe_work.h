#pragma once

// ScribeWork: what the scribe does whenever it is awake, without the process around it.
//
//     step      writes and syncs what gathered, reads what was asked for, removes old files;
//               tells the loop what it wants to know
//     at_rest   nothing is left to do before somebody tells it
//     sleep     how long it may sleep, if nobody does
//
// The process (scribe_process.h) and the simulator's worlds run this same code.

#include "mqttd/time.h"

#include "io/disk.h"
#include "store/cold_reader.h"
#include "store/scribe.h"
#include "store/scribe_process.h"

namespace mqttd {

class ScribeWork {
  public:
    ScribeWork(Disk& disk, const ScribeJob& job, const JournalShape& shape)
        : job_(job), scribe_(disk, job.ring, shape), reader_(disk, shape) {}

    // `alone`: the loop has gone, and nobody reads any more.
    void step(bool alone);

    bool at_rest(bool alone) const;

    // kNever: until it is told.
    Duration sleep(bool alone) const;

    // Of writing, in a row.
    uint32_t failures() const { return failures_; }

  private:
    bool may_read(uint32_t i) const;
    bool serve_reads();

    const ScribeJob& job_;
    Scribe scribe_;
    ColdReader reader_;
    uint32_t failures_ = 0;
    bool retries_ = false;
    Position tidied_ = 0;
};

}  // namespace mqttd
