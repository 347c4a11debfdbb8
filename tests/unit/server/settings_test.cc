#include "server/settings.h"

#include "base/log.h"
#include "config/finish.h"
#include "config/parser.h"
#include "server/active.h"

#include <catch2/catch.hpp>

using namespace mqttd;

namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;

}  // namespace

TEST_CASE("a fresh Config gives the broker its documented defaults") {
    // Two lists of defaults, the file's and the core's, must not drift apart.
    const Config config;
    const BrokerOptions from_config = options_to_broker(config);
    const BrokerOptions plain;
    REQUIRE(from_config.listener.allow_anonymous == plain.listener.allow_anonymous);
    REQUIRE(from_config.listener.allow_zero_length_clientid ==
            plain.listener.allow_zero_length_clientid);
    REQUIRE(from_config.listener.auto_id_prefix == plain.listener.auto_id_prefix);
    REQUIRE(from_config.max_clientid_len == plain.max_clientid_len);
    REQUIRE(from_config.max_packet_size == plain.max_packet_size);
    REQUIRE(from_config.message_size_limit == plain.message_size_limit);
    REQUIRE(from_config.max_topic_len == plain.max_topic_len);
    REQUIRE(from_config.max_topic_levels == plain.max_topic_levels);
    REQUIRE(from_config.max_inflight_messages == plain.max_inflight_messages);
    REQUIRE(from_config.max_queued_messages == plain.max_queued_messages);
    REQUIRE(from_config.max_queued_bytes == plain.max_queued_bytes);
    REQUIRE(from_config.queue_qos0_messages == plain.queue_qos0_messages);
    REQUIRE(from_config.allow_duplicate_messages == plain.allow_duplicate_messages);
    REQUIRE(from_config.max_awaiting_rel == plain.max_awaiting_rel);
    REQUIRE(from_config.await_rel_timeout_s == plain.await_rel_timeout_s);
    REQUIRE(from_config.unack_retry_interval_s == plain.unack_retry_interval_s);
    REQUIRE(from_config.persistent_client_expiration_s == plain.persistent_client_expiration_s);
    REQUIRE(from_config.retain_available == plain.retain_available);
    REQUIRE(from_config.retain_max_messages == plain.retain_max_messages);
    REQUIRE(from_config.retain_max_payload == plain.retain_max_payload);
    REQUIRE(from_config.retain_max_age_s == plain.retain_max_age_s);
    REQUIRE(from_config.max_keepalive_s == plain.max_keepalive_s);
    REQUIRE(from_config.listener.connect_timeout_s == plain.listener.connect_timeout_s);
    REQUIRE(from_config.global_max_clients == plain.global_max_clients);
    REQUIRE(from_config.sys_interval_s == plain.sys_interval_s);
    REQUIRE(from_config.connection_messages == plain.connection_messages);
    REQUIRE(from_config.clientid_prefixes == plain.clientid_prefixes);
    REQUIRE(from_config.max_subscriptions == plain.max_subscriptions);
    REQUIRE(from_config.max_inflight_bytes == plain.max_inflight_bytes);
    REQUIRE(from_config.queue_full == plain.queue_full);
    REQUIRE(from_config.queue_low_permille == plain.queue_low_permille);
    REQUIRE(from_config.queue_high_permille == plain.queue_high_permille);
    REQUIRE(from_config.outbox_bytes_max == plain.outbox_bytes_max);
    REQUIRE(from_config.upgrade_outgoing_qos == plain.upgrade_outgoing_qos);
    REQUIRE(from_config.slow_consumer == plain.slow_consumer);
    REQUIRE(from_config.slow_consumer_ms == plain.slow_consumer_ms);
    REQUIRE(from_config.shared_strategy == plain.shared_strategy);
    REQUIRE(from_config.wildcard_available == plain.wildcard_available);
    REQUIRE(from_config.shared_available == plain.shared_available);
    REQUIRE(from_config.subscription_ids_available == plain.subscription_ids_available);
    REQUIRE(from_config.retain_sweep_period_s == plain.retain_sweep_period_s);
    REQUIRE(from_config.sys_qos == plain.sys_qos);
    REQUIRE(from_config.listener.name == plain.listener.name);
    REQUIRE(from_config.listener.mount_point == plain.listener.mount_point);
    REQUIRE(from_config.listener.use_username_as_clientid ==
            plain.listener.use_username_as_clientid);
    REQUIRE(from_config.listener.versions == plain.listener.versions);
    REQUIRE(from_config.listener.max_qos == plain.listener.max_qos);
    REQUIRE(from_config.listener.max_topic_alias == plain.listener.max_topic_alias);
    REQUIRE(from_config.listener.max_topic_alias_broker == plain.listener.max_topic_alias_broker);
}

