#include "support/world.h"

#include <catch2/catch.hpp>
#include <map>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

constexpr uint64_t kEndless = ~uint64_t{0};

std::string topic(uint32_t i) {
    return "r/" + std::to_string(i % 100) + "/" + std::to_string(i);
}

// `count` retained topics, in the order of their numbers.
void retain_all(World& world, uint32_t count, size_t size, int qos = 0) {
    auto& publisher = world.client("retainer");
    for (uint32_t i = 0; i < count; ++i) {
        publisher.push(publish({.topic = topic(i),
                                .payload = std::string(size, 'r'),
                                .qos = qos,
                                .packet_id = static_cast<uint16_t>(qos > 0 ? i % 60'000 + 1 : 0),
                                .retain = true}));
    }
    world.settle();
    publisher.send(disconnect());
}

// Splits off what was received; counts PUBLISH packets by topic and acknowledges QoS 1.
void take(FakeConnection& client,
          std::string& rest,
          std::map<std::string, uint32_t>& seen,
          bool ack) {
    rest += client.take_output();
    std::string acks;
    size_t at = 0;
    while (const size_t size = packet_size(std::string_view(rest).substr(at))) {
        const std::string_view packet = std::string_view(rest).substr(at, size);
        at += size;
        if (static_cast<uint8_t>(packet[0]) >> 4 != 3) continue;
        const size_t header = size < 130 ? 2 : 3;
        const size_t length = static_cast<uint8_t>(packet[header + 1]);
        ++seen[std::string(packet.substr(header + 2, length))];
        if (ack && (packet[0] & 6) != 0) acks += raw(0x40, packet.substr(header + 2 + length, 2));
    }
    rest.erase(0, at);
    client.push(acks);
}

}  // namespace

