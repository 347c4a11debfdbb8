#pragma once

// OutQueue: messages that wait for one session.
//
// They wait because the session is away, its link is blocked, or its window is full. A FIFO of
// sixteen-byte entries in chunks that grow from 3 to 63, so that an empty queue costs nothing and a
// long one is never copied. Messages with a priority wait in lanes of their own, made when the
// first one comes and gone with the last, so whoever has no priorities has one FIFO:
//
//     lanes_ ─▶ 200 ─▶ 10 ─▶ null      base_ (priority 0)      each: chunk ─▶ page ─▶ page ─▶ chunk
//
// When memory is short the middle of a long lane lies in the journal (paging.h). There a *page*
// stands for its entries, which still count as if they were here; a lane whose front is a page has
// to wait until it has been read. A lane remembers up to which chunk it was paged (`settled`), and
// how much has gathered behind it.
//
// Limits, and what a full queue drops, are judged by the caller before
// `push`; packet identifiers and bytes come into being only when a message leaves the queue.

#include "base/arena.h"
#include "base/intrusive_list.h"
#include "base/ptr32.h"
#include "broker/message.h"
#include "broker/subscription_ids.h"

#include <cstdint>
#include <utility>

namespace mqttd {

struct DurablePageEntry;
struct Session;

struct QueueEntry {
    Ptr32<Message> message;
    Ptr32<SubscriptionIds> ids;
    uint8_t qos = 0;
    bool retain : 1 = false;
    bool limited : 1 = true;
    uint16_t shared = 0;
    uint32_t delivery = 0;  // its name in the journal; 0: none
};

// An entry outside the arena, where a Ptr32 cannot be.
struct Waiting {
    Message* message = nullptr;
    SubscriptionIds* ids = nullptr;
    uint8_t qos = 0;        // of the delivery
    bool retain = false;    // as the receiver sees it
    bool limited = true;    // counts against the queue's limits; retained replays do not
    uint16_t shared = 0;    // number of the shared group it came through; 0: none
    uint32_t delivery = 0;  // its name in the journal; 0: none
};

struct alignas(16) QueueChunk {
    Ptr32<QueueChunk> next;
    uint16_t begin = 0;
    uint16_t end = 0;
    uint16_t room = 0;

    QueueEntry* entries() { return reinterpret_cast<QueueEntry*>(this + 1); }
};

// What the entries of a page come to.
struct PageSum {
    uint32_t count = 0;
    uint32_t qos0 = 0;
    uint32_t limited = 0;  // this and the next as OutQueue counts them
    uint32_t watched = 0;
    uint64_t bytes = 0;  // payload of all of them
    uint64_t limited_bytes = 0;
    uint64_t watched_bytes = 0;
    uint32_t first_delivery = 0;  // of those that have a name
    uint32_t last_delivery = 0;
    uint8_t priority = 0;
    bool groups = false;  // some came through a shared group

    void add(const DurablePageEntry& entry);
};

// A chunk whose entries lie in the journal: `room` is 0, and so are `begin` and `end`.
struct alignas(16) QueuePage : QueueChunk {
    Ptr32<Session> session;
    ListHook<QueuePage> hook;  // of all pages, by position
    uint64_t name = 0;         // where it was said first
    uint64_t position = 0;     // and last
    int64_t wall_ahead = 0;    // Recorder::wall_ahead() when it was said, or found
    PageSum sum;
    uint32_t size = 0;         // bytes of its body
    bool coming : 1 = false;   // it is being read, to be taken back
    bool copying : 1 = false;  // it is being read, to be said again
    bool foreign : 1 = false;  // said in another life: numbers of groups mean nothing any more
};

struct alignas(16) QueueLane {
    Ptr32<QueueChunk> first;
    Ptr32<QueueChunk> last;
    Ptr32<QueueLane> next;  // of lower priority
    Ptr32<QueueChunk> settled;
    uint32_t size = 0;
    uint32_t limited = 0;
    uint32_t behind = 0;  // units of paged_units() behind `settled`, of all if that is null
    uint8_t priority = 0;
};

static_assert(sizeof(QueueChunk) == 16 && sizeof(QueueEntry) == 16 && sizeof(QueueLane) == 32);

// About what an entry takes in a page, in units of sixteen bytes.
inline uint32_t paged_units(const Message& message) {
    return (message.payload_size + message.topic_size + message.properties_size + 64) / 16;
}

// How far a walk through a queue has come: behind the entry with this name, in this lane.
struct QueuePlace {
    bool begun = false;
    uint8_t priority = 0;
    uint32_t delivery = 0;
};

class OutQueue {
  public:
    bool empty() const { return size_ == 0; }

    uint32_t size() const { return size_; }

    uint32_t qos0() const { return qos0_; }

    // What the limits are about: entries, and their payload in bytes.
    uint32_t limited() const { return limited_; }

    uint64_t limited_bytes() const { return limited_bytes_; }

    // The same without our own messages: what its alarm is about.
    uint32_t watched() const { return watched_; }

    uint64_t watched_bytes() const { return watched_bytes_; }

    // Whether the one to go next lies in the journal: then there is no front().
    bool front_away() const { return size_ > 0 && is_page(*top().first); }

    // The one to go next: the oldest of the highest priority.
    const QueueEntry& front() const { return oldest(top()); }

    // The lowest priority among the entries that count against the limits; there must be one.
    uint8_t lowest_priority() const { return bottom().priority; }

    // Takes over one hold on the message, and the identifiers.  False if the arena refused.
    bool push(Arena& arena, const Waiting& waiting);

    // Takes the front.  The caller takes over the hold and the identifiers.
    Waiting pop(Arena& arena) { return take(arena, top()); }

