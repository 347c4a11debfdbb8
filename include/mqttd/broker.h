#pragma once

// Broker: the core. A function of bytes and time.
//
// It takes input ranges (StreamHandler::receive) and the time (begin_turn), appends to outboxes and
// says which of them became dirty; it asks the world only through Transport and Host. No system
// call, clock, thread, global or random source inside: one seed replays a day.
//
//     broker.begin_turn(now, wall);
//     ... net calls opened / receive / writable / closed ...
//     broker.tick();                      // timers and jobs, within the turn's units
//     ... net writes what is dirty ...
//
// Everything that grows lives in the arena; when it refuses, the caller of the moment gets a named
// answer (a refused CONNECT, a counted drop, a stopped link) and the rest goes on.

#include "mqttd/ports.h"
#include "mqttd/stats.h"
#include "mqttd/stream.h"
#include "mqttd/time.h"
#include "mqttd/topic.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace mqttd {

class Arena;
class Core;
class Dirty;
class Journal;
class Log;
class Restore;

// What a listener decides about its clients.
struct ListenerOptions {
    std::string_view name;         // for `$SYS`: its port or path
    std::string_view mount_point;  // in front of every topic name and filter; empty: none
    std::string_view auto_id_prefix = "auto-";
    uint32_t connect_timeout_s = 10;  // from accept to CONNECT; 0 = none
    bool allow_anonymous = false;
    bool allow_zero_length_clientid = true;
    bool use_username_as_clientid = false;
    uint8_t versions = 1u << 3 | 1u << 4 | 1u << 5;  // bit n: protocol level n is spoken
    uint8_t max_qos = 2;                             // of PUBLISH and will: 0 … 2
    uint16_t max_topic_alias = 10;                   // a client may define
    uint16_t max_topic_alias_broker = 10;            // the broker may define towards a client
};

// What becomes of a message for a session whose queue is full.
enum class QueueFull : uint8_t {
    kDropNew,     // it is dropped
    kDropOld,     // the oldest of the lowest priority makes room
    kDisconnect,  // it is dropped and the receiver's connection ends
    kRefuse,      // it is dropped; its 5.0 publisher is told 0x97 if nobody at all took it
};

// What becomes of messages for a receiver whose link is blocked.
enum class SlowConsumer : uint8_t {
    kDrop,        // QoS 0 is dropped, QoS 1 and 2 wait in the queue
    kPause,       // a publisher whose every receiver is blocked is not read until one goes on
    kDisconnect,  // the receiver is disconnected after slow_consumer_ms
};

// Messages whose topic matches wait in front of those of lower priority; the first row that matches
// a topic counts.
struct TopicPriority {
    std::string_view filter;
    uint8_t priority = 0;  // 0 … 255, 0 = as if not named
};

// The limits and switches of configuration.md that the core acts on; defaults as there.  Texts,
// listeners and priorities are borrowed: they outlive the broker or the next `reconfigure`.
struct BrokerOptions {
    uint64_t hash_key[2] = {0, 0};  // random in the server, from the seed in tests

    ListenerOptions listener;                    // of an Arrival whose listener is not in the list
    std::span<const ListenerOptions> listeners;  // by Arrival::listener
    std::string_view clientid_prefixes;          // only identifiers that begin so; empty: any
    uint32_t max_clientid_len = 1024;

    uint32_t max_packet_size = 2'000'000;  // whole packet, bytes
    uint32_t message_size_limit = 0;       // payload, bytes; 0 = none
    uint32_t max_topic_len = 65'535;
    uint32_t max_topic_levels = 200;
    uint32_t max_subscriptions = 0;  // of one session; 0 = none

    uint32_t max_inflight_messages = 20;  // 1 … 65535; also the Receive Maximum we tell
    uint64_t max_inflight_bytes = 0;      // payload under way to one client; 0 = none
    uint32_t max_queued_messages = 1000;  // 0 = none
    uint64_t max_queued_bytes = 0;        // 0 = none
    QueueFull queue_full = QueueFull::kDropNew;
    uint16_t queue_low_permille = 200;   // of max_queued_messages or _bytes: no alarm below …
    uint16_t queue_high_permille = 600;  // … an alarm above
    std::span<const TopicPriority> priorities;  // empty: a plain FIFO
    uint32_t outbox_bytes_max = 256 * 1024;     // unsent bytes past which a link is written at once
    bool queue_qos0_messages = false;
    bool allow_duplicate_messages = true;
    bool upgrade_outgoing_qos = false;
    SlowConsumer slow_consumer = SlowConsumer::kDrop;
    uint32_t slow_consumer_ms = 10'000;  // blocked so long: slow
    SharedStrategy shared_strategy = SharedStrategy::kRoundRobin;

    uint32_t max_awaiting_rel = 100;              // 0 = none
    uint32_t await_rel_timeout_s = 300;           // 0 = never
    uint32_t unack_retry_interval_s = 0;          // 3.x; 0 = only at reconnect
    uint64_t persistent_client_expiration_s = 0;  // 0 = never

