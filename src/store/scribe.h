#pragma once

// Scribe: writes what the loop left in the ring, and says how far it is safe.
//
// It knows positions and files, not records: bytes go to the place that their position names. A
// scribe that takes over from a dead one writes again what was not durable, into files of its own.
// Whatever gathered while it synced goes with the next sync (group commit).
//
// A file that failed is never touched again: its rest goes to another part of the same number, from
// the durable position on, out of the ring (record.h). Nobody needs to be told; while it goes on
// failing, the ring fills and the loop acts on that.
//
// Files that nobody needs any more become spares, at most kSpares; a new file is a spare, or is
// filled with zeros first, since writing over a file syncs twice as fast as making it longer. Who
// syncs each file once, when it is full, would only write everything twice: that one does not fill.

#include "io/disk.h"
#include "store/file_name.h"
#include "store/ring.h"

#include <cstdint>

namespace mqttd {

class Scribe {
  public:
    static constexpr uint32_t kSpares = 2;

    Scribe(Disk& disk, const Ring& ring, const JournalShape& shape, bool fills = true)
        : disk_(disk), ring_(ring), shape_(shape), fills_(fills) {}

    ~Scribe() { close_file(); }

    Scribe(const Scribe&) = delete;
    Scribe& operator=(const Scribe&) = delete;

    // Writes and syncs all that has gathered.  kNone: it is durable, or there was nothing; else the
    // ring's `durable` says how far it came, and the next call tries again with another file.
    // Without `syncs` written is called durable, and only what lies before `sync_to` is synced.
    Error step(bool syncs = true, Position sync_to = 0);

    // Removes what lies before the ring's `oldest`, oldest first; at most so many files at once,
    // since nothing is written meanwhile.  kWouldBlock: there are more.
    Error tidy(uint32_t most = ~uint32_t{0});

  private:
    Error write_some(Position at, Position end, bool syncs);
    Error sync_file();
    Error begin_file(Position at);
    Error open_new(const NameText& name, bool make);
    void close_file();

    Disk& disk_;
    Ring ring_;
    JournalShape shape_;
    bool fills_;
    int file_ = -1;
    FileName name_;
    Position tidied_ = 0;
    Position synced_ = 0;    // without `syncs`: up to here it was
    bool unsynced_ = false;  // the open file has bytes that were not
};

}  // namespace mqttd
