// The configuration as the rest of mqttd sees it: plain structs of resolved values.
//
// A Config is born with every default, `parse_config` (parser.h) overwrites what the file says, and
// `finish_config` (finish.h) applies the rules that need the whole file and the command line. After
// that nobody changes it; the rooms copy the few numbers they need into their own limits. Fields
// carry their unit in the name and are ordered as in conf/mqttd.conf.
//
//   text ──parse_config──▶ Config ──finish_config(options)──▶ Config the server starts with
//
// A listener here is *logical*: one block of the file, one connection cap, one set of options. It
// may need two sockets (IPv4 and IPv6); `bind_addresses` says which. The initial values below and
// the default texts of table.cc are the same facts twice; a test holds them together.
//
// Everything here is touched at start and reload only, so std::string and std::vector are fine.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace mqttd {

// Bits of Config::log_types: which lines are written (`log_type`).
enum LogTypeBits : uint32_t {
    kLogError = 1u << 0,
    kLogWarning = 1u << 1,
    kLogNotice = 1u << 2,
    kLogInformation = 1u << 3,
    kLogDebug = 1u << 4,
    kLogSubscribe = 1u << 5,
    kLogUnsubscribe = 1u << 6,
    kLogWebsockets = 1u << 7,
    kLogInternal = 1u << 8,
    kLogDefault = kLogError | kLogWarning | kLogNotice | kLogInformation,
    kLogAll = (1u << 9) - 1,
};

// Bits of Config::log_dests: where they are written (`log_dest`). No bit set = nowhere.
enum LogDestBits : uint32_t {
    kLogToStdout = 1u << 0,
    kLogToStderr = 1u << 1,
    kLogToSyslog = 1u << 2,
    kLogToFile = 1u << 3,  // Config::log_file says which
};

// The order of each is the order of the words in its row of table.cc.
enum class SocketDomain : uint8_t { kAny, kIpv4, kIpv6 };
enum class FullQueueRule : uint8_t { kDropNew, kDropOld, kDisconnect, kRefuse };
enum class QueueOrder : uint8_t { kSimple, kPriority };
enum class SlowReaderRule : uint8_t { kDrop, kPause, kDisconnect };
enum class GroupChoice : uint8_t { kRoundRobin, kSticky, kHash, kLeastQueued };

// One line of listener_access. An IPv4 address stands as ::ffff:a.b.c.d, so that one comparison
// serves both families; `all` has no bits. (::/0 is everybody, too.)
struct AddressRule {
    std::array<uint8_t, 16> address{};  // network order; 0 behind the prefix
    uint8_t prefix_bits = 0;            // 0..128; an IPv4 prefix counts from 96
    bool allow = true;

    bool operator==(const AddressRule&) const = default;
};

// When an acknowledgement may leave: when what it says is on the disk, or at once.
enum class SyncWhen : uint8_t { kAlways, kInterval, kNone };

// One line of queue_priority.
struct TopicRank {
    std::string filter;
    uint8_t priority = 0;

    bool operator==(const TopicRank&) const = default;
};

struct ListenerConfig {
    uint16_t port = 1883;   // 1..65535; 0 with a unix_path
    std::string host;       // numeric IPv4 or IPv6 address, "localhost", or empty: every address
    std::string unix_path;  // not empty: a Unix socket, at most 107 bytes; host is empty then
    uint32_t unix_mode = 0660;             // permission bits of the socket file
    int32_t max_connections = -1;          // -1 = no cap
    uint32_t connect_timeout_s = 10;       // from accept to a whole CONNECT, >= 1
    uint32_t backlog = 1024;               // for listen(2); the kernel cuts it to somaxconn
    uint32_t recbuf_bytes = 0;             // SO_RCVBUF; 0 = leave it to the kernel
    uint32_t sndbuf_bytes = 0;             // SO_SNDBUF; 0 = leave it to the kernel
    uint32_t tcp_user_timeout_ms = 20000;  // TCP_USER_TIMEOUT; 0 = leave it to the kernel
    uint32_t accept_batch = 64;            // accepts per turn of the loop, >= 1
    bool nodelay = true;                   // TCP_NODELAY
    bool defer_accept = true;    // TCP_DEFER_ACCEPT: accept when the first bytes are there
    std::string bind_interface;  // SO_BINDTODEVICE, at most 15 bytes; empty = any device
    SocketDomain domain = SocketDomain::kAny;

