#pragma once

// Traffic: publishers, subscribers and what lies between them, for every mode that counts messages.
//
// A publisher has two bounds on what it may send: `window`, its unacknowledged messages (QoS 1, 2),
// and `inflight`, its messages not yet delivered to every receiver. The second is what keeps a
// measurement honest: nothing piles up in the broker, so nothing is dropped, and a rate is a rate
// of deliveries. A publisher sends when half of its bounds is free, so that batches stay batches.
//
//     publisher   done ─────────── sent        a ring holds, for each message between them,
//                  │ 0 2 1 3 3 3 3 │           how many receivers still lack it
//     subscriber  one Stream per publisher     what it has seen, bench_check.h
//
// A message costs one patch of sixteen bytes and a share of one write going out, and a parse, a
// compare and a decrement coming in; nothing is allocated. If nothing arrives for --patience, what
// is outstanding is written off as lost and the run goes on.

#include "tools/bench_check.h"
#include "tools/bench_client.h"
#include "tools/bench_histogram.h"
#include "tools/bench_options.h"
#include "tools/bench_report.h"

#include <cstdint>
#include <vector>

namespace mqttd::bench {

// Who publishes where and who hears it: the layout, spelled out.
struct Plan {
    struct Route {               // of one publisher
        uint32_t topic = 0;      // pairs: which; else 0
        uint32_t stream = 0;     // its place among a subscriber's streams
        uint32_t receivers = 0;  // of each of its messages
    };

    uint32_t topics = 1;
    std::vector<Route> routes;
    uint64_t inflight = 0;  // of one publisher

    static Plan of(const Options& options);

    std::string topic(const Options& options, uint32_t index) const;
    std::vector<std::string> filters(const Options& options, uint32_t subscriber) const;
    std::vector<Stream> streams(const Options& options, uint32_t subscriber) const;
};

class Traffic {
  public:
    explicit Traffic(const Options& options);
    ~Traffic();
    Traffic(const Traffic&) = delete;
    Traffic& operator=(const Traffic&) = delete;

    // Publishes for so long, as fast as the bounds allow, or at --rate if `scheduled`.
    void run_for(uint64_t ns, std::string_view what, bool scheduled = false);
    // Publishes so many more messages, over all publishers, and waits until they are delivered.
    void run_messages(uint64_t count, std::string_view what, bool scheduled = false);
    // Publishes nothing more and waits for what is under way.
    void drain();

    uint64_t published() const { return published_; }

    uint64_t delivered() const { return delivered_; }

    // What is lost is only known when nothing is under way.
    Faults faults() const;

    Histogram& latency() { return latency_; }

  private:
    struct Publisher {
        Client client;
        uint32_t number = 0;
        bool listed = false;          // in ready_
        uint64_t sent = 0;            // the next sequence number
        uint64_t done = 0;            // all before it have reached every receiver
        uint64_t limit = 0;           // sends no number from here on
        uint64_t schedule_first = 0;  // the sequence number the schedule began with
        uint64_t unacked = 0;
        uint64_t window = 0;            // the smaller of --window and the broker's Receive Maximum
        uint64_t enough = 1;            // room from which it sends
        uint64_t topic_next = 0;        // wildcard: the filter the next message is for
        std::vector<uint32_t> missing;  // ring: receivers that lack message i
        std::vector<uint8_t> busy;      // packet id i + 1 is unacknowledged
    };

    struct Subscriber {
        Client client;
        uint32_t topic = 0;
        std::vector<Stream> streams;
    };

    void open_subscribers();
    void open_publishers();
    void turn(bool publish_too);
    void step_schedule(uint64_t now);
    uint64_t scheduled_ns(const Publisher& publisher) const;
    int64_t wait_ns(bool publish_too) const;
    void serve_publisher(uint32_t index, uint32_t events);
    void serve_subscriber(uint32_t index, uint32_t events);
    void on_delivery(Subscriber& subscriber, uint8_t first, const Frame& frame);
    void on_ack(Publisher& publisher, uint8_t first, const Frame& frame);
    void settle(Publisher& publisher, uint64_t sequence);
    uint64_t room(const Publisher& publisher) const;
    void wake(Publisher& publisher);
    void publish(Publisher& publisher);
    uint64_t fill(Publisher& publisher, uint64_t count, uint64_t now);
    void free_id(Publisher& publisher, uint16_t id);
    void write_off();
    void set_limits(uint64_t each);

    const Options& options_;
    const Plan plan_;
    const Protocol protocol_;
    const uint8_t qos_;
    PublishForm form_;
    uint64_t slots_ = 0;  // messages in a batch
    uint64_t ring_mask_ = 0;
    std::vector<Publisher> publishers_;
    std::vector<Subscriber> subscribers_;
    std::vector<uint32_t> ready_;
    std::vector<uint32_t> sending_;
    std::vector<std::string> topic_names_;  // wildcard: one per filter, all of one length
    Poller poller_;
    ReadBuffer buffer_;
    Histogram latency_;
    Faults faults_;

    bool scheduled_ = false;
    uint64_t schedule_begin_ns_ = 0;
    uint64_t schedule_next_ = 0;  // message of the schedule, over all publishers
    bool sample_ = false;         // the next delivery goes into the histogram
    uint64_t arrived_ns_ = 0;     // when what is being parsed was read
    bool moved_ = false;          // something arrived in this turn
    uint64_t moved_ns_ = 0;       // when something last did
    uint64_t published_ = 0;
    uint64_t settled_ = 0;  // published messages that are done
    uint64_t unacked_ = 0;
    uint64_t expected_ = 0;   // deliveries owed for what was published
    uint64_t unique_ = 0;     // deliveries without copies
    uint64_t delivered_ = 0;  // deliveries
};

}  // namespace mqttd::bench
