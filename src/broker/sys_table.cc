#include "broker/sys_table.h"

#include "mqttd/packet.h"
#include "mqttd/stream.h"

#include <algorithm>

namespace mqttd {

namespace {

template <uint64_t Stats::*Counter>
uint64_t counted(const SysView& view) {
    return view.stats.*Counter;
}

template <uint64_t HostStats::*Counter>
uint64_t sampled(const SysView& view) {
    return view.host.*Counter;
}

template <uint64_t SysView::*Value>
uint64_t seen(const SysView& view) {
    return view.*Value;
}

template <Drop Reason>
uint64_t dropped(const SysView& view) {
    return view.stats.drops[static_cast<uint32_t>(Reason)];
}

template <PacketType Type>
uint64_t received(const SysView& view) {
    return view.stats.packets_received[static_cast<uint32_t>(Type)];
}

template <PacketType Type>
uint64_t sent(const SysView& view) {
    return view.stats.packets_sent[static_cast<uint32_t>(Type)];
}

template <StopReason Reason>
uint64_t stopped(const SysView& view) {
    return view.stats.stops[static_cast<uint32_t>(Reason)];
}

uint64_t absent(const SysView& view) {
    return view.stats.sessions - view.stats.clients_connected;
}

uint64_t transient(const SysView& view) {
    return view.stats.sessions - view.stats.sessions_persistent;
}

// References beyond the first: copies that were not made.
uint64_t shared_refs(const SysView& view) {
    return view.stats.message_holders -
           std::min(view.stats.message_holders, view.stats.messages_stored);
}

using enum SysKind;

// clang-format off
constexpr SysRow kRows[] = {
    // mosquitto's names
    {"clients/total",                 kGauge,   counted<&Stats::sessions>},
    {"clients/maximum",               kMaximum, counted<&Stats::sessions_max>},
    {"clients/connected",             kGauge,   counted<&Stats::clients_connected>},
    {"clients/active",                kGauge,   counted<&Stats::clients_connected>},
    {"clients/disconnected",          kGauge,   absent},
    {"clients/inactive",              kGauge,   absent},
    {"clients/expired",               kCounter, counted<&Stats::sessions_expired>},
    {"connections/socket/count",      kCounter, sampled<&HostStats::accepted>},
    {"store/messages/count",          kGauge,   seen<&SysView::stored>},
    {"messages/stored",               kGauge,   seen<&SysView::stored>},
    {"store/messages/bytes",          kGauge,   seen<&SysView::stored_bytes>},
    {"subscriptions/count",           kGauge,   seen<&SysView::subscriptions>},
    {"shared_subscriptions/count",    kGauge,   seen<&SysView::shared>},
    {"retained messages/count",       kGauge,   seen<&SysView::retained>},
    {"heap/current",                  kGauge,   [](const SysView& v) { return v.arena.bytes_used(); }},
    {"heap/maximum",                  kMaximum, [](const SysView& v) { return v.arena.pages_high() * Arena::kPageBytes; }},
    {"messages/received",             kCounter, counted<&Stats::packets_received_all>},
    {"messages/sent",                 kCounter, counted<&Stats::packets_sent_all>},
    {"bytes/received",                kCounter, sampled<&HostStats::read_bytes>},
    {"bytes/sent",                    kCounter, sampled<&HostStats::write_bytes>},
    {"publish/messages/received",     kCounter, counted<&Stats::publish_received>},
    {"publish/messages/sent",         kCounter, counted<&Stats::publish_sent>},
    {"publish/messages/dropped",      kCounter, counted<&Stats::dropped>},
    {"publish/bytes/received",        kCounter, counted<&Stats::publish_bytes_received>},
    {"publish/bytes/sent",            kCounter, counted<&Stats::publish_bytes_sent>},
    {"packet/out/count",              kGauge,   seen<&SysView::unsent_links>},
    {"packet/out/bytes",              kGauge,   seen<&SysView::unsent_bytes>},
    // promised by mosquitto's manual and never sent by it
    {"mqtt/connect/received",         kCounter, received<PacketType::kConnect>},
    {"mqtt/connect/sent",             kCounter, sent<PacketType::kConnect>},
    {"mqtt/connack/received",         kCounter, received<PacketType::kConnack>},
    {"mqtt/connack/sent",             kCounter, sent<PacketType::kConnack>},
    {"mqtt/publish/received",         kCounter, received<PacketType::kPublish>},
    {"mqtt/publish/sent",             kCounter, sent<PacketType::kPublish>},
    {"mqtt/puback/received",          kCounter, received<PacketType::kPuback>},
    {"mqtt/puback/sent",              kCounter, sent<PacketType::kPuback>},
    {"mqtt/pubrec/received",          kCounter, received<PacketType::kPubrec>},
    {"mqtt/pubrec/sent",              kCounter, sent<PacketType::kPubrec>},
    {"mqtt/pubrel/received",          kCounter, received<PacketType::kPubrel>},
    {"mqtt/pubrel/sent",              kCounter, sent<PacketType::kPubrel>},
    {"mqtt/pubcomp/received",         kCounter, received<PacketType::kPubcomp>},
    {"mqtt/pubcomp/sent",             kCounter, sent<PacketType::kPubcomp>},
    {"mqtt/subscribe/received",       kCounter, received<PacketType::kSubscribe>},
    {"mqtt/subscribe/sent",           kCounter, sent<PacketType::kSubscribe>},
    {"mqtt/suback/received",          kCounter, received<PacketType::kSuback>},
    {"mqtt/suback/sent",              kCounter, sent<PacketType::kSuback>},
    {"mqtt/unsubscribe/received",     kCounter, received<PacketType::kUnsubscribe>},
    {"mqtt/unsubscribe/sent",         kCounter, sent<PacketType::kUnsubscribe>},
    {"mqtt/unsuback/received",        kCounter, received<PacketType::kUnsuback>},
    {"mqtt/unsuback/sent",            kCounter, sent<PacketType::kUnsuback>},
    {"mqtt/pingreq/received",         kCounter, received<PacketType::kPingreq>},
    {"mqtt/pingreq/sent",             kCounter, sent<PacketType::kPingreq>},
    {"mqtt/pingresp/received",        kCounter, received<PacketType::kPingresp>},
    {"mqtt/pingresp/sent",            kCounter, sent<PacketType::kPingresp>},
    {"mqtt/disconnect/received",      kCounter, received<PacketType::kDisconnect>},
    {"mqtt/disconnect/sent",          kCounter, sent<PacketType::kDisconnect>},
    {"mqtt/auth/received",            kCounter, received<PacketType::kAuth>},
    {"mqtt/auth/sent",                kCounter, sent<PacketType::kAuth>},
    {"mqtt/publish/dropped",          kCounter, counted<&Stats::dropped>},
    // FlashMQ's
    {"network/socketconnects/total",  kCounter, sampled<&HostStats::accepted>},
    // sessions, queues, drops
    {"sessions/persistent",           kGauge,   counted<&Stats::sessions_persistent>},
    {"sessions/transient",            kGauge,   transient},
    {"sessions/resumed",              kCounter, counted<&Stats::sessions_resumed>},
    {"sessions/takenover",            kCounter, counted<&Stats::sessions_taken_over>},
    {"sessions/discarded",            kCounter, counted<&Stats::sessions_discarded>},
    {"queue/messages",                kGauge,   counted<&Stats::queued>},
    {"queue/bytes",                   kGauge,   counted<&Stats::queued_bytes>},
    {"queue/dropped/full",            kCounter, dropped<Drop::kQueueFull>},
    {"queue/dropped/qos0",            kCounter, dropped<Drop::kBlocked>},
    {"queue/dropped/offline",         kCounter, dropped<Drop::kOffline>},
    {"queue/dropped/memory",          kCounter, dropped<Drop::kMemory>},
    {"queue/dropped/expired",         kCounter, dropped<Drop::kExpired>},
    {"queue/dropped/no_local",        kCounter, dropped<Drop::kNoLocal>},
    {"queue/dropped/no_member",       kCounter, dropped<Drop::kNoMember>},
    {"queue/dropped/receiver_size",   kCounter, dropped<Drop::kReceiverSize>},
    {"queue/dropped/too_large",       kCounter, dropped<Drop::kTooLarge>},
    {"queue/alarms",                  kGauge,   counted<&Stats::queue_alarms>},
    {"queue/dropped/session_ended",   kCounter, dropped<Drop::kSessionEnded>},
    {"queue/dropped/system_topic",    kCounter, dropped<Drop::kSystemTopic>},
    {"inflight/out",                  kGauge,   counted<&Stats::inflight_out>},
    {"inflight/in",                   kGauge,   counted<&Stats::inflight_in>},
    {"inflight/retries",              kCounter, counted<&Stats::retries>},
    {"inflight/await_rel_full",       kCounter, dropped<Drop::kAwaitRel>},
    {"inflight/await_rel_timeout",    kCounter, dropped<Drop::kRelTimeout>},
    {"retain/bytes",                  kGauge,   seen<&SysView::retained_bytes>},
    {"retain/refused/count",          kCounter, counted<&Stats::retained_refused_count>},
    {"retain/refused/size",           kCounter, counted<&Stats::retained_refused_size>},
    {"retain/expired",                kCounter, counted<&Stats::retained_expired>},
    {"connections/refused",           kCounter, counted<&Stats::connects_refused>},
    {"connections/timeout/connect",   kCounter, counted<&Stats::connect_timeouts>},
    {"connections/timeout/keepalive", kCounter, counted<&Stats::keep_alive_timeouts>},
    {"connections/malformed",         kCounter, counted<&Stats::malformed>},
    {"slow/count",                    kGauge,   seen<&SysView::slow>},
    {"slow/blocked",                  kGauge,   seen<&SysView::blocked>},
    {"slow/paused_publishers",        kGauge,   counted<&Stats::paused_publishers>},
    {"slow/dropped",                  kCounter, dropped<Drop::kBlocked>},
    {"slow/disconnected",             kCounter, counted<&Stats::slow_closed>},
    {"subscriptions/filters",         kGauge,   seen<&SysView::filters>},
    {"sys/published",                 kCounter, counted<&Stats::sys_published>},
    // how the loop is doing
    {"loop/turns",                    kCounter, sampled<&HostStats::turns>},
    {"loop/turn_us/p50",              kGauge,   sampled<&HostStats::turn_us_p50>},
    {"loop/turn_us/p90",              kGauge,   sampled<&HostStats::turn_us_p90>},
    {"loop/turn_us/p99",              kGauge,   sampled<&HostStats::turn_us_p99>},
    {"loop/turn_us/p999",             kGauge,   sampled<&HostStats::turn_us_p999>},
    {"loop/turn_us/max",              kGauge,   sampled<&HostStats::turn_us_max>},
    {"loop/wait_us/p50",              kGauge,   sampled<&HostStats::wait_us_p50>},
    {"loop/busy_permille",            kGauge,   sampled<&HostStats::busy_permille>},
    {"loop/events_per_turn/avg",      kGauge,   sampled<&HostStats::events_avg>},
    {"loop/events_per_turn/max",      kGauge,   sampled<&HostStats::events_max>},
    {"loop/drift_ms",                 kGauge,   seen<&SysView::drift_ms>},
    {"loop/stops/budget",             kCounter, stopped<StopReason::kBudget>},
    {"loop/stops/backlog",            kCounter, stopped<StopReason::kBacklog>},
    {"loop/stops/fanout",             kCounter, stopped<StopReason::kFanout>},
    {"loop/stops/draining",           kCounter, stopped<StopReason::kDraining>},
    {"loop/stops/memory",             kCounter, stopped<StopReason::kMemory>},
    {"loop/fanout_jobs",              kCounter, counted<&Stats::fanout_jobs>},
    {"loop/fanout_jobs_now",          kGauge,   counted<&Stats::fanout_jobs_now>},
    {"loop/runs",                     kCounter, counted<&Stats::runs>},
    {"latency/publish_us/p50",        kGauge,   sampled<&HostStats::publish_us_p50>},
    {"latency/publish_us/p99",        kGauge,   sampled<&HostStats::publish_us_p99>},
    {"latency/publish_us/max",        kGauge,   sampled<&HostStats::publish_us_max>},
    {"io/read/calls",                 kCounter, sampled<&HostStats::reads>},
    {"io/read/bytes_per_call/avg",    kGauge,   sampled<&HostStats::read_bytes_avg>},
    {"io/read/bytes_per_call/max",    kGauge,   sampled<&HostStats::read_bytes_max>},
    {"io/writev/calls",               kCounter, sampled<&HostStats::writes>},
    {"io/writev/iov_per_call/avg",    kGauge,   sampled<&HostStats::write_ranges_avg>},
    {"io/writev/iov_per_call/p99",    kGauge,   sampled<&HostStats::write_ranges_p99>},
    {"io/writev/iov_per_call/max",    kGauge,   sampled<&HostStats::write_ranges_max>},
    {"io/writev/short",               kCounter, sampled<&HostStats::short_writes>},
    {"io/writev/eagain",              kCounter, sampled<&HostStats::write_again>},
    {"io/accept/calls",               kCounter, sampled<&HostStats::accepts>},
    {"io/accept/refused",             kCounter, sampled<&HostStats::accept_refused>},
    {"io/accept/no_files",            kCounter, sampled<&HostStats::accept_no_files>},
    {"io/epoll_ctl/calls",            kCounter, sampled<&HostStats::epoll_controls>},
    {"io/edge/pending",               kCounter, sampled<&HostStats::edges_pending>},
    {"io/edge/stale",                 kCounter, sampled<&HostStats::stale_events>},
    {"io/input/pending_bytes",        kGauge,   sampled<&HostStats::pending_input_bytes>},
    {"io/lingering",                  kGauge,   sampled<&HostStats::lingering>},
    {"fd/used",                       kGauge,   sampled<&HostStats::files_used>},
    {"fd/limit",                      kGauge,   sampled<&HostStats::files_limit>},
    {"mem/rss",                       kGauge,   sampled<&HostStats::resident_bytes>},
    {"mem/limit",                     kGauge,   [](const SysView& v) { return v.arena.pages_total() * Arena::kPageBytes; }},
    {"mem/cgroup_limit",              kGauge,   sampled<&HostStats::cgroup_limit_bytes>},
    {"pool/bytes",                    kGauge,   [](const SysView& v) { return v.arena.bytes_used(); }},
    {"pool/reserved",                 kGauge,   [](const SysView& v) { return v.arena.pages_used() * Arena::kPageBytes; }},
    {"pool/refused",                  kCounter, [](const SysView& v) { return v.arena.refused(); }},
    {"pool/msg/shared_refs",          kGauge,   shared_refs},
    {"pool/msg/shared_ranges",        kCounter, counted<&Stats::fast_deliveries>},
    {"pool/msg/copies",               kCounter, counted<&Stats::copies>},
    {"log/dropped",                   kCounter, sampled<&HostStats::log_lines_dropped>},
    {"persist/bytes",                 kGauge,   sampled<&HostStats::persist_bytes>},
    {"persist/log_lag",               kGauge,   sampled<&HostStats::persist_lag>},
    {"persist/syncs",                 kCounter, sampled<&HostStats::persist_syncs>},
    {"persist/fsync_us/p99",          kGauge,   sampled<&HostStats::persist_sync_us_p99>},
    {"persist/save_ms",               kGauge,   sampled<&HostStats::persist_save_ms>},
    {"persist/written",               kCounter, sampled<&HostStats::persist_written>},
    {"persist/restored/messages",     kGauge,   sampled<&HostStats::persist_restored_messages>},
    {"persist/restore_ms",            kGauge,   sampled<&HostStats::persist_restore_ms>},
    {"persist/scribes_lost",          kCounter, sampled<&HostStats::persist_scribes_lost>},
    {"persist/answers_held",          kCounter, counted<&Stats::answers_held>},
    {"persist/rounds",                kCounter, counted<&Stats::journal_rounds>},
    {"persist/disk_closed",           kCounter, counted<&Stats::disk_closed>},
    {"queue/dropped/disk",            kCounter, dropped<Drop::kDisk>},
    {"persist/paged/messages",        kGauge,   counted<&Stats::paged_messages>},
    {"persist/paged/bytes",           kGauge,   counted<&Stats::paged_bytes>},
    {"persist/pages_out",             kCounter, counted<&Stats::pages_out>},
    {"persist/pages_in",              kCounter, counted<&Stats::pages_in>},
    {"persist/missed",                kCounter, counted<&Stats::journal_missed>},
    {"loop/stops/journal",            kCounter, stopped<StopReason::kJournal>},
    {"config/reloads",                kCounter, sampled<&HostStats::config_reloads>},
    {"config/reloads_failed",         kCounter, sampled<&HostStats::config_reloads_failed>},
};

constexpr SysLoadRow kLoadRows[] = {
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

// The arena's classes are sizes, not kinds: objects of about the same size share their pages.
constexpr SysPoolRow kPoolRows[] = {
    {"in_use", kGauge,   &Arena::ClassStats::in_use},
    {"free",   kGauge,   &Arena::ClassStats::free},
    {"high",   kMaximum, &Arena::ClassStats::high},
};

constexpr SysListenerRow kListenerRows[] = {
    {"connections",       kGauge,   &ListenerHostStats::connections},
    {"maximum",           kMaximum, &ListenerHostStats::maximum},
    {"accepted",          kCounter, &ListenerHostStats::accepted},
    {"refused/max",       kCounter, &ListenerHostStats::refused_max},
    {"refused/access",    kCounter, &ListenerHostStats::refused_access},
    {"refused/rate",      kCounter, &ListenerHostStats::refused_rate},
    {"rate_paused",       kGauge,   &ListenerHostStats::rate_paused},
    {"bytes/received",    kCounter, &ListenerHostStats::bytes_received},
    {"bytes/sent",        kCounter, &ListenerHostStats::bytes_sent},
    {"handshake_timeout", kCounter, &ListenerHostStats::handshake_timeout},
};
// clang-format on

static_assert(std::size(kRows) <= kSysRowsMax);
static_assert(std::size(kLoadRows) == SysLoads::kLoads);
static_assert(std::size(kPoolRows) == kSysPoolRows);
static_assert(std::size(kListenerRows) == kSysListenerRows);

}  // namespace

std::span<const SysRow> sys_rows() {
    return kRows;
}

std::span<const SysLoadRow, SysLoads::kLoads> sys_load_rows() {
    return kLoadRows;
}

std::span<const SysPoolRow> sys_pool_rows() {
    return kPoolRows;
}

std::span<const SysListenerRow> sys_listener_rows() {
    return kListenerRows;
}

}  // namespace mqttd
