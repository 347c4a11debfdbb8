#include "broker/sys_topics.h"

#include "mqttd/version.h"

#include "base/assert.h"
#include "broker/core.h"

#include <cinttypes>
#include <cmath>
#include <cstdio>

namespace mqttd {

namespace {

constexpr uint32_t kRowsPerTurn = 48;

// What a row may look at.
struct View {
    const Stats& stats;
    const HostStats& host;
    const Arena& arena;
    uint64_t now_s;  // since start
    uint64_t subscriptions;
    uint64_t filters;
    uint64_t retained;  // without our own
    uint64_t retained_bytes;
    uint64_t stored;  // messages in memory, without our own
    uint64_t stored_bytes;
    uint64_t waiting;  // outboxes with unsent bytes
};

struct Row {
    const char* name;  // below "$SYS/broker/"
    uint64_t (*value)(const View&);
};

template <uint64_t Stats::*Counter>
uint64_t counted(const View& view) {
    return view.stats.*Counter;
}

template <uint64_t HostStats::*Counter>
uint64_t sampled(const View& view) {
    return view.host.*Counter;
}

template <Drop Reason>
uint64_t dropped(const View& view) {
    return view.stats.drops[static_cast<uint32_t>(Reason)];
}

template <PacketType Type>
uint64_t received(const View& view) {
    return view.stats.packets_received[static_cast<uint32_t>(Type)];
}

template <PacketType Type>
uint64_t sent(const View& view) {
    return view.stats.packets_sent[static_cast<uint32_t>(Type)];
}

template <StopReason Reason>
uint64_t stopped(const View& view) {
    return view.stats.stops[static_cast<uint32_t>(Reason)];
}

uint64_t absent(const View& view) {
    return view.stats.sessions - view.stats.clients_connected;
}

uint64_t transient(const View& view) {
    return view.stats.sessions - view.stats.sessions_persistent;
}

uint64_t per(uint64_t sum, uint64_t count) {
    return count == 0 ? 0 : sum / count;
}

// clang-format off
constexpr Row kRows[] = {
    // mosquitto's names
    {"clients/total",                counted<&Stats::sessions>},
    {"clients/maximum",              counted<&Stats::sessions_max>},
    {"clients/connected",            counted<&Stats::clients_connected>},
    {"clients/active",               counted<&Stats::clients_connected>},
    {"clients/disconnected",         absent},
    {"clients/inactive",             absent},
    {"clients/expired",              counted<&Stats::sessions_expired>},
    {"connections/socket/count",     sampled<&HostStats::accepted>},
    {"store/messages/count",         [](const View& v) { return v.stored; }},
    {"messages/stored",              [](const View& v) { return v.stored; }},
    {"store/messages/bytes",         [](const View& v) { return v.stored_bytes; }},
    {"subscriptions/count",          [](const View& v) { return v.subscriptions; }},
    {"shared_subscriptions/count",   [](const View&) { return uint64_t{0}; }},
    {"retained messages/count",      [](const View& v) { return v.retained; }},
    {"heap/current",                 [](const View& v) { return v.arena.bytes_used(); }},
    {"heap/maximum",                 [](const View& v) { return v.arena.pages_high() * Arena::kPageBytes; }},
    {"messages/received",            counted<&Stats::packets_received_all>},
    {"messages/sent",                counted<&Stats::packets_sent_all>},
    {"bytes/received",               sampled<&HostStats::read_bytes>},
    {"bytes/sent",                   sampled<&HostStats::write_bytes>},
    {"publish/messages/received",    counted<&Stats::publish_received>},
    {"publish/messages/sent",        counted<&Stats::publish_sent>},
    {"publish/messages/dropped",     counted<&Stats::dropped>},
    {"publish/bytes/received",       counted<&Stats::publish_bytes_received>},
    {"publish/bytes/sent",           counted<&Stats::publish_bytes_sent>},
    {"packet/out/count",             [](const View& v) { return v.waiting; }},
    {"packet/out/bytes",             [](const View& v) { return v.stats.queued_bytes; }},
    {"mqtt/connect/received",        received<PacketType::kConnect>},
    {"mqtt/connack/sent",            sent<PacketType::kConnack>},
    {"mqtt/publish/received",        received<PacketType::kPublish>},
    {"mqtt/publish/sent",            sent<PacketType::kPublish>},
    {"mqtt/publish/dropped",         counted<&Stats::dropped>},
    {"mqtt/puback/received",         received<PacketType::kPuback>},
    {"mqtt/puback/sent",             sent<PacketType::kPuback>},
    {"mqtt/pubrec/received",         received<PacketType::kPubrec>},
    {"mqtt/pubrec/sent",             sent<PacketType::kPubrec>},
    {"mqtt/pubrel/received",         received<PacketType::kPubrel>},
    {"mqtt/pubrel/sent",             sent<PacketType::kPubrel>},
    {"mqtt/pubcomp/received",        received<PacketType::kPubcomp>},
    {"mqtt/pubcomp/sent",            sent<PacketType::kPubcomp>},
    {"mqtt/subscribe/received",      received<PacketType::kSubscribe>},
    {"mqtt/suback/sent",             sent<PacketType::kSuback>},
    {"mqtt/unsubscribe/received",    received<PacketType::kUnsubscribe>},
    {"mqtt/unsuback/sent",           sent<PacketType::kUnsuback>},
    {"mqtt/pingreq/received",        received<PacketType::kPingreq>},
    {"mqtt/pingresp/sent",           sent<PacketType::kPingresp>},
    {"mqtt/disconnect/received",     received<PacketType::kDisconnect>},
    // sessions, queues, drops
    {"sessions/persistent",          counted<&Stats::sessions_persistent>},
    {"sessions/transient",           transient},
    {"sessions/resumed",             counted<&Stats::sessions_resumed>},
    {"sessions/takenover",           counted<&Stats::sessions_taken_over>},
    {"sessions/discarded",           counted<&Stats::sessions_discarded>},
    {"queue/messages",               counted<&Stats::queued>},
    {"queue/bytes",                  counted<&Stats::queued_bytes>},
    {"queue/dropped/full",           dropped<Drop::kQueueFull>},
    {"queue/dropped/qos0",           dropped<Drop::kBlocked>},
    {"queue/dropped/offline",        dropped<Drop::kOffline>},
    {"queue/dropped/memory",         dropped<Drop::kMemory>},
    {"queue/dropped/too_large",      dropped<Drop::kTooLarge>},
    {"queue/dropped/session_ended",  dropped<Drop::kSessionEnded>},
    {"queue/dropped/system_topic",   dropped<Drop::kSystemTopic>},
    {"inflight/out",                 counted<&Stats::inflight_out>},
    {"inflight/in",                  counted<&Stats::inflight_in>},
    {"inflight/retries",             counted<&Stats::retries>},
    {"inflight/await_rel_full",      dropped<Drop::kAwaitRel>},
    {"inflight/await_rel_timeout",   dropped<Drop::kRelTimeout>},
    {"retain/bytes",                 [](const View& v) { return v.retained_bytes; }},
    {"retain/refused",               dropped<Drop::kRetainLimit>},
    {"retain/expired",               counted<&Stats::retained_expired>},
    {"connections/refused",          counted<&Stats::connects_refused>},
    {"connections/timeout/connect",  counted<&Stats::connect_timeouts>},
    {"connections/timeout/keepalive", counted<&Stats::keep_alive_timeouts>},
    {"connections/malformed",        counted<&Stats::malformed>},
    {"slow/disconnected",            counted<&Stats::slow_closed>},
    {"subscriptions/filters",        [](const View& v) { return v.filters; }},
    {"sys/published",                counted<&Stats::sys_published>},
    // how the loop is doing
    {"loop/turns",                   sampled<&HostStats::turns>},
    {"loop/turn_us/p50",             sampled<&HostStats::turn_us_p50>},
    {"loop/turn_us/p90",             sampled<&HostStats::turn_us_p90>},
    {"loop/turn_us/p99",             sampled<&HostStats::turn_us_p99>},
    {"loop/turn_us/p999",            sampled<&HostStats::turn_us_p999>},
    {"loop/turn_us/max",             sampled<&HostStats::turn_us_max>},
    {"loop/busy_permille",           sampled<&HostStats::busy_permille>},
    {"loop/events_per_turn/avg",     [](const View& v) { return per(v.host.events, v.host.turns); }},
    {"loop/stops/budget",            stopped<StopReason::kBudget>},
    {"loop/stops/backlog",           stopped<StopReason::kBacklog>},
    {"loop/stops/fanout",            stopped<StopReason::kFanout>},
    {"loop/stops/draining",          stopped<StopReason::kDraining>},
    {"loop/stops/memory",            stopped<StopReason::kMemory>},
    {"loop/fanout_jobs",             counted<&Stats::fanout_jobs>},
    {"loop/runs",                    counted<&Stats::runs>},
    {"io/read/calls",                sampled<&HostStats::reads>},
    {"io/read/bytes_per_call/avg",   [](const View& v) { return per(v.host.read_bytes, v.host.reads); }},
    {"io/read/bytes_per_call/max",   sampled<&HostStats::read_bytes_max>},
    {"io/writev/calls",              sampled<&HostStats::writes>},
    {"io/writev/iov_per_call/avg",   [](const View& v) { return per(v.host.write_ranges, v.host.writes); }},
    {"io/writev/iov_per_call/max",   sampled<&HostStats::write_ranges_max>},
    {"io/writev/short",              sampled<&HostStats::short_writes>},
    {"io/accept/calls",              sampled<&HostStats::accepts>},
    {"io/accept/refused",            sampled<&HostStats::accept_refused>},
    {"io/accept/no_files",           sampled<&HostStats::accept_no_files>},
    {"io/epoll_ctl/calls",           sampled<&HostStats::epoll_controls>},
    {"io/edge/pending",              sampled<&HostStats::edges_pending>},
    {"io/edge/stale",                sampled<&HostStats::stale_events>},
    {"io/input/pending_bytes",       sampled<&HostStats::pending_input_bytes>},
    {"io/lingering",                 sampled<&HostStats::lingering>},
    {"fd/used",                      sampled<&HostStats::files_used>},
    {"fd/limit",                     sampled<&HostStats::files_limit>},
    {"mem/rss",                      sampled<&HostStats::resident_bytes>},
    {"mem/limit",                    [](const View& v) { return v.arena.pages_total() * Arena::kPageBytes; }},
    {"pool/bytes",                   [](const View& v) { return v.arena.bytes_used(); }},
    {"pool/reserved",                [](const View& v) { return v.arena.pages_used() * Arena::kPageBytes; }},
    {"pool/refused",                 [](const View& v) { return v.arena.refused(); }},
    {"pool/msg/copies",              counted<&Stats::copies>},
    {"pool/msg/shared_ranges",       counted<&Stats::fast_deliveries>},
    {"log/dropped",                  sampled<&HostStats::log_lines_dropped>},
};

struct Load {
    const char* name;
    uint64_t (*value)(const View&);
};

constexpr Load kLoadRows[] = {
    {"load/messages/received", counted<&Stats::packets_received_all>},
    {"load/messages/sent",     counted<&Stats::packets_sent_all>},
    {"load/publish/received",  counted<&Stats::publish_received>},
    {"load/publish/sent",      counted<&Stats::publish_sent>},
    {"load/publish/dropped",   counted<&Stats::dropped>},
    {"load/bytes/received",    sampled<&HostStats::read_bytes>},
    {"load/bytes/sent",        sampled<&HostStats::write_bytes>},
    {"load/sockets",           sampled<&HostStats::accepted>},
    {"load/connections",       received<PacketType::kConnect>},
};
// clang-format on

constexpr uint32_t kValueRows = sizeof kRows / sizeof kRows[0];
static_assert(kValueRows <= SysTopics::kValuesMax);
static_assert(sizeof kLoadRows / sizeof kLoadRows[0] == SysTopics::kLoads);

constexpr uint32_t kSpansS[3] = {60, 300, 900};
constexpr const char* kSpanNames[3] = {"1min", "5min", "15min"};
constexpr uint32_t kLoadValues = SysTopics::kLoads * 3;
constexpr uint32_t kAllRows = 1 + kValueRows + kLoadValues + SysTopics::kPoolValues;

constexpr const char* kPoolNames[3] = {"in_use", "free", "high"};

}  // namespace

SysTopics::SysTopics(Core& core, Instant now) : core_(core), next_tick_(now), last_tick_(now) {}

void SysTopics::publish_all() {
    char version[64];
    std::snprintf(version, sizeof version, "mqttd version %s", kVersion);
    publish_text("version", version);
    next_tick_ = core_.now_;
    do {
        run();
        core_.units_ = core_.options_.turn_units;
    } while (busy_);
}

void SysTopics::run() {
    if (!busy_) {
        if (core_.now_ < next_tick_) return;
        sample();
        busy_ = true;
        row_ = 0;
    }
    for (uint32_t n = 0; n < kRowsPerTurn && row_ < kAllRows; ++n, ++row_) {
        core_.spend(1);
        uint32_t row = row_;
        if (row == 0) {
            char uptime[40];
            std::snprintf(uptime,
                          sizeof uptime,
                          "%" PRIu64 " seconds",
                          (core_.now_ - core_.started_) / kSecond);
            publish_text("uptime", uptime);
            continue;
        }
        row -= 1;
        if (row < kValueRows) {
            publish_value(row);
            continue;
        }
        row -= kValueRows;
        if (row < kLoadValues) {
            publish_load(row / 3, row % 3);
            continue;
        }
        publish_pool(row - kLoadValues);
    }
    if (row_ < kAllRows) return;
    busy_ = false;
    loads_known_ = true;
}

// The numbers of one tick are read together; they are published over some turns.
void SysTopics::sample() {
    core_.host_.sample(host_);
    step_loads();
    last_tick_ = core_.now_;
    next_tick_ = core_.now_ + core_.options_.sys_interval_s * kSecond;
}

namespace {

View view_of(const Stats& stats,
             const HostStats& host,
             const Arena& arena,
             const SubscriptionIndex& subscriptions,
             const RetainedStore& retained,
             uint64_t own_messages,
             uint64_t own_bytes,
             uint64_t now_s,
             uint64_t waiting) {
    return View{stats,
                host,
                arena,
                now_s,
                subscriptions.subscriptions(),
                subscriptions.filters(),
                retained.messages() - own_messages,
                retained.bytes() - own_bytes,
                stats.messages_stored - own_messages,
                stats.messages_stored_bytes - own_bytes,
                waiting};
}

}  // namespace

void SysTopics::step_loads() {
    const View view = view_of(core_.stats_,
                              host_,
                              core_.arena_,
                              core_.subscriptions_,
                              core_.retained_,
                              own_messages_,
                              own_bytes_,
                              0,
                              core_.dirty_.size());
    const double seconds = static_cast<double>(core_.now_ - last_tick_) / 1000.0;
    for (uint32_t load = 0; load < kLoads; ++load) {
        const uint64_t value = kLoadRows[load].value(view);
        const auto events = static_cast<double>(value - load_before_[load]);
        load_before_[load] = value;
        if (seconds <= 0) continue;
        const double per_minute = events * 60.0 / seconds;
        for (uint32_t span = 0; span < 3; ++span) {
            double& average = loads_[load][span];
            average = per_minute + std::exp(-seconds / kSpansS[span]) * (average - per_minute);
        }
    }
}

void SysTopics::publish_value(uint32_t row) {
    const View view = view_of(core_.stats_,
                              host_,
                              core_.arena_,
                              core_.subscriptions_,
                              core_.retained_,
                              own_messages_,
                              own_bytes_,
                              (core_.now_ - core_.started_) / kSecond,
                              core_.dirty_.size());
    const uint64_t value = kRows[row].value(view);
    Published& last = values_[row];
    if (last.known && last.value == value) return;
    last = {value, true};
    char payload[24];
    std::snprintf(payload, sizeof payload, "%" PRIu64, value);
    publish_text(kRows[row].name, payload);
}

void SysTopics::publish_load(uint32_t load, uint32_t span) {
    const double value = loads_[load][span];
    double& last = loads_sent_[load][span];
    if (loads_known_ && std::fabs(value - last) < 0.01) return;
    last = value;
    char name[64];
    char payload[40];
    std::snprintf(name, sizeof name, "%s/%s", kLoadRows[load].name, kSpanNames[span]);
    std::snprintf(payload, sizeof payload, "%.2f", value);
    publish_text(name, payload);
}

void SysTopics::publish_pool(uint32_t row) {
    const Arena::ClassStats stats = core_.arena_.class_stats(row / 3);
    if (stats.high == 0) return;
    const uint64_t value = row % 3 == 0 ? stats.in_use : row % 3 == 1 ? stats.free : stats.high;
    Published& last = pools_[row];
    if (last.known && last.value == value) return;
    last = {value, true};
    char name[48];
    char payload[24];
    std::snprintf(name, sizeof name, "pool/%u/%s", stats.size, kPoolNames[row % 3]);
    std::snprintf(payload, sizeof payload, "%" PRIu64, value);
    publish_text(name, payload);
}

void SysTopics::publish_text(const char* name, const char* payload) {
    char topic[96];
    const int topic_size = std::snprintf(topic, sizeof topic, "$SYS/broker/%s", name);
    const auto payload_size = static_cast<uint32_t>(std::strlen(payload));
    Segment* segment = core_.scratch(payload_size);
    if (segment == nullptr) return;  // the next change tries again
    std::memcpy(segment->end(), payload, payload_size);
    const Range tail{segment, segment->used, segment->used + payload_size};
    segment->used += payload_size;
    Publication publication;
    publication.topic = as_bytes({topic, static_cast<size_t>(topic_size)});
    publication.payload = tail;
    publication.retain = true;
    publication.system = true;
    const uint64_t messages = core_.retained_.messages();
    const uint64_t bytes = core_.retained_.bytes();
    segment->hold();  // matching and fan-out may take a fresh scratch segment
    core_.publish(publication, nullptr);
    segment->drop(core_.arena_);
    own_messages_ += core_.retained_.messages() - messages;
    own_bytes_ += core_.retained_.bytes() - bytes;
    ++core_.stats_.sys_published;
}

}  // namespace mqttd
