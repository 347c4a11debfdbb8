#pragma once

// Link: the protocol state of one network connection.
//
// It begins when a connection is accepted and ends when that is gone; the session it is attached to
// by CONNECT may live on. 80 bytes: what is rare hangs off a pointer (`partial`, `fanout`,
// `extras`).
//
//     kAwaitConnect ──CONNECT──▶ kConnected ──▶ kClosing      (kRefused: only gets its CONNACK 3)

#include "mqttd/limits.h"
#include "mqttd/packet.h"
#include "mqttd/stream.h"

#include "base/intrusive_list.h"
#include "base/outbox.h"
#include "base/ptr32.h"
#include "base/timer_wheel.h"
#include "broker/alias.h"

#include <cstdint>

namespace mqttd {

struct FanoutJob;
struct Held;
struct LinkExtras;
struct PartialRequest;
struct Session;

enum class LinkState : uint8_t { kAwaitConnect, kRefused, kConnected, kClosing };

enum TimerKind : uint8_t { kLinkTimer, kSessionTimer };

struct alignas(16) Link {
    Timer timer;  // CONNECT is due, or keep-alive
    Ptr32<Outbox> outbox;
    Ptr32<Session> session;
    Ptr32<FanoutJob> fanout;        // the job its last PUBLISH became
    Ptr32<PartialRequest> partial;  // a long SUBSCRIBE or UNSUBSCRIBE that is half done
    Ptr32<LinkExtras> extras;       // what most links do not have
    uint32_t last_input_ms = 0;     // low bits of the time when input last came
    uint16_t keep_alive_s = 0;
    uint16_t listener = 0;
    Version version = Version::kNone;
    LinkState state = LinkState::kAwaitConnect;
    StopReason stop = StopReason::kNone;
    bool bridge : 1 = false;
    bool probed : 1 = false;     // its keep-alive ran out; it is being read once more
    bool broken : 1 = false;     // memory ran out in the middle of a packet: it is being closed
    bool waiting : 1 = false;    // on the list of those that wait for memory, or for a reader
    bool overdue : 1 = false;    // it was waiting for a failing disk when that was looked at last
    bool corked : 1 = false;     // its CONNACK is held (held.h)
    bool retained : 1 = false;   // the message it waits with is kept as retained already
    uint32_t slow_since_ms = 0;  // low bits of the time it came to the list of slow ones
    uint32_t written_at_probe = 0;  // low bits of outbox.written() when a draining link was judged
    ListHook<Link> slow_hook;       // its last write came short and messages waited or were dropped
    ListHook<Link> list_hook;       // all links, or the list of those that wait for memory
};

static_assert(sizeof(Link) <= limits::kLinkBytes);

// What a 5.0 CONNECT asked for that not everybody asks for, and what a mount point needs.  A link
// without it has no limit of its own and no aliases.
struct alignas(16) LinkExtras {
    uint32_t max_packet_size = ~uint32_t{0};  // bytes the client takes at a time
    uint16_t receive_maximum = 65'535;
    bool mounted = false;  // its listener's mount point is cut off every topic it gets
    Ptr32<InboundAliases> inbound;
    Ptr32<OutboundAliases> outbound;
    Ptr32<Held> held;  // answers that wait for the journal

    // Whether packets to this link must be looked at one by one.
    bool own_head() const { return max_packet_size != ~uint32_t{0} || mounted || outbound; }
};

// What is left to do of a SUBSCRIBE or UNSUBSCRIBE with very many filters.
struct alignas(16) PartialRequest {
    uint32_t offset = 0;    // bytes of the filter list that are done
    uint32_t done = 0;      // filters
    uint32_t count = 0;     // filters in all
    Ptr32<uint8_t> codes;   // SUBACK return codes, one per filter
    bool recorded = false;  // some of it is in the journal
};

}  // namespace mqttd