TEST_CASE("every key of the core reaches it") {
    // A key that is read and not passed on is a promise broken in silence.
    Config config;
    REQUIRE_FALSE(has_errors(parse_config(
        "clientid_prefixes dev-\nmax_clientid_len 23\nmax_packet_size 1001\n"
        "message_size_limit 1002\nmax_topic_len 1003\nmax_topic_levels 104\n"
        "max_subscriptions 105\nmax_inflight_messages 106\nmax_inflight_bytes 107\n"
        "max_queued_messages 108\nmax_queued_bytes 109\nqueue_full disconnect\n"
        "queue_low_watermark 0.11\nqueue_high_watermark 0.111\noutbox_bytes_max 4112\n"
        "queue_qos0_messages true\nallow_duplicate_messages false\nupgrade_outgoing_qos true\n"
        "slow_consumer pause\nslow_consumer_ms 113\nshared_strategy least_queued\n"
        "max_awaiting_rel 114\nawait_rel_timeout 115\nunack_retry_interval 116\n"
        "persistent_client_expiration 117s\nretain_available false\n"
        "wildcard_subscription_available false\nshared_subscription_available false\n"
        "subscription_identifiers_available false\nretain_max_messages 118\n"
        "retain_max_payload 119\nretain_max_age 120\nretain_expiry_interval 2\n"
        "max_keepalive 121\nglobal_max_clients 122\nsys_interval 123\nsys_qos 2\n"
        "connection_messages false\nqueue_type priority\nqueue_priority a/# 9\n"
        "auto_id_prefix all-\nallow_zero_length_clientid false\n"
        "listener 1883\nmount_point m/\nlistener_auto_id_prefix own-\n"
        "listener_allow_anonymous true\nuse_username_as_clientid true\n"
        "accept_protocol_versions 3 5\nmax_qos 1\nmax_topic_alias 124\n"
        "max_topic_alias_broker 125\nconnect_timeout 126\nlistener 1884\n",
        "test.conf",
        config)));
    finish_config(config, Options{}, "test.conf");
    const Active active(config);
    const BrokerOptions& options = active.broker();
    CHECK(options.clientid_prefixes == "dev-");
    CHECK(options.max_clientid_len == 23);
    CHECK(options.max_packet_size == 1001);
    CHECK(options.message_size_limit == 1002);
    CHECK(options.max_topic_len == 1003);
    CHECK(options.max_topic_levels == 104);
    CHECK(options.max_subscriptions == 105);
    CHECK(options.max_inflight_messages == 106);
    CHECK(options.max_inflight_bytes == 107);
    CHECK(options.max_queued_messages == 108);
    CHECK(options.max_queued_bytes == 109);
    CHECK(options.queue_full == QueueFull::kDisconnect);
    CHECK(options.queue_low_permille == 110);
    CHECK(options.queue_high_permille == 111);
    CHECK(options.outbox_bytes_max == 4112);
    CHECK(options.queue_qos0_messages);
    CHECK_FALSE(options.allow_duplicate_messages);
    CHECK(options.upgrade_outgoing_qos);
    CHECK(options.slow_consumer == SlowConsumer::kPause);
    CHECK(options.slow_consumer_ms == 113);
    CHECK(options.shared_strategy == SharedStrategy::kLeastQueued);
    CHECK(options.max_awaiting_rel == 114);
    CHECK(options.await_rel_timeout_s == 115);
    CHECK(options.unack_retry_interval_s == 116);
    CHECK(options.persistent_client_expiration_s == 117);
    CHECK_FALSE(options.retain_available);
    CHECK_FALSE(options.wildcard_available);
    CHECK_FALSE(options.shared_available);
    CHECK_FALSE(options.subscription_ids_available);
    CHECK(options.retain_max_messages == 118);
    CHECK(options.retain_max_payload == 119);
    CHECK(options.retain_max_age_s == 120);
    CHECK(options.retain_sweep_period_s == 120);
    CHECK(options.max_keepalive_s == 121);
    CHECK(options.global_max_clients == 122);
    CHECK(options.sys_interval_s == 123);
    CHECK(options.sys_qos == 2);
    CHECK_FALSE(options.connection_messages);
    REQUIRE(options.priorities.size() == 1);
    CHECK(options.priorities[0].filter == "a/#");
    CHECK(options.priorities[0].priority == 9);
    REQUIRE(options.listeners.size() == 2);
    const ListenerOptions& own = options.listeners[0];
    CHECK(own.name == "1883");
    CHECK(own.mount_point == "m/");
    CHECK(own.auto_id_prefix == "own-");
    CHECK(own.connect_timeout_s == 126);
    CHECK(own.allow_anonymous);
    CHECK_FALSE(own.allow_zero_length_clientid);
    CHECK(own.use_username_as_clientid);
    CHECK(own.versions == (1u << 3 | 1u << 5));
    CHECK(own.max_qos == 1);
    CHECK(own.max_topic_alias == 124);
    CHECK(own.max_topic_alias_broker == 125);
    const ListenerOptions& other = options.listeners[1];
    CHECK(other.auto_id_prefix == "all-");
    CHECK_FALSE(other.allow_anonymous);
    CHECK_FALSE(other.allow_zero_length_clientid);
    CHECK(other.mount_point.empty());
    CHECK(other.versions == (1u << 3 | 1u << 4 | 1u << 5));
}

