#include "config/conf_writer.h"

#include "config/table.h"
#include "config_fixture.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <string>

namespace mqttd {

using config_test::parse;
using config_test::parse_and_finish;
using config_test::Parsed;

namespace {

// Tests run at the root of the checkout.
std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    REQUIRE(file.good());
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

}  // namespace

TEST_CASE("conf/mqttd.conf is what the table says", "[config]") {
    // After a change of the table: ./mqttd --print-config > conf/mqttd.conf
    CHECK(read_file("conf/mqttd.conf") == write_default_config());
}

TEST_CASE("the shipped default file changes nothing but that state is kept", "[config]") {
    // Every other line of it is a comment.
    const Parsed parsed = parse(write_default_config());
    INFO(parsed.text());
    CHECK(parsed.problems.empty());
    Config expected;
    expected.persistence = true;
    CHECK(parsed.config == expected);
}

TEST_CASE("switching on every shown default changes nothing either", "[config]") {
    // `#key value` lines are real; stand-ins such as `# user NAME` keep their blank.
    std::istringstream lines(write_default_config());
    std::string text = "listener 1883\n";
    size_t switched_on = 0;
    for (std::string line; std::getline(lines, line);) {
        const bool is_key = line.size() > 1 && line[0] == '#' && line[1] >= 'a' && line[1] <= 'z';
        if (is_key && !line.starts_with("#port ")) {
            text += line.substr(1) + '\n';
            ++switched_on;
        } else if (!line.empty() && line[0] != '#') {
            text += line + '\n';
        }
    }
    const Parsed parsed = parse(text);
    INFO(parsed.text());
    CHECK(switched_on > 40);
    CHECK(parsed.problems.empty());
    Config expected;
    expected.persistence = true;
    expected.listeners.resize(1);
    expected.listeners[0].line = 1;
    CHECK(parsed.config == expected);
}

TEST_CASE("the written file shows every key and fits the page", "[config]") {
    // It is the manual: what is not there does not exist.
    const std::string text = write_default_config();
    for (const ConfigKey& row : config_keys()) {
        INFO(row.name);
        CHECK(text.find(row.name) != std::string::npos);
    }
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        INFO(line);
        CHECK(line.size() <= 100);
    }
}

TEST_CASE("conf/minimal.conf opens one listener to everybody", "[config]") {
    // As it says in its comments.
    const Parsed parsed = parse_and_finish(read_file("conf/minimal.conf"));
    INFO(parsed.text());
    CHECK(parsed.problems.empty());
    CHECK(parsed.config.allow_anonymous);
    CHECK(parsed.config.persistence);
    CHECK_FALSE(parsed.config.local_only);
    REQUIRE(parsed.config.listeners.size() == 1);
    CHECK(parsed.config.listeners[0].port == 1883);
    CHECK(parsed.config.listeners[0].host.empty());
}

TEST_CASE("conf/emqttd-seed.conf says what the seed said", "[config]") {
    // Every value of it, without a word of complaint.
    const Parsed parsed = parse_and_finish(read_file("conf/emqttd-seed.conf"));
    INFO(parsed.text());
    CHECK(parsed.problems.empty());
    const Config& config = parsed.config;
    CHECK(config.max_clientid_len == 1024);
    CHECK(config.max_packet_size == 65536);
    CHECK(config.max_inflight_messages == 100);
    CHECK(config.unack_retry_interval_s == 60);
    CHECK(config.await_rel_timeout_s == 20);
    CHECK(config.max_awaiting_rel == 0);
    CHECK(config.persistent_client_expiration_s == 48 * 3600);
    CHECK(config.max_queued_messages == 100);
    CHECK(config.queue_low_permille == 200);
    CHECK(config.queue_high_permille == 600);
    CHECK(config.queue_qos0_messages);
    CHECK(config.queue_full == FullQueueRule::kDropOld);
    CHECK(config.sys_interval_s == 60);
    CHECK(config.retain_max_messages == 100000);
    CHECK(config.retain_max_payload_bytes == 65536);
    CHECK(config.allow_anonymous);
    REQUIRE(config.listeners.size() == 1);
    const ListenerConfig& listener = config.listeners[0];
    CHECK(listener.connect_timeout_s == 20);
    CHECK(listener.max_connections == 1000000);
    CHECK(listener.backlog == 1024);
    CHECK(listener.rate_burst_bytes == 100 * 1024);
    CHECK(listener.rate_bytes_s == 50 * 1024);
    REQUIRE(listener.access.size() == 1);
    CHECK(listener.access[0].allow);
}

}  // namespace mqttd
