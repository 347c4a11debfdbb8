#pragma once

// The scribe's process: takes the folder's lock, writes when it is told to, says when it is done.
//
//     loop    puts records into the ring, moves `tail`; if `asleep`, tells `to_scribe`
//     scribe  writes, syncs, moves `durable`; tells `to_loop`
//     loop    asks for a body that was written; the scribe reads it, tells `to_loop`
//
// Before it serves it removes what an interrupted import left, and where there is no journal yet it
// imports the file of another broker, if there is one (import.h): here, since it has the lock and
// is whom the broker will be, and whatever the file does to it, it is not the broker that ends.
//
// It waits for the lock as long as another process has it: that one may be the scribe of a broker
// that was just killed, with records it still has to write. When the loop has gone it writes what
// is left in the ring and ends; when it dies itself the next one goes on from `durable`.

#include "mqttd/journal.h"

#include "base/histogram.h"
#include "store/import_report.h"
#include "store/ring.h"

#include <atomic>
#include <cstdint>

namespace mqttd {

enum class ScribeState : uint32_t {
    kNone,          // not there yet
    kWaiting,       // for the lock; `lock_owner` has it
    kServing,       // the lock is ours; nobody else writes in the folder
    kRefused,       // the folder cannot be used; `error` says why
    kImporting,     // the lock is ours; `import.bytes` long
    kFileRefused,   // the file to import cannot be opened; `error` says why
    kImportFailed,  // it could not be written to the folder; `error` says why
};

// A body that the loop asked for (Journal::ask).
struct ColdRead {
    enum State : uint32_t { kNone, kAsked, kHere, kLost };

    std::atomic<uint32_t> state{kNone};
    // The loop's, before it says kAsked:
    Position position = 0;
    uint64_t size = 0;
};

using SyncTimes = Histogram<80>;  // microseconds, up to two seconds

// In shared memory, in front of the ring.
struct ScribeDesk {
    std::atomic<ScribeState> state{ScribeState::kNone};
    std::atomic<uint32_t> error{0};  // Error of opening the folder
    std::atomic<int32_t> lock_owner{0};
    std::atomic<uint32_t> asleep{0};
    // The loop's, once it knows what it will write: file_bytes 0 until then.
    std::atomic<uint32_t> file_bytes{0};
    std::atomic<uint64_t> journal{0};
    std::atomic<uint32_t> unsynced{0};  // not 0: written is good enough, but up to here:
    std::atomic<Position> sync_to{0};
    RingHead ring;
    std::atomic<uint32_t> sync_times[SyncTimes::kBuckets] =
        {};  // the scribe's: how many took so long
    ColdRead reads[Journal::kReads];
    ImportReport import;  // whole when it serves
};

struct ScribeJob {
    const char* folder = nullptr;
    const char* import_file = nullptr;  // nullptr: none
    uint32_t packet_bytes_max = 0;      // of what is imported
    ScribeDesk* desk = nullptr;
    Ring ring;                     // its head is the desk's
    uint8_t* read_room = nullptr;  // for what was read, `read_bytes` of each of Journal::kReads
    uint64_t read_bytes = 0;
    int to_scribe = -1;
    int to_loop = -1;
};

// Lays a desk and a ring into zero-filled shared memory.  `bytes` is a power of two and more than
// kDeskBytes; the ring gets half of it, what is left is for reads.
constexpr uint64_t kDeskBytes = 4096;
ScribeJob set_desk(void* memory, uint64_t bytes);

// The scribe's life; `context` is a ScribeJob.  For Keeper.
int run_scribe(void* context, int life_read_end);

// The loop's side of `asleep`, after it moved `tail` or `oldest`.
void wake_scribe(const ScribeJob& job);

// Wakes it in any case.
void tell_scribe(const ScribeJob& job);

}  // namespace mqttd
