#include "unit/net/world.h"

namespace mqttd {

using namespace net_test;

namespace {

// A small day: partial packets, a large one, a stop, a blocked reader, a lingering close.
// Nothing is required of it but that it ends.
void live(World& world) {
    world.handler.on_packet = [&world](Link& link, const Range& range) {
        if (world.handler.links.empty()) return;
        Outbox* to = world.handler.links.front()->outbox;
        if (to != nullptr && to->append(world.arena, range)) world.dirty.add_delivery(*to);
        if (range.size() == 3) world.net.close(*link.outbox, Error::kProtocolError);
    };
    std::vector<Client> clients(4);
    for (Client& client : clients)
        client.connect(world.port);
    for (int i = 0; i < 3; ++i)
        world.turn(1);
    const std::string large = packet(std::string(200'000, 'l'));
    const std::string medium = packet(std::string(3000, 'm'));
    for (size_t at = 0; at < large.size(); at += 50'000) {
        clients[1].send(large.substr(at, 50'000));
        clients[2].send(medium.substr(0, 1000));
        world.turn(1);
        clients[2].send(medium.substr(1000));
        world.turn(1);
    }
    if (world.handler.links.size() > 2) {
        Link& link = world.link(2);
        link.stop = StopReason::kRate;
        link.allowance = 0;
        clients[2].send(medium + medium);
        world.turn(1);
        link.allowance = 100;
        if (link.outbox != nullptr) world.net.resume(*link.outbox);
    }
    for (int i = 0; i < 60; ++i) {
        clients[1].send(large);
        world.turn(0);
    }
    clients[3].send(packet("bad"));
    for (int i = 0; i < 4; ++i)
        world.turn(1);
    clients[0].read();
    clients[2].close();
    for (int i = 0; i < 4; ++i)
        world.turn(1);
    world.now += 5000;
    for (int i = 0; i < 2; ++i)
        world.turn(0);
}

}  // namespace

TEST_CASE("the n-th allocation refused, for every n: nothing breaks, nothing leaks", "[net]") {
    // Each refusal has an answer: the connection it hit goes, the others and the books stay whole.
    // Without a rate and with one, which gives each connection a meter.
    const uint32_t rate = GENERATE(0u, 400'000u);
    uint64_t allocations = 1;
    for (uint64_t n = 0; n <= allocations; ++n) {
        INFO("n = " << n << ", rate = " << rate);
        World world({}, 16u << 20);
        world.listen({.rate_bytes_s = rate, .rate_burst_bytes = 50'000});
        const uint64_t before = world.arena.allocations();
        const uint64_t live_before = world.arena.live();
        world.arena.refuse_nth(n);
        live(world);
        if (n == 0) allocations = std::min<uint64_t>(world.arena.allocations() - before, 400);
        world.arena.refuse_nth(0);
        world.net.close_all(Error::kShuttingDown);
        world.turn();
        world.now += 5000;
        world.turn();
        REQUIRE(world.net.connections() == 0);
        REQUIRE(world.net.open_links() == 0);
        REQUIRE(world.net.listener_stats(0).rate_paused == 0);
        REQUIRE(world.net.stats().pending_input_bytes == 0);
        REQUIRE(world.arena.live() == live_before);
        for (auto& link : world.handler.links)
            REQUIRE(link->closes == 1);
    }
}

TEST_CASE("an arena that is full closes the links it cannot keep input for", "[net]") {
    // The others are served, and when there is memory again new ones are let in.
    World world({}, 2u << 20);
    world.listen();
    Client idle = world.join();
    Client victim = world.join();
    std::vector<void*> blocks;
    while (void* block = world.arena.allocate(16))
        blocks.push_back(block);
    while (void* block = world.arena.allocate(4096))
        blocks.push_back(block);
    while (void* block = world.arena.allocate(128))
        blocks.push_back(block);
    std::string part = packet(std::string(60'000, 'v'));
    victim.send(part.substr(0, 20'000));
    REQUIRE(world.until([&] { return world.link(1).closes == 1; }));
    CHECK(world.link(1).why == Error::kNoMemory);
    CHECK(world.net.counters().closed_no_memory == 1);
    idle.send(packet("served"));
    REQUIRE(world.until([&] { return world.link(0).packets.size() == 1; }));
    for (void* block : blocks)
        world.arena.release(block);
    Client next = world.join();
    CHECK(world.handler.links.size() == 3);
}

TEST_CASE("a connection there is no memory for is closed at once, and the log says so", "[net]") {
    // Not "above every cap": the operator would look at the wrong key.
    World world;
    world.listen();
    Client held = world.join();
    world.arena.refuse_nth(1);
    Client client;
    REQUIRE(client.connect(world.port));
    REQUIRE(
        world.until([&] { return client.read().empty() && (client.over || client.error != 0); }));
    CHECK(world.net.counters().accept_no_memory == 1);
    CHECK(world.net.stats().accept_refused == 0);
    CHECK(world.last_line ==
          "connections are closed at once: no memory is left for them (1 connections)");
    CHECK(world.net.connections() == 1);
    world.arena.refuse_nth(0);
    Client next = world.join();
    CHECK(world.net.connections() == 2);
}

TEST_CASE("an idle connection holds its 112 bytes and nothing else", "[net]") {
    World world;
    world.listen();
    Client first = world.join();
    const uint64_t before = world.arena.bytes_used();
    std::vector<Client> clients;
    for (int i = 0; i < 20; ++i)
        clients.push_back(world.join());
    CHECK(world.arena.bytes_used() - before == 20 * 112);
}

}  // namespace mqttd