TEST_CASE("priorities are for queues that are kept by them") {
    // `queue_type simple` is a plain FIFO whatever else the file says.
    Config config;
    config.queue_priorities.push_back({"a", 1});
    REQUIRE(priorities_of(config).empty());
    config.queue_order = QueueOrder::kPriority;
    REQUIRE(priorities_of(config).size() == 1);
}

TEST_CASE("each listener keeps its own connect timeout") {
    // Arrival::listener is the index into this list.
    Config config;
    config.listeners.resize(3);
    config.listeners[1].connect_timeout_s = 77;
    const std::vector<ListenerOptions> listeners = listeners_of(config);
    REQUIRE(listeners.size() == 3);
    REQUIRE(listeners[0].connect_timeout_s == 10);
    REQUIRE(listeners[1].connect_timeout_s == 77);
    REQUIRE(listeners[2].connect_timeout_s == 10);
}

TEST_CASE("the arena's size follows memory_limit within its bounds") {
    // -1: 80 % of what there is; 0: no limit but the address space of 32-bit distances.
    REQUIRE(arena_bytes(-1, 10 * kGiB) == 8 * kGiB);
    REQUIRE(arena_bytes(-1, 100 * kGiB) == 32 * kGiB);
    REQUIRE(arena_bytes(-1, 1 << 20) == kArenaLeast);
    REQUIRE(arena_bytes(-1, 0) == kGiB);
    REQUIRE(arena_bytes(0, 10 * kGiB) == 32 * kGiB);
    REQUIRE(arena_bytes(5 * int64_t{1} << 30, kGiB) == 5 * kGiB);
    REQUIRE(arena_bytes(1, kGiB) == kArenaLeast);
    REQUIRE(arena_bytes(int64_t{1} << 50, kGiB) == 32 * kGiB);
}

TEST_CASE("log types select the kinds of the same name") {
    // The two orders differ: a copied bit mask would log debug lines as subscriptions.
    REQUIRE(log_kinds(0) == 0);
    REQUIRE(log_kinds(kLogError) == Log::bit(LogKind::kError));
    REQUIRE(log_kinds(kLogDebug) == Log::bit(LogKind::kDebug));
    REQUIRE(log_kinds(kLogSubscribe) == Log::bit(LogKind::kSubscribe));
    REQUIRE(log_kinds(kLogUnsubscribe) == Log::bit(LogKind::kUnsubscribe));
    REQUIRE(log_kinds(kLogWebsockets | kLogInternal) == 0);
    REQUIRE(log_kinds(kLogAll) == (1u << static_cast<uint32_t>(LogKind::kCount)) - 1);
}

TEST_CASE("only limits that are too small get a sentence") {
    // A line that is always there is read by nobody.
    Config config;
    config.listeners.resize(2);
    config.listeners[1].backlog = 4096;
    MachineLimits machine;
    machine.files = 20'000;
    machine.clients = 19'950;
    REQUIRE(tight_limits(config, machine).empty());  // nothing known
    machine.somaxconn = 4096;
    machine.file_max = 20'000;
    machine.local_ports = 19'950;
    REQUIRE(tight_limits(config, machine).empty());
    machine.somaxconn = 4095;
    REQUIRE(tight_limits(config, machine).size() == 1);
    REQUIRE(tight_limits(config, machine)[0].find("somaxconn is 4095") != std::string::npos);
    machine.file_max = 19'999;
    machine.local_ports = 19'949;
    REQUIRE(tight_limits(config, machine).size() == 3);
}

