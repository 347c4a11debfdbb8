#include "unit/net/world.h"

#include <algorithm>

namespace mqttd {

using namespace net_test;

namespace {

// Sends `bytes` of filler: one packet as long as that.
std::string one_packet(size_t bytes) {
    return packet(std::string(bytes - 4, 'r'));
}

uint64_t read_bytes(World& world) {
    return world.net.stats().read_bytes;
}

// Turns of `step` ms until `done`; returns how long it took.
Duration run(World& world, Duration step, const std::function<bool()>& done) {
    const Instant began = world.now;
    while (!done()) {
        REQUIRE(world.now - began < 1'000'000);
        world.now += step;
        world.turn();
    }
    return world.now - began;
}

}  // namespace

TEST_CASE("a burst is read at once, what is above it later", "[net][rate]") {
    // 500 bytes, then 1000 a second: at the burst less one, the burst, and one byte more.
    for (const size_t bytes : {499u, 500u, 501u}) {
        World world;
        world.listen({.index = 2, .rate_bytes_s = 1000, .rate_burst_bytes = 500});
        Client client = world.join();
        CHECK(client.send(one_packet(bytes)) == bytes);
        world.settle();
        CHECK(read_bytes(world) == std::min<size_t>(bytes, 500));
        const bool above = bytes > 500;
        CHECK(world.link(0).packets.size() == (above ? 0 : 1));
        CHECK(world.net.idle());
        // At the burst itself nobody knows whether more will come.
        CHECK(world.net.listener_stats(2).rate_paused == (bytes >= 500 ? 1 : 0));
        CHECK(world.net.input_waiting(*world.link(0).outbox) == (bytes >= 500));
        if (!above) continue;
        CHECK(world.net.next_deadline() == world.now + 500);
        world.now += 499;
        world.settle();
        CHECK(read_bytes(world) == 500);
        world.now += 1;
        world.turn();
        CHECK(world.link(0).packets.size() == 1);
        CHECK(world.net.listener_stats(2).rate_paused == 0);
        CHECK(world.net.listener_stats(2).rate_pauses == 1);
        CHECK(world.net.counters().rate_pauses == 1);
    }
}

TEST_CASE("without a burst of its own a second's worth is one", "[net][rate]") {
    World world;
    world.listen({.rate_bytes_s = 700});
    Client client = world.join();
    client.send(one_packet(701));
    world.settle();
    CHECK(read_bytes(world) == 700);
}

TEST_CASE("a steady flood is read at the rate, packet by packet or as one", "[net][rate]") {
    // 20 KB at once, then 50 KB/s; in small packets, and in one that is larger than the burst.
    for (const bool huge : {false, true}) {
        World world;
        world.listen({.rate_bytes_s = 50'000, .rate_burst_bytes = 20'000});
        Client client = world.join();
        world.handler.keep_text = false;
        const size_t total = 220'000;
        std::string bytes;
        while (bytes.size() < total)
            bytes += one_packet(huge ? total : 100);
        const Instant began = world.now;
        size_t at = 0;
        const Duration took = run(world, 10, [&] {
            at += client.send(bytes.substr(at));
            const uint64_t allowed = 20'000 + (world.now - began) * 50;
            REQUIRE(read_bytes(world) <= allowed);
            return read_bytes(world) == total;
        });
        CHECK(took >= 4000);
        CHECK(took <= 4080);  // one pause and one step late at most
        world.settle();
        CHECK(world.link(0).receives > 0);
        CHECK(world.net.stats().pending_input_bytes == 0);
        // Reads of what a pause brings, not of a byte each.
        CHECK(world.net.stats().reads < 150);
    }
}

TEST_CASE("a slow rate is read in pieces worth reading", "[net][rate]") {
    World world;
    world.listen({.rate_bytes_s = 100, .rate_burst_bytes = 1});
    Client client = world.join();
    client.send(one_packet(40));
    const Duration took = run(world, 1, [&] { return read_bytes(world) == 40; });
    CHECK(took >= 390);

    World slow;
    slow.listen({.rate_bytes_s = 1, .rate_burst_bytes = 100});
    Client other = slow.join();
    other.send(one_packet(105));
    CHECK(run(slow, 1, [&] { return read_bytes(slow) == 105; }) <= 5010);
}

TEST_CASE("others are not slowed by one that is above its rate", "[net][rate]") {
    World world;
    world.listen({.rate_bytes_s = 1000, .rate_burst_bytes = 1000});
    Client greedy = world.join();
    Client modest = world.join();
    greedy.send(std::string(100'000, '\0').replace(0, 4, std::string("\x00\x01\x86\xa0", 4)));
    world.settle();
    CHECK(read_bytes(world) == 1000);
    for (int i = 0; i < 9; ++i) {
        modest.send(one_packet(100));
        REQUIRE(world.until(
            [&] { return world.link(1).packets.size() == static_cast<size_t>(i) + 1; }));
    }
    CHECK(read_bytes(world) == 1900);
    CHECK(world.net.listener_stats(0).rate_paused == 1);
}

TEST_CASE("a paused connection costs nothing and still writes", "[net][rate]") {
    // No turn finds anything to do for it; what is for it leaves.
    World world;
    world.listen({.rate_bytes_s = 10, .rate_burst_bytes = 10});
    Client client = world.join();
    client.send(one_packet(1000));
    world.settle();
    const uint64_t reads = world.net.stats().reads;
    for (int i = 0; i < 20; ++i) {
        client.send("more");  // edges come and change nothing
        world.turn(1);
        CHECK(world.net.idle());
    }
    CHECK(world.net.stats().reads == reads);
    world.say(world.link(0), "news");
    std::string got;
    REQUIRE(world.until([&] {
        got += client.read();
        return got == "news";
    }));
}

TEST_CASE("resume does not end a pause", "[net][rate]") {
    // The core resumes a silent link before it judges its keep-alive; it is told to wait.
    World world;
    world.listen({.rate_bytes_s = 100, .rate_burst_bytes = 100});
    Client client = world.join();
    client.send(one_packet(150));
    world.settle();
    for (int i = 0; i < 5; ++i) {
        CHECK(world.net.input_waiting(*world.link(0).outbox));
        world.net.resume(*world.link(0).outbox);
        world.now += 10;
        world.turn();
        CHECK(read_bytes(world) == 100);
        CHECK(world.net.input_waiting(*world.link(0).outbox));
        CHECK(world.net.listener_stats(0).rate_pauses == 1);
    }
    world.now += 950;
    world.turn();
    CHECK(world.link(0).packets.size() == 1);
    world.settle();
    CHECK(!world.net.input_waiting(*world.link(0).outbox));
}

TEST_CASE("a pause and a stop of the protocol do not undo each other", "[net][rate]") {
    World world;
    world.listen({.rate_bytes_s = 100, .rate_burst_bytes = 100});
    Client client = world.join();
    Link& link = world.link(0);
    link.stop = StopReason::kParked;
    link.allowance = 1;
    client.send(one_packet(40) + one_packet(60) + one_packet(20));
    world.settle();
    CHECK(read_bytes(world) == 100);
    CHECK(link.packets.size() == 1);
    world.now += 5000;
    world.settle();  // parked: no pause ends that
    CHECK(read_bytes(world) == 100);
    link.allowance = 10;
    world.net.resume(*link.outbox);
    REQUIRE(world.until([&] { return link.packets.size() == 3; }));

    // The rate is lifted and the link resumed before its pause is over; then the protocol stops it,
    // and the end of the pause has to leave that alone.
    World other;
    other.listen({.rate_bytes_s = 100, .rate_burst_bytes = 100});
    Client second = other.join();
    Link& parked = other.link(0);
    second.send(one_packet(100) + one_packet(20) + one_packet(20));
    other.settle();
    REQUIRE(parked.packets.size() == 1);
    REQUIRE(other.net.set_limits({}) == Error::kNone);
    parked.stop = StopReason::kParked;
    parked.allowance = 1;
    other.net.resume(*parked.outbox);
    other.settle();
    CHECK(parked.packets.size() == 2);
    other.now += 1000;
    parked.allowance = 10;
    other.settle();
    CHECK(parked.packets.size() == 2);
    CHECK(other.net.listener_stats(0).rate_paused == 0);
    other.net.resume(*parked.outbox);
    REQUIRE(other.until([&] { return parked.packets.size() == 3; }));
}

TEST_CASE("a paused connection may end in every way", "[net][rate]") {
    // Reset, closed by the server, by the end of net; nothing stays paused or allocated.
    for (const int way : {0, 1, 2, 3}) {
        World world;
        world.listen({.rate_bytes_s = 10, .rate_burst_bytes = 100});
        const uint64_t live = world.arena.live();
        Client client = world.join();
        client.send(one_packet(90) + one_packet(90));
        world.settle();
        REQUIRE(world.net.listener_stats(0).rate_paused == 1);
        CHECK(world.net.stats().pending_input_bytes > 0);
        if (way == 0) client.reset();
        if (way == 1) world.net.close(*world.link(0).outbox, Error::kAdministrative);
        if (way == 2) world.net.close(*world.link(0).outbox, Error::kNone);
        if (way == 3) client.close();
        world.settle();
        if (way == 3) {
            // The end of file is behind the input.
            CHECK(world.link(0).closes == 0);
            run(world, 100, [&] { return world.link(0).closes == 1; });
            CHECK(world.link(0).packets.size() == 2);
            CHECK(world.link(0).why == Error::kEndOfFile);
        }
        if (way == 1) world.now += 2000;
        world.settle();
        CHECK(world.link(0).closes == 1);
        if (way == 0) CHECK(world.link(0).why == Error::kReset);
        CHECK(world.net.listener_stats(0).rate_paused == 0);
        CHECK(world.net.connections() == 0);
        CHECK(world.net.next_deadline() == kNever);
        CHECK(world.arena.live() == live);
    }
    World world;
    world.listen({.rate_bytes_s = 10, .rate_burst_bytes = 100});
    Client client = world.join();
    client.send(one_packet(200));
    world.settle();
}

TEST_CASE("a rate can be set, changed and lifted while a listener serves", "[net][rate]") {
    World world;
    world.listen({.index = 9});
    Client client = world.join();
    client.send(one_packet(5000));
    REQUIRE(world.until([&] { return world.link(0).packets.size() == 1; }));
    REQUIRE(world.net.set_limits({.index = 9, .rate_bytes_s = 1000}) == Error::kNone);
    client.send(one_packet(5000));
    world.settle();
    CHECK(read_bytes(world) == 6000);
    REQUIRE(world.net.set_limits({.index = 9}) == Error::kNone);
    world.now += 1000;
    world.settle();
    CHECK(world.link(0).packets.size() == 2);
    client.send(one_packet(100'000));
    REQUIRE(world.until([&] { return world.link(0).packets.size() == 3; }));
}

TEST_CASE("a meter is made with the first byte and is 32 bytes", "[net][rate]") {
    World world;
    world.listen({.rate_bytes_s = 1000});
    std::vector<Client> clients;
    clients.push_back(world.join());
    const uint64_t before = world.arena.bytes_used();
    for (int i = 0; i < 20; ++i)
        clients.push_back(world.join());
    CHECK(world.arena.bytes_used() - before == 20 * 112);
    for (Client& client : clients)
        client.send(one_packet(10));
    world.settle();
    CHECK(world.arena.bytes_used() - before == 20 * 112 + 21 * 32);
}

TEST_CASE("without memory for its meter a connection ends", "[net][rate]") {
    World world;
    world.listen({.rate_bytes_s = 1000});
    Client client = world.join();
    world.arena.refuse_nth(1);
    client.send(one_packet(10));
    REQUIRE(world.until([&] { return world.link(0).closes == 1; }));
    CHECK(world.link(0).why == Error::kNoMemory);
    CHECK(world.link(0).packets.empty());
    world.arena.refuse_nth(0);
    Client next = world.join();
    next.send(one_packet(10));
    REQUIRE(world.until([&] { return world.link(1).packets.size() == 1; }));
}

TEST_CASE("a rate holds on Unix sockets, too", "[net][rate]") {
    World world;
    const std::string path = world.listen_unix({.rate_bytes_s = 100, .rate_burst_bytes = 100});
    Client client(AF_UNIX);
    REQUIRE(client.connect(path));
    REQUIRE(world.until([&] { return world.handler.links.size() == 1; }));
    client.send(one_packet(150));
    world.settle();
    CHECK(read_bytes(world) == 100);
    CHECK(run(world, 10, [&] { return world.link(0).packets.size() == 1; }) <= 1010);
}

}  // namespace mqttd
