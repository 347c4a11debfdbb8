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

#include <cstdint>
#include <string_view>

namespace mqttd {

class Arena;
class Core;
class Dirty;
class Log;

// The limits and switches of configuration.md that the core acts on; defaults as there.
struct BrokerOptions {
    uint64_t hash_key[2] = {0, 0};  // random in the server, from the seed in tests

    bool allow_anonymous = false;
    bool allow_zero_length_clientid = true;
    std::string_view auto_id_prefix = "auto-";  // outlives the broker
    uint32_t max_clientid_len = 1024;

    uint32_t max_packet_size = 2'000'000;  // whole packet, bytes
    uint32_t message_size_limit = 0;       // payload, bytes; 0 = none
    uint32_t max_topic_len = 65'535;
    uint32_t max_topic_levels = 200;

    uint32_t max_inflight_messages = 20;     // 1 … 65535
    uint32_t max_queued_messages = 1000;     // 0 = none
    uint64_t max_queued_bytes = 0;           // 0 = none
    uint32_t outbox_bytes_max = 256 * 1024;  // unsent bytes past which a link is written at once
    bool queue_qos0_messages = false;
    bool allow_duplicate_messages = true;

    uint32_t max_awaiting_rel = 100;              // 0 = none
    uint32_t await_rel_timeout_s = 300;           // 0 = never
    uint32_t unack_retry_interval_s = 0;          // 0 = only at reconnect
    uint64_t persistent_client_expiration_s = 0;  // 0 = never

    bool retain_available = true;
    uint64_t retain_max_messages = 0;  // 0 = none
    uint32_t retain_max_payload = 0;   // bytes; this long or longer is not kept; 0 = none
    uint32_t retain_max_age_s = 0;     // 0 = for ever

    uint32_t max_keepalive_s = 0;     // 0 = any
    uint32_t connect_timeout_s = 10;  // listener default; Arrival::listener picks another
    const uint32_t* listener_connect_timeout_s = nullptr;  // per listener index, or nullptr
    uint32_t listener_count = 0;
    int64_t global_max_clients = -1;  // sessions, -1 = any number

    uint32_t sys_interval_s = 10;  // 0 = no $SYS
    bool connection_messages = true;

    // The turn's work budget, in units (one packet or one delivery; never time).
    uint32_t turn_units = 16'384;
    uint32_t visit_units = 4'096;   // for one link's visit
    uint32_t fanout_slice = 4'096;  // deliveries made at once; more become a job
    uint32_t backlog_max = 512;     // writes waiting from earlier turns; above, PUBLISH waits
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
           Instant now);
    ~Broker();
    Broker(const Broker&) = delete;
    Broker& operator=(const Broker&) = delete;

    // A turn begins.  `now` never goes back; `wall_s` is only printed.  `ready_links` have input:
    // the more there are, the shorter is each one's visit.
    void begin_turn(Instant now, int64_t wall_s, uint32_t ready_links = 1);

    // Timers and jobs, within what is left of the turn's units.
    void tick();

    // False while jobs or due timers wait: the loop must not sleep then.
    bool idle() const;

    // When the next timer is due; kNever if none is.
    Instant next_deadline() const;

    // Publishes every $SYS value once; the loop does it before it accepts the first connection.
    void publish_sys();

    // The server stops: every link is closed for kShuttingDown, so that each will is sent once.
    // Returns true when all links are told; call again in the next turn otherwise.
    bool shut_down();

    // Log lines about sessions, subscriptions and pools, for SIGUSR2.
    void dump(const Log& log) const;

    const Stats& stats() const;

    // StreamHandler
    void* opened(Outbox& outbox, const Arrival& arrival) override;
    Consumed receive(void* link, Range input) override;
    void writable(void* link) override;
    void closed(void* link, Error why) override;
    bool budget_left() const override;

  private:
    Arena& arena_;
    Core* core_;
};

}  // namespace mqttd
