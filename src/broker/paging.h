#pragma once

// Paging: the middle of long queues lies in the journal, and not in memory.
//
// When memory is short the queue of a session that stays keeps a head, which goes next, and what
// came last; what is between is said once more, many messages in one body (a *page*), and let go
// of. What remains is a QueuePage of a hundred bytes for `page_bytes` of messages:
//
//     grew      a queue has gathered more than a page     ─▶ due
//     sweep     the same for all that grew before memory was short
//     tend      due ─▶ page out; what was read ─▶ back into its queue, or said again for a round
//     want      a page is near the front of a queue that is sent from ─▶ asked for
//
// A page says all of its deliveries, so what was said of them before need not be kept. When it
// comes back it is said to be taken, entries and all, in one body: a start finds it either there or
// here. It goes through the journal three times, then: as messages, as a page, and taken.
//
// A message that waits for many sessions and is large stays in memory, once for all of them: each
// page would hold a copy (kCopiesMost, kSmallBytes).
//
// A round says pages again by copying them, whole, in the order of their positions.

#include "mqttd/journal.h"

#include "base/intrusive_list.h"
#include "broker/durable_records.h"
#include "broker/outqueue.h"
#include "broker/session.h"

#include <cstdint>

namespace mqttd {

class Core;

class Paging {
  public:
    static constexpr uint32_t kAheadChunks = 8;    // a page so near the front is asked for
    static constexpr uint32_t kSmallBytes = 1024;  // of payload
    static constexpr uint32_t kCopiesMost = 4;     // of a message that is not small

    Paging(Core& core, Journal& journal);
    ~Paging();
    Paging(const Paging&) = delete;
    Paging& operator=(const Paging&) = delete;

    // The session's queue has a new entry.
    void grew(Session& session) {
        if (arena_.pages_used() >= page_from_) consider(session);
    }

    // It is about to be sent from: asks for what will be needed.
    void want(Session& session) {
        if (!pages_.empty()) ask_ahead(session);
    }

    void tend();

    // Nothing is to be done before the journal or memory has more room.
    bool at_rest() const;

    // It has asked for something that it has not used yet.
    bool reads() const;

    // Something waits for memory.
    bool stuck() const { return stuck_; }

    // The page at the front of a dead session's queue.  False: it waits for what is in it.
    bool leave_front(Session& session);
    // The session goes.
    void leave(Session& session);

    // Nothing will be read any more.
    void stop() { stopped_ = true; }

    // A page that a start found, in its queue; they come by position.
    void found(QueuePage& page);

    // --- rounds: all pages said before `position` are to be said again ---

    void begin_round(uint64_t position) { round_from_ = position; }

    // Whether there are any left.
    bool say_more();

  private:
    struct Asked {
        QueuePage* page = nullptr;  // null: nobody waits for it any more
        bool used = false;          // the place is
    };

    static constexpr uint32_t kListMost = 32;

    // Sessions that have something to wait for; who finds no room has to come again.
    struct Sessions {
        Session* list[kListMost] = {};
        uint32_t count = 0;

        bool add(Session& session);
        void remove(const Session& session);
    };

    void consider(Session& session);
    void sweep();
    void ask_ahead(Session& session);
    bool page_out(Session& session);
    bool worth_a_copy(const Message& message) const;
    bool say_page(Session& session, QueueLane& lane);
    bool ask(QueuePage& page);
    void take_reads();
    bool use(QueuePage& page, Bytes body);
    bool take_back(QueuePage& page, Bytes body);
    bool say_again(QueuePage& page, Bytes body);
    void lose(QueuePage& page);
    void remove(QueuePage& page, const OutQueue::Chain& chain);
    bool read_entries(PageReader& reader, const QueuePage& page, Segment& held);
    void give_back_chain();

    Core& core_;
    Arena& arena_;
    Journal& journal_;
    uint32_t page_bytes_;  // of a body, about
    uint64_t page_from_;   // pages of the arena in use
    uint64_t sweep_from_;  // … from which on all are looked through
    uint64_t bucket_ = 0;  // of the sessions, where that is
    bool sweeps_ = false;
    IntrusiveList<QueuePage, &QueuePage::hook> pages_;  // by position
    Asked asked_[Journal::kReads];
    Sessions due_;      // to be paged out
    Sessions waiting_;  // for a place among asked_
    OutQueue::Chain chain_;
    uint64_t round_from_ = 0;
    uint8_t* room_;  // page_bytes_ and one entry's head, for the body of a page
    bool stuck_ = false;
    bool stopped_ = false;
};

}  // namespace mqttd
