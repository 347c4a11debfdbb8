#include "config/own_syntax.h"

#include "config/include_order.h"
#include "config/rates.h"
#include "config_fixture.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace mqttd {

using config_test::parse;
using config_test::parse_and_finish;
using config_test::Parsed;

namespace {

std::string hex(const AddressRule& rule) {
    std::string text;
    for (const uint8_t byte : rule.address) {
        constexpr char kDigits[] = "0123456789abcdef";
        text += kDigits[byte >> 4];
        text += kDigits[byte & 15];
    }
    return text + '/' + std::to_string(rule.prefix_bits);
}

std::string network(std::string_view text) {
    AddressRule rule;
    const std::string problem = read_address_rule("allow " + std::string(text), rule);
    return problem.empty() ? hex(rule) : problem;
}

}  // namespace

TEST_CASE("a network is an address and the bits that count", "[config]") {
    // IPv4 stands in the mapped range, so that one comparison serves both families.
    CHECK(network("all") == "00000000000000000000000000000000/0");
    CHECK(network("10.1.2.3") == "00000000000000000000ffff0a010203/128");
    CHECK(network("10.1.2.3/8") == "00000000000000000000ffff0a000000/104");
    CHECK(network("10.1.2.3/31") == "00000000000000000000ffff0a010202/127");
    CHECK(network("0.0.0.0/0") == "00000000000000000000ffff00000000/96");
    CHECK(network("255.255.255.255/32") == "00000000000000000000ffffffffffff/128");
    CHECK(network("fe80::1/10") == "fe800000000000000000000000000000/10");
    CHECK(network("2001:db8::ffff/126") == "20010db800000000000000000000fffc/126");
    CHECK(network("::1") == "00000000000000000000000000000001/128");
    CHECK(network("::/0") == network("all"));
    for (const char* wrong : {"10.1.2.3/33", "10.1.2.3/-1", "10.1.2.3/", "::1/129", "::1/x"}) {
        INFO(wrong);
        CHECK(network(wrong).find("wrong prefix length") != std::string::npos);
    }
    for (const char* wrong : {"10.1.2", "host.lan", "/8", "*", "10.1.2.3.4", "1::2::3"}) {
        INFO(wrong);
        CHECK(network(wrong).find("names no network") != std::string::npos);
    }
    AddressRule rule;
    CHECK(read_address_rule("deny 10.0.0.0/8", rule).empty());
    CHECK_FALSE(rule.allow);
    CHECK(read_address_rule("permit all", rule).find("neither allow nor deny") == 12);
    CHECK_FALSE(read_address_rule("deny", rule).empty());
    CHECK_FALSE(read_address_rule("allow all 10.0.0.0/8", rule).empty());
}

TEST_CASE("access rules keep their order, and a listener's own replace the common ones",
          "[config]") {
    // First match wins, so an inherited rule in front of one's own would decide unseen.
    const Parsed parsed = parse(
        "listener_access deny 10.0.0.0/8\nlistener_access allow all\n"
        "listener 1883\n"
        "listener 1884\nlistener_access allow 192.168.0.0/16\nlistener_access deny all\n");
    INFO(parsed.text());
    CHECK(parsed.problems.empty());
    const std::vector<ListenerConfig>& listeners = parsed.config.listeners;
    REQUIRE(listeners.size() == 2);
    REQUIRE(listeners[0].access.size() == 2);
    CHECK_FALSE(listeners[0].access[0].allow);
    CHECK(listeners[0].access[1].allow);
    REQUIRE(listeners[1].access.size() == 2);
    CHECK(hex(listeners[1].access[0]) == "00000000000000000000ffffc0a80000/112");
    CHECK_FALSE(listeners[1].access[1].allow);
    CHECK(parse("listener 1\nlistener_access deny nobody\n")
              .says("test.conf:2: error: listener_access 'deny nobody' names no network"));

    std::string many = "listener 1\n";
    for (size_t i = 0; i < kAddressRulesMax; ++i) {
        many += "listener_access deny 10.0.0.1\n";
    }
    CHECK(parse(many).ok());
    CHECK(parse(many + "listener_access allow all\n").says("too many listener_access lines"));
}

