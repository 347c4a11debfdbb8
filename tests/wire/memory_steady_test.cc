#include "mqttd/limits.h"

#include "support/alloc_guard.h"
#include "support/bare_loop.h"
#include "support/packets.h"
#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

// What a guarded stretch of steady state may cost: nothing.
struct Cost {
    uint64_t system = 0;  // malloc, mmap, brk
    uint64_t pages = 0;   // of the arena
    uint64_t live = 0;    // objects left behind
};

// Warms up, then runs `step` under guard.
template <class Step>
Cost steady(BareLoop& loop, uint32_t warm, uint32_t steps, Step step) {
    for (uint32_t i = 0; i < warm; ++i)
        step(i);
    const uint64_t pages = loop.arena().pages_high();
    const uint64_t live = loop.arena().live();
    const AllocGuard guard;
    for (uint32_t i = 0; i < steps; ++i)
        step(warm + i);
    return {guard.allocations(), loop.arena().pages_high() - pages, loop.arena().live() - live};
}

// A publisher (link 0) and subscribers (the others) of "t" at `qos`.
void meet(BareLoop& loop, uint32_t subscribers, int qos) {
    for (uint32_t i = 0; i <= subscribers; ++i) {
        loop.open(i);
        loop.feed(i, connect("client" + std::to_string(i)));
        if (i > 0)
            loop.feed(i,
                      subscribe(1,
                                {
                                    {"t", qos}
            }));
        loop.turn();
    }
}

uint16_t id_of(uint32_t n) {
    return static_cast<uint16_t>(n % 65'535 + 1);
}

void put_id(std::string& packet, size_t at, uint16_t id) {
    packet[at] = static_cast<char>(id >> 8);
    packet[at + 1] = static_cast<char>(id & 255);
}

}  // namespace

