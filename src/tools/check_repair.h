#pragma once

// Repair: all that is whole in a journal, in a journal of its own.
//
// The copy begins behind everything that the original ever wrote, so that a body written there
// later never gets the name of one that is there: names are positions. A body that had none but its
// position says its name in the copy (broker/durable_records.h). Deliveries whose message is lost
// are ended in so many words; the broker would find nothing either.

#include "io/disk.h"
#include "store/record.h"
#include "tools/check_findings.h"

#include <cstdint>

namespace mqttd::check {

struct Repair {
    uint64_t id = 0;            // of the new journal
    bool running = false;       // a broker writes the original
    uint64_t largest_unit = 0;  // Findings'
    uint64_t ended = 0;         // deliveries that were; filled in
    uint64_t bodies = 0;        // copied; filled in
};

// Copies the journal in `from` to `to`, which is empty.  Errors: as Walk::open, and of the disk.
Error repair(Disk& from, Disk& to, Repair& repair);

}  // namespace mqttd::check
