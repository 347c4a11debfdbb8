// A reload in the middle of a fan-out job: the job goes on under the options it began with.

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <deque>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

// Durable sessions and members of a group, all subscribed to "t".
struct Crowd {
    Crowd(World& world, int count) {
        for (int i = 0; i < count; ++i) {
            auto& alone = world.client("s" + std::to_string(i), false);
            alone.send(sub3("t", 1));
            alone.take_output();
            all.push_back(&alone);
            auto& member = world.client("m" + std::to_string(i), false);
            member.send(sub3("$share/g" + std::to_string(i) + "/t", 1));
            member.take_output();
            all.push_back(&member);
        }
    }

    std::deque<FakeConnection*> all;
};

uint64_t drops(const World& world, Drop reason) {
    return world.stats().drops[static_cast<uint32_t>(reason)];
}

// How often receivers, who are there or not, got or will get something.
uint64_t told(const World& world) {
    return world.stats().publish_sent + world.stats().queued + drops(world, Drop::kOffline) +
           drops(world, Drop::kNoMember);
}

}  // namespace

// Each option goes on or off, or both do, in any turn of the job; the wire bytes of QoS 0 stay what
// they are, messages that are kept stay kept, and what is published afterwards obeys the new ones.
TEST_CASE("a job keeps the options it began with", "[wire][engine]") {
    constexpr int kCount = 10;
    for (const bool away : {false, true}) {
        for (const int from : {0, 1, 2, 3}) {
            for (const int to : {0, 1, 2, 3}) {
                for (const int turns : {1, 2, 4}) {
                    CAPTURE(away, from, to, turns);
                    BrokerOptions options = World::test_options();
                    options.fanout_slice = 3;
                    options.upgrade_outgoing_qos = (from & 1) != 0;
                    options.queue_qos0_messages = (from & 2) != 0;
                    World world(options);
                    Crowd crowd(world, kCount);
                    for (auto* each : crowd.all)
                        if (away) each->hang_up();
                    auto& writer = world.client("w");
                    writer.push(packets::publish({.topic = "t", .payload = "1"}) +
                                packets::publish({.topic = "t", .payload = "2"}));
                    for (int i = 0; i < turns; ++i)
                        world.turn();
                    REQUIRE(world.stats().fanout_jobs_now == 1);
                    options.upgrade_outgoing_qos = (to & 1) != 0;
                    options.queue_qos0_messages = (to & 2) != 0;
                    world.broker().reconfigure(options);
                    world.settle();
                    REQUIRE(world.stats().fanout_jobs_now == 0);
                    CHECK(told(world) == 2 * 2 * kCount);
                    if (from == 0 && to == 1 && away) {
                        // A run of two as it came: nothing of it is kept.
                        CHECK(world.stats().queued == 0);
                    }
                    if (from == 3 && away) CHECK(world.stats().queued >= 2 * kCount);
                    for (auto* each : crowd.all)
                        each->take_output();
                    writer.send(packets::publish({.topic = "t", .payload = "3"}));
                    if (!away) {
                        const std::string qos = (to & 1) != 0 ? "q1,id" : "q0)";
                        for (auto* each : crowd.all)
                            CHECK(each->received().starts_with("PUBLISH(t,3," + qos));
                    }
                    CHECK(world.end() == 0);
                }
            }
        }
    }
}