// A session with very many subscriptions goes: dead at once, its name free at once, its memory
// freed over many turns in which everybody else is served.
TEST_CASE("teardown of 20 000 subscriptions is spread over turns", "[wire][engine]") {
    BrokerOptions options = World::test_options();
    options.turn_units = 400;
    World world(options);
    auto& other = world.client("other");
    other.send(subscribe(1,
                         {
                             {"f/7", 0}
    }));
    other.take_output();
    const uint64_t before = world.arena().live();
    auto& large = world.client("large");
    for (uint32_t part = 0; part < 20; ++part) {
        Filters filters;
        for (uint32_t i = 0; i < 1'000; ++i)
            filters.emplace_back("f/" + std::to_string(part * 1'000 + i), 0);
        large.send(subscribe(1, filters));
    }
    REQUIRE(large.take_output().size() == 20 * (1 + 2 + 2 + 1'000));
    large.push(disconnect());
    const uint64_t from = world.turns();
    world.turn();
    REQUIRE(world.stats().sessions == 1);
    REQUIRE(world.arena().live() > before + 20'000);
    auto& same = world.connection();
    same.push(connect("large", false) +
              subscribe(1,
                        {
                            {"f/7", 1}
    }) +
              publish({.topic = "f/7", .payload = "m"}));
    world.turn();
    world.turn();
    REQUIRE(same.received() == "CONNACK(0) SUBACK(1,1) PUBLISH(f/7,m,q0)");
    REQUIRE(other.received() == "PUBLISH(f/7,m,q0)");
    REQUIRE(world.arena().live() > before + 10'000);
    // The same name again, at once, while two of its kind are being taken apart.
    same.push(disconnect());
    world.turn();
    auto& third = world.connection();
    third.push(connect("large"));
    world.turn();
    REQUIRE(third.received() == "CONNACK(0)");
    world.settle();
    REQUIRE(world.turns() - from > 20);
    third.send(disconnect());
    REQUIRE(world.arena().live() <= before + 4);  // tables may have grown
    REQUIRE(world.end() == 0);
}

// A subscription to everything is paid by its subscriber's reading: the replay waits for room, so
// memory stays near the outbox's mark; what is set or cleared meanwhile comes at most once live and
// nothing that was there and stays is missed.
TEST_CASE("a replay of 10 000 topics needs little memory and survives changes", "[wire][engine]") {
    for (const int qos : {0, 1}) {
        CAPTURE(qos);
        World world;
        retain_all(world, 10'000, 200, qos);
        auto& publisher = world.client("publisher");
        auto& reader = world.client("reader");
        const uint64_t used = world.arena().bytes_used();
        reader.set_room(0);
        reader.push(subscribe(1,
                              {
                                  {"#", qos}
        }));
        world.settle();
        std::map<std::string, uint32_t> seen;
        std::string rest;
        int64_t most = 0;
        for (uint32_t round = 0; round < 500; ++round) {
            reader.set_room(3'000);
            // Odd ones below 2000 are cleared, even ones replaced, new ones come.
            const uint32_t i = round * 13 % 2'000;
            publisher.push(publish(
                {.topic = topic(i), .payload = i % 2 == 0 ? "new" : "", .qos = 0, .retain = true}));
            if (round < 50)
                publisher.push(
                    publish({.topic = topic(10'000 + round), .payload = "n", .retain = true}));
            world.turn();
            take(reader, rest, seen, true);
            world.turn();
            most = std::max(most, static_cast<int64_t>(world.arena().bytes_used() - used));
        }
        REQUIRE(seen.size() < 9'000);
        reader.set_room(kEndless);
        for (uint32_t round = 0; round < 1'000; ++round) {
            for (int i = 0; i < 3; ++i)
                world.turn();
            take(reader, rest, seen, true);
        }
        world.settle();
        CHECK(most < 700'000);
        uint32_t missing = 0;
        for (uint32_t i = 2'000; i < 10'000; ++i) {
            missing += !seen.contains(topic(i));
            if (seen[topic(i)] != 1)
                FAIL("topic " << topic(i) << " came " << seen[topic(i)] << " times");
        }
        REQUIRE(missing == 0);
        REQUIRE(world.stats().inflight_out == 0);
        REQUIRE(world.end() == 0);
    }
}

// Subscribing again starts the one replay again; it does not add another, so repeating SUBSCRIBE
// does not multiply what is sent or kept.
TEST_CASE("a repeated SUBSCRIBE restarts its retained replay", "[wire][engine]") {
    World world;
    retain_all(world, 3'000, 500);
    auto& reader = world.client("reader");
    reader.set_room(0);
    const uint64_t used = world.arena().bytes_used();
    for (int i = 0; i < 200; ++i)
        reader.push(subscribe(1,
                              {
                                  {"#", 0}
        }));
    world.settle();
    REQUIRE(world.arena().bytes_used() - used < 500'000);
    reader.set_room(kEndless);
    world.settle();
    std::map<std::string, uint32_t> seen;
    std::string rest;
    take(reader, rest, seen, false);
    uint64_t sum = 0;
    for (const auto& [name, count] : seen)
        sum += count;
    REQUIRE(seen.size() == 3'000);
    REQUIRE(sum < 2 * 3'000);
    reader.send(subscribe(2,
                          {
                              {"#", 0}
    }));
    seen.clear();
    take(reader, rest, seen, false);
    REQUIRE(seen.size() == 3'000);
    REQUIRE(world.end() == 0);
}

// More replays than may run at a time: the others wait their turn, while the link is read on. (If
// the SUBSCRIBE waited instead, the acknowledgements that come in behind it, for which the running
// replays wait at QoS 1, would never be read.)
TEST_CASE("more than 64 replays wait their turn", "[wire][engine]") {
    for (const int qos : {0, 1}) {
        for (const bool together : {true, false}) {
            CAPTURE(qos, together);
            BrokerOptions options = World::test_options();
            options.max_inflight_messages = 5;
            World world(options);
            retain_all(world, 400, 300, qos);
            auto& reader = world.client("reader");
            Filters filters;
            for (uint32_t i = 0; i < 100; ++i)
                filters.emplace_back("r/" + std::to_string(i) + "/+", qos);
            reader.set_room(0);
            if (together) {
                reader.push(subscribe(1, filters));
            } else {
                for (const auto& filter : filters)
                    reader.push(subscribe(1, {filter}));
            }
            world.settle();
            REQUIRE(reader.stopped() == StopReason::kNone);
            reader.push(pingreq());
            reader.set_room(kEndless);
            std::map<std::string, uint32_t> seen;
            std::string rest;
            for (int round = 0; round < 300; ++round) {
                world.settle();
                take(reader, rest, seen, true);
            }
            CHECK(reader.stopped() == StopReason::kNone);
            CHECK(reader.unread() == 0);
            REQUIRE(seen.size() == 400);
            for (const auto& [name, count] : seen)
                REQUIRE(count == 1);
            REQUIRE(world.end() == 0);
        }
    }
}

// A long SUBSCRIBE is taken in slices, others are served meanwhile, and it is answered once.
TEST_CASE("a SUBSCRIBE with 5 000 filters is done in slices with one SUBACK", "[wire][engine]") {
    World world;
    auto& large = world.client("large");
    auto& other = world.client("other");
    Filters filters;
    for (uint32_t i = 0; i < 5'000; ++i) {
        filters.emplace_back("f/" + std::to_string(i) + (i % 3 == 0 ? "/+" : ""),
                             static_cast<int>(i % 3));
    }
    large.push(subscribe(77, filters));
    world.turn();
    REQUIRE(large.take_output().empty());
    other.push(pingreq());
    world.turn();
    REQUIRE(other.received() == "PINGRESP");
    REQUIRE(large.take_output().empty());
    world.settle();
    const std::string suback = large.take_output();
    REQUIRE(suback.size() == 3 + 2 + 5'000);
    REQUIRE(suback.substr(0, 1) == "\x90");
    for (uint32_t i = 0; i < 5'000; ++i) {
        if (suback[5 + i] != static_cast<char>(i % 3)) FAIL("code of filter " << i);
    }
    REQUIRE(world.stats().packets_received[8] == 1);
    other.send(publish({.topic = "f/4999", .payload = "x"}) +
               publish({.topic = "f/3/y", .payload = "x"}));
    REQUIRE(large.received() == "PUBLISH(f/4999,x,q0) PUBLISH(f/3/y,x,q0)");
    std::vector<std::string> names;
    for (const auto& filter : filters)
        names.push_back(filter.first);
    large.push(unsubscribe(78, names));
    world.turn();
    REQUIRE(large.take_output().empty());
    world.settle();
    REQUIRE(large.received() == "UNSUBACK(78)");
    // The client may go in the middle of it.
    large.push(subscribe(79, filters));
    world.turn();
    large.hang_up(Error::kReset);
    REQUIRE(world.stats().sessions == 1);
    REQUIRE(world.end() == 0);
}
