// Redelivery: what comes again, in which order, and when it says DUP.   MQTT 3.1.1 §4.4, §4.6.

#include "base/prng.h"
#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

std::string one(int number, uint16_t packet_id = 1) {
    return publish(
        {.topic = "t", .payload = std::to_string(number), .qos = 1, .packet_id = packet_id});
}

std::string got(int number, int packet_id, bool dup = false) {
    return "PUBLISH(t," + std::to_string(number) + ",q1,id" + std::to_string(packet_id) +
           (dup ? ",dup)" : ")");
}

FakeConnection& durable(World& world, int qos = 1) {
    auto& subscriber = world.client("sub", false);
    subscriber.send(subscribe(1,
                              {
                                  {"t", qos}
    }));
    subscriber.take_output();
    return subscriber;
}

FakeConnection& back(World& world) {
    auto& subscriber = world.connection();
    subscriber.send(connect("sub", false));
    return subscriber;
}

}  // namespace

// The window: max_inflight messages go out, the next waits for an acknowledgement; 1 means strict
// order.
TEST_CASE("no more than max_inflight_messages are unacknowledged", "[wire]") {
    for (const uint32_t limit : {1u, 2u, 20u}) {
        for (const int qos : {1, 2}) {
            BrokerOptions options = World::test_options();
            options.max_inflight_messages = limit;
            World world(options);
            auto& subscriber = durable(world, qos);
            auto& publisher = world.client("pub");
            for (uint32_t i = 1; i <= limit + 1; ++i) {
                publisher.send(
                    publish(
                        {.topic = "t", .payload = std::to_string(i), .qos = 2, .packet_id = 1}) +
                    pubrel(1));
                REQUIRE(world.stats().inflight_out == std::min(i, limit));
                REQUIRE(world.stats().queued == (i > limit ? 1 : 0));
                REQUIRE(subscriber.received().empty() == (i > limit));
            }
            const std::string next = "PUBLISH(t," + std::to_string(limit + 1) + ",q" +
                                     std::to_string(qos) + ",id" + std::to_string(limit + 1) + ")";
            if (qos == 1) {
                subscriber.send(puback(1));
                REQUIRE(subscriber.received() == next);
            } else {
                subscriber.send(pubrec(1));  // the flow is not over yet
                REQUIRE(subscriber.received() == "PUBREL(1)");
                subscriber.send(pubcomp(1));
                REQUIRE(subscriber.received() == next);
            }
            REQUIRE(world.stats().queued == 0);
            REQUIRE(world.end() == 0);
        }
    }
}

