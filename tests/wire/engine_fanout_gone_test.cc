#include "support/world.h"

#include <algorithm>
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

// A takeover frees the client from the stop behind its job, but what it publishes then, and the
// will of the connection that went, may not come before what the job hands out. Nor if it was there
// in between and said nothing.
TEST_CASE("nothing of a client overtakes its fan-out job", "[wire][engine][MQTT-4.6.0-5]") {
    const auto said = [](const std::string& payload, int qos, uint16_t id) {
        const Publish one{.topic = "t", .payload = payload, .qos = qos, .packet_id = id};
        return publish(one) + (qos == 2 ? pubrel(id) : "");
    };
    for (const bool clean : {false, true}) {
        for (const int qos : {0, 1, 2}) {
            for (const bool twice : {false, true}) {
                for (const int turns : {1, 2, 3, 5}) {
                    CAPTURE(clean, qos, twice, turns);
                    World world(small_slices(40));
                    auto all = crowd(world, "s", 20, "t", qos);
                    auto& first = world.client({.client_id = "w",
                                                .clean = clean,
                                                .will_topic = "t",
                                                .will_payload = "will",
                                                .will_qos = qos});
                    // A job for its size; nothing else would be one by itself.
                    first.push(said(std::string(300'000, 'a'), qos, 1));
                    world.turn();
                    REQUIRE(world.stats().fanout_jobs_now == 1);
                    if (twice) world.connection().push(connect("w", clean) + disconnect());
                    for (int i = 1; i < turns; ++i)
                        world.turn();
                    REQUIRE((twice && turns > 1) != first.open());
                    auto& again = world.connection();
                    again.push(connect("w", clean) + said("b", qos, 2) + said("c", qos, 3));
                    world.settle();
                    const std::string heard = all.front()->received();
                    CAPTURE(heard);
                    std::vector<size_t> order;
                    for (const char* words : {"(t,300000B,", "(t,will,", "(t,b,", "(t,c,"})
                        order.push_back(heard.find(words));
                    CHECK(order.back() != std::string::npos);
                    CHECK(std::is_sorted(order.begin(), order.end()));
                    for (auto* each : all)
                        CHECK((each == all.front() || each->received() == heard));
                    REQUIRE(world.end() == 0);
                }
            }
        }
    }
}

// Only what its client left under way is waited for, not what others do.
TEST_CASE("other clients' fan-out jobs are overtaken", "[wire][engine]") {
    World world(small_slices(20));
    auto all = crowd(world, "s", 200, "t", 0);
    auto& reader = world.client("reader");
    reader.send(subscribe(1,
                          {
                              {"u", 0}
    }));
    reader.take_output();
    auto& busy = world.client("busy");
    busy.push(publish({.topic = "t", .payload = std::string(20'000, 'a')}));
    world.turn();
    REQUIRE(world.stats().fanout_jobs_now == 1);
    auto& writer = world.connection();
    writer.push(connect("writer") + publish({.topic = "u", .payload = "x"}));
    world.turn();
    CHECK(reader.received() == "PUBLISH(u,x,q0)");
    CHECK(world.stats().fanout_jobs == 1);
    auto& again = world.connection();
    again.push(connect("busy") + publish({.topic = "u", .payload = "y"}));
    world.turn();
    CHECK(world.stats().fanout_jobs == 2);
    world.settle();
    CHECK(reader.received() == "PUBLISH(u,y,q0)");
    again.send(publish({.topic = "u", .payload = "z"}));
    CHECK(reader.received() == "PUBLISH(u,z,q0)");
    CHECK(world.stats().fanout_jobs == 2);
    CHECK(world.end() == 0);
}
