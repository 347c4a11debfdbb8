// slow_consumer pause where shared groups are among the receivers.

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <deque>
#include <string>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

BrokerOptions pausing() {
    BrokerOptions options = World::test_options();
    options.slow_consumer = SlowConsumer::kPause;
    return options;
}

FakeConnection& reader(World& world, std::string_view id, std::string_view filter) {
    auto& connection = world.client(id, false);
    connection.send(sub3(filter, 1));
    connection.take_output();
    return connection;
}

void block(FakeConnection& connection) {
    connection.set_room(0);
    connection.send(packets::pingreq());
    REQUIRE(connection.blocked());
}

void unblock(World& world, FakeConnection& connection) {
    connection.set_room(~uint64_t{0});
    world.settle();
    REQUIRE(connection.take_output().starts_with("\xd0"));
}

const std::string kOne = packets::publish({.topic = "t", .payload = "x"});

}  // namespace

// Beside a plain subscriber who does not read there may be a group with somebody who does, on the
// same filter or another one.
TEST_CASE("a group with a reader keeps its publisher going", "[wire][engine][shared]") {
    for (const char* filter : {"$share/g/t", "$share/g/+", "$queue/t"}) {
        CAPTURE(filter);
        World world(pausing());
        auto& slow = reader(world, "slow", "t");
        auto& member = reader(world, "member", filter);
        auto& other = reader(world, "other", filter);
        block(slow);
        block(other);
        auto& w = world.client("w");
        w.send(kOne);
        CHECK(member.received() == "PUBLISH(t,x,q0)");
        world.advance(10'000);
        CHECK(w.stopped() == StopReason::kNone);
        // The last one who reads.
        block(member);
        w.send(kOne);
        CHECK(w.stopped() == StopReason::kSlowConsumer);
        CHECK(world.stats().paused_publishers == 1);
        unblock(world, other);
        world.advance(1'000);
        CHECK(w.stopped() == StopReason::kNone);
        CHECK(other.received().empty());  // `unblock` has taken it with the answer
        CHECK(world.stats().paused_publishers == 0);
        CHECK(world.end() == 0);
    }
}

// A group alone: paused while none of its members reads, not for those who are absent, and not once
// nobody is connected.
TEST_CASE("a group whose members do not read pauses its publisher", "[wire][engine][shared]") {
    World world(pausing());
    auto& a = reader(world, "a", "$share/g/t");
    auto& b = reader(world, "b", "$share/g/t");
    auto& away = reader(world, "away", "$share/g/t");
    away.hang_up();
    block(a);
    auto& w = world.client("w");
    w.send(kOne);
    CHECK(b.received() == "PUBLISH(t,x,q0)");
    block(b);
    w.send(kOne + kOne);
    CHECK(w.stopped() == StopReason::kSlowConsumer);
    world.advance(10'000);
    CHECK(w.stopped() == StopReason::kSlowConsumer);
    SECTION("until one reads") {
        a.set_room(~uint64_t{0});
        world.settle();
        CHECK(a.received() == "PINGRESP PUBLISH(t,x,q0) PUBLISH(t,x,q0)");
    }
    SECTION("until they are gone") {
        a.hang_up();
        b.hang_up();
        world.advance(1'000);
        CHECK(world.stats().drops[static_cast<uint32_t>(Drop::kNoMember)] == 2);
    }
    SECTION("until another one comes") {
        auto& c = reader(world, "c", "$share/g/t");
        world.advance(1'000);
        CHECK(c.received() == "PUBLISH(t,x,q0) PUBLISH(t,x,q0)");
    }
    CHECK(w.stopped() == StopReason::kNone);
    CHECK(world.end() == 0);
}

// It looks at 64 receivers in all, members of groups counted: beyond that one of them reads.
TEST_CASE("a pause looks at so many receivers", "[wire][engine][shared]") {
    for (const int members : {63, 64, 65}) {
        for (const bool plain : {false, true}) {
            CAPTURE(members, plain);
            World world(pausing());
            std::deque<FakeConnection*> all;
            for (int i = 0; i < members; ++i) {
                const std::string filter = "$share/g" + std::to_string(i % 7) + "/t";
                const bool first = plain && i == 0;
                all.push_back(&reader(world, "m" + std::to_string(i), first ? "t" : filter));
            }
            for (auto* each : all)
                block(*each);
            auto& w = world.client("w");
            w.send(kOne);
            CHECK((w.stopped() == StopReason::kSlowConsumer) == (members <= 64));
            CHECK(world.end() == 0);
        }
    }
}
