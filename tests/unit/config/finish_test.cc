#include "config/finish.h"

#include "config_fixture.h"

#include <catch2/catch.hpp>
#include <string>

namespace mqttd {

using config_test::parse_and_finish;
using config_test::Parsed;

namespace {

Options with_ports(std::vector<uint16_t> ports) {
    Options options;
    options.ports = std::move(ports);
    return options;
}

}  // namespace

TEST_CASE("without a listener only this machine is served, without passwords", "[config]") {
    // mosquitto's local-only mode: safe to start with no file at all.
    const Parsed parsed = parse_and_finish("max_keepalive 5\nbacklog 7\n");
    CHECK(parsed.problems.empty());
    CHECK(parsed.config.local_only);
    CHECK(parsed.config.allow_anonymous);
    REQUIRE(parsed.config.listeners.size() == 1);
    CHECK(parsed.config.listeners[0].port == 1883);
    CHECK(parsed.config.listeners[0].backlog == 7);
    const std::vector<BindAddress> addresses = bind_addresses(parsed.config.listeners[0]);
    REQUIRE(addresses.size() == 2);
    CHECK((addresses[0].host == "127.0.0.1" && addresses[0].required));
    CHECK((addresses[1].host == "::1" && !addresses[1].required));
}

TEST_CASE("-p chooses the ports of local-only mode", "[config]") {
    // It never opens a port to the network.
    const Parsed parsed = parse_and_finish("", with_ports({1884, 1885}));
    REQUIRE(parsed.config.listeners.size() == 2);
    CHECK(parsed.config.local_only);
    CHECK(parsed.config.listeners[0].port == 1884);
    CHECK(parsed.config.listeners[1].port == 1885);
    CHECK(parsed.config.listeners[1].host == "localhost");
    CHECK_FALSE(parse_and_finish("", with_ports({1884, 1884})).ok());
}

TEST_CASE("-p has no effect beside a listener in the file, and says so", "[config]") {
    // mosquitto ignores it in silence.
    const Parsed parsed = parse_and_finish("listener 1883\n", with_ports({1884}));
    CHECK(parsed.ok());
    CHECK(parsed.says("-p 1884 has no effect"));
    REQUIRE(parsed.config.listeners.size() == 1);
    CHECK(parsed.config.listeners[0].port == 1883);
}

TEST_CASE("a listener closes the door to clients without a name, unless told", "[config]") {
    // The rule of mosquitto 2: whoever opens a port says who may come in.
    CHECK_FALSE(parse_and_finish("listener 1883\n").config.allow_anonymous);
    CHECK_FALSE(parse_and_finish("port 1883\n").config.allow_anonymous);
    CHECK_FALSE(parse_and_finish("max_connections 5\n").config.allow_anonymous);
    CHECK(parse_and_finish("listener 1883\nallow_anonymous true\n").config.allow_anonymous);
    CHECK_FALSE(parse_and_finish("allow_anonymous false\n").config.allow_anonymous);
    CHECK_FALSE(parse_and_finish("listener 1883\n").config.local_only);
}

TEST_CASE("a listener's address is numeric or localhost", "[config]") {
    // A static binary cannot ask a resolver.
    for (const char* host : {"127.0.0.1", "::1", "::", "0.0.0.0", "localhost", "2001:db8::1"}) {
        INFO(host);
        CHECK(parse_and_finish("listener 1883 " + std::string(host)).problems.empty());
    }
    for (const char* host :
         {"example.org", "eth0", "1.2.3", "fe80::1%eth0", "[::1]", "Localhost"}) {
        const Parsed parsed = parse_and_finish("\nlistener 1883 " + std::string(host));
        INFO(parsed.text());
        CHECK(parsed.says("test.conf:2: error: listener address '" + std::string(host) +
                          "' is not numeric"));
    }
    CHECK_FALSE(parse_and_finish("bind_address example.org\n").ok());
}

TEST_CASE("a Unix socket's path has at most 107 bytes", "[config]") {
    // sockaddr_un holds no more, and a cut path would be another file.
    CHECK(parse_and_finish("listener 0 " + std::string(107, 'a')).problems.empty());
    const Parsed parsed = parse_and_finish("listener 0 " + std::string(108, 'a'));
    CHECK(parsed.says("has 108 bytes"));
    CHECK(bind_addresses(parsed.config.listeners.at(0)).empty());
}

TEST_CASE("two listeners that want the same socket are an error", "[config]") {
    // The second bind would fail later, with less to say.
    const Parsed parsed = parse_and_finish("listener 1883\nlistener 1884\nlistener 1883\n");
    CHECK(parsed.says("test.conf:3: error: port 1883 is already taken by the listener of line 1"));
    for (const char* text : {"listener 1\nlistener 1 127.0.0.1",
                             "listener 1 ::1\nlistener 1",
                             "listener 1 0.0.0.0\nlistener 1",
                             "listener 1 127.0.0.1\nlistener 1 localhost",
                             "listener 1 ::1\nlistener 1 0:0::1",
                             "listener 0 /a\nlistener 0 /a",
                             "max_connections 5\nlistener 1883",
                             "listener 9 ::\nlistener 9 ::1"}) {
        INFO(text);
        CHECK_FALSE(parse_and_finish(text).ok());
    }
    for (const char* text : {"listener 1\nlistener 2",
                             "listener 1 127.0.0.1\nlistener 1 127.0.0.2",
                             "listener 1 ::1\nlistener 1 127.0.0.1",
                             "listener 1 ::\nlistener 1 0.0.0.0",
                             "listener 0 /a\nlistener 0 /b",
                             "listener 0 /a\nlistener 1"}) {
        const Parsed fine = parse_and_finish(text);
        INFO(text << '\n' << fine.text());
        CHECK(fine.problems.empty());
    }
}

TEST_CASE("errors of the whole file come in one run with those of its lines", "[config]") {
    // What the parser has refused is not blamed a second time.
    const Parsed parsed = parse_and_finish("listener x\nlistener y\nfoo 1\nlistener 1 a.b\n");
    INFO(parsed.text());
    CHECK(parsed.problems.size() == 4);
    CHECK(parsed.says("test.conf:4: error: listener address 'a.b'"));
}

TEST_CASE("no host means every address of both families", "[config]") {
    // The IPv6 half may be missing on a kernel without it.
    const std::vector<BindAddress> addresses = bind_addresses(ListenerConfig{});
    REQUIRE(addresses.size() == 2);
    CHECK((addresses[0].host == "0.0.0.0" && addresses[0].required));
    CHECK((addresses[1].host == "::" && !addresses[1].required));
    ListenerConfig one;
    one.host = "::1";
    REQUIRE(bind_addresses(one).size() == 1);
    CHECK(bind_addresses(one)[0].required);
}

TEST_CASE("-q beats -v, and both beat log_type", "[config]") {
    // The command line is what the operator typed last.
    Options verbose;
    verbose.verbose = true;
    Options both = verbose;
    both.quiet = true;
    CHECK(parse_and_finish("log_type error\n").config.log_types == kLogError);
    CHECK(parse_and_finish("log_type error\n", verbose).config.log_types == kLogAll);
    CHECK(parse_and_finish("log_type error\n", both).config.log_types == 0);
}

TEST_CASE("a window of 0 is the widest one", "[config]") {
    // So nobody behind this point needs to know the old spelling of "no limit".
    CHECK(parse_and_finish("max_inflight 0\n").config.max_inflight_messages == 65535);
    CHECK(parse_and_finish("max_inflight 1\n").config.max_inflight_messages == 1);
}

TEST_CASE("socket_domain leaves one family's addresses", "[config]") {
    // And contradicts an address of the other.
    ListenerConfig listener;
    listener.domain = SocketDomain::kIpv4;
    REQUIRE(bind_addresses(listener).size() == 1);
    CHECK(bind_addresses(listener)[0].host == "0.0.0.0");
    listener.domain = SocketDomain::kIpv6;
    listener.host = "localhost";
    REQUIRE(bind_addresses(listener).size() == 1);
    CHECK(bind_addresses(listener)[0].host == "::1");
    CHECK(bind_addresses(listener)[0].required);
    CHECK(parse_and_finish("listener 1883 ::1\nsocket_domain ipv6\n").ok());
    CHECK(parse_and_finish("listener 1883 ::1\nsocket_domain ipv4\n")
              .says("test.conf:1: error: listener address '::1' is not of the family"));
    CHECK_FALSE(parse_and_finish("listener 1883 10.0.0.1\nsocket_domain ipv6\n").ok());
    CHECK(parse_and_finish("listener 1883 0.0.0.0\nlistener 1883 ::\n").ok());
    CHECK(
        parse_and_finish("listener 1\nsocket_domain ipv4\nlistener 1\nsocket_domain ipv6\n").ok());
}

TEST_CASE("the low watermark lies below the high one", "[config]") {
    // An alarm that ends where it begins would come and go with every message.
    CHECK(parse_and_finish("queue_low_watermark 0.599\n").ok());
    CHECK(parse_and_finish("queue_low_watermark 0.6\n")
              .says("test.conf:1: error: queue_low_watermark is not below"));
    CHECK(parse_and_finish("\nqueue_high_watermark 0.1\n").says("test.conf:2: error: queue_low"));
    CHECK(parse_and_finish("queue_low_watermark 0\nqueue_high_watermark 0.001\n").ok());
    CHECK_FALSE(parse_and_finish("queue_high_watermark 0.2\n").ok());
    CHECK_FALSE(parse_and_finish("queue_high_watermark 1.001\n").ok());
    CHECK_FALSE(parse_and_finish("queue_high_watermark 0.6001\n").ok());
}

TEST_CASE("a listener is called by its port or path", "[config]") {
    // In $SYS; with its address only where the port alone would name two.
    const Parsed parsed = parse_and_finish(
        "listener 1883\nlistener 1884 127.0.0.1\nlistener 1884 ::1\nlistener 0 /tmp/x\n");
    REQUIRE(parsed.config.listeners.size() == 4);
    CHECK(parsed.config.listeners[0].name == "1883");
    CHECK(parsed.config.listeners[1].name == "127.0.0.1:1884");
    CHECK(parsed.config.listeners[2].name == "::1:1884");
    CHECK(parsed.config.listeners[3].name == "/tmp/x");
}

TEST_CASE("a mount point has no wildcards", "[config]") {
    // It is a prefix of names.
    CHECK(parse_and_finish("listener 1\nmount_point a/b/\n").config.listeners.at(0).mount_point ==
          "a/b/");
    CHECK(parse_and_finish("listener 1\nmount_point a/+/\n").says("'a/+/' holds a wildcard"));
    CHECK(parse_and_finish("listener 1\nmount_point #\n").says("holds a wildcard"));
}

TEST_CASE("protocol levels are a list of those that exist", "[config]") {
    // mosquitto ignores others, and then serves nobody.
    CHECK(parse_and_finish("listener 1\naccept_protocol_versions 5\n")
              .config.listeners.at(0)
              .protocol_levels == 4);
    CHECK(parse_and_finish("listener 1\naccept_protocol_versions 3,\t4\n")
              .config.listeners.at(0)
              .protocol_levels == 3);
    CHECK(parse_and_finish("listener 1\naccept_protocol_versions 4,6\n").says("'6' is not known"));
}

}  // namespace mqttd
