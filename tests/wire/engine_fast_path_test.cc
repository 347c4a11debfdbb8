#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

uint64_t drops(const World& world, Drop reason) {
    return world.stats().drops[static_cast<uint32_t>(reason)];
}

// A PUBLISH whose remaining length is written with more digits than it needs.
std::string padded(const std::string& packet) {
    std::string longer = packet.substr(0, 1);
    longer += static_cast<char>(static_cast<uint8_t>(packet[1]) | 128);
    longer += '\0';
    return longer + packet.substr(2);
}

}  // namespace

// Bytes that every receiver would see as they came are handed on as they came: one run, no copy of
// a message, each delivery a range.
TEST_CASE("a run of QoS 0 to plain receivers copies nothing", "[wire][engine]") {
    for (const size_t size :
         {size_t{0}, size_t{1}, size_t{64}, size_t{121}, size_t{1'500}, size_t{3'000}}) {
        CAPTURE(size);
        World world;
        auto& one = world.client("one");
        auto& two = world.client("two");
        auto& three = world.client("three");
        one.send(subscribe(1,
                           {
                               {"a/b", 0}
        }));
        two.send(subscribe(1,
                           {
                               {"a/+", 1}
        }));
        three.send(subscribe(1,
                             {
                                 {"#", 2}
        }));
        for (auto* each : {&one, &two, &three})
            each->take_output();
        auto& publisher = world.client("publisher");
        std::string input;
        for (int i = 0; i < 50; ++i) {
            std::string payload(size, 'x');
            if (size > 0) payload[0] = static_cast<char>('0' + i);
            input += publish({.topic = "a/b", .payload = payload});
        }
        const Stats before = world.stats();
        publisher.send(input);
        REQUIRE(one.take_output() == input);
        REQUIRE(two.take_output() == input);
        REQUIRE(three.take_output() == input);
        const Stats& after = world.stats();
        CHECK(after.copies == before.copies);
        CHECK(after.fast_deliveries - before.fast_deliveries == 3 * 50);
        CHECK(after.runs - before.runs == 1);
        CHECK(after.publish_received - before.publish_received == 50);
        CHECK(after.publish_sent - before.publish_sent == 3 * 50);
        CHECK(after.publish_sent_qos[0] - before.publish_sent_qos[0] == 3 * 50);
        CHECK(after.publish_bytes_received - before.publish_bytes_received == 50 * size);
        CHECK(after.publish_bytes_sent - before.publish_bytes_sent == 3 * 50 * size);
        CHECK(after.packets_sent_all - before.packets_sent_all == 3 * 50);
        CHECK(after.dropped == 0);
        REQUIRE(world.end() == 0);
    }
}