    // What its clients may do.
    int8_t allow_anonymous = -1;             // 0, 1; -1 = as Config says
    int8_t allow_zero_length_clientid = -1;  // 0, 1; -1 = as Config says
    std::string auto_id_prefix;              // empty = as Config says
    bool use_username_as_clientid = false;
    std::string mount_point;        // without wildcards; empty = none
    uint32_t protocol_levels = 7;   // bit n: level 3 + n is spoken
    uint32_t max_qos = 2;           // 0..2
    uint32_t max_topic_alias = 10;  // aliases a client may define, 0..65535
    uint32_t max_topic_alias_broker = 10;
    uint32_t rate_burst_bytes = 0;     // rate_limit; 0 = none
    uint32_t rate_bytes_s = 0;         // rate_limit; 0 = none
    uint32_t client_rate_bytes_s = 0;  // max_client_rate; 0 = none
    std::vector<AddressRule> access;   // the first that matches decides; none = allowed

    uint32_t line = 0;  // where the block starts in the file; 0 = no line made it
    std::string file;   // an included one; empty = the main file
    std::string name;   // finish_config: the path, the port, or ADDRESS:PORT if the port is shared

    bool operator==(const ListenerConfig&) const = default;
};

struct Config {
    // Listeners. After finish_config there is at least one.
    std::vector<ListenerConfig> listeners;
    ListenerConfig listener_defaults;  // socket options written above the first listener
    bool local_only = false;           // no listener in the file: loopback only (finish_config)

    // Who may connect, and what a client id may be.
    bool per_listener_settings = false;
    bool allow_anonymous = false;         // resolved by finish_config
    bool allow_anonymous_is_set = false;  // the file says so itself
    bool allow_zero_length_clientid = true;
    std::string auto_id_prefix = "auto-";  // at most 50 bytes
    std::string clientid_prefixes;         // only ids that begin so; empty = any
    uint32_t max_clientid_len = 1024;      // bytes, 23..65535
    int32_t global_max_connections = -1;   // sockets over all listeners; -1 = no cap
    int32_t global_max_clients = -1;       // sessions, connected or not; -1 = no cap
    uint32_t max_keepalive_s = 0;          // 0 = any; 0..65535

    // Sizes.
    uint32_t max_packet_size = 2000000;        // bytes of a whole packet, 20..268435460
    uint32_t message_size_limit_bytes = 0;     // payload; 0 = none
    uint32_t max_topic_len = 65535;            // bytes, 1..65535
    uint32_t max_topic_levels = 200;           // 1..1000
    uint32_t packet_buffer_size_bytes = 4096;  // a hint: mqttd reads into one shared buffer