    // Takes the oldest of the lowest priority among the entries that count against the limits;
    // there must be one.  O(those before it that do not: a replay stops at a few,
    // limits::kReplayLowMark; and the pages).  Those that lie in the journal are passed over; false
    // if there are no others.
    bool pop_lowest(Arena& arena, Waiting& out);

    // --- pages ---

    static bool is_page(const QueueChunk& chunk) { return chunk.room == 0; }

    // A lane in which more than so many units have gathered, or nullptr.
    QueueLane* gathered(uint32_t units);

    // Leaves the next chunk of the lane where it is; false if that is the last one.
    bool settle(QueueLane& lane);

    // Calls visit(entry) for those behind what is settled, in order, until it returns false.
    template <class Visit>
    void visit_gathered(QueueLane& lane, Visit visit) {
        QueueChunk* chunk = lane.settled ? lane.settled->next.get() : lane.first.get();
        for (; chunk != nullptr; chunk = chunk->next.get()) {
            for (uint32_t i = chunk->begin; i < chunk->end; ++i) {
                if (!visit(chunk->entries()[i])) return;
            }
        }
    }

    // The page stands for entries behind what is settled, which are to be taken next.
    void put_page(QueueLane& lane, QueuePage& page);

    // Takes the first one behind what is settled; there must be one.
    Waiting take_gathered(Arena& arena, QueueLane& lane);

    // At the end, with all that its entries count for; for a start.  False if the arena refused.
    bool push_page(Arena& arena, QueuePage& page);

    // The first page among so many chunks of each lane that is not coming, or nullptr.
    QueuePage* page_ahead(uint32_t chunks);

    // There must be one: front_away().
    QueuePage& front_page() { return static_cast<QueuePage&>(*top().first); }

    // Entries on their way back.
    struct Chain {
        QueueChunk* first = nullptr;
        QueueChunk* last = nullptr;
    };

    // Takes over a hold and the identifiers, as push does.  False if the arena refused.
    static bool append(Arena& arena, Chain& chain, const Waiting& waiting);

    // Takes the first one; false if there is none.
    static bool take_first(Arena& arena, Chain& chain, Waiting& out);

    // They stand where the page stood, which is taken out; the chain may be empty.
    void replace_page(Arena& arena, QueuePage& page, const Chain& chain);

    // Calls visit(entry) for those with a name behind `place`, in order, and moves that, until
    // visit returns false.  True if it did; false at the end.  Entries may come and go between two
    // calls.  Pages are passed over.
    template <class Visit>
    bool visit_behind(QueuePlace& place, Visit visit) {
        for (QueueLane* lane = lanes_ ? lanes_.get() : &base_; lane != nullptr;
             lane = lane == &base_ ? nullptr
                    : lane->next   ? lane->next.get()
                                   : &base_) {
            if (place.begun && lane->priority > place.priority) continue;
            const bool within = place.begun && lane->priority == place.priority;
            const auto passed = [&](const QueueEntry& entry) {
                return entry.delivery == 0 ||
                       (within && static_cast<int32_t>(entry.delivery - place.delivery) <= 0);
            };
            for (QueueChunk* chunk = lane->first.get(); chunk != nullptr;
                 chunk = chunk->next.get()) {
                if (is_page(*chunk)) continue;
                const QueueEntry& last = chunk->entries()[chunk->end - 1];
                if (last.delivery != 0 && passed(last)) continue;
                for (uint32_t i = chunk->begin; i < chunk->end; ++i) {
                    const QueueEntry& entry = chunk->entries()[i];
                    if (passed(entry)) continue;
                    const uint32_t delivery = entry.delivery;
                    const bool more = visit(entry);
                    place = {true, lane->priority, delivery};
                    if (!more) return true;
                }
            }
        }
        return false;
    }

  private:
    static const QueueEntry& oldest(const QueueLane& lane) {
        return lane.first->entries()[lane.first->begin];
    }

    QueueLane& top() { return lanes_ ? *lanes_ : base_; }

    const QueueLane& top() const { return lanes_ ? *lanes_ : base_; }

    // The lowest lane with a limited entry.
    QueueLane& bottom() { return const_cast<QueueLane&>(std::as_const(*this).bottom()); }

    const QueueLane& bottom() const;

    QueueLane* lane_of(Arena& arena, uint8_t priority);
    void drop_lane(Arena& arena, QueueLane& lane);

    // Where an entry lies: `place` entries into the chunk behind `before`, or the first one.
    struct Spot {
        QueueChunk* before = nullptr;
        uint16_t place = 0;
        bool behind = false;  // what is settled
    };

    Waiting take(Arena& arena, QueueLane& lane, const Spot& spot);

    Waiting take(Arena& arena, QueueLane& lane) {
        return take(arena, lane, {nullptr, 0, lane.settled == nullptr});
    }

    static QueueChunk* make_chunk(Arena& arena, uint32_t bytes);
    static void put(QueueChunk& chunk, const Waiting& waiting);
    static void insert(QueueLane& lane, QueueChunk* before, QueueChunk& first, QueueChunk& last);
    static Waiting waiting_of(const QueueEntry& entry);
    void count(const QueuePage& page, bool up);
    void count(const Waiting& waiting, bool up);

    QueueLane base_;
    Ptr32<QueueLane> lanes_;  // of priorities above 0, none empty, highest first
    uint32_t size_ = 0;
    uint32_t qos0_ = 0;
    uint32_t limited_ = 0;
    uint32_t watched_ = 0;
    uint64_t limited_bytes_ = 0;
    uint64_t watched_bytes_ = 0;
};

}  // namespace mqttd
