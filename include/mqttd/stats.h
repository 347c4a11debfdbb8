#pragma once

// Counters of the broker itself.  What only the shell can count is in host_stats.h.
//
// Plain 64-bit numbers, written where the thing happens. broker/sys_table.cc has one row per value
// that is published below `$SYS`. What the broker publishes there itself is counted in bytes_sent
// but in no message counter, so that looking does not change what is seen.

#include <cstdint>

namespace mqttd {

// Why a message did not reach a receiver.  Each has its own counter and `$SYS` topic.
enum class Drop : uint8_t {
    kBlocked,       // QoS 0 to a receiver whose last write came short
    kOffline,       // QoS 0 to a durable session that is not connected
    kQueueFull,     // max_queued_messages or max_queued_bytes
    kMemory,        // the arena refused, or QoS 0 was shed near its ceiling
    kTooLarge,      // above message_size_limit
    kAwaitRel,      // inbound QoS 2: more than max_awaiting_rel at once
    kRelTimeout,    // inbound QoS 2: PUBREL did not come within await_rel_timeout
    kSessionEnded,  // still queued or in flight when its session ended
    kRetainLimit,   // not kept as retained: retain_max_messages or retain_max_payload
    kSystemTopic,   // a client published below `$`
    kExpired,       // its Message Expiry Interval passed while it waited
    kReceiverSize,  // above the receiver's Maximum Packet Size
    kNoLocal,       // its publisher had asked not to get it back
    kNoMember,      // no member of a shared group could take it
    kDisk,          // it would have to be kept, and the journal cannot be written
    kCount,
};

constexpr uint32_t kDropCount = static_cast<uint32_t>(Drop::kCount);

struct Stats {
    // Packets by type, index = PacketType.
    uint64_t packets_received[16] = {};
    uint64_t packets_sent[16] = {};
    uint64_t packets_received_all = 0;
    uint64_t packets_sent_all = 0;
    uint64_t bytes_received = 0;  // of whole packets taken
    uint64_t publish_received = 0;
    uint64_t publish_sent = 0;
    uint64_t publish_bytes_received = 0;  // payload
    uint64_t publish_bytes_sent = 0;
    uint64_t publish_received_qos[3] = {};
    uint64_t publish_sent_qos[3] = {};
    uint64_t drops[kDropCount] = {};
    uint64_t dropped = 0;  // sum of drops that a receiver would notice
    uint64_t sys_published = 0;

    uint64_t links_opened = 0;
    uint64_t links = 0;              // open now, with or without CONNECT
    uint64_t clients_connected = 0;  // CONNECT accepted and still there
    uint64_t clients_connected_max = 0;
    uint64_t connects_refused = 0;
    uint64_t connect_timeouts = 0;
    uint64_t keep_alive_timeouts = 0;
    uint64_t malformed = 0;       // links closed for what they sent
    uint64_t slow_closed = 0;     // links closed because memory ran short, or their queue
    uint64_t pauses = 0;          // publishers stopped by slow_consumer pause
    uint64_t refused_memory = 0;  // requests answered with a refusal because the arena refused

    uint64_t sessions = 0;  // all
    uint64_t sessions_max = 0;
    uint64_t sessions_persistent = 0;
    uint64_t sessions_expired = 0;
    uint64_t sessions_resumed = 0;
    uint64_t sessions_taken_over = 0;
    uint64_t sessions_discarded = 0;  // ended by a clean start

    uint64_t messages_stored = 0;  // counted messages: retained, queued, in flight
    uint64_t messages_stored_bytes = 0;
    uint64_t queued = 0;
    uint64_t queued_bytes = 0;
    uint64_t queue_alarms = 0;  // queues above their high watermark, now
    uint64_t inflight_out = 0;
    uint64_t inflight_in = 0;
    uint64_t retries = 0;
    uint64_t retained_expired = 0;
    uint64_t retained_refused_count = 0;  // above retain_max_messages
    uint64_t retained_refused_size = 0;   // above retain_max_payload
    uint64_t paused_publishers = 0;       // not read because all their receivers are blocked; now

    uint64_t answers_held = 0;    // until what they acknowledge was durable
    uint64_t journal_rounds = 0;  // everything that lives was written once more
    uint64_t disk_closed = 0;     // links closed because the journal could not be written
    uint64_t paged_messages = 0;  // of those that are queued, in the journal only
    uint64_t paged_bytes = 0;     // what they take there
    uint64_t pages_out = 0;
    uint64_t pages_in = 0;
    uint64_t journal_missed = 0;  // what could not be said for lack of room, and was mended by one

    uint64_t runs = 0;             // fan-outs of consecutive equal-topic PUBLISH packets
    uint64_t fast_deliveries = 0;  // messages delivered as a range of the inbound segment
    uint64_t copies = 0;           // messages copied once to outlive the turn
    uint64_t message_holders = 0;  // references to counted messages, now
    uint64_t fanouts_qos0 = 0;     // runs and messages at QoS 0 that had a receiver
    uint64_t fanout_jobs = 0;
    uint64_t fanout_jobs_now = 0;  // under way
    uint64_t stops[16] = {};       // links stopped, index = StopReason
};

}  // namespace mqttd
