#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

constexpr uint64_t kEndless = ~uint64_t{0};

uint64_t drops(const World& world, Drop reason) {
    return world.stats().drops[static_cast<uint32_t>(reason)];
}

std::string sized(const std::string& topic, int i, size_t size, int qos = 0) {
    std::string payload = std::to_string(i);
    payload.resize(size, '.');
    return publish({.topic = topic,
                    .payload = payload,
                    .qos = qos,
                    .packet_id = static_cast<uint16_t>(qos > 0 ? i + 1 : 0)});
}

// Acknowledges every QoS 1 PUBLISH in `bytes`; returns their payload numbers.
std::string acknowledge(std::string_view bytes, std::vector<int>& numbers) {
    std::string acks;
    while (const size_t size = packet_size(bytes)) {
        const size_t header = size < 130 ? 2 : 3;  // payloads of these tests stay below 16 KiB
        const std::string_view body = bytes.substr(header, size - header);
        if (static_cast<uint8_t>(bytes[0]) >> 4 == 3) {
            const size_t topic = static_cast<uint8_t>(body[1]) + 2u;
            numbers.push_back(std::stoi(std::string(body.substr(topic + 2))));
            acks += raw(0x40, body.substr(topic, 2));
        }
        bytes.remove_prefix(size);
    }
    return acks;
}

}  // namespace

// Who does not read loses QoS 0 by name and in exact numbers, from the first message after the
// write that came short; nobody else notices.
TEST_CASE("a blocked receiver loses QoS 0 by name and count", "[wire][engine]") {
    World world;
    auto& stuck = world.client("stuck");
    auto& fine = world.client("fine");
    stuck.send(subscribe(1,
                         {
                             {"t", 0}
    }));
    fine.send(subscribe(1,
                        {
                            {"t", 0}
    }));
    stuck.take_output();
    fine.take_output();
    auto& publisher = world.client("publisher");
    const size_t size = sized("t", 0, 100).size();
    stuck.set_room(3 * size + 5);
    std::string all;
    for (int i = 0; i < 20; ++i) {
        all += sized("t", i, 100);
        publisher.send(sized("t", i, 100));
    }
    REQUIRE(fine.take_output() == all);
    REQUIRE(stuck.take_output() == all.substr(0, 3 * size + 5));
    // Three and a bit left, the rest of the fourth is committed, sixteen were dropped.
    REQUIRE(drops(world, Drop::kBlocked) == 16);
    REQUIRE(world.stats().dropped == 16);
    REQUIRE(world.stats().publish_sent == 20 + 4);
    stuck.set_room(kEndless);
    publisher.send(sized("t", 20, 100));
    // Room came before the next message: nothing more is lost.
    REQUIRE(stuck.take_output() == all.substr(3 * size + 5, size - 5) + sized("t", 20, 100));
    REQUIRE(drops(world, Drop::kBlocked) == 16);
    REQUIRE(stuck.open());
    REQUIRE(world.end() == 0);
}

// The same with runs: a run is delivered or dropped whole, and counted by its messages.
TEST_CASE("a blocked receiver loses whole runs, counted by messages", "[wire][engine]") {
    World world;
    auto& stuck = world.client("stuck");
    stuck.send(subscribe(1,
                         {
                             {"t", 0}
    }));
    stuck.take_output();
    stuck.set_room(10);
    auto& publisher = world.client("publisher");
    std::string run;
    for (int i = 0; i < 7; ++i)
        run += sized("t", i, 50);
    publisher.send(run);
    publisher.send(run + sized("u", 0, 5) + run);
    REQUIRE(drops(world, Drop::kBlocked) == 14);
    REQUIRE(world.stats().publish_sent == 7);
    stuck.set_room(kEndless);
    world.settle();
    REQUIRE(stuck.take_output() == run);
    REQUIRE(world.end() == 0);
}

// QoS 1 waits in the queue up to its limit; what is beyond is dropped by name; when room returns
// everything comes in order, once.
TEST_CASE("a blocked receiver gets its QoS 1 messages later, in order, once", "[wire][engine]") {
    for (const uint32_t limit : {0u, 1u, 5u, 100u}) {
        CAPTURE(limit);
        BrokerOptions options = World::test_options();
        options.max_queued_messages = limit;
        options.max_inflight_messages = 10;
        World world(options);
        auto& stuck = world.client("stuck");
        auto& fine = world.client("fine");
        stuck.send(subscribe(1,
                             {
                                 {"t", 1}
        }));
        fine.send(subscribe(1,
                            {
                                {"t", 0}
        }));
        stuck.take_output();
        fine.take_output();
        stuck.set_room(7);
        auto& publisher = world.client("publisher");
        for (int i = 0; i < 60; ++i) {
            publisher.send(sized("t", i, 300, 1));
            REQUIRE(publisher.received() == "PUBACK(" + std::to_string(i + 1) + ")");
        }
        // The first one was committed when the write came short, all others wait or were dropped.
        const uint32_t kept = limit == 0 ? 59 : std::min(limit, 59u);
        CHECK(world.stats().queued == kept);
        CHECK(drops(world, Drop::kQueueFull) == 59 - kept);
        std::vector<int> numbers;
        REQUIRE(fine.take_output().size() == 60 * sized("t", 0, 300).size());
        stuck.set_room(kEndless);
        std::string partial;
        for (int round = 0; round < 20; ++round) {
            world.settle();
            partial += stuck.take_output();
            stuck.push(acknowledge(partial, numbers));
            partial.clear();
        }
        world.settle();
        std::vector<int> expected;
        for (int i = 0; i <= static_cast<int>(kept); ++i)
            expected.push_back(i);
        REQUIRE(numbers == expected);
        REQUIRE(world.stats().queued == 0);
        REQUIRE(world.stats().queued_bytes == 0);
        REQUIRE(world.stats().inflight_out == 0);
        REQUIRE(world.stats().messages_stored == 0);
        REQUIRE(world.end() == 0);
    }
}

