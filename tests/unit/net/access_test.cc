#include "net/access.h"

#include "unit/net/world.h"

namespace mqttd {

using namespace net_test;

namespace {

Peer peer(const char* text) {
    Peer result;
    if (inet_pton(AF_INET, text, result.address) == 1) {
        result.family = Peer::kIpv4;
    } else {
        REQUIRE(inet_pton(AF_INET6, text, result.address) == 1);
        result.family = Peer::kIpv6;
    }
    return result;
}

AccessRule rule(bool allow, const char* text, uint32_t bits) {
    AccessRule result;
    uint8_t v4[4];
    if (inet_pton(AF_INET, text, v4) == 1) {
        result.address[10] = result.address[11] = 0xff;
        std::memcpy(result.address + 12, v4, 4);
        bits += 96;
    } else {
        REQUIRE(inet_pton(AF_INET6, text, result.address) == 1);
    }
    result.prefix = static_cast<uint8_t>(bits);
    result.allow = allow;
    return result;
}

AccessRule everybody(bool allow) {
    return {{}, 0, allow};
}

bool denied_by(const AccessRule& one, const char* who) {
    return !access_allowed({&one, 1}, peer(who));
}

}  // namespace

TEST_CASE("a prefix covers what lies inside it and nothing beside it", "[net][access]") {
    struct Row {
        const char* network;
        uint32_t bits;
        const char* first;
        const char* last;
        const char* before;
        const char* after;
    };

    const Row rows[] = {
        {"10.0.0.8",    32,  "10.0.0.8",    "10.0.0.8",        "10.0.0.7",        "10.0.0.9"       },
        {"10.0.0.8",    31,  "10.0.0.8",    "10.0.0.9",        "10.0.0.7",        "10.0.0.10"      },
        {"10.0.0.8",    30,  "10.0.0.8",    "10.0.0.11",       "10.0.0.7",        "10.0.0.12"      },
        {"10.1.128.0",  17,  "10.1.128.0",  "10.1.255.255",    "10.1.127.255",    "10.2.0.0"       },
        {"128.0.0.0",   1,   "128.0.0.0",   "255.255.255.255", "127.255.255.255", "::1"            },
        {"0.0.0.0",     0,   "0.0.0.0",     "255.255.255.255", "::1",             "2001:db8::"     },
        {"2001:db8::8", 128, "2001:db8::8", "2001:db8::8",     "2001:db8::7",     "2001:db8::9"    },
        {"2001:db8::8", 127, "2001:db8::8", "2001:db8::9",     "2001:db8::7",     "2001:db8::a"    },
        {"2001:db8::",  33,  "2001:db8::",  "2001:db8:7fff::", "2001:db7:ffff::", "2001:db8:8000::"},
        {"8000::",      1,   "8000::",      "ffff::",          "7fff::",          "10.0.0.8"       },
    };
    for (const Row& row : rows) {
        INFO(row.network << "/" << row.bits);
        const AccessRule one = rule(false, row.network, row.bits);
        CHECK(denied_by(one, row.first));
        CHECK(denied_by(one, row.last));
        CHECK(!denied_by(one, row.before));
        CHECK(!denied_by(one, row.after));
    }
}

TEST_CASE("each bit of a prefix counts and no bit behind it does", "[net][access]") {
    for (const bool v4 : {false, true}) {
        Peer who = peer(v4 ? "170.85.170.85" : "aa55:aa55:aa55:aa55:aa55:aa55:aa55:aa55");
        AccessRule one =
            rule(false, v4 ? "170.85.170.85" : "aa55:aa55:aa55:aa55:aa55:aa55:aa55:aa55", 0);
        const uint32_t fixed = v4 ? 96 : 0;
        for (uint32_t bits = 0; bits <= 128 - fixed; ++bits) {
            one.prefix = static_cast<uint8_t>(bits + fixed);
            for (uint32_t flipped = 0; flipped < 128 - fixed; ++flipped) {
                Peer other = who;
                other.address[flipped / 8] ^= static_cast<uint8_t>(0x80 >> flipped % 8);
                REQUIRE(access_allowed({&one, 1}, other) == (flipped < bits));
            }
            REQUIRE(!access_allowed({&one, 1}, who));
        }
    }
}

TEST_CASE("the first rule that matches decides; without one a client is let in", "[net][access]") {
    const AccessRule rules[] = {
        rule(true, "10.0.0.5", 32),
        rule(false, "10.0.0.0", 24),
        rule(true, "10.0.0.0", 8),
        rule(false, "fd00::", 8),
    };
    CHECK(access_allowed(rules, peer("10.0.0.5")));
    CHECK(!access_allowed(rules, peer("10.0.0.6")));
    CHECK(access_allowed(rules, peer("10.0.1.6")));
    CHECK(!access_allowed(rules, peer("fd12::1")));
    CHECK(access_allowed(rules, peer("192.0.2.1")));
    CHECK(access_allowed(rules, peer("::1")));
    CHECK(access_allowed({}, peer("::1")));
}

TEST_CASE("mapped IPv6 and IPv4 are the same client", "[net][access]") {
    const AccessRule one = rule(false, "192.0.2.0", 24);
    CHECK(denied_by(one, "192.0.2.77"));
    CHECK(denied_by(one, "::ffff:192.0.2.77"));
    CHECK(!denied_by(one, "::192.0.2.77"));
    CHECK(denied_by(rule(false, "::ffff:192.0.2.77", 128), "192.0.2.77"));
}

TEST_CASE("a client on a Unix socket has no address: only `all` is about it", "[net][access]") {
    const AccessRule rules[] = {
        rule(false, "0.0.0.0", 0), rule(false, "::", 1), rule(false, "::", 128)};
    CHECK(access_allowed(rules, Peer{}));
    const AccessRule all[] = {rule(true, "127.0.0.1", 32), everybody(false)};
    CHECK(!access_allowed(all, Peer{}));
    CHECK(!access_allowed(all, peer("127.0.0.2")));
    CHECK(!access_allowed(all, peer("::1")));
    CHECK(access_allowed(all, peer("127.0.0.1")));
}

TEST_CASE("who may not come in is closed at once and costs no memory", "[net][access]") {
    // Counted with its listener; the others are let in.
    const AccessRule rules[] = {rule(false, "127.0.0.2", 32)};
    World world;
    world.listen({.index = 4, .access = rules});
    const uint64_t allocations = world.arena.allocations();
    Client denied;
    REQUIRE(denied.connect(world.port, "127.0.0.2"));
    REQUIRE(
        world.until([&] { return denied.read().empty() && (denied.over || denied.error != 0); }));
    CHECK(world.arena.allocations() == allocations);
    CHECK(world.net.stats().accepted == 0);
    CHECK(world.net.connections() == 0);
    CHECK(world.log_lines == 0);
    Client below;
    REQUIRE(below.connect(world.port, "127.0.0.1"));
    Client above;
    REQUIRE(above.connect(world.port, "127.0.0.3"));
    REQUIRE(world.until([&] { return world.handler.links.size() == 2; }));
    const ListenerStats stats = world.net.listener_stats(4);
    CHECK(stats.refused_access == 1);
    CHECK(stats.accepted == 2);
    CHECK(stats.refused_max == 0);
    CHECK(world.net.counters().accept_refused_access == 1);
}

TEST_CASE("rules can be changed while a listener serves", "[net][access]") {
    // They hold for the next client; who is in stays in.
    const AccessRule nobody[] = {everybody(false)};
    World world;
    world.listen({.index = 1});
    Client first = world.join();
    REQUIRE(world.net.set_limits({.index = 1, .access = nobody}) == Error::kNone);
    Client second;
    REQUIRE(second.connect(world.port));
    REQUIRE(world.until([&] { return world.net.listener_stats(1).refused_access == 1; }));
    first.send(packet("still here"));
    REQUIRE(world.until([&] { return world.link(0).packets.size() == 1; }));
    REQUIRE(world.net.set_limits({.index = 1}) == Error::kNone);
    Client third = world.join();
    CHECK(world.net.set_limits({.index = 2}) == Error::kNotFound);
    CHECK(world.net.set_limits({.index = 256}) == Error::kNotFound);
}

TEST_CASE("rules hold on Unix sockets: `all` alone is about their clients", "[net][access]") {
    const AccessRule rules[] = {rule(false, "0.0.0.0", 0)};
    const AccessRule nobody[] = {everybody(false)};
    World world;
    const std::string path = world.listen_unix({.access = rules});
    Client client(AF_UNIX);
    REQUIRE(client.connect(path));
    REQUIRE(world.until([&] { return world.handler.links.size() == 1; }));
    REQUIRE(world.net.set_limits({.access = nobody}) == Error::kNone);
    Client other(AF_UNIX);
    REQUIRE(other.connect(path));
    REQUIRE(world.until([&] { return other.read().empty() && other.over; }));
    CHECK(world.net.listener_stats(0).refused_access == 1);
}

}  // namespace mqttd
