#pragma once

// Restore: what the journal holds becomes the state of the core, before anybody is let in.
//
// Bodies come in the order in which they were said and are applied one by one; saying a thing again
// changes nothing, and what is said about something unknown is skipped (round.h says why that is
// right). Messages under way and queued are kept by their names until the end, since a round may
// have said them in another order; then each session gets its window and its queue.
//
// It works with ordinary memory, given back when it is done: a start is not the loop.

#include "mqttd/broker.h"

#include "broker/core.h"
#include "broker/durable_records.h"
#include "broker/name_table.h"

#include <unordered_set>
#include <vector>

namespace mqttd {

class Restore {
  public:
    Restore(Core& core, uint64_t bytes);
    ~Restore();
    Restore(const Restore&) = delete;
    Restore& operator=(const Restore&) = delete;

    // A body of a DurableType, and its position; it is used up when this returns.
    void take(uint8_t type, uint64_t position, Bytes body);

    // All bodies have been applied.
    void finish();

    const RestoreReport& report() const { return report_; }

  private:
    // A start is as fast as memory answers: a body waits while others are applied, and what it will
    // touch is asked for meanwhile. Large ones do not.
    static constexpr uint32_t kAhead = 16;
    static constexpr uint32_t kAheadBytes = 488;

    struct Waiting {
        uint8_t type = 0;
        uint32_t size = 0;
        uint32_t hash = 0;  // of where its topic or filter hangs; 0: none
        uint64_t position = 0;
        uint8_t bytes[kAheadBytes];

        Bytes body() const { return {bytes, size}; }
    };

    struct Flow {
        Message* message = nullptr;  // held; null: PUBREC has come
        SubscriptionIds* ids = nullptr;
        uint8_t qos = 0;
        bool retain = false;
        bool limited = true;
    };

    using Flows = NameTable<Flow>;

    // A part of a queue that stays in the journal.
    struct Page {
        uint64_t position = 0;
        uint32_t session = 0;
        uint32_t size = 0;
        PageSum sum;
    };

    struct Place {
        uint64_t key;
        Flow flow;
    };

    static uint64_t key_of(uint32_t session, uint32_t number) {
        return uint64_t{session} << 32 | number;
    }

    void apply_first();
    void apply(uint8_t type, uint64_t position, Bytes body);
    void fetch(Waiting& waiting);
    void fetch_more(const Waiting& waiting, uint32_t passed);
    void fetch_deliveries(Bytes body);
    void session(Bytes body);
    void away(Bytes body);
    void ended(uint32_t number);
    void subscribed(Bytes body);
    void unsubscribed(Bytes body);
    void deliveries(Bytes body);
    void page(Bytes body, uint64_t position);
    void page_taken(Bytes body, uint64_t position);
    void sent(Bytes body);
    void progress(Bytes body);
    void dropped(Bytes body);
    void inbound(Bytes body, uint64_t position);
    void released(uint32_t number, uint16_t packet_id);
    void retained(Bytes body, uint64_t position);
    void cleared(Bytes topic);
    void gone(Bytes names);

    Session* find(uint32_t number);
    Message* keep(const DurableMessage& message, uint64_t position);
    Message* make(const DurableMessage& message, bool will);
    uint32_t age_of(uint64_t since) const;
    void let_go(Flow& flow);
    void fill(Flow& flow, Message& message, const DurableDelivery& read);
    void away_since(Session& session, uint64_t wall_s);
    void fill_windows();
    void fill_window(Session& session, std::vector<Place>& flows);
    void fill_queues();
    bool push(Place& place);
    QueuePage* push(uint64_t name, const Page& found);
    void settle_sessions();

    Core& core_;
    RestoreReport report_;
    Waiting ahead_[kAhead];
    uint32_t first_ = 0;  // of those that wait
    uint32_t waiting_ = 0;
    uint64_t last_seen_s_ = 0;  // wall clock of the last life's last word
    NameTable<Session*> sessions_;
    NameTable<Message*> messages_;  // held
    Flows under_way_;               // by session and packet identifier
    Flows queued_;                  // by session and delivery
    NameTable<Page> pages_;         // by name
    std::vector<Session*> left_;    // they were connected when the last life ended
    std::vector<Session*> over_;    // they end when all is known
    // The same, without a message so far: it comes later in a round, or its body was damaged.
    std::unordered_set<uint64_t> unknown_under_way_;
    std::unordered_set<uint64_t> unknown_queued_;
};

}  // namespace mqttd
