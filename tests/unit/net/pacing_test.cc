#include "base/prng.h"
#include "net/pause_ring.h"
#include "unit/net/world.h"

#include <algorithm>
#include <map>

namespace mqttd {

using namespace net_test;

namespace {

Meter full(Rate rate, Instant now) {
    Meter meter;
    meter.fill(rate, now);
    return meter;
}

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

// ---- The bucket
// ------------------------------------------------------------------------------------

TEST_CASE("a bucket gains its rate exactly, however often it is looked at", "[net][rate]") {
    // Thousandths of a token are kept: 1 B/s looked at every millisecond is 1 B/s.
    for (const uint32_t per_second : {1u, 3u, 999u, 1000u, 1001u, 50'000u, 4'294'967'295u}) {
        for (const Duration step : {Duration{1}, Duration{7}, Duration{999}, Duration{60'000}}) {
            const Rate rate = {~uint32_t{0}, per_second};
            Meter meter = full(rate, 0);
            meter.tokens = 0;
            const Instant end = step * 50;
            for (Instant now = step; now <= end; now += step)
                meter.refill(rate, now);
            const uint64_t exact = end * per_second / 1000;
            INFO(per_second << " B/s in steps of " << step);
            REQUIRE(meter.tokens == std::min<uint64_t>(exact, rate.burst));
        }
    }
}

TEST_CASE("a bucket never holds more than its burst", "[net][rate]") {
    const Rate rate = {100, 1000};
    Meter meter = full(rate, 0);
    CHECK(meter.tokens == 100);
    meter.refill(rate, 1'000'000);
    CHECK(meter.tokens == 100);
    meter.spend(100);
    meter.refill(rate, 1'000'099);
    CHECK(meter.tokens == 99);
    meter.refill(rate, 1'000'100);
    CHECK(meter.tokens == 100);
    meter.refill(rate, 1'000'101);
    CHECK(meter.tokens == 100);
    CHECK(meter.thousandths == 0);
}

TEST_CASE("a bucket whose burst was lowered is cut to it", "[net][rate]") {
    Meter meter = full({1000, 10}, 0);
    meter.refill({100, 10}, 1);
    CHECK(meter.tokens == 100);
    meter.spend(1000);
    CHECK(meter.tokens == 0);
}

TEST_CASE("a bucket's clock may wrap", "[net][rate]") {
    const Rate rate = {1000, 1000};
    Meter meter = full(rate, 0xffff'fff0);
    meter.spend(1000);
    meter.refill(rate, 0x1'0000'0010);
    CHECK(meter.tokens == 32);
}

TEST_CASE("a pause is worth its while and a second at most", "[net][rate]") {
    // As long as the bucket needs to hold what is worth a read, not one millisecond less.
    for (const uint32_t burst : {1u, 2u, 100u, 1024u, 100'000u, 4'294'967'295u}) {
        for (const uint32_t per_second : {1u, 2u, 50u, 1024u, 16'384u, 50'000u, 4'294'967'295u}) {
            const Rate rate = {burst, per_second};
            Meter meter = full(rate, 0);
            meter.spend(burst);
            const Duration pause = meter.pause(rate);
            INFO("burst " << burst << ", " << per_second << " B/s: " << pause << " ms");
            REQUIRE(pause >= 1);
            REQUIRE(pause <= 1000);
            const uint32_t worth =
                std::min(burst, std::max(per_second / 16, std::min(per_second, 1024u)));
            Meter before = meter;
            if (pause > 1) {
                before.refill(rate, pause - 1);
                REQUIRE(before.tokens < worth);
            }
            meter.refill(rate, pause);
            REQUIRE(meter.tokens >= worth);
        }
    }
}

// ---- The ring
// --------------------------------------------------------------------------------------

TEST_CASE("a pause ends at or after its time, at most a tick late", "[net][rate]") {
    // Against a slow, obvious model; with meters taken out in mid-pause and time in leaps.
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        INFO("seed " << seed);
        Prng prng(seed);
        const auto ring = std::make_unique<PauseRing>();
        std::vector<std::unique_ptr<Meter>> meters;
        for (int i = 0; i < 200; ++i)
            meters.push_back(std::make_unique<Meter>());
        std::map<Meter*, Instant> model;
        Instant now = prng.below(100'000);
        ring->advance(now);
        for (int round = 0; round < 2000; ++round) {
            Meter& meter = *meters[prng.below(200)];
            if (!meter.hook.linked()) {
                const Duration pause = 1 + prng.below(1000);
                ring->add(meter, now, pause);
                model[&meter] = now + pause;
            } else if (prng.below(4) == 0) {
                ring->remove(meter);
                model.erase(&meter);
            }
            Instant first = kNever;
            for (const auto& [which, deadline] : model)
                first = std::min(first, deadline);
            const Instant told = ring->next_deadline();
            REQUIRE((first == kNever ? told == kNever : told >= first && told < first + 4));
            now += prng.below(10) == 0 ? prng.below(5000) : prng.below(12);
            ring->advance(now);
            while (Meter* due = ring->take()) {
                REQUIRE(model.at(due) <= now);
                model.erase(due);
            }
            for (const auto& [which, deadline] : model)
                REQUIRE(deadline + 4 > now);
            REQUIRE(ring->size() == model.size());
        }
    }
}

TEST_CASE("what is not taken in one turn is due in the next", "[net][rate]") {
    const auto ring = std::make_unique<PauseRing>();
    std::vector<std::unique_ptr<Meter>> meters;
    ring->advance(1000);
    for (uint32_t i = 0; i < 300; ++i) {
        meters.push_back(std::make_unique<Meter>());
        ring->add(*meters.back(), 1000, 1 + i * 3);
    }
    uint32_t taken = 0;
    for (Instant now = 3000; taken < 300; ++now) {
        ring->advance(now);
        CHECK(ring->next_deadline() <= now);
        for (int i = 0; i < 7 && taken < 300; ++i, ++taken)
            REQUIRE(ring->take() != nullptr);
    }
    CHECK(ring->take() == nullptr);
    CHECK(ring->next_deadline() == kNever);
}

// ---- Connections
// -----------------------------------------------------------------------------------

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

    // Paused first, then stopped from within what was kept.
    World other;
    other.listen({.rate_bytes_s = 100, .rate_burst_bytes = 100});
    Client second = other.join();
    Link& paused = other.link(0);
    second.send(one_packet(100) + one_packet(20) + one_packet(20));
    other.settle();
    CHECK(paused.packets.size() == 1);
    paused.stop = StopReason::kParked;
    paused.allowance = 0;
    other.now += 1000;
    other.settle();
    CHECK(paused.packets.size() == 1);
    CHECK(other.net.idle());
    other.now += 1000;
    other.settle();
    CHECK(paused.packets.size() == 1);
    paused.allowance = 10;
    other.net.resume(*paused.outbox);
    REQUIRE(other.until([&] { return paused.packets.size() == 3; }));
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
