#pragma once

// Import: a mosquitto.db becomes a journal, before there is one.
//
// The records are the broker's own (broker/durable_records.h): the start that follows finds a
// journal like any other. Three walks through the file, which is viewed, not copied (import_index.h
// says why three):
//
//     names       which messages and sessions there are
//     references  what is retained, what waits, what came in and is not released
//     writing     sessions │ messages, each with its name │ deliveries │ subscriptions
//
// What is taken: sessions that outlive their connection, their subscriptions with all options, what
// waits for them in its order, what is under way with its packet identifiers, what came in at QoS 2
// and waits for PUBREL, and retained messages but the other broker's $SYS. What is not is counted
// by reason (import_report.h). Of each message at most two bodies are written, so the journal is
// at most about twice as long as the file, whatever is in it.
//
// A file `importing` in the folder says that the journal there is not whole yet. It is the first
// thing that is made and the last that goes, each for good before the next step: so an import that
// was interrupted anywhere is begun anew, and one that is through is not done again.
//
// For the process that holds the folder's lock: it waits for the disk.

#include "mqttd/bytes.h"
#include "mqttd/result.h"

#include "io/disk.h"
#include "store/import_report.h"
#include "store/record.h"

#include <cstdint>

namespace mqttd {

// Of the file that says so.
constexpr std::string_view kImporting = "importing";

struct ImportOptions {
    JournalShape shape;
    int64_t now_s = 0;    // wall clock
    int64_t saved_s = 0;  // when the file was written
    uint32_t packet_bytes_max = 0;
    // Asked now and then; true: whoever wanted it has gone, leave it.
    bool (*stop)(void* context) = nullptr;
    void* context = nullptr;
};

// Whether there is neither a journal in the folder, nor what an interrupted import left, which is
// removed.  Errors: of the disk.
Result<bool> ready_for_import(Disk& disk);

// Writes the journal; the folder is ready.  What is damaged is counted, not an error.
// Errors: kInvalid (not a file that can be read at all: report.file_error; nothing was written),
// kTimedOut (stopped), and of the disk.
Error import_mosquitto(Bytes file, Disk& disk, const ImportOptions& options, ImportReport& report);

}  // namespace mqttd
