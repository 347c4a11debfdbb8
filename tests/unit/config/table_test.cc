#include "config/table.h"

#include "config/row_value.h"
#include "config_fixture.h"

#include <catch2/catch.hpp>
#include <set>
#include <sstream>
#include <string>

namespace mqttd {

using config_test::parse;
using config_test::Parsed;

namespace {

// Every key of mosquitto 2.1.2 and of the emqttd seed, and the ones mqttd adds.
constexpr const char* kKnownKeys =
    "include_dir per_listener_settings allow_anonymous allow_zero_length_clientid "
    "auto_id_prefix clientid_prefixes acl_file password_file psk_file "
    "allow_duplicate_messages autosave_interval autosave_on_changes check_retain_source "
    "connection_messages enable_control_api global_max_clients global_max_connections "
    "log_dest log_facility log_timestamp log_timestamp_format log_type max_inflight_bytes "
    "max_inflight_messages max_keepalive max_packet_size max_queued_bytes "
    "max_queued_messages memory_limit message_size_limit persistence persistence_file "
    "sync persistence_location persistent_client_expiration pid_file plugin global_plugin "
    "plugin_load plugin_use plugin_opt_* auth_plugin auth_opt_* "
    "auth_plugin_deny_special_chars queue_qos0_messages retain_available "
    "retain_expiry_interval set_tcp_nodelay sys_interval upgrade_outgoing_qos user "
    "packet_buffer_size websockets_headers_size websockets_log_level bind_address port "
    "retry_interval retained_persistence dhparamfile listener accept_protocol_versions "
    "bind_interface enable_proxy_protocol proxy_protocol_v2_require_tls http_dir "
    "listener_allow_anonymous listener_auto_id_prefix max_connections max_qos maximum_qos "
    "max_topic_alias max_topic_alias_broker mount_point protocol socket_domain "
    "use_username_as_clientid websockets_origin cafile capath certfile keyfile ciphers "
    "ciphers_tls1.3 crlfile disable_client_cert_date_checks require_certificate "
    "tls_engine tls_engine_kpass_sha1 tls_keyform tls_version use_identity_as_username "
    "use_subject_as_username psk_hint connection address addresses topic "
    "bridge_attempt_unsubscribe bridge_bind_address bridge_max_packet_size "
    "bridge_max_topic_alias bridge_outgoing_retain bridge_protocol_version "
    "bridge_receive_maximum bridge_reload_type bridge_session_expiry_interval "
    "bridge_tcp_keepalive bridge_tcp_user_timeout cleansession local_cleansession "
    "clientid remote_clientid local_clientid local_username local_password "
    "remote_username remote_password username password keepalive_interval idle_timeout "
    "threshold start_type restart_timeout round_robin notifications "
    "notifications_local_only notification_topic try_private bridge_cafile bridge_capath "
    "bridge_certfile bridge_keyfile bridge_alpn bridge_ciphers bridge_ciphers_tls1.3 "
    "bridge_insecure bridge_require_ocsp bridge_tls_use_os_certs bridge_tls_version "
    "bridge_identity bridge_psk max_clientid_len connect_timeout max_client_rate "
    "unack_retry_interval await_rel_timeout max_awaiting_rel session_stats_interval "
    "queue_type queue_priority queue_low_watermark queue_high_watermark retain_max_age "
    "retain_max_messages retain_max_payload presence presence_qos auto_subscribe "
    "rewrite_file accept_batch rate_limit backlog recbuf sndbuf alarm_loop_ms "
    "alarm_heap_bytes alarm_slow_consumer auth_chain clientid_file auth_command "
    "acl_syntax log_rotate_size log_rotate_count log_rotate_daily max_inflight max_length "
    "queue_qos0 max_clients expired_after listener_access acl_nomatch log_style "
    "acl_check_subscribe emqttd_compat deny_special_chars queue_full topic_suffix "
    "tcp_user_timeout tcp_defer_accept unix_mode max_topic_len max_topic_levels "
    "outbox_bytes_max long_gc busy_dist_port pool_size plugins_dir loaded_file "
    "max_playload_size workers sys_qos slow_consumer slow_consumer_ms shared_strategy "
    "max_subscriptions wildcard_subscription_available shared_subscription_available "
    "subscription_identifiers_available ";

std::string line_of(const ConfigKey& row, const std::string& value) {
    const std::string block = row.scope == Scope::kListener ? "listener 1883\n"
                              : row.scope == Scope::kBridge ? "connection b\n"
                                                            : "";
    return block + std::string(row.name) + ' ' + value + '\n';
}

// Where a value of `row` ended up, given that at most one listener was written.
ConfigValue load(const ConfigKey& row, const Config& config) {
    const ListenerConfig& listener =
        config.listeners.empty() ? config.listener_defaults : config.listeners.back();
    return row.load(config, listener);
}

// Errors that the row itself caused, not the `connection` line above it.
size_t own_errors(const Parsed& parsed, const ConfigKey& row) {
    size_t count = 0;
    for (const ConfigProblem& problem : parsed.problems) {
        count += problem.severity == Severity::kError && problem.key == row.name ? 1 : 0;
    }
    return count;
}

std::string number_text(const ConfigKey& row, int64_t number) {
    if (row.kind == Kind::kOctal) {
        std::ostringstream octal;
        octal << std::oct << number;
        return octal.str();
    }
    return std::to_string(number) + (row.kind == Kind::kDuration ? "s" : "");
}

bool has_bounds(const ConfigKey& row) {
    return row.kind == Kind::kInt || row.kind == Kind::kOctal || row.kind == Kind::kHours ||
           row.kind == Kind::kMinutes || row.kind == Kind::kDuration;
}

// What a written 1 is in the row's field.
int64_t scale(const ConfigKey& row) {
    return row.kind == Kind::kHours ? 3600 : 1;
}

bool is_built(const ConfigKey& row) {
    return row.verdict == Verdict::kBuilt && row.store != nullptr;
}

// A value of the row's kind that is none of its `off` values, or "" if there is none.
std::string some_on_value(const ConfigKey& row) {
    for (std::string value : {"true", "1", "0", "2", "0.5", "77", "some/text"}) {
        if (has_own_syntax(row.kind)) {
            break;
        }
        const Reading reading = read_row_value(row, value);
        if (reading.error == ReadError::kNone && !is_off_value(row, reading.value)) {
            return value;
        }
    }
    std::string_view words = row.words;
    while (!words.empty()) {
        const std::string word(take_word(words));
        if (!is_off_value(row, read_row_value(row, word).value)) {
            return word;
        }
    }
    return "";
}

}  // namespace

TEST_CASE("every key of mosquitto and emqttd has a row", "[config]") {
    // An operator who brings a working file is told what becomes of each key, never "unknown".
    std::istringstream names(kKnownKeys);
    for (std::string name; names >> name;) {
        INFO(name);
        CHECK(find_config_key(name.ends_with('*') ? name + "x" : name) != nullptr);
    }
}

TEST_CASE("a built row has a field, and no other row has", "[config]") {
    // Except for the kinds with a syntax of their own, which the parser stores.
    for (const ConfigKey& row : config_keys()) {
        INFO(row.name);
        const bool expected = row.verdict == Verdict::kBuilt && !has_own_syntax(row.kind);
        CHECK((row.store != nullptr) == expected);
        CHECK((row.load != nullptr) == expected);
    }
}

TEST_CASE("a row's default is what a fresh Config holds", "[config]") {
    // The struct's initial values and the table's texts are one fact written twice.
    const Config config;
    const ListenerConfig listener;
    for (const ConfigKey& row : config_keys()) {
        if (!is_built(row) || row.fallback.empty()) {
            continue;
        }
        INFO(row.name);
        const ConfigValue fresh = row.load(config, listener);
        const ConfigValue written = read_row_value(row, row.fallback).value;
        CHECK(fresh.number == (is_text(row.kind) ? 0 : written.number));
        CHECK((!is_text(row.kind) || fresh.text == written.text));
    }
}

TEST_CASE("writing a default changes nothing", "[config]") {
    // What conf/mqttd.conf shows commented out may be switched on line by line.
    for (const ConfigKey& row : config_keys()) {
        if (!is_built(row) || row.fallback.empty() || row.scope == Scope::kDefaultListener ||
            row.scope == Scope::kListener) {
            continue;
        }
        const Parsed parsed = parse(line_of(row, std::string(row.fallback)));
        INFO(parsed.text());
        CHECK(parsed.problems.empty());
        CHECK(parsed.config == Config{});
    }
}

TEST_CASE("both bounds of every number are accepted and stored", "[config]") {
    // A field too narrow for its row's bounds would cut the value in silence.
    for (const ConfigKey& row : config_keys()) {
        if (!is_built(row) || !has_bounds(row)) {
            continue;
        }
        for (const int64_t number : {row.min, row.max}) {
            const std::string line = line_of(row, number_text(row, number));
            INFO(line);
            const Parsed parsed = parse(line);
            INFO(parsed.text());
            CHECK(parsed.problems.empty());
            CHECK(load(row, parsed.config).number == number * scale(row));
        }
    }
}

TEST_CASE("one past either bound is refused with file, line, bounds", "[config]") {
    // The message must be enough to mend the file without the manual.
    for (const ConfigKey& row : config_keys()) {
        if (!has_bounds(row) || row.verdict == Verdict::kTls) {
            continue;
        }
        for (const bool above : {false, true}) {
            const bool past_64_bits = above && row.max == INT64_MAX;
            std::string number = past_64_bits ? "9223372036854775808"
                                              : number_text(row, above ? row.max + 1 : row.min - 1);
            if (!above && row.kind == Kind::kOctal) {
                number = "-1";
            }
            const std::string line = line_of(row, number);
            const Parsed parsed = parse("\n" + line);
            INFO(line << parsed.text());
            CHECK(own_errors(parsed, row) == 1);
            const bool in_block = row.scope == Scope::kListener || row.scope == Scope::kBridge;
            CHECK(parsed.says(in_block ? "test.conf:3: error: " : "test.conf:2: error: "));
            CHECK(parsed.says(std::string(row.name) + ' '));
            CHECK(parsed.says(describe_values(row)));
        }
    }
}

TEST_CASE("what is not of a row's kind is refused, whatever the verdict", "[config]") {
    // A key that is not built yet is checked already, so that files stay valid when it comes.
    for (const ConfigKey& row : config_keys()) {
        const bool open_kind = is_text(row.kind) || row.kind == Kind::kAnything ||
                               row.kind == Kind::kIncludeDir || row.verdict == Verdict::kAlias;
        if (!open_kind) {
            const Parsed parsed = parse(line_of(row, "@bad@"));
            INFO(row.name << ": " << parsed.text());
            CHECK(own_errors(parsed, row) == 1);
            CHECK(parsed.says("@bad@"));
        }
        if (is_text(row.kind)) {
            const std::string name(row.name.ends_with('*') ? "plugin_opt_x" : row.name);
            const Parsed parsed = parse(line_of(row, "\xff\xfe"));
            INFO(name << ": " << parsed.text());
            CHECK_FALSE(parsed.ok());
        }
    }
}

TEST_CASE("an alias stores where its target does", "[config]") {
    // Both seeds' words mean the same setting.
    size_t aliases = 0;
    for (const ConfigKey& row : config_keys()) {
        if (row.verdict != Verdict::kAlias) {
            continue;
        }
        ++aliases;
        const ConfigKey& target = resolve_alias(row);
        INFO(row.name << " for " << target.name);
        CHECK(target.name == row.target);
        const std::string value = some_on_value(target);
        const std::string block = target.scope == Scope::kListener ? "listener 1883\n"
                                  : target.scope == Scope::kBridge ? "connection b\n"
                                                                   : "";
        const Parsed by_alias = parse(block + std::string(row.name) + ' ' + value);
        const Parsed by_name = parse(block + std::string(target.name) + ' ' + value);
        CHECK(by_alias.config == by_name.config);
        CHECK(by_alias.problems.size() == by_name.problems.size());
        CHECK((!is_built(target) || by_alias.config != parse(block).config));
    }
    CHECK(aliases >= 12);
}

TEST_CASE("a key that is not served is accepted at its off values", "[config]") {
    // "persistence false" asks for nothing, so it must never stop a start.
    size_t off_values = 0;
    for (const ConfigKey& row : config_keys()) {
        for (std::string_view rest = row.off; !rest.empty();) {
            const size_t end = rest.find('|');
            const Parsed parsed = parse(line_of(row, std::string(rest.substr(0, end))));
            INFO(row.name << ": " << parsed.text());
            CHECK(own_errors(parsed, row) == 0);
            CHECK(parsed.config.listeners.size() == (row.scope == Scope::kListener ? 1 : 0));
            rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
            ++off_values;
        }
    }
    CHECK(off_values > 20);
    CHECK(parse("persistence 0\nenable_control_api false\n").problems.empty());
    CHECK(parse("listener 1883\naccept_protocol_versions 5, 3 4\n").problems.empty());
}

TEST_CASE("a key that is not served stops the start in one sentence", "[config]") {
    // Each verdict has its own sentence, with the way out.
    for (const ConfigKey& row : config_keys()) {
        const std::string value = some_on_value(row);
        const bool prefix = row.name.ends_with('*');
        if (value.empty() || prefix) {
            continue;
        }
        const Parsed parsed = parse(line_of(row, value));
        INFO(parsed.text());
        switch (row.verdict) {
            case Verdict::kComing:
                CHECK(own_errors(parsed, row) == 1);
                CHECK(parsed.says("not built in this version"));
                break;
            case Verdict::kTls:
                CHECK(own_errors(parsed, row) == 1);
                CHECK(parsed.says("'make TLS=1'"));
                break;
            case Verdict::kRefused:
                CHECK(own_errors(parsed, row) == 1);
                CHECK(parsed.says(row.reason));
                break;
            case Verdict::kIgnored:
                CHECK(parsed.problems.size() == 1);
                CHECK(parsed.ok());
                break;
            case Verdict::kInert:
                CHECK(own_errors(parsed, row) == 0);
                break;
            default:
                break;
        }
    }
}

TEST_CASE("TLS and rule files are never ignored", "[config]") {
    // A key whose absence weakens security stops the start; a warning would be overlooked.
    for (const char* line : {"listener 8883\ncertfile a.pem",
                             "listener 8883\nkeyfile a.pem",
                             "listener 8883\nrequire_certificate true",
                             "psk_file x",
                             "listener 1\npsk_hint x",
                             "acl_file x",
                             "password_file x",
                             "plugin /usr/lib/mosquitto_dynamic_security.so",
                             "plugin_opt_config_file x",
                             "auth_opt_x y",
                             "listener 1\nenable_proxy_protocol 2",
                             "listener 1\nprotocol websockets",
                             "clientid_file a",
                             "auth_command a"}) {
        INFO(line);
        CHECK_FALSE(parse(line).ok());
    }
    CHECK(parse("listener 8883\ntls_keyform pem").problems.empty());
}

TEST_CASE("the nearest key is a slip of the fingers away, or none", "[config]") {
    // A far-fetched suggestion is worse than none.
    CHECK(nearest_config_key("max_inflght_messages") == "max_inflight_messages");
    CHECK(nearest_config_key("allow_anonymus") == "allow_anonymous");
    CHECK(nearest_config_key("prot") == "port");
    CHECK(nearest_config_key("listner") == "listener");
    CHECK(nearest_config_key("log_tpye") == "log_type");
    CHECK(nearest_config_key("completely_different_thing").empty());
    CHECK(nearest_config_key("").empty());
    CHECK(nearest_config_key(std::string(100000, 'x')).empty());
}

TEST_CASE("sections have titles of their own", "[config]") {
    // The written file is read by section.
    std::set<std::string_view> titles;
    for (size_t i = 0; i < kSectionCount; ++i) {
        titles.insert(section_title(static_cast<Section>(i)));
    }
    CHECK(titles.size() == kSectionCount);
}

}  // namespace mqttd