// Payloads of every size around the thresholds (one length byte more, copied or referenced, flushed
// in mid-turn) arrive as they were sent, in order.
TEST_CASE("payloads of every size class arrive unchanged and in order", "[wire][engine]") {
    BrokerOptions options = World::test_options();
    options.max_packet_size = 8'000'000;
    World world(options);
    auto& plain = world.client("plain");
    plain.send(subscribe(1,
                         {
                             {"t", 0}
    }));
    auto& counted = world.client("counted");
    counted.send(subscribe(1,
                           {
                               {"t", 1}
    }));
    auto& publisher = world.client("publisher");
    plain.take_output();
    counted.take_output();
    uint16_t id = 0;
    for (const uint32_t size :
         {0u,      1u,      124u,     125u,     126u,     127u,      128u,    1'008u,
          1'023u,  1'024u,  2'047u,   2'048u,   2'049u,   16'377u,   16'384u, 32'767u,
          32'768u, 40'000u, 262'143u, 262'144u, 300'000u, 2'097'152u}) {
        CAPTURE(size);
        std::string payload(size, 'p');
        for (uint32_t i = 0; i < size; i += 97)
            payload[i] = static_cast<char>('a' + i % 26);
        const std::string small = publish({.topic = "t", .payload = "s"});
        const std::string large = publish({.topic = "t", .payload = payload});
        publisher.send(small + large + small);
        REQUIRE(plain.take_output() == small + large + small);
        REQUIRE(counted.take_output() == small + large + small);
        publisher.send(publish({.topic = "t", .payload = payload, .qos = 1, .packet_id = 9}));
        REQUIRE(publisher.received() == "PUBACK(9)");
        REQUIRE(plain.take_output() == large);
        ++id;
        REQUIRE(counted.take_output() ==
                publish({.topic = "t", .payload = payload, .qos = 1, .packet_id = id}));
        counted.send(puback(id));
    }
    REQUIRE(world.stats().inflight_out == 0);
    REQUIRE(world.stats().messages_stored == 0);
    REQUIRE(world.end() == 0);
}

// The length may be written with needless digits; what the broker itself sends is always minimal,
// because a receiver may refuse the long form and the sizes would not add up.
TEST_CASE("a padded length encoding is not forwarded as it came", "[wire][engine]") {
    World world;
    auto& subscriber = world.client("subscriber");
    subscriber.send(subscribe(1,
                              {
                                  {"t", 0}
    }));
    subscriber.take_output();
    auto& publisher = world.client("publisher");
    const auto packet = [](int i) { return publish({.topic = "t", .payload = std::to_string(i)}); };
    publisher.send(packet(1) + padded(packet(2)) + packet(3) + padded(packet(4)) +
                   padded(packet(5)) + packet(6) + packet(7));
    REQUIRE(subscriber.take_output() ==
            packet(1) + packet(2) + packet(3) + packet(4) + packet(5) + packet(6) + packet(7));
    REQUIRE(world.stats().publish_sent == 7);
    REQUIRE(world.stats().fast_deliveries == 4);
    REQUIRE(world.stats().copies == 0);
    REQUIRE(world.end() == 0);
}

// A run ends where the topic changes; what comes out keeps the order across topics for a receiver
// of all, and per topic for a receiver of one.
TEST_CASE("interleaved topics make several runs and keep their order", "[wire][engine]") {
    World world;
    auto& all = world.client("all");
    all.send(subscribe(1,
                       {
                           {"+", 0}
    }));
    auto& only = world.client("only");
    only.send(subscribe(1,
                        {
                            {"b", 0}
    }));
    all.take_output();
    only.take_output();
    auto& publisher = world.client("publisher");
    std::string input;
    std::string only_b;
    uint64_t runs = 0;
    std::string last;
    for (int i = 0; i < 200; ++i) {
        // "b" and "bb": the second packet of a would-be run must not match by its first byte only.
        const std::string topic = i * i % 7 < 3 ? "a" : i % 5 < 3 ? "b" : "bb";
        const std::string packet = publish({.topic = topic, .payload = "b" + std::to_string(i)});
        input += packet;
        if (topic == "b") only_b += packet;
        runs += topic != last;
        last = topic;
    }
    publisher.send(input);
    REQUIRE(all.take_output() == input);
    REQUIRE(only.take_output() == only_b);
    REQUIRE(world.stats().runs == runs);
    REQUIRE(world.stats().copies == 0);
    REQUIRE(world.end() == 0);
}

// Whatever way the bytes are cut into reads, the same packets come out.
TEST_CASE("runs come out the same however the input is cut", "[wire][engine]") {
    std::string input;
    for (uint32_t i = 0; i < 12; ++i) {
        input +=
            publish({.topic = i % 4 == 3 ? "u" : "t", .payload = std::string(i * 13 % 40, 'x')});
    }
    for (uint32_t cut = 1; cut <= input.size(); cut += cut < 60 ? 1 : 17) {
        CAPTURE(cut);
        World world;
        auto& subscriber = world.client("s");
        subscriber.send(subscribe(1,
                                  {
                                      {"#", 0}
        }));
        subscriber.take_output();
        auto& publisher = world.client("p");
        world.set_cut(cut);
        publisher.send(input);
        REQUIRE(subscriber.take_output() == input);
        REQUIRE(world.stats().publish_sent == 12);
        REQUIRE(world.end() == 0);
    }
}

// RETAIN ends a run: live receivers get the message without the flag, in its place in the order,
// and the store keeps it.
TEST_CASE("a retained publish in the middle of a run keeps its place",
          "[wire][engine][MQTT-3.3.1-9]") {
    World world;
    auto& subscriber = world.client("s");
    subscriber.send(subscribe(1,
                              {
                                  {"t", 0}
    }));
    subscriber.take_output();
    auto& publisher = world.client("p");
    publisher.send(publish({.topic = "t", .payload = "1"}) +
                   publish({.topic = "t", .payload = "2", .retain = true}) +
                   publish({.topic = "t", .payload = "3"}) +
                   publish({.topic = "t", .payload = "4"}));
    REQUIRE(subscriber.received() ==
            "PUBLISH(t,1,q0) PUBLISH(t,2,q0) PUBLISH(t,3,q0) PUBLISH(t,4,q0)");
    CHECK(world.stats().runs == 2);
    CHECK(world.stats().copies == 1);
    CHECK(world.stats().publish_sent == 4);
    auto& late = world.client("late");
    late.send(subscribe(1,
                        {
                            {"t", 0}
    }));
    REQUIRE(late.received() == "SUBACK(1,0) PUBLISH(t,2,q0,retain)");
    REQUIRE(world.end() == 0);
}

// A packet over the limit is dropped by name and takes nothing else with it, wherever in a run it
// is.
TEST_CASE("a payload over message_size_limit is dropped alone", "[wire][engine]") {
    BrokerOptions options = World::test_options();
    options.message_size_limit = 10;
    for (uint32_t place = 0; place < 5; ++place) {
        CAPTURE(place);
        World world(options);
        auto& subscriber = world.client("s");
        subscriber.send(subscribe(1,
                                  {
                                      {"t", 0}
        }));
        subscriber.take_output();
        auto& publisher = world.client("p");
        std::string input;
        std::string expected;
        for (uint32_t i = 0; i < 5; ++i) {
            const std::string packet =
                publish({.topic = "t", .payload = std::string(i == place ? 11 : 10, 'x')});
            input += packet;
            if (i != place) expected += packet;
        }
        publisher.send(input);
        REQUIRE(subscriber.take_output() == expected);
        CHECK(drops(world, Drop::kTooLarge) == 1);
        CHECK(world.stats().publish_received == 5);
        CHECK(world.stats().publish_sent == 4);
        REQUIRE(publisher.open());
        REQUIRE(world.end() == 0);
    }
}

// Each packet of a run is checked on its own: a bad one closes its sender after what came before it
// was delivered, and nothing behind it is.
TEST_CASE("a bad packet inside a run closes its sender there", "[wire][engine]") {
    World world;
    auto& subscriber = world.client("s");
    subscriber.send(subscribe(1,
                              {
                                  {"#", 0}
    }));
    subscriber.take_output();
    const std::string good = publish({.topic = "t", .payload = "ok"});
    const std::string bad[] = {
        raw(0x30, text("t/#") + "x"),             // wildcard in a name
        raw(0x30, text("") + "x"),                // empty name
        raw(0x30, text(std::string("\xff", 1))),  // not UTF-8
        raw(0x30, "\0"),                          // shorter than the topic length
        raw(0x30, std::string("\0\x05t", 3)),     // topic longer than the packet
        raw(0x36, text("t") + number(1)),         // QoS 3
    };
    uint64_t malformed = 0;
    for (const std::string& packet : bad) {
        auto& publisher = world.client("p" + std::to_string(malformed));
        publisher.send(good + good + packet + good);
        REQUIRE(subscriber.take_output() == good + good);
        REQUIRE_FALSE(publisher.open());
        REQUIRE(world.stats().malformed == ++malformed);
    }
    REQUIRE(subscriber.open());
    REQUIRE(world.end() == 0);
}