TEST_CASE("the clients allowed are the files without ours, the listeners and the refusal slots") {
    // The start-up line is a promise.
    Config config;
    config.listeners.resize(2);
    config.listeners[0].host = "127.0.0.1";
    config.listeners[1].port = 0;
    config.listeners[1].unix_path = "/tmp/x";
    const NetOptions many = net_options(config, 20'000, 4);
    REQUIRE(many.files_limit == 20'000);
    REQUIRE(many.files_reserve == 4 + 2 + 12);
    REQUIRE(clients_allowed(many) == 20'000 - 18 - 16);
    const NetOptions few = net_options(config, 64, 4);
    REQUIRE(clients_allowed(few) == 64 - 18 - 4);  // refusals are for the few, too
    REQUIRE(clients_allowed(net_options(config, 10, 4)) == 1);
    config.global_max_connections = 77;
    REQUIRE(net_options(config, 64, 4).max_connections == 77);
}

TEST_CASE("a listener's options reach its socket") {
    // Every key of the listener block that the kernel is told about.
    ListenerConfig listener;
    listener.port = 1999;
    listener.unix_path = "/tmp/x";
    listener.unix_mode = 0600;
    listener.backlog = 7;
    listener.recbuf_bytes = 8;
    listener.sndbuf_bytes = 9;
    listener.tcp_user_timeout_ms = 10;
    listener.nodelay = false;
    listener.defer_accept = false;
    listener.max_connections = 11;
    listener.accept_batch = 12;
    const ListenOptions options = listen_options(listener);
    REQUIRE(options.port == 1999);
    REQUIRE(options.unix_path == "/tmp/x");
    REQUIRE(options.unix_mode == 0600);
    REQUIRE(options.backlog == 7);
    REQUIRE(options.recbuf_bytes == 8);
    REQUIRE(options.sndbuf_bytes == 9);
    REQUIRE(options.user_timeout_ms == 10);
    REQUIRE_FALSE(options.nodelay);
    REQUIRE_FALSE(options.defer_accept);
    const ListenerLimits limits = listener_limits(listener, 5);
    REQUIRE(limits.index == 5);
    REQUIRE(limits.max_connections == 11);
    REQUIRE(limits.accept_batch == 12);
    REQUIRE(options.bind_interface.empty());
    REQUIRE(options.domain == ListenOptions::Domain::kAny);
    REQUIRE(limits.rate_bytes_s == 0);
    REQUIRE(limits.rate_burst_bytes == 0);
    listener.bind_interface = "lo";
    listener.domain = SocketDomain::kIpv6;
    REQUIRE(listen_options(listener).bind_interface == "lo");
    REQUIRE(listen_options(listener).domain == ListenOptions::Domain::kIpv6);
}

TEST_CASE("the smaller of two rates counts") {
    // rate_limit has a burst of its own, max_client_rate one of a second.
    ListenerConfig listener;
    listener.rate_burst_bytes = 1000;
    listener.rate_bytes_s = 500;
    REQUIRE(listener_limits(listener, 0).rate_bytes_s == 500);
    REQUIRE(listener_limits(listener, 0).rate_burst_bytes == 1000);
    listener.client_rate_bytes_s = 501;
    REQUIRE(listener_limits(listener, 0).rate_bytes_s == 500);
    listener.client_rate_bytes_s = 499;
    REQUIRE(listener_limits(listener, 0).rate_bytes_s == 499);
    REQUIRE(listener_limits(listener, 0).rate_burst_bytes == 1000);
    listener.rate_burst_bytes = listener.rate_bytes_s = 0;
    REQUIRE(listener_limits(listener, 0).rate_bytes_s == 499);
    REQUIRE(listener_limits(listener, 0).rate_burst_bytes == 499);
}

TEST_CASE("access rules reach net as they are written") {
    // The parser's rules, asked as net asks them.
    Config config;
    REQUIRE_FALSE(
        has_errors(parse_config("listener 1883\nlistener_access allow 10.0.0.0/8\n"
                                "listener_access deny 2001:db8::/32\n"
                                "listener_access deny 0.0.0.0/0\nlistener 1884\n",
                                "test.conf",
                                config)));
    const Active active(config);
    REQUIRE(active.limits().size() == 2);
    REQUIRE(active.limits()[1].index == 1);
    REQUIRE(active.limits()[1].access.empty());
    const std::span<const AccessRule> rules = active.limits()[0].access;
    REQUIRE(rules.size() == 3);
    REQUIRE(rules[0].allow);
    REQUIRE(rules[0].prefix == 104);
    REQUIRE(rules[0].address[12] == 10);
    REQUIRE_FALSE(rules[1].allow);
    REQUIRE(rules[1].prefix == 32);
    REQUIRE(rules[2].prefix == 96);
}
