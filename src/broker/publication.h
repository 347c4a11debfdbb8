#pragma once

// Publication: what is published, on its way to those who get it.
//
// Three records follow one publish, or a run of them (DESIGN section 3), from the packet to its
// receivers:
//
//     Publication   lives on the stack of one step.  What was published, as views into the inbound
//                   segment, and whatever had to be made of it so far: a counted Message, QoS 0
//                   encodings.  It is made when the first receiver needs it and serves all others.
//     Delivery      how one receiver gets it: QoS, identifiers, through which group.
//     FanoutJob     lives in the arena.  What is left to hand out of a publication with more
//                   receivers than a slice holds: its filters, how far each set was walked, and a
//                   Message or a copy of the run in place of views that end with the turn.
//                   publication_of() makes the Publication anew for each slice.
//
// One way, whatever the number of receivers:
//
//     begin_publication ─▶ publish() ─▶ fan_out() ─┬─▶ deliver() … ─▶ end_publication
//                                                  └─▶ FanoutJob ─▶ next turns, a slice each
//
// Invariants.  Views end with the step, so nothing that outlives it holds a Publication.  The
// encodings and the message are counted, and end_publication gives the counts back however the step
// is left (Core::Ending).  A refusal is told to the publisher only while nobody has been served
// (`refused`, `paused`): afterwards a copy that cannot be made is a drop with a name.  What a
// reload may change in the middle of a job (`upgrade`, `queue_qos0`) is kept as it was when it
// began.
//
// Why one struct for a single publish and a run: the loop over receivers is the same, and a run
// that does not fit a receiver as it is comes apart packet by packet (for_each_packet).

#include "mqttd/bytes.h"

#include "base/intrusive_list.h"
#include "base/ptr32.h"
#include "base/segment.h"
#include "broker/link.h"
#include "broker/message.h"
#include "broker/session.h"
#include "topics/subscription_index.h"

#include <cstdint>
#include <optional>

namespace mqttd {

// At QoS 0: what all receivers of a family get.
struct EncodedOnce {
    Range range;
    bool whole = false;  // holds the payload as well
};

// At QoS 1 or 2, for receivers that get no more than others.  First byte and packet identifier are
// each receiver's own.
struct EncodedCounted {
    Range range;
    uint32_t id_at = 0;  // place of the identifier in the packet
};

// Made when the first receiver needs one.  Each holds a count of its segment, which another one may
// otherwise end or use anew.
struct Encodings {
    EncodedOnce qos0[2][2];     // [5.0][retain]
    EncodedCounted counted[2];  // [5.0]
};

// One publish, or a run of them, on its way to its receivers.
struct Publication {
    Bytes topic;
    Bytes properties;                    // 5.0: those that are passed on, in their order
    Range payload;                       // of the first packet if it is a run
    uint64_t expires_s = kNeverExpires;  // second of the broker's clock
    uint8_t qos = 0;
    bool retain = false;                 // as published
    bool system = false;                 // $SYS: not counted as a message
    Session* from = nullptr;             // null: the broker itself, or it has gone meanwhile
    uint32_t from_number = 0;            // Subscriber::number of its publisher, for No Local
    uint32_t count = 1;                  // messages in the run
    uint64_t payload_bytes = 0;          // of all of them
    Range wire;                          // the packets as they came
    Direct wire_fits = Direct::kNobody;  // who may get `wire` as it is
    uint32_t wire_largest = 0;           // bytes of the largest packet in it
    Message* message = nullptr;          // counted copy, made when the first receiver needs one
    FilterNode* filter = nullptr;        // the one whose receivers are being served
    bool upgrade = false;                // two options as they were when it began: a reload in the
    bool queue_qos0 = false;             // middle of a job does not make a Message of wire bytes
    bool begun = false;                  // some receiver was served, or its copy dropped by name
    bool late = false;                   // it expired while a job was handing it out
    bool refused = false;                // QoS 1, 2: no memory for the very first: nothing was done
    bool no_disk = false;                // it would have to be kept, and cannot: nothing was done
    bool paused = false;                 // every receiver is blocked and nothing was done
    bool kept = false;                   // as retained message, if it is one: when this comes again
    bool nobody = false;                 // no subscription matched
    bool taken = false;                  // some receiver got it, or will
    bool full = false;                   // some receiver's queue was full

    uint32_t payload_size() const { return payload.size(); }  // of the first packet

    std::optional<Encodings> encodings;

    Encodings& made() { return encodings ? *encodings : encodings.emplace(); }
};

// How one receiver gets a message.
struct Delivery {
    uint8_t qos = 0;
    bool retain = false;  // as the receiver sees it
    Bytes ids;            // Subscription Identifiers, encoded; 5.0
    bool limited = true;  // counts against the queue's limits; retained replays do not
    uint16_t shared = 0;  // number of the group it came through, whose members may get it if the
                          // session ends; 0: none
    uint32_t queued = 0;  // its name in the journal while it waited; 0: it did not, or has none
};

// What is left to hand out of a publication with many receivers.
struct FanoutJob {
    ListHook<FanoutJob> hook;
    Ptr32<Link> publisher;    // stopped until the job is done; null once it has gone
    Ptr32<Message> message;   // what is handed out, unless `wire`
    Segment* wire = nullptr;  // copy of a run's packets
    FilterNode** filters = nullptr;
    SetCursor* cursors = nullptr;  // one per filter
    uint32_t filter_count = 0;
    uint32_t filter = 0;          // the one under way
    GroupCursor groups;           // of that one
    uint32_t room = 0;            // for so many filters
    MatchCursor* rest = nullptr;  // where the match goes on when these filters are served
    uint64_t joins = 0;           // subscriptions made before it began; later ones get nothing
    uint32_t mark = 0;            // Subscriber::epoch of who was served, if `merge`
    bool late = false;            // the cursors began after the job
    bool merge = false;           // overlapping subscriptions give one copy
    uint32_t count = 1;
    uint32_t wire_largest = 0;
    uint32_t from_number = 0;
    uint32_t from_hash = 0;  // of its client's identifier, unless `from_number` is 0
    uint64_t payload_bytes = 0;
    uint8_t qos = 0;
    bool retain = false;
    bool system = false;
    bool upgrade = false;
    bool queue_qos0 = false;
    Direct wire_fits = Direct::kNobody;
    uint16_t released = 0;  // QoS 2 of a durable session: the identifier that is free afterwards
};

}  // namespace mqttd
