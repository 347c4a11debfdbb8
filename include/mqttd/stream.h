#pragma once

// The edge between the room that moves bytes (net) and the room that understands them (broker).
//
// Both sides are called per event, never per delivery. What flows out is plain data: the core
// appends to an Outbox (base/outbox.h) and net drains it. What flows in is a Range of a segment;
// `receive` says how much of it was taken. The rest is kept by net as the link's pending input and
// comes again, in front of whatever arrives later.
//
//     net ── opened, receive, writable, closed ──▶ StreamHandler (the broker)
//     net ◀── resume, close, flush ─────────────── Transport
//
// A link may stop at any packet boundary for a named reason. Its socket is then not read until the
// reason is gone: kBudget and kBacklog come again by themselves in the next turn, the others when
// the core calls `resume` (edge-triggering will not tell us again). kByteRate is net's own affair.

#include "mqttd/bytes.h"
#include "mqttd/result.h"

#include <cstdint>

namespace mqttd {

class Outbox;

enum class StopReason : uint8_t {
    kNone,
    kBudget,        // this turn's units are used up; goes on in the next turn
    kBacklog,       // the writes of earlier turns come first; goes on in the next turn
    kFanout,        // its last PUBLISH is still being handed to its receivers by a job
    kDraining,      // the peer does not read its answers; goes on when they have left
    kParked,        // waiting for a verdict about its CONNECT
    kRate,          // above its rate
    kByteRate,      // net's own: above its listener's rate of bytes; net goes on by itself
    kMemory,        // waiting for memory
    kJournal,       // waiting for room in the journal
    kSlowConsumer,  // every receiver of its next message is blocked (slow_consumer pause)
    kShutdown,      // the server stops: its next message is not taken any more
    kCount,
};

struct Consumed {
    uint32_t bytes = 0;  // whole packets taken from the front of the range
    uint32_t need = 0;   // size of the unfinished packet that follows, 0 if not yet known
    StopReason stop = StopReason::kNone;
};

// Where a connection comes from.
struct Peer {
    enum Family : uint8_t { kUnix, kIpv4, kIpv6 };

    uint8_t address[16] = {};  // network order; IPv4 in the first four
    uint16_t port = 0;         // host order
    uint8_t family = kUnix;
};

// How a connection came in.
struct Arrival {
    Peer peer;
    uint16_t listener = 0;  // index of the listener that accepted it
    bool refused = false;   // above a cap: answer its CONNECT with "server busy", then close
};

// What net asks of the protocol.  The handler's own object for a connection is `void* link`.
class StreamHandler {
  public:
    // A connection was accepted.  Returns the handler's link, or nullptr to refuse it (closed
    // without an answer).  `outbox` lives until `closed` returned.
    virtual void* opened(Outbox& outbox, const Arrival& arrival) = 0;

    // Input in order.  The range's segment is only borrowed: a kept range needs its own count.
    // After Transport::close was called on this link the return value does not matter.
    virtual Consumed receive(void* link, Range input) = 0;

    // More bytes of an unfinished packet have come, and it is not whole yet.  `receive` gets them
    // when it is; this only says that the peer is at work.
    virtual void progress(void* link) = 0;

    // The outbox had stopped the link (a write came short) and is empty now.
    virtual void writable(void* link) = 0;

    // The connection is gone (`why`: kEndOfFile, kReset, or the reason given to Transport::close).
    // Called once per opened link, before the outbox goes; not from within `receive`.
    virtual void closed(void* link, Error why) = 0;

    // False when this turn's work budget is used up: net leaves the rest for the next turn.
    virtual bool budget_left() const = 0;

    // All that were ready have been visited; so many stopped for kBudget and are visited again.
    // What the others left of the turn's budget is theirs, in equal shares.
    virtual void share_rest(uint32_t links) = 0;

  protected:
    ~StreamHandler() = default;
};

// What the protocol asks of net.
class Transport {
  public:
    // The reason for which the link had stopped is gone: feed its pending input and read on.
    // Also used to have a silent link read once more before its keep-alive is judged.
    virtual void resume(Outbox& outbox) = 0;

    // True while input of this link may be waiting: on the ready list, or kept as pending.
    virtual bool input_waiting(const Outbox& outbox) const = 0;

    // Ends the connection: what is in the outbox is sent first (bounded in time), then the write
    // side is shut and input discarded, then it is closed.  StreamHandler::closed follows later.
    virtual void close(Outbox& outbox, Error why) = 0;

    // Writes now, in mid-turn, because the outbox has grown past its flush mark.  Returns what it
    // cost: writes, of about 8 KiB each.
    virtual uint32_t flush(Outbox& outbox) = 0;

    virtual Peer peer(const Outbox& outbox) const = 0;

  protected:
    ~Transport() = default;
};

}  // namespace mqttd
