// conf/emqttd-seed.conf at work: what its listener acts on, from the very file, on real sockets in
// virtual time. What the core acts on is in emqttd_seed_test.cc.

#include "server/settings.h"
#include "support/emqttd_seed.h"
#include "unit/net/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::net_test;

namespace {

void listen_as_seed(net_test::World& world) {
    world.listen(emqttd_seed().limits()[0], listen_options(emqttd_seed().config().listeners.at(0)));
}

}  // namespace

TEST_CASE("seed: a connection sends 100 KiB at once, then 50 KiB a second", "[net][seed]") {
    // rate_limit 100,50: to the byte, in the middle of a packet, too
    net_test::World world;
    listen_as_seed(world);
    const std::string bytes = packet(std::string(500 * 1024, 'r'));
    Client client;
    REQUIRE(client.connect(world.port));
    size_t at = 0;
    const auto read_all_there_is = [&] {
        uint64_t before = ~uint64_t{0};
        while (before != world.net.stats().read_bytes) {
            before = world.net.stats().read_bytes;
            at += client.send(bytes.substr(at));
            world.settle();
        }
        return before;
    };
    REQUIRE(world.until([&] {
        at += client.send(bytes.substr(at));
        return world.net.stats().read_bytes > 0;
    }));
    REQUIRE(read_all_there_is() == 100 * 1024);
    REQUIRE(world.net.listener_stats(0).rate_paused == 1);
    for (uint64_t ms = 0; ms < 4'000; ms += 100) {
        world.now += 100;
        REQUIRE(read_all_there_is() == 100 * 1024 + (ms + 100) * 50 * 1024 / 1000);
    }
    // Who was silent for a minute may send his 100 KiB again, and no more.
    world.now += 60'000;
    REQUIRE(read_all_there_is() == 400 * 1024);
}

TEST_CASE("seed: 64 connections are accepted in a turn", "[net][seed]") {
    // accept_batch 64: the 65th in the next one
    for (const size_t count : {63u, 64u, 65u}) {
        net_test::World world;
        listen_as_seed(world);
        std::vector<Client> clients(count);
        for (Client& client : clients) {
            REQUIRE(client.connect(world.port));
            client.send("x");  // accepted with the first bytes
        }
        REQUIRE(world.until([&] { return !world.handler.links.empty(); }));
        CHECK(world.handler.links.size() == std::min<size_t>(count, 64));
        world.turn();
        CHECK(world.handler.links.size() == count);
    }
}

TEST_CASE("seed: a million connections are allowed, from everywhere", "[net][seed]") {
    // max_connections 1000000, listener_access allow all; nothing else in the file caps them
    const ListenerLimits& limits = emqttd_seed().limits()[0];
    CHECK(limits.max_connections == 1'000'000);
    CHECK(net_options(emqttd_seed().config(), 2'000'000, 10).max_connections == -1);
    REQUIRE(limits.access.size() == 1);
    CHECK(limits.access[0].allow);
    CHECK(limits.access[0].prefix == 0);
    Peer peer;
    for (const auto family : {Peer::kIpv4, Peer::kIpv6, Peer::kUnix}) {
        peer.family = family;
        CHECK(access_allowed(limits.access, peer));
    }
    net_test::World world;
    listen_as_seed(world);
    Client client;
    REQUIRE(client.connect(world.port, "127.9.8.7"));
    client.send(packet("hello"));
    REQUIRE(world.until([&] { return world.handler.links.size() == 1; }));
    CHECK(world.net.listener_stats(0).refused_access == 0);
}

TEST_CASE("seed: the kernel is asked to keep 1024 connections waiting", "[net][seed]") {
    // backlog 1024; what the kernel makes of it is seen in tests/e2e/emqttd_seed_test.py
    CHECK(listen_options(emqttd_seed().config().listeners.at(0)).backlog == 1024);
}
