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

uint64_t fanout_stops(const World& world) {
    return world.stats().stops[static_cast<uint32_t>(StopReason::kFanout)];
}

}  // namespace

// More receivers than a slice: the publisher is stopped, a job hands out, the publisher goes on,
// and everybody gets everything once and in order.
TEST_CASE("a fan-out beyond a slice stops its publisher and keeps order", "[wire][engine]") {
    for (const uint32_t count : {4u, 10u, 64u, 65u, 300u, 1'000u}) {
        for (const int qos : {0, 1, 2}) {
            CAPTURE(count, qos);
            World world(small_slices());
            auto all = crowd(world, "s", count, "t", qos);
            auto& publisher = world.client("p");
            std::string input;
            std::string expected;
            std::string answers;
            for (int i = 1; i <= 4; ++i) {
                const std::string n = std::to_string(i);
                input += publish({.topic = "t",
                                  .payload = n,
                                  .qos = qos,
                                  .packet_id = static_cast<uint16_t>(i)});
                if (qos == 2) input += pubrel(static_cast<uint16_t>(i));
                if (qos == 1) answers += "PUBACK(" + n + ") ";
                if (qos == 2) answers += "PUBREC(" + n + ") PUBCOMP(" + n + ") ";
                expected += (i > 1 ? " " : "") + ("PUBLISH(t," + n) + ",q" + std::to_string(qos) +
                            (qos > 0 ? ",id" + n : "") + ")";
            }
            publisher.push(input);
            world.turn();
            REQUIRE(publisher.stopped() == StopReason::kFanout);
            world.settle();
            REQUIRE(publisher.stopped() == StopReason::kNone);
            REQUIRE(publisher.unread() == 0);
            REQUIRE(publisher.received() + (qos > 0 ? " " : "") == answers);
            for (auto* each : all)
                REQUIRE(each->received() == expected);
            CHECK(world.stats().publish_sent == 4 * count);
            CHECK(world.stats().fanout_jobs == (qos == 0 ? 1 : 4));
            CHECK(fanout_stops(world) == (qos == 0 ? 1 : 4));
            if (qos == 0) {
                CHECK(world.stats().copies == 0);
                CHECK(world.stats().fast_deliveries == 4 * count);
            }
            REQUIRE(world.end() == 0);
        }
    }
}

// Other clients are served while a job is under way, and two jobs do not mix up either's order.
TEST_CASE("two fan-out jobs at a time keep each publisher's order", "[wire][engine]") {
    World world(small_slices());
    auto all = crowd(world, "s", 50, "+", 0);
    auto& a = world.client("a");
    auto& b = world.client("b");
    auto& ping = world.client("ping");
    for (int i = 0; i < 5; ++i) {
        const std::string n = std::to_string(i);
        a.push(publish({.topic = "x", .payload = n}) + publish({.topic = "y", .payload = n}));
        b.push(publish({.topic = "z", .payload = n}) + publish({.topic = "w", .payload = n}));
    }
    world.turn();
    REQUIRE(a.stopped() == StopReason::kFanout);
    ping.push(pingreq());
    world.turn();
    REQUIRE(a.stopped() == StopReason::kFanout);
    REQUIRE(ping.received() == "PINGRESP");
    world.settle();
    std::string from_a;
    std::string from_b;
    for (int i = 0; i < 5; ++i) {
        const std::string n = std::to_string(i);
        from_a += publish({.topic = "x", .payload = n}) + publish({.topic = "y", .payload = n});
        from_b += publish({.topic = "z", .payload = n}) + publish({.topic = "w", .payload = n});
    }
    for (auto* each : all) {
        const std::string got = each->take_output();
        std::string seen_a;
        std::string seen_b;
        for (size_t at = 0; at < got.size(); at += packet_size(got.substr(at))) {
            const std::string packet = got.substr(at, packet_size(got.substr(at)));
            (packet[4] == 'x' || packet[4] == 'y' ? seen_a : seen_b) += packet;
        }
        REQUIRE(seen_a == from_a);
        REQUIRE(seen_b == from_b);
    }
    REQUIRE(world.end() == 0);
}

// Those who were subscribed when the message came and still are get it once; who joined later does
// not; who left may have got it or not, but no more than once.
TEST_CASE("subscribers come and go in the middle of a fan-out job", "[wire][engine]") {
    for (const int qos : {0, 1}) {
        for (uint32_t when = 0; when < 40; ++when) {
            CAPTURE(qos, when);
            World world(small_slices());
            auto all = crowd(world, "s", 70, "t", qos);
            auto& publisher = world.client("p");
            publisher.push(publish({.topic = "t", .payload = "m", .qos = qos, .packet_id = 1}));
            for (uint32_t i = 0; i <= when; ++i)
                world.turn();
            const uint32_t out = when * 3 % 70;  // near where the cursor is
            all[out]->push(unsubscribe(2, {"t"}));
            all[(out + 1) % 70]->push(disconnect());
            const uint32_t away = (out + 2) % 70;
            all[(out + 3) % 70]->push(unsubscribe(2,
                                                  {
                                                      "t"
            }) +
                                      subscribe(3, {{"t", qos}}));
            auto& fresh = world.connection();
            fresh.push(connect("fresh") + subscribe(1,
                                                    {
                                                        {"t", qos}
            }));
            world.turn();
            // `away` breaks off and comes back as a new session.
            all[away]->hang_up();
            world.settle();
            REQUIRE(publisher.stopped() == StopReason::kNone);
            REQUIRE(fresh.received() == "CONNACK(0) SUBACK(1," + std::to_string(qos) + ")");
            const std::string message = qos == 0 ? "PUBLISH(t,m,q0)" : "PUBLISH(t,m,q1,id1)";
            uint32_t i = 0;
            for (auto* each : all) {
                const std::string got = each->received();
                size_t count = 0;
                for (size_t at = 0; (at = got.find("PUBLISH", at)) != std::string::npos; ++at)
                    ++count;
                CAPTURE(i, got);
                if ((i + 70 - out) % 70 < 4) {
                    REQUIRE(count <= 1);
                } else {
                    REQUIRE(got == message);
                }
                ++i;
            }
            // The set is whole: the next message reaches everyone who is there now.
            publisher.send(publish({.topic = "t", .payload = "n"}));
            REQUIRE(fresh.received() == "PUBLISH(t,n,q0)");
            REQUIRE(world.end() == 0);
        }
    }
}

// Over several filters the rule is the same: who joins a later filter in the middle of the job is
// too late, and who moves from an early filter to a late one does not get the message twice.
TEST_CASE("who joins a later filter in the middle of a job is too late", "[wire][engine]") {
    for (const bool duplicates : {true, false}) {
        for (const bool retain : {false, true}) {
            CAPTURE(duplicates, retain);
            BrokerOptions options = small_slices();
            options.allow_duplicate_messages = duplicates;
            World world(options);
            auto exact = crowd(world, "e", 20, "a/b", 0);
            auto plus = crowd(world, "p", 20, "a/+", 0);
            auto& publisher = world.client("publisher");
            publisher.push(publish({.topic = "a/b", .payload = "m", .retain = retain}));
            world.turn();
            world.turn();
            REQUIRE(publisher.stopped() == StopReason::kFanout);
            auto& late = world.connection();
            late.push(connect("late") + subscribe(1,
                                                  {
                                                      {"a/+", 0},
                                                      {"a/b", 0}
            }));
            world.settle();
            // Retained: once or twice with the flag (two subscriptions), never live.
            const std::string got = late.received();
            REQUIRE(got.find("PUBLISH(a/b,m,q0)") == std::string::npos);
            REQUIRE((got.find("PUBLISH(a/b,m,q0,retain)") != std::string::npos) == retain);
            for (auto* each : exact)
                REQUIRE(each->received() == "PUBLISH(a/b,m,q0)");
            for (auto* each : plus)
                REQUIRE(each->received() == "PUBLISH(a/b,m,q0)");
            REQUIRE(world.end() == 0);
        }
    }
}

// Overlapping filters: one copy each at the highest QoS, in a job as well as at once, and nobody
// who subscribes to one more of them in the middle is left out.
TEST_CASE("overlapping subscriptions give one copy when duplicates are off", "[wire][engine]") {
    for (const uint32_t slice : {3u, 4'096u}) {
        for (const int qos : {0, 1}) {
            CAPTURE(slice, qos);
            BrokerOptions options = small_slices(slice);
            options.allow_duplicate_messages = false;
            World world(options);
            auto all = crowd(world, "s", 40, "a/b", 0);
            for (uint32_t i = 0; i < 40; ++i) {
                if (i % 2 == 0)
                    all[i]->push(subscribe(2,
                                           {
                                               {"a/+", 1}
                    }));
                if (i % 3 == 0)
                    all[i]->push(subscribe(3,
                                           {
                                               {"#", 2}
                    }));
            }
            world.settle();
            for (auto* each : all)
                each->take_output();
            auto& publisher = world.client("publisher");
            publisher.push(publish({.topic = "a/b", .payload = "m", .qos = qos, .packet_id = 1}));
            for (int i = 0; i < 3; ++i)
                world.turn();
            for (uint32_t i = 0; i < 40; ++i) {
                if (i % 5 == 0)
                    all[i]->push(subscribe(4,
                                           {
                                               {"+/b", 1},
                                               {"a/+", 1},
                                               {"a/b", 0}
                    }));
            }
            world.settle();
            for (uint32_t i = 0; i < 40; ++i) {
                const std::string got = all[i]->received();
                CAPTURE(i, got);
                size_t count = 0;
                for (size_t at = 0; (at = got.find("PUBLISH", at)) != std::string::npos; ++at)
                    ++count;
                REQUIRE(count == 1);
                const bool counted = qos == 1 && (i % 2 == 0 || i % 3 == 0);
                // Who subscribes again in mid-job may be served at the new QoS.
                if (i % 5 != 0) {
                    REQUIRE(got == (counted ? "PUBLISH(a/b,m,q1,id1)" : "PUBLISH(a/b,m,q0)"));
                }
            }
            REQUIRE(world.end() == 0);
        }
    }
}