    // Windows and queues of one client.
    uint32_t max_inflight_messages = 20;  // 1..65535 after finish_config (the file's 0 = 65535)
    uint64_t max_inflight_bytes = 0;      // 0 = no limit
    uint32_t max_queued_messages = 1000;  // 0 = no limit
    uint64_t max_queued_bytes = 0;        // 0 = no limit
    FullQueueRule queue_full = FullQueueRule::kDropNew;
    uint32_t queue_low_permille = 200;   // of the two limits above: the alarm ends below …
    uint32_t queue_high_permille = 600;  // … and begins above; low < high
    QueueOrder queue_order = QueueOrder::kSimple;
    std::vector<TopicRank> queue_priorities;  // with kPriority
    bool queue_qos0_messages = false;         // also for absent durable clients
    uint32_t max_outbox_bytes = 262144;   // unsent bytes past which a connection is written at once
    uint32_t unack_retry_interval_s = 0;  // 3.x only; 0 = resend at reconnect only
    uint32_t await_rel_timeout_s = 300;   // a QoS 2 message waits so long for PUBREL, >= 1
    uint32_t max_awaiting_rel = 100;      // QoS 2 messages waiting for PUBREL; 0 = no limit
    bool allow_duplicate_messages = true;  // true: one copy per matching subscription
    bool upgrade_outgoing_qos = false;     // deliver at the subscription's QoS
    SlowReaderRule slow_consumer = SlowReaderRule::kDrop;
    uint32_t slow_consumer_ms = 10000;            // blocked so long: slow
    uint64_t persistent_client_expiration_s = 0;  // 0 = never

    // Subscriptions.
    uint32_t max_subscriptions = 0;  // of one session; 0 = no limit
    GroupChoice shared_strategy = GroupChoice::kRoundRobin;
    bool wildcard_subscription_available = true;
    bool shared_subscription_available = true;
    bool subscription_identifiers_available = true;

    // Retained messages.
    bool retain_available = true;
    uint32_t retain_max_messages = 0;       // 0 = no limit
    uint32_t retain_max_payload_bytes = 0;  // 0 = no limit
    uint32_t retain_max_age_s = 0;          // 0 = for ever
    uint32_t retain_sweep_period_s = 60;    // how often expired ones are looked for

    // The process.
    int64_t memory_limit_bytes = -1;  // -1 = 80 % of the smaller of RAM and cgroup limit; 0 = none
    uint32_t busy_poll_us = 0;        // spin so long before sleeping, 0..1000000; 0 = never
    uint32_t sys_interval_s = 10;     // period of $SYS; 0 = no $SYS
    uint32_t sys_qos = 0;             // highest QoS of $SYS messages, 0..2
    std::string user;                 // account to change to when started as root; empty = unset
    std::string pid_file;             // empty = none

    // What survives the process.
    bool persistence = false;
    std::string persistence_location;               // directory; empty = the working directory
    std::string persistence_file = "mosquitto.db";  // imported when there is no journal yet
    std::string sync = "always";                    // as written; finish_config reads it:
    SyncWhen sync_when = SyncWhen::kAlways;
    uint64_t sync_interval_ms = 0;        // with kInterval, >= 1
    uint64_t persistence_max_bytes = 0;   // of the journal; 0 = no limit
    uint32_t disk_wait_s = 10;            // a client waits so long for a failing disk; 0 = for ever
    uint32_t autosave_interval_s = 1800;  // or changes; 0 = only at the end and when asked
    bool autosave_on_changes = false;     // autosave_interval_s counts changes

    // The log.
    uint32_t log_dests = kLogToStderr;  // LogDestBits
    std::string log_file;               // with kLogToFile
    uint32_t log_types = kLogDefault;   // LogTypeBits
    bool log_timestamp = true;
    std::string log_timestamp_format;  // strftime, local time; empty = Unix seconds
    int32_t log_facility = -1;         // syslog local0..local7 as 0..7; -1 = daemon
    bool connection_messages = true;

    bool operator==(const Config&) const = default;
};

// One address a TCP listener binds. `required` is false for the IPv6 half of a pair: a kernel
// without IPv6 serves the IPv4 half alone.
struct BindAddress {
    std::string host;  // numeric, never empty
    bool required = true;
};

// The addresses of a TCP listener: both wildcards, both loopbacks or the one written. Bind the IPv6
// one with IPV6_V6ONLY, else it collides with its IPv4 sibling. Without those that socket_domain
// rules out. Empty for a Unix socket.
std::vector<BindAddress> bind_addresses(const ListenerConfig& listener);

}  // namespace mqttd