    bool retain_available = true;
    bool wildcard_available = true;
    bool shared_available = true;
    bool subscription_ids_available = true;
    uint64_t retain_max_messages = 0;     // 0 = none
    uint32_t retain_max_payload = 0;      // bytes; this long or longer is not kept; 0 = none
    uint32_t retain_max_age_s = 0;        // 0 = for ever
    uint32_t retain_sweep_period_s = 60;  // how often what is too old is looked for

    uint32_t max_keepalive_s = 0;     // 0 = any
    int64_t global_max_clients = -1;  // sessions, -1 = any number

    uint32_t disk_wait_s = 10;  // so long a client waits for a disk that fails; 0 = for ever
    uint64_t journal_slack_bytes = uint64_t{64} << 20;  // of it that may be dead, beside what lives
    uint32_t page_bytes = 128 * 1024;   // of a queue that go to the journal alone at once, about
    uint32_t page_from_permille = 625;  // of memory in use, from which on they do

    uint32_t sys_interval_s = 10;  // 0 = no $SYS
    uint8_t sys_qos = 0;           // highest QoS at which $SYS is delivered: 0 … 2
    bool connection_messages = true;

    // The turn's work budget, in units (one packet or one delivery; never time).
    uint32_t turn_units = 16'384;
    uint32_t visit_units = 4'096;   // for one link's visit
    uint32_t fanout_slice = 4'096;  // deliveries made at once; more become a job
    uint32_t backlog_max = 512;     // writes waiting from earlier turns; above, PUBLISH waits
};

// What a start found in the journal.
struct RestoreReport {
    uint64_t records = 0;
    uint64_t sessions = 0;
    uint64_t subscriptions = 0;
    uint64_t retained = 0;
    uint64_t queued = 0;
    uint64_t under_way = 0;
    uint64_t unreadable = 0;     // bodies that verify and are none of ours
    uint64_t lost_messages = 0;  // deliveries whose message was damaged
    uint64_t no_memory = 0;      // things that memory_limit had no room for
};

class Broker final : public StreamHandler {
  public:
    // All references outlive the broker.  Asserts that the arena is large enough for its fixed
    // parts (about 1 MiB).
    Broker(Arena& arena,
           Transport& transport,
           Host& host,
           Dirty& dirty,
           const Log& log,
           const BrokerOptions& options,
           Instant now,
           Journal* journal = nullptr);  // null: nothing outlives the process
    ~Broker();
    Broker(const Broker&) = delete;
    Broker& operator=(const Broker&) = delete;

    // A turn begins.  `now` never goes back; `wall_s` is only printed.  `ready_links` have input:
    // the more there are, the shorter is each one's visit.
    void begin_turn(Instant now, int64_t wall_s, uint32_t ready_links = 1);

    // Timers and jobs, within what is left of the turn's units.
    void tick();

    // New limits and switches; who is connected stays. They hold at once and for everybody, also
    // where a 5.0 client was told otherwise in its CONNACK.
    // hash_key and the number of listeners stay as they were; a listener's mount point, too.
    void reconfigure(const BrokerOptions& options);

    // False while jobs or due timers wait: the loop must not sleep then.
    bool idle() const;

    // When the next timer is due; kNever if none is.
    Instant next_deadline() const;

    // What the journal holds, body by body in order, before the first turn or between turns;
    // CONNECTs wait meanwhile.  Only with a journal, and only before anybody came in.  Needs
    // begin_turn for the time.  `bytes`: about how many it holds, to make room at once; 0: unknown.
    void begin_restore(uint64_t bytes = 0);
    void restore(uint8_t type, uint64_t position, Bytes body);
    RestoreReport end_restore();

    // Publishes every $SYS value once; the loop does it before it accepts the first connection.
    void publish_sys();

    // `$SYS/broker/alarm/<id>`: raised until it is cleared; published at the end of the turn.
    // `json` is an object of at most 16 KiB. Saying it twice does nothing. False: not noted,
    // because there is no `$SYS` or no memory; say it again later.
    bool raise_alarm(std::string_view id, std::string_view json);
    bool clear_alarm(std::string_view id);

    // The server stops: nobody publishes any more (kShutdown), each will is sent once, also one
    // that waits for its delay, and every link is closed for kShuttingDown. Returns true when all
    // links are told; call again in the next turn otherwise.
    bool shut_down();

    // Log lines about sessions, subscriptions and pools, for SIGUSR2.
    void dump(const Log& log) const;

    const Stats& stats() const;

    // StreamHandler
    void* opened(Outbox& outbox, const Arrival& arrival) override;
    Consumed receive(void* link, Range input) override;
    void progress(void* link) override;
    void writable(void* link) override;
    void closed(void* link, Error why) override;
    bool budget_left() const override;
    void share_rest(uint32_t links) override;

  private:
    Arena& arena_;
    Core* core_;
    std::unique_ptr<Restore> restore_;  // while a start reads the journal
};

}  // namespace mqttd
