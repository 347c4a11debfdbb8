#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

BrokerOptions small_slices(uint32_t slice = 3) {
    BrokerOptions options = World::test_options();
    options.fanout_slice = slice;
    return options;
}

// `count` connected clients named by a prefix and a number, all subscribed to `filter`.
std::deque<FakeConnection*> crowd(
    World& world, const std::string& prefix, uint32_t count, const std::string& filter, int qos) {
    std::deque<FakeConnection*> all;
    for (uint32_t i = 0; i < count; ++i) {
        all.push_back(&world.connection());
        all.back()->push(connect(prefix + std::to_string(i)) + subscribe(1,
                                                                         {
                                                                             {filter, qos}
        }));
    }
    world.settle();
    for (auto* each : all) {
        REQUIRE(each->received() == "CONNACK(0) SUBACK(1," + std::to_string(qos) + ")");
    }
    return all;
}

}  // namespace

// The publisher may go in mid-job, in any way: its message still reaches everybody, its will comes
// behind it, and the next client of that name is not stopped.
TEST_CASE("a publisher that goes leaves its fan-out job running", "[wire][engine]") {
    for (const int way : {0, 1, 2}) {
        for (const int qos : {0, 1}) {
            CAPTURE(way, qos);
            World world(small_slices());
            auto all = crowd(world, "s", 50, "t", qos);
            Connect fields;
            fields.client_id = "publisher";
            fields.will_topic = "other";
            fields.will_payload = "will";
            auto& publisher = world.client(fields);
            publisher.push(publish({.topic = "t", .payload = "m", .qos = qos, .packet_id = 1}));
            world.turn();
            REQUIRE(publisher.stopped() == StopReason::kFanout);
            if (way == 0) publisher.hang_up(Error::kReset);
            if (way == 2) {
                auto& taker = world.connection();
                taker.push(connect("publisher"));
                world.turn();
                REQUIRE_FALSE(publisher.open());
                taker.push(pingreq());
                world.settle();
                REQUIRE(taker.received() == "CONNACK(0) PINGRESP");
            }
            if (way == 1) {
                world.end();
            } else {
                world.settle();
            }
            const std::string message = qos == 0 ? "PUBLISH(t,m,q0)" : "PUBLISH(t,m,q1,id1)";
            if (way != 1) {
                for (auto* each : all)
                    REQUIRE(each->received() == message);
            }
            REQUIRE(world.end() == 0);
        }
    }
}
