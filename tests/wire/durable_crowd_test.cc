// One message to a hundred thousand sessions that are away: who else is there is served meanwhile,
// its publisher hears of it when all of them are safe, and a power cut finds either.

#include "support/sanitized.h"
#include "support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

constexpr uint32_t kCrowd = kSanitized ? 10'000 : 100'000;

// Sessions that subscribed and went.
void gather(World& world) {
    FakeConnection& stays = world.client("stays");
    for (uint32_t i = 0; i < kCrowd;) {
        for (const uint32_t end = std::min(i + 5'000, kCrowd); i < end; ++i) {
            const std::string name = "away" + std::to_string(i);
            world.connection().push(connect(name, false) + subscribe(1,
                                                                     {
                                                                         {"all", 1}
            }));
        }
        world.settle();
        world.hang_up_all_but(stays);
    }
    stays.hang_up();
}

std::string message_of(uint16_t id, bool dup = false) {
    return publish({.topic = "all", .payload = "news", .qos = 1, .packet_id = id, .dup = dup});
}

}  // namespace

TEST_CASE("a message to a hundred thousand absent sessions", "[wire][durable][crowd]") {
    constexpr size_t kMemory = size_t{512} << 20;
    FakeJournal journal(uint64_t{8} << 20);
    FakeJournal middle;  // as it is when it is cut off in the middle: nobody was told anything
    BrokerOptions options = World::test_options();
    auto world = std::make_unique<World>(options, kMemory, &journal);
    gather(*world);
    REQUIRE(world->stats().sessions == kCrowd);
    // In a world without the gone connections, which its turns would look at.
    world = nullptr;
    world = std::make_unique<World>(options, kMemory, &journal);

    auto& writer = world->client("writer", false);
    auto& other = world->client("other");
    uint32_t turns = 0;
    uint64_t before = 0;
    writer.push(message_of(1));
    std::string answers;
    while (answers.empty()) {
        REQUIRE(++turns < 1'000);
        other.push(pingreq());
        world->turn();
        CHECK(other.received() == "PINGRESP");  // every turn
        CHECK(world->stats().queued - before <= options.turn_units);
        before = world->stats().queued;
        answers = writer.received();
        if (turns == 2) middle = journal;
    }
    CHECK(answers == "PUBACK(1)");
    CHECK(turns >= kCrowd / options.turn_units);
    CHECK(world->stats().queued == kCrowd);

    world = nullptr;
    journal.cut();
    world = std::make_unique<World>(options, kMemory, &journal);
    CHECK(world->restored().sessions == kCrowd + 1);
    CHECK(world->restored().queued == kCrowd);  // all, since it was acknowledged
    world = nullptr;

    middle.cut();
    world = std::make_unique<World>(options, kMemory, &middle);
    const uint64_t some = world->restored().queued;
    CHECK(some < kCrowd);
    // Its publisher comes back and says it again: nobody goes without.
    auto& again = world->connection();
    again.send(connect("writer", false));
    (void)again.received();
    again.send(message_of(1, true));
    CHECK(again.received() == "PUBACK(1)");
    CHECK(world->stats().queued == kCrowd + some);
}