// Promise: in steady state the broker takes no memory from the system, and its own arena does not
// grow, at any QoS and for payloads that are copied, referenced, or larger than a read.
TEST_CASE("steady QoS 0 traffic allocates nothing", "[wire][memory]") {
    for (const size_t size : {size_t{64}, size_t{1'500}, size_t{3'000}, size_t{50'000}}) {
        CAPTURE(size);
        BareLoop loop(World::test_options(), size_t{64} << 20, 5);
        meet(loop, 4, 0);
        std::string run;
        for (int i = 0; i < 4; ++i)
            run += publish({.topic = "t", .payload = std::string(size, 'p')});
        const uint64_t written = loop.written();
        const Cost cost = steady(loop, 100, 2'000, [&](uint32_t) {
            loop.feed(0, run);
            loop.turn();
        });
        REQUIRE(loop.complete());
        REQUIRE(loop.written() - written == 2'100 * 4 * run.size());
        CHECK(cost.system == 0);
        CHECK(cost.pages == 0);
        CHECK(cost.live == 0);
    }
}

// QoS 1 through all packet identifiers once, so that the ring of the window is met at its seam.
TEST_CASE("steady QoS 1 traffic allocates nothing", "[wire][memory]") {
    for (const size_t size : {size_t{64}, size_t{3'000}}) {
        CAPTURE(size);
        BareLoop loop(World::test_options(), size_t{64} << 20, 4);
        meet(loop, 3, 1);
        std::string packet =
            publish({.topic = "t", .payload = std::string(size, 'p'), .qos = 1, .packet_id = 1});
        std::string ack = puback(1);
        const size_t at = packet.size() - size - 2;
        const Cost cost = steady(loop, 1'000, 70'000, [&](uint32_t n) {
            put_id(packet, at, id_of(n));
            put_id(ack, 2, id_of(n));
            loop.feed(0, packet);
            loop.turn();
            for (uint32_t i = 1; i <= 3; ++i)
                loop.feed(i, ack);
            loop.turn();
        });
        REQUIRE(loop.complete());
        REQUIRE(loop.stats().publish_sent_qos[1] == 3 * 71'000);
        REQUIRE(loop.stats().inflight_out == 0);
        CHECK(cost.system == 0);
        CHECK(cost.pages == 0);
        CHECK(cost.live == 0);
    }
}

TEST_CASE("steady QoS 2 traffic allocates nothing", "[wire][memory]") {
    BareLoop loop(World::test_options(), size_t{64} << 20, 3);
    meet(loop, 2, 2);
    std::string packet =
        publish({.topic = "t", .payload = std::string(64, 'p'), .qos = 2, .packet_id = 1});
    std::string rel = pubrel(1);
    std::string rec = pubrec(1);
    std::string comp = pubcomp(1);
    const Cost cost = steady(loop, 1'000, 70'000, [&](uint32_t n) {
        put_id(packet, packet.size() - 66, id_of(n));
        for (std::string* each : {&rel, &rec, &comp})
            put_id(*each, 2, id_of(n));
        loop.feed(0, packet);
        loop.feed(0, rel);
        loop.turn();
        for (uint32_t i = 1; i <= 2; ++i)
            loop.feed(i, rec);
        loop.turn();
        for (uint32_t i = 1; i <= 2; ++i)
            loop.feed(i, comp);
        loop.turn();
    });
    REQUIRE(loop.complete());
    REQUIRE(loop.stats().publish_sent_qos[2] == 2 * 71'000);
    REQUIRE(loop.stats().inflight_out == 0);
    REQUIRE(loop.stats().inflight_in == 0);
    CHECK(cost.system == 0);
    CHECK(cost.pages == 0);
    CHECK(cost.live == 0);
}

// A flood of topics nobody wants, and retained ones that change: the same.
TEST_CASE("fresh topics and changing retained ones leave nothing behind", "[wire][memory]") {
    BareLoop loop(World::test_options(), size_t{64} << 20, 2);
    meet(loop, 1, 0);
    std::string fresh = publish({.topic = "fresh/00000000", .payload = "x"});
    std::string kept =
        publish({.topic = "kept/0", .payload = std::string(200, 'k'), .retain = true});
    const Cost cost = steady(loop, 200, 20'000, [&](uint32_t n) {
        for (uint32_t digit = 0, rest = n; digit < 8; ++digit, rest /= 10) {
            fresh[10 + digit] = static_cast<char>('0' + rest % 10);
        }
        kept[9] = static_cast<char>('0' + n % 8);
        loop.feed(0, fresh);
        loop.feed(0, kept);
        loop.turn();
    });
    REQUIRE(loop.complete());
    CHECK(cost.system == 0);
    CHECK(cost.pages == 0);
    CHECK(cost.live == 0);
}

// Half a kilobyte per idle client is the sum in limits.h; here it is held against the arena's own
// books: identifiers of 28 bytes, own topics of 16, ten thousand clients, at every thousand (tables
// double at different moments).
TEST_CASE("an idle client costs what limits.h says", "[wire][memory]") {
    constexpr uint32_t kClients = 10'000;
    BareLoop loop(World::test_options(), size_t{64} << 20, kClients);
    loop.turn();
    const uint64_t bytes = loop.arena().bytes_used();
    const uint64_t pages = loop.arena().pages_used();
    constexpr uint64_t kOthers = limits::kConnectionBytes + limits::kFileBytes;
    for (uint32_t i = 0; i < kClients; ++i) {
        std::string n = std::to_string(100'000 + i);
        loop.open(i);
        loop.feed(i, connect("client-with-a-long-id-" + n));
        loop.feed(i,
                  subscribe(1,
                            {
                                {"state/of/n" + n, 1}
        }));
        loop.turn();
        if ((i + 1) % 1'000 != 0) continue;
        const uint64_t count = i + 1;
        CAPTURE(count);
        REQUIRE((loop.arena().bytes_used() - bytes) / count + kOthers <= limits::kIdleClientBytes);
        // In pages, where nothing can hide: the last pages of each size class are half full.
        const uint64_t page_bytes = (loop.arena().pages_used() - pages) * Arena::kPageBytes;
        REQUIRE((page_bytes - std::min<uint64_t>(page_bytes, 9 * Arena::kPageBytes)) / count +
                    kOthers <=
                limits::kIdleClientBytes);
    }
    REQUIRE(loop.complete());
    REQUIRE(loop.stats().clients_connected == kClients);
}
