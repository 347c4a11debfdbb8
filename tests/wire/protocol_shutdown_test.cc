// The server stops: what becomes of those who publish meanwhile. Wills: protocol_will_test.cc.

#include "support/world.h"

#include <catch2/catch.hpp>
#include <deque>
#include <string>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

// Turns until all links are told; how many it took, at most `most`.
int shut_down(World& world, int most) {
    int turns = 1;
    while (!world.broker().shut_down() && turns < most) {
        world.turn();
        ++turns;
    }
    return turns;
}

}  // namespace

// Publishers with much to say to very many must not keep the server from stopping: it waits for the
// fan-outs that are under way and begins no other. What is not acknowledged was not handed out.
TEST_CASE("shutting down takes nothing more from publishers", "[wire]") {
    BrokerOptions options = World::test_options();
    options.fanout_slice = 4;
    World world(options);
    std::deque<FakeConnection*> readers;
    for (int i = 0; i < 30; ++i) {
        readers.push_back(&world.client("r" + std::to_string(i)));
        readers.back()->send(subscribe(1,
                                       {
                                           {"#", 0}
        }));
        readers.back()->take_output();
    }
    int qos = 0;
    SECTION("at QoS 0") {}
    SECTION("at QoS 1") {
        qos = 1;
    }
    std::string input;
    for (int i = 0; i < 1'000; ++i) {  // by turns, so that they are no runs
        for (const char* topic : {"t", "u"})
            input += publish({.topic = topic, .payload = "x", .qos = qos, .packet_id = 1});
    }
    std::deque<FakeConnection*> writers;
    for (int i = 0; i < 3; ++i)
        writers.push_back(&world.client("w" + std::to_string(i)));
    for (auto* writer : writers)
        writer->push(input);
    world.turn();
    const uint64_t begun = world.stats().fanout_jobs;
    REQUIRE(world.stats().fanout_jobs_now > 0);
    const uint64_t received = world.stats().publish_received;
    CHECK(shut_down(world, 200) < 40);
    CHECK(world.stats().fanout_jobs == begun);
    CHECK(world.stats().publish_received == received);
    for (auto* writer : writers)
        CHECK_FALSE(writer->open());
    for (auto* reader : readers)
        CHECK_FALSE(reader->open());
    CHECK(world.end() == 0);
}

// A PUBREL hands out, too: it is left for the next server, like every PUBLISH; other packets are
// answered to the end.
TEST_CASE("shutting down answers what publishes nothing", "[wire]") {
    BrokerOptions options = World::test_options();
    options.fanout_slice = 1;
    World world(options);
    auto& reader = world.client("r");
    auto& other = world.client("o");
    for (auto* each : {&reader, &other}) {
        each->send(subscribe(1,
                             {
                                 {"t", 1}
        }));
        each->take_output();
    }
    auto& writer = world.client("w");
    writer.send(publish({.topic = "t", .payload = "2", .qos = 2, .packet_id = 2}));
    writer.push(publish({.topic = "t", .payload = "1", .qos = 1, .packet_id = 1}));
    world.turn();
    REQUIRE(world.stats().fanout_jobs_now == 1);
    REQUIRE_FALSE(world.broker().shut_down());
    reader.push(pingreq() + pubrel(9) + pingreq());
    writer.push(pubrel(2));
    world.turn();
    CHECK(reader.stopped() == StopReason::kShutdown);
    shut_down(world, 100);
    world.settle();
    CHECK(writer.received() == "PUBREC(2) PUBACK(1)");
    const std::string got = reader.received();
    CHECK(got.find("PINGRESP") != std::string::npos);
    CHECK(got.find("PUBCOMP") == std::string::npos);
    CHECK(got.find("PUBLISH(t,1,") != std::string::npos);
    CHECK(got.find("PUBLISH(t,2,") == std::string::npos);
    CHECK(world.end() == 0);
}

// Who was paused for lack of readers is a publisher like any other then, and counted as none.
TEST_CASE("shutting down ends every pause", "[wire]") {
    BrokerOptions options = World::test_options();
    options.slow_consumer = SlowConsumer::kPause;
    World world(options);
    auto& reader = world.client("r");
    reader.send(subscribe(1,
                          {
                              {"t", 0}
    }));
    reader.set_room(0);
    reader.send(pingreq());
    std::deque<FakeConnection*> writers;
    for (int i = 0; i < 3; ++i) {
        writers.push_back(&world.client("w" + std::to_string(i)));
        writers.back()->send(publish({.topic = "t", .payload = "x"}));
    }
    REQUIRE(world.stats().paused_publishers == 3);
    writers[0]->hang_up();
    REQUIRE(world.stats().paused_publishers == 2);
    shut_down(world, 100);
    CHECK(world.stats().paused_publishers == 0);
    world.settle();
    CHECK(world.stats().paused_publishers == 0);
    CHECK(world.end() == 0);
}
