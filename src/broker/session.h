#pragma once

// Session: what outlives a connection, keyed by client identifier.
//
// Subscriptions, the window of what is in flight, the queue behind it, inbound QoS 2 flows and the
// will. 112 bytes; most of it hangs off pointers that an idle session does not have. A session that
// has ended is *dead* at once: no longer found by its identifier, skipped by every fan-out, while a
// job takes its subscriptions and messages apart in slices.

#include "mqttd/limits.h"

#include "base/hash_index.h"
#include "base/intrusive_list.h"
#include "base/outbox.h"
#include "base/ptr32.h"
#include "base/timer_wheel.h"
#include "broker/awaiting_rel.h"
#include "broker/inflight.h"
#include "broker/link.h"
#include "broker/outqueue.h"
#include "topics/retained_store.h"
#include "topics/subscription_index.h"

#include <cstdint>

namespace mqttd {

struct Replay;

// Client identifier, `size` bytes behind the struct.
struct alignas(16) ClientId {
    uint16_t size = 0;

    Bytes text() const { return {reinterpret_cast<const uint8_t*>(this) + sizeof(uint16_t), size}; }

    uint8_t* room() { return reinterpret_cast<uint8_t*>(this) + sizeof(uint16_t); }
};

// What a session needs once messages of QoS 1 or 2 (or queued ones) flow to it.
struct alignas(16) Outflow {
    InflightWindow window;
    OutQueue queue;
    uint32_t resend = 0;          // place in the span of the next slot to repeat after a reconnect
    uint32_t resend_end = 0;      // one past the last of them
    uint32_t unacknowledged = 0;  // slots sent on this connection: what Receive Maximum bounds
    uint32_t deliveries = 0;      // recorded ones so far: the name of the last that was queued
    uint64_t bytes = 0;           // payload of the slots in the window
};

// Session Expiry Interval "never": all of MQTT 3.x that is not clean, and 0xffffffff of 5.0.
constexpr uint32_t kNoExpiry = ~uint32_t{0};

// Which bytes may be put into the outbox of a session just like that.  kNo: not connected, or
// something at QoS 0 waits in its queue.
enum class Direct : uint8_t {
    kNo,
    k3,        // packets of MQTT 3.x as they are
    k5,        // packets of MQTT 5.0 as they are
    kOwnHead,  // anything, but each with a head of its own: LinkExtras
    kNobody,   // of a publication: its bytes as they came fit nobody
};

struct alignas(16) Session : Subscriber {
    static constexpr uint8_t kNotMerged = 0xff;
    HashHook<Session> hash;
    Ptr32<ClientId> id;
    Ptr32<Link> link;      // null while away
    Timer timer;           // expiry while away; retry and PUBREL timeouts
    Ptr32<Outbox> outbox;  // the link's; null while away
    Ptr32<Outflow> outflow;
    Ptr32<AwaitingRel> awaiting;
    Ptr32<Message> will;
    Ptr32<Replay> replays;  // in order of SUBSCRIBE; the first kReplaysPerSession run
    Ptr32<Replay> last_replay;
    ListHook<Session> job_hook;  // pump list, or one of the lists of dead ones
    uint32_t dropped = 0;        // messages it did not get
    uint32_t away_since_s = 0;   // rounded up; also since when its will waits
    uint32_t expiry_s = 0;       // how long it outlives its connection; kNoExpiry: see the option
    uint32_t will_delay_s = 0;
    uint8_t merged = kNotMerged;  // options of overlapping subscriptions, within one fan-out
    Direct direct = Direct::kNo;
    bool dead : 1 = false;
    bool queue_alarm : 1 = false;  // its queue rose above the high watermark
    bool warned : 1 = false;       // its drops were logged this time
    bool behind_job : 1 = false;   // a job of its client may be under way: the next one goes behind
    bool starved : 1 = false;      // job_hook is in the list of those whose pump was refused memory
    bool durable : 1 = false;      // what becomes of it is recorded (recorder.h)
    bool round : 1 = false;        // in which round it was said last (round.h)
    bool safe : 1 = false;         // it was durable when its client was told that it is in
    uint8_t running_replays = 0;
    uint16_t listener = 0;  // by which it came in last
};

static_assert(sizeof(Session) <= limits::kSessionBytes);

// Where the timer lies, to come from the timer back to its session.  (Session is not
// standard-layout, but has a single base and no virtual functions: the compilers we use agree.)
constexpr uint32_t kSessionTimerOffset = 32;

// One retained replay to one session: the subscription's filter, its QoS, and how far it is.  It
// pins nothing before it runs.
struct alignas(16) Replay {
    RetainedCursor cursor;
    Ptr32<Session> session;
    Ptr32<Replay> next;  // of the session
    Ptr32<Replay> prev;
    ListHook<Replay> hook;
    Ptr32<Subscription> subscription;  // ends it before it goes
    bool running = false;
    bool again = false;        // once more when it is through, for what was missed meanwhile
    uint64_t after = 0;        // only messages with this sequence or a later one
    uint64_t again_after = 0;  // `after` of the next round
};

}  // namespace mqttd