// Room comes back in drops of a few bytes: the stream stays whole and in order all the same.
TEST_CASE("a receiver that reads a few bytes at a time misses nothing of QoS 1", "[wire][engine]") {
    for (const uint64_t step : {uint64_t{1}, uint64_t{3}, uint64_t{100}, uint64_t{10'000}}) {
        CAPTURE(step);
        World world;
        auto& slow = world.client("slow");
        slow.send(subscribe(1,
                            {
                                {"t", 1}
        }));
        slow.take_output();
        slow.set_room(0);
        auto& publisher = world.client("publisher");
        for (int i = 0; i < 30; ++i)
            publisher.push(sized("t", i, 40, 1));
        world.settle();
        std::vector<int> numbers;
        std::string bytes;
        for (int rounds = 0; numbers.size() < 30 && rounds < 5'000; ++rounds) {
            slow.set_room(step);
            world.turn();
            bytes += slow.take_output();
            if (const size_t size = packet_size(bytes)) {
                slow.push(acknowledge(bytes.substr(0, size), numbers));
                bytes.erase(0, size);
            }
        }
        REQUIRE(numbers.size() == 30);
        REQUIRE(std::is_sorted(numbers.begin(), numbers.end()));
        REQUIRE(numbers.back() == 29);
        world.settle();
        REQUIRE(world.stats().inflight_out == 0);
        REQUIRE(world.end() == 0);
    }
}

// A blocked link costs its committed outbox and its queue, not what is published meanwhile, and it
// keeps no segment of anybody else's input.
TEST_CASE("memory behind a blocked link is bounded", "[wire][engine]") {
    World world;
    auto& stuck = world.client("stuck");
    stuck.send(subscribe(1,
                         {
                             {"t", 0}
    }));
    auto& publisher = world.client("publisher");
    std::string input;
    for (int i = 0; i < 100; ++i)
        input += sized("t", i, 2'000);
    stuck.set_room(0);
    publisher.send(input);
    const uint64_t bytes = world.arena().bytes_used();
    const uint64_t live = world.arena().live();
    for (int i = 0; i < 50; ++i)
        publisher.send(input);
    REQUIRE(world.arena().bytes_used() == bytes);
    REQUIRE(world.arena().live() == live);
    REQUIRE(stuck.pending() <= input.size());
    stuck.hang_up();
    REQUIRE(world.arena().bytes_used() + input.size() <= bytes);
    REQUIRE(world.end() == 0);
}

// Small runs read into one shared segment: after the turn a blocked link owns copies, so the bytes
// it holds stay near what it has pending.
TEST_CASE("a blocked link does not pin shared segments", "[wire][engine]") {
    World world;
    std::deque<FakeConnection*> stuck;
    for (int i = 0; i < 20; ++i) {
        stuck.push_back(&world.client("s" + std::to_string(i)));
        stuck.back()->send(subscribe(1,
                                     {
                                         {"t" + std::to_string(i), 0}
        }));
        stuck.back()->take_output();
        stuck.back()->set_room(0);
    }
    auto& publisher = world.client("publisher");
    const uint64_t before = world.arena().bytes_used();
    // One read of 15 KB (shared, see World::read) of which each gets one message.
    std::string input;
    for (int i = 0; i < 20; ++i)
        input += sized("t" + std::to_string(i), i, 700);
    publisher.send(input);
    uint64_t pending = 0;
    for (auto* each : stuck) {
        pending += each->pending();
        REQUIRE(each->blocked());
    }
    REQUIRE(pending == input.size());
    REQUIRE(world.arena().bytes_used() - before <= 20 * (2 * 1'024 + 64));
    REQUIRE(world.end() == 0);
}

// A client that goes while it is blocked, with a queue, leaves nothing behind; a durable one finds
// the queue again, what was committed comes with DUP only where its bytes had left.
TEST_CASE("a blocked durable session keeps its messages over a reconnect", "[wire][engine]") {
    World world;
    auto& stuck = world.client("d", false);
    stuck.send(subscribe(1,
                         {
                             {"t", 1}
    }));
    stuck.take_output();
    auto& publisher = world.client("p");
    stuck.set_room(sized("t", 0, 20, 1).size() + 1);
    publisher.push(sized("t", 0, 20, 1) + sized("t", 1, 20, 1) + sized("t", 2, 20, 1));
    world.settle();
    for (int i = 3; i < 6; ++i)
        publisher.send(sized("t", i, 20, 1));
    stuck.hang_up();
    auto& again = world.connection();
    again.send(connect("d", false));
    const std::string got = again.received();
    std::string expected = "CONNACK(0,present)";
    for (int i = 0; i < 6; ++i) {
        std::string payload = std::to_string(i);
        payload.resize(20, '.');
        expected +=
            " PUBLISH(t," + payload + ",q1,id" + std::to_string(i + 1) + (i < 2 ? ",dup)" : ")");
    }
    REQUIRE(got == expected);
    REQUIRE(world.end() == 0);
}
