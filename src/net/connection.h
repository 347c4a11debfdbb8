#pragma once

// Connection: one accepted socket, as net sees it.
//
// It is an Outbox with a descriptor: the protocol appends to it without knowing more, and what
// comes off the Dirty list is a Connection again by a static_cast. 112 bytes, most of them the
// outbox; what is rare (input kept back, a meter, lingering) hangs off one pointer.
//
//     open ──close──▶ closing ──outbox empty──▶ lingering ──▶ dead        (the server ends it)
//       └──── end of file, reset, no memory ──────────────────▶ dead        (the peer does)
//
// `queue` puts it on at most one of two lists: ready (has input or room for output to look at) or
// ended (waits for the end of the turn, to be told and freed). An idle connection is on neither.

#include "mqttd/limits.h"
#include "mqttd/result.h"
#include "mqttd/stream.h"
#include "mqttd/time.h"

#include "base/intrusive_list.h"
#include "base/outbox.h"
#include "base/ptr32.h"
#include "base/segment.h"
#include "net/meter.h"

#include <cstdint>

namespace mqttd {

struct Connection;

// What a connection needs after the server closed it, until the peer has read everything.
struct alignas(16) Linger {
    ListHook<Linger> hook;  // oldest first, so the first deadline is the next one
    Ptr32<Connection> connection;
    uint32_t discarded = 0;  // bytes of input thrown away
    Instant deadline = 0;
};

struct Connection : Outbox {
    enum State : uint8_t {
        kOpen,
        kClosing,    // takes no more input; its outbox is leaving
        kLingering,  // write side shut; input is discarded until the peer closes
        kDead,       // to be freed at the end of the turn
    };

    enum Flag : uint16_t {
        kReadable = 1 << 0,      // an edge came and the socket was not read empty since
        kReadOn = 1 << 1,        // a short read does not mean drained: read on to EAGAIN or the end
        kWritable = 1 << 2,      // blocked, and an edge says there is room again
        kTellWritable = 1 << 3,  // blocked until the write side broke: tell the handler
        kWatchesWrites = 1 << 4,  // EPOLLOUT is in the mask
        kBroken = 1 << 5,         // nothing can be written any more
        kUnix = 1 << 6,           // a Unix socket
        kRefused = 1 << 7,        // holds a refusal slot
        kCounted = 1 << 8,        // counts towards its listener's max_connections
        kOnEnded = 1 << 9,        // `queue` is on the ended list, not the ready list
        kMetered = 1 << 10,       // has a meter
    };

    explicit Connection(int descriptor) : fd(descriptor) {}

    bool has(uint16_t flag) const { return (flags & flag) != 0; }

    void set(uint16_t flag) { flags = static_cast<uint16_t>(flags | flag); }

    void unset(uint16_t flag) { flags = static_cast<uint16_t>(flags & ~flag); }

    // Pending input (pending.h), or nullptr; open connections only.
    Segment* kept() const { return has(kMetered) ? meter->kept.get() : block.get(); }

    void set_kept(Segment* segment) { (has(kMetered) ? meter->kept : block) = segment; }

    void* link = nullptr;        // the handler's; null once it was told of the end
    ListHook<Connection> queue;  // ready or ended

    union {
        Ptr32<Segment> block = {};  // open: the pending input; or null
        Ptr32<Meter> meter;         // open, kMetered: has the pending input, too
        Ptr32<Linger> linger;       // closing, lingering; or null
    };

    Peer peer;
    int32_t fd;
    uint16_t listener = 0;
    uint16_t flags = 0;
    State state = kOpen;
    Error why = Error::kNone;  // what `closed` will be told
    StopReason stop = StopReason::kNone;
};

static_assert(sizeof(Connection) <= limits::kConnectionBytes);

}  // namespace mqttd
