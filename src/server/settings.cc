#include "server/settings.h"

#include "base/log.h"

#include <algorithm>

namespace mqttd {

namespace {

struct LogTypeRow {
    uint32_t type;  // LogTypeBits
    LogKind kind;
};

constexpr LogTypeRow kLogTypeRows[] = {
    {kLogError,       LogKind::kError      },
    {kLogWarning,     LogKind::kWarning    },
    {kLogNotice,      LogKind::kNotice     },
    {kLogInformation, LogKind::kInformation},
    {kLogSubscribe,   LogKind::kSubscribe  },
    {kLogUnsubscribe, LogKind::kUnsubscribe},
    {kLogDebug,       LogKind::kDebug      },
};

static_assert(sizeof kLogTypeRows / sizeof kLogTypeRows[0] == static_cast<size_t>(LogKind::kCount));

// epoll, its helper, the reserve descriptor, signals, pid file; and, for a moment, a log or a
// configuration file opened again, /proc read.
constexpr uint32_t kFilesOfOurs = 12;

// The two lists of names, the file's and the core's, are in the same order.
template <class To, class From>
constexpr To same_place(From from) {
    return static_cast<To>(static_cast<uint8_t>(from));
}

static_assert(same_place<QueueFull>(FullQueueRule::kDropOld) == QueueFull::kDropOld);
static_assert(same_place<QueueFull>(FullQueueRule::kDisconnect) == QueueFull::kDisconnect);
static_assert(same_place<QueueFull>(FullQueueRule::kRefuse) == QueueFull::kRefuse);
static_assert(same_place<SlowConsumer>(SlowReaderRule::kPause) == SlowConsumer::kPause);
static_assert(same_place<SlowConsumer>(SlowReaderRule::kDisconnect) == SlowConsumer::kDisconnect);
static_assert(same_place<SharedStrategy>(GroupChoice::kSticky) == SharedStrategy::kSticky);
static_assert(same_place<SharedStrategy>(GroupChoice::kHash) == SharedStrategy::kHash);
static_assert(same_place<SharedStrategy>(GroupChoice::kLeastQueued) ==
              SharedStrategy::kLeastQueued);
static_assert(same_place<ListenOptions::Domain>(SocketDomain::kIpv4) ==
              ListenOptions::Domain::kIpv4);
static_assert(same_place<ListenOptions::Domain>(SocketDomain::kIpv6) ==
              ListenOptions::Domain::kIpv6);

// What a listener says for itself (-1 = nothing), or what holds for all.
constexpr bool own_or(int8_t own, bool common) {
    return own < 0 ? common : own != 0;
}

std::string limit_text(const char* key, uint64_t value, const std::string& consequence) {
    return std::string(key) + " is " + std::to_string(value) + ": " + consequence;
}

}  // namespace

ListenerOptions listener_options(const Config& config, const ListenerConfig& listener) {
    ListenerOptions options;
    options.name = listener.name;
    options.mount_point = listener.mount_point;
    options.auto_id_prefix =
        listener.auto_id_prefix.empty() ? config.auto_id_prefix : listener.auto_id_prefix;
    options.connect_timeout_s = listener.connect_timeout_s;
    options.allow_anonymous = own_or(listener.allow_anonymous, config.allow_anonymous);
    options.allow_zero_length_clientid =
        own_or(listener.allow_zero_length_clientid, config.allow_zero_length_clientid);
    options.use_username_as_clientid = listener.use_username_as_clientid;
    options.versions = static_cast<uint8_t>(listener.protocol_levels << 3);
    options.max_qos = static_cast<uint8_t>(listener.max_qos);
    options.max_topic_alias = static_cast<uint16_t>(listener.max_topic_alias);
    options.max_topic_alias_broker = static_cast<uint16_t>(listener.max_topic_alias_broker);
    return options;
}

BrokerOptions options_to_broker(const Config& config) {
    BrokerOptions options;
    options.listener = listener_options(config, config.listener_defaults);
    options.clientid_prefixes = config.clientid_prefixes;
    options.max_clientid_len = config.max_clientid_len;
    options.max_packet_size = config.max_packet_size;
    options.message_size_limit = config.message_size_limit_bytes;
    options.max_topic_len = config.max_topic_len;
    options.max_topic_levels = config.max_topic_levels;
    options.max_subscriptions = config.max_subscriptions;
    options.max_inflight_bytes = config.max_inflight_bytes;
    options.max_inflight_messages = config.max_inflight_messages;
    options.max_queued_messages = config.max_queued_messages;
    options.max_queued_bytes = config.max_queued_bytes;
    options.queue_full = same_place<QueueFull>(config.queue_full);
    options.queue_low_permille = static_cast<uint16_t>(config.queue_low_permille);
    options.queue_high_permille = static_cast<uint16_t>(config.queue_high_permille);
    options.outbox_bytes_max =
        static_cast<uint32_t>(std::min<uint64_t>(config.max_outbox_bytes, UINT32_MAX));
    options.upgrade_outgoing_qos = config.upgrade_outgoing_qos;
    options.slow_consumer = same_place<SlowConsumer>(config.slow_consumer);
    options.slow_consumer_ms = config.slow_consumer_ms;
    options.shared_strategy = same_place<SharedStrategy>(config.shared_strategy);
    options.queue_qos0_messages = config.queue_qos0_messages;
    options.allow_duplicate_messages = config.allow_duplicate_messages;
    options.max_awaiting_rel = config.max_awaiting_rel;
    options.await_rel_timeout_s = config.await_rel_timeout_s;
    options.unack_retry_interval_s = config.unack_retry_interval_s;
    options.disk_wait_s = config.disk_wait_s;
    options.persistent_client_expiration_s = config.persistent_client_expiration_s;
    options.wildcard_available = config.wildcard_subscription_available;
    options.shared_available = config.shared_subscription_available;
    options.subscription_ids_available = config.subscription_identifiers_available;
    options.retain_sweep_period_s = config.retain_sweep_period_s;
    options.retain_available = config.retain_available;
    options.retain_max_messages = config.retain_max_messages;
    options.retain_max_payload = config.retain_max_payload_bytes;
    options.retain_max_age_s = config.retain_max_age_s;
    options.max_keepalive_s = config.max_keepalive_s;
    options.global_max_clients = config.global_max_clients;
    options.sys_qos = static_cast<uint8_t>(config.sys_qos);
    options.sys_interval_s = config.sys_interval_s;
    options.connection_messages = config.connection_messages;
    return options;
}

std::vector<ListenerOptions> listeners_of(const Config& config) {
    std::vector<ListenerOptions> listeners;
    for (const ListenerConfig& listener : config.listeners) {
        listeners.push_back(listener_options(config, listener));
    }
    return listeners;
}

std::vector<TopicPriority> priorities_of(const Config& config) {
    std::vector<TopicPriority> priorities;
    if (config.queue_order == QueueOrder::kSimple) return priorities;
    for (const TopicRank& rank : config.queue_priorities) {
        priorities.push_back({rank.filter, rank.priority});
    }
    return priorities;
}

LogSink::Options log_sink_options(const Config& config) {
    LogSink::Options to;
    to.to_stdout = (config.log_dests & kLogToStdout) != 0;
    to.to_stderr = (config.log_dests & kLogToStderr) != 0;
    to.to_syslog = (config.log_dests & kLogToSyslog) != 0;
    if ((config.log_dests & kLogToFile) != 0) to.file = config.log_file;
    to.timestamp = config.log_timestamp;
    to.timestamp_format = config.log_timestamp_format;
    to.facility = config.log_facility;
    return to;
}

NetOptions net_options(const Config& config, uint64_t files, uint64_t files_open) {
    uint64_t listening = 0;
    for (const ListenerConfig& listener : config.listeners) {
        listening += listener.unix_path.empty() ? bind_addresses(listener).size() : 1;
    }
    NetOptions options;
    options.files_limit = static_cast<uint32_t>(files);
    options.files_reserve = static_cast<uint32_t>(files_open + listening) + kFilesOfOurs;
    options.refusal_slots =
        static_cast<uint32_t>(std::min<uint64_t>(options.refusal_slots, files / 16));
    options.max_connections = config.global_max_connections;
    return options;
}

uint64_t clients_allowed(const NetOptions& options) {
    const uint64_t kept = uint64_t{options.files_reserve} + options.refusal_slots;
    return options.files_limit > kept ? options.files_limit - kept : 1;
}

ListenOptions listen_options(const ListenerConfig& listener) {
    ListenOptions options;
    options.port = listener.port;
    options.unix_path = listener.unix_path;
    options.unix_mode = listener.unix_mode;
    options.backlog = listener.backlog;
    options.recbuf_bytes = listener.recbuf_bytes;
    options.sndbuf_bytes = listener.sndbuf_bytes;
    options.user_timeout_ms = listener.tcp_user_timeout_ms;
    options.nodelay = listener.nodelay;
    options.defer_accept = listener.defer_accept;
    options.bind_interface = listener.bind_interface;
    options.domain = same_place<ListenOptions::Domain>(listener.domain);
    return options;
}

ListenerLimits listener_limits(const ListenerConfig& listener, uint16_t index) {
    ListenerLimits limits;
    limits.index = index;
    limits.max_connections = listener.max_connections;
    limits.accept_batch = listener.accept_batch;
    limits.rate_bytes_s = listener.rate_bytes_s;
    limits.rate_burst_bytes = listener.rate_burst_bytes;
    const uint32_t other = listener.client_rate_bytes_s;
    if (other != 0 && (limits.rate_bytes_s == 0 || other < limits.rate_bytes_s)) {
        limits.rate_bytes_s = other;
        if (limits.rate_burst_bytes == 0) limits.rate_burst_bytes = other;
    }
    return limits;
}

std::vector<AccessRule> access_rules(const ListenerConfig& listener) {
    std::vector<AccessRule> rules;
    for (const AddressRule& from : listener.access) {
        AccessRule& rule = rules.emplace_back();
        std::copy(from.address.begin(), from.address.end(), rule.address);
        rule.prefix = from.prefix_bits;
        rule.allow = from.allow;
    }
    return rules;
}

uint64_t arena_bytes(int64_t memory_limit, uint64_t available) {
    if (memory_limit == 0) return kArenaMost;
    uint64_t wanted = static_cast<uint64_t>(memory_limit);
    if (memory_limit < 0) wanted = available == 0 ? uint64_t{1} << 30 : available / 5 * 4;
    return std::clamp(wanted, kArenaLeast, kArenaMost);
}

uint32_t log_kinds(uint32_t log_types) {
    uint32_t kinds = 0;
    for (const LogTypeRow& row : kLogTypeRows) {
        if ((log_types & row.type) != 0) kinds |= Log::bit(row.kind);
    }
    return kinds;
}

std::vector<std::string> tight_limits(const Config& config, const MachineLimits& machine) {
    std::vector<std::string> lines;
    uint64_t backlog = 0;
    for (const ListenerConfig& listener : config.listeners) {
        backlog = std::max<uint64_t>(backlog, listener.backlog);
    }
    if (machine.somaxconn != 0 && machine.somaxconn < backlog) {
        lines.push_back(limit_text("net.core.somaxconn",
                                   machine.somaxconn,
                                   "it cuts the backlog of " + std::to_string(backlog) + "."));
    }
    if (machine.file_max != 0 && machine.file_max < machine.files) {
        lines.push_back(limit_text("fs.file-max",
                                   machine.file_max,
                                   "the whole machine has fewer files than the " +
                                       std::to_string(machine.files) + " this process may open."));
    }
    if (machine.local_ports != 0 && machine.local_ports < machine.clients) {
        lines.push_back(limit_text("net.ipv4.ip_local_port_range",
                                   machine.local_ports,
                                   "one client address can hold that many connections at most."));
    }
    return lines;
}

}  // namespace mqttd
