#include "server/settings.h"

#include "base/log.h"

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
}