// A window as large as it can be: identifiers run on, wrap round and are never 0 or taken.
TEST_CASE("packet identifiers wrap round without 0", "[wire][MQTT-2.3.1-4]") {
    BrokerOptions options = World::test_options();
    options.max_inflight_messages = 65'535;
    options.max_queued_messages = 0;
    World world(options);
    auto& subscriber = durable(world);
    auto& publisher = world.client("pub");
    std::string burst;
    for (int i = 0; i < 1'000; ++i)
        burst += one(0);
    uint64_t number = 0;
    for (int round = 0; round < 70; ++round) {
        publisher.send(burst);
        publisher.take_output();
        std::string output = subscriber.take_output();
        std::string acks;
        for (size_t at = 0; at < output.size();) {
            const size_t size = packet_size(std::string_view(output).substr(at));
            const std::string expected =
                publish({.topic = "t",
                         .payload = "0",
                         .qos = 1,
                         .packet_id = static_cast<uint16_t>(number++ % 65'535 + 1)});
            if (output.compare(at, size, expected) != 0) FAIL("wrong packet " << number);
            acks += puback(static_cast<uint16_t>((number - 1) % 65'535 + 1));
            at += size;
        }
        if (round < 40) continue;  // from the 41st round on everything is acknowledged
        if (round == 40) {
            for (uint32_t id = 1; id <= number; ++id)
                acks += puback(static_cast<uint16_t>(id));
        }
        subscriber.send(acks);
    }
    REQUIRE(number + world.stats().queued + 0 >= 69'000);
    REQUIRE(world.end() == 0);
}

// Acknowledged out of order, then the connection breaks: the rest comes in the order first sent.
TEST_CASE("redelivery keeps the order after acknowledgements out of order",
          "[wire][MQTT-4.6.0-1][MQTT-4.4.0-1]") {
    World world;
    auto& first = durable(world);
    auto& publisher = world.client("pub");
    for (int i = 1; i <= 30; ++i)
        publisher.send(one(i));  // 20 go out, 10 wait
    first.take_output();
    first.send(puback(20) + puback(3) + puback(7));  // 21, 22, 23 follow
    REQUIRE(first.received() == got(21, 21) + " " + got(22, 22) + " " + got(23, 23));
    first.hang_up();
    for (int i = 31; i <= 33; ++i)
        publisher.send(one(i));
    auto* second = &back(world);
    std::string expected = "CONNACK(0,present)";
    for (int i = 1; i <= 23; ++i) {
        if (i != 20 && i != 3 && i != 7) expected += " " + got(i, i, true);
    }
    REQUIRE(second->received() == expected);
    for (int i = 1; i <= 23; ++i)
        second->send(puback(static_cast<uint16_t>(i)));
    expected.clear();
    for (int i = 24; i <= 33; ++i)
        expected += (i > 24 ? " " : "") + got(i, i);
    REQUIRE(second->received() == expected);
    REQUIRE(world.end() == 0);
}

// DUP says that the bytes may have arrived: it stands on what had begun to leave, not on what was
// still in our outbox. Every number of bytes that the kernel took is tried.
TEST_CASE("DUP stands only on messages whose bytes had left", "[wire][MQTT-3.3.1-1]") {
    const size_t size = one(1).size();
    for (size_t room = 0; room <= 3 * size; ++room) {
        INFO(room << " bytes had left");
        World world;
        auto& first = durable(world);
        first.set_room(room);
        auto& publisher = world.client("pub");
        for (int i = 1; i <= 3; ++i)
            publisher.push(one(i));
        world.settle();
        REQUIRE(first.take_output().size() == room);
        first.hang_up(Error::kReset);
        std::string expected = "CONNACK(0,present)";
        for (size_t i = 1; i <= 3; ++i) {
            expected += " " + got(static_cast<int>(i), static_cast<int>(i), room > (i - 1) * size);
        }
        REQUIRE(back(world).received() == expected);
        REQUIRE(world.end() == 0);
    }
}

// A connection that got nothing of a repetition does not make it more of a repetition, and DUP once
// earned stays.
TEST_CASE("DUP stays over connections that break early", "[wire][MQTT-3.3.1-1]") {
    World world;
    auto& first = durable(world);
    auto& publisher = world.client("pub");
    publisher.send(one(1));
    first.set_room(0);
    publisher.send(one(2));
    first.hang_up();
    for (int i = 0; i < 3; ++i) {
        auto& stuck = world.connection();
        stuck.set_room(4);  // CONNACK and nothing more
        stuck.send(connect("sub", false));
        REQUIRE(stuck.received() == "CONNACK(0,present)");
        stuck.hang_up();
    }
    REQUIRE(back(world).received() == "CONNACK(0,present) " + got(1, 1, true) + " " + got(2, 2));
    REQUIRE(world.end() == 0);
}

// The publisher's DUP is its own affair.
TEST_CASE("DUP of the publisher is not passed on", "[wire][MQTT-3.3.1-3]") {
    for (const int qos : {1, 2}) {
        World world;
        auto& subscriber = durable(world, 2);
        world.client("pub").send(
            publish({.topic = "t", .payload = "1", .qos = qos, .packet_id = 1, .dup = true}) +
            (qos == 2 ? pubrel(1) : ""));
        REQUIRE(subscriber.received() == "PUBLISH(t,1,q" + std::to_string(qos) + ",id1)");
        REQUIRE(world.end() == 0);
    }
}

// A new PUBLISH with an identifier used before is new at QoS 1, DUP or not.
TEST_CASE("a repeated QoS 1 PUBLISH is a new message", "[wire][MQTT-4.3.2-2]") {
    World world;
    auto& subscriber = durable(world);
    auto& publisher = world.client("pub");
    publisher.send(one(1, 5) + one(1, 5));
    REQUIRE(publisher.received() == "PUBACK(5) PUBACK(5)");
    REQUIRE(subscriber.received() == got(1, 1) + " " + got(1, 2));
    REQUIRE(world.end() == 0);
}

// Random publishing, acknowledging in any order, short writes and broken connections: at the end
// every message has been seen, for the first time in order; nothing is left.
TEST_CASE("order and completeness survive any number of broken connections",
          "[wire][MQTT-4.6.0-6][MQTT-4.5.0-1]") {
    for (const uint64_t seed : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u}) {
        INFO("seed " << seed);
        Prng random(seed);
        BrokerOptions options = World::test_options();
        options.max_inflight_messages = static_cast<uint32_t>(1 + random.below(20));
        options.max_queued_messages = 0;
        World world(options);
        auto* subscriber = &durable(world);
        auto& publisher = world.client("pub");
        std::string stream;
        std::vector<uint16_t> open;
        int sent = 0;
        int seen = 0;
        const auto take = [&] {
            stream += subscriber->take_output();
            while (const size_t size = packet_size(stream)) {
                const std::string packet = stream.substr(0, size);
                stream.erase(0, size);
                if ((packet[0] & 0xf0) != 0x30) continue;
                const int number = std::stoi(packet.substr(7));
                if (number > seen) REQUIRE(number == ++seen);
                if (number <= seen && (packet[0] & 8) == 0) REQUIRE(number == seen);
                open.push_back(static_cast<uint16_t>(uint8_t(packet[5]) << 8 | uint8_t(packet[6])));
            }
        };
        for (int step = 0; step < 2'000 || seen < sent; ++step) {
            REQUIRE(step < 20'000);
            const uint64_t what = step < 2'000 ? random.below(20) : 12 + random.below(7);
            if (what < 10) publisher.send(one(++sent));
            if (what >= 10 && what < 18 && !open.empty()) {
                const size_t i = random.below(static_cast<uint32_t>(open.size()));
                subscriber->send(puback(open[i]));
                open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
            }
            if (what == 18) subscriber->set_room(step < 2'000 ? random.below(60) : ~uint64_t{0});
            world.settle();
            take();
            if (what != 19 || step >= 2'000) continue;
            subscriber->hang_up();
            stream.clear();
            open.clear();
            subscriber = &back(world);
            take();
        }
        REQUIRE(seen == sent);
        REQUIRE(world.end() == 0);
    }
}