TEST_CASE("a topic's rank is a filter and a number", "[config]") {
    // The number is the last word, so a filter may hold blanks.
    TopicRank rank;
    CHECK(read_topic_rank("alarm/# 255", rank).empty());
    CHECK(rank == TopicRank{"alarm/#", 255});
    CHECK(read_topic_rank("my room/+/state  0", rank).empty());
    CHECK(rank == TopicRank{"my room/+/state", 0});
    for (const char* wrong : {"alarm/# 256", "alarm/# -1", "alarm/# 99999999999999999999"}) {
        CHECK(read_topic_rank(wrong, rank).find("out of range") != std::string::npos);
    }
    CHECK(read_topic_rank("alarm/#", rank).find("no priority") != std::string::npos);
    CHECK(read_topic_rank("5", rank).find("no priority") != std::string::npos);
    CHECK(read_topic_rank("a/#/b 5", rank).find("no topic filter") != std::string::npos);

    const Parsed parsed =
        parse_and_finish("queue_type priority\nqueue_priority a 1\nqueue_priority b/# 2\n");
    CHECK(parsed.problems.empty());
    CHECK(parsed.config.queue_order == QueueOrder::kPriority);
    REQUIRE(parsed.config.queue_priorities.size() == 2);
    CHECK(parsed.config.queue_priorities[1] == TopicRank{"b/#", 2});
    CHECK(
        parse_and_finish("queue_priority a 1\n")
            .says(
                "test.conf:1: warning: queue_priority has no effect because queue_type is simple"));

    std::string many = "queue_type priority\n";
    for (size_t i = 0; i < kTopicRanksMax; ++i) {
        many += "queue_priority a 1\n";
    }
    CHECK(parse(many).ok());
    CHECK(parse(many + "queue_priority a 1\n").says("too many queue_priority lines"));
}

TEST_CASE("filters follow MQTT's rules", "[config]") {
    // A rank that can never match is a slip worth an error.
    for (const char* fine : {"#", "+", "a", "a/#", "+/+", "/", "/#", "a//b", "$SYS/#", "a b"}) {
        INFO(fine);
        CHECK(is_topic_filter(fine));
    }
    for (const char* wrong : {"", "a#", "#a", "#/a", "a/#/", "a+", "+a", "a/b+/c", "##"}) {
        INFO(wrong);
        CHECK_FALSE(is_topic_filter(wrong));
    }
}

TEST_CASE("rate_limit is a burst and a rate in KB", "[config]") {
    // "100,50" is the seed's value: 100 KB at once, then 50 KB a second.
    const Parsed parsed =
        parse("rate_limit 100,50\nlistener 1883\nlistener 1884\nrate_limit off\n");
    INFO(parsed.text());
    CHECK(parsed.problems.empty());
    REQUIRE(parsed.config.listeners.size() == 2);
    CHECK(parsed.config.listeners[0].rate_burst_bytes == 100 * 1024);
    CHECK(parsed.config.listeners[0].rate_bytes_s == 50 * 1024);
    CHECK(parsed.config.listeners[1].rate_burst_bytes == 0);
    CHECK(parsed.config.listeners[1].rate_bytes_s == 0);
    CHECK(parse("rate_limit 1,4194303\n").config.listener_defaults.rate_bytes_s == 4294966272);
    for (const char* wrong : {"1,4194304", "4194304,1", "0,1", "1,0"}) {
        CHECK(parse(std::string("rate_limit ") + wrong).says("is out of range"));
    }
    for (const char* wrong : {"100", "100,", ",50", "100,50,1", "100KB,50", "a,b"}) {
        CHECK(parse(std::string("rate_limit ") + wrong).says("is no rate"));
    }
    CHECK_FALSE(parse("rate_limit 100, 50\n").ok());
}

TEST_CASE("max_client_rate takes bytes, K and M", "[config]") {
    // "64KB/s" is how the seed writes it.
    const auto rate = [](const std::string& text) {
        return parse("max_client_rate " + text).config.listener_defaults.client_rate_bytes_s;
    };
    CHECK(rate("64KB/s") == 65536);
    CHECK(rate("64kb/s") == 65536);
    CHECK(rate("64k") == 65536);
    CHECK(rate("65536") == 65536);
    CHECK(rate("65536B/s") == 65536);
    CHECK(rate("1M/s") == 1048576);
    CHECK(rate("off") == 0);
    CHECK(rate("2147483647") == 2147483647);
    CHECK(parse("max_client_rate 2147483648").says("is out of range"));
    CHECK(parse("max_client_rate 2048M").says("is out of range"));
    CHECK(parse("max_client_rate 99999999999999999999K").says("is out of range"));
    for (const char* wrong : {"K", "64G", "64K/m", "-1", "64 KB/s", "1.5M"}) {
        INFO(wrong);
        CHECK_FALSE(parse(std::string("max_client_rate ") + wrong).ok());
    }
}

TEST_CASE("included files are read without regard to case, capitals first", "[config]") {
    // mosquitto's order: which file's `log_type` comes last matters.
    std::vector<std::string> names = {"b.conf",
                                      "a.conf",
                                      "B.conf",
                                      "A.conf",
                                      "a1.conf",
                                      "10.conf",
                                      "9.conf",
                                      "ab.conf",
                                      "aB.conf"};
    std::sort(names.begin(), names.end(), is_read_before);
    CHECK(names == std::vector<std::string>{"10.conf",
                                            "9.conf",
                                            "A.conf",
                                            "a.conf",
                                            "a1.conf",
                                            "aB.conf",
                                            "ab.conf",
                                            "B.conf",
                                            "b.conf"});
    CHECK(is_included("a.conf"));
    for (const char* name : {".conf", ".a.conf", "a.conf~", "a.conf.dpkg-old", "conf", "README"}) {
        CHECK_FALSE(is_included(name));
    }
}

}  // namespace mqttd
