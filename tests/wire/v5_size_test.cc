// Maximum Packet Size of a client: what is larger is not sent to it, and nobody else notices.

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <string>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

uint64_t too_large(const World& world) {
    return world.stats().drops[static_cast<uint32_t>(Drop::kReceiverSize)];
}

Connect limited(const char* id, uint32_t bytes, const std::string& more = {}) {
    return {.client_id = id, .properties = property(P::kMaximumPacketSize, bytes) + more};
}

}  // namespace

// A fan-out with receivers of every size around the packet's own, of both versions.
TEST_CASE("a packet as large as its receiver takes is sent, one byte more is not",
          "[wire][v5][MQTT5-3.1.2-24][MQTT5-3.1.2-25]") {
    for (const size_t payload_size : {60u, 130u, 3'000u}) {
        for (const int qos : {0, 1, 2}) {
            INFO("payload " << payload_size << " qos " << qos);
            World world;
            const std::string payload(payload_size, 'x');
            const auto size = static_cast<uint32_t>(
                qos == 0 ? pub("topic", payload).size() : pub("topic", payload, qos, 1).size());
            auto& exact = world.client5(limited("exact", size));
            auto& more = world.client5(limited("more", size + 1));
            auto& less = world.client5(limited("less", size - 1));
            auto& any = world.client5({.client_id = "any"});
            auto& old = world.client("old");
            for (auto* each : {&exact, &more, &less, &any}) {
                each->send(sub("topic", 2));
                each->take_output();
            }
            old.send(sub3("topic", 2));
            old.take_output();
            auto& writer = world.client5({.client_id = "w"});
            for (uint16_t round = 1; round <= 3; ++round) {
                const std::string packet =
                    qos == 0 ? pub("topic", payload) : pub("topic", payload, qos, 1);
                writer.send(packet);
                if (qos == 2) writer.send(ack(PacketType::kPubrel, 1));
                for (auto* each : {&exact, &more, &any}) {
                    const std::string got = each->take_output();
                    CHECK(got.size() == size);
                }
                CHECK(old.take_output().size() == size - 1);
                CHECK(less.take_output().empty());
                CHECK(too_large(world) == round);
            }
            // It can still get what fits, and no identifier was lost on the way.
            writer.send(qos == 0 ? pub("topic", "y") : pub("topic", "y", qos, 1));
            if (qos == 2) writer.send(ack(PacketType::kPubrel, 1));
            CHECK(less.received().starts_with("PUBLISH(topic,y,q"));
            CHECK(less.open());
            CHECK(world.end() == 0);
        }
    }
}

// A run is taken apart for who cannot take all of it.
TEST_CASE("of a run everything that fits is sent", "[wire][v5][MQTT5-3.1.2-25]") {
    World world;
    const auto packet = [](size_t size) { return pub("t", std::string(size + 30, 'x')); };
    const std::string run = packet(10) + packet(30) + packet(20) + packet(30) + packet(11);
    const auto size20 = static_cast<uint32_t>(packet(20).size());
    auto& exact = world.client5(limited("exact", size20));
    auto& all = world.client5(limited("all", static_cast<uint32_t>(packet(30).size())));
    auto& none = world.client5(limited("none", static_cast<uint32_t>(packet(10).size()) - 1));
    auto& named = world.client5(limited("named", size20));
    auto& old = world.client("old");
    for (auto* each : {&exact, &all, &none, &old})
        each->send(each == &old ? sub3("t", 0) : sub("t", 0));
    named.send(sub("t", 0, identifier(1)));
    for (auto* each : {&exact, &all, &none, &old, &named})
        each->take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(run);
    CHECK(world.stats().runs == 1);
    CHECK(exact.take_output() == packet(10) + packet(20) + packet(11));
    CHECK(all.take_output() == run);
    CHECK(none.take_output().empty());
    CHECK(describe(named.take_output()) ==
          "PUBLISH(t," + std::string(40, 'x') + ",q0){sub=1} PUBLISH(t,41B,q0){sub=1}");
    CHECK(packets::describe(old.take_output()).size() > 5 * 10);
    CHECK(too_large(world) == 2 + 5 + 3);
    CHECK(world.end() == 0);
}

// With one place in its window a receiver that cannot take a message must not be left with a slot
// that nobody acknowledges.
TEST_CASE("what is too large takes no place in the window",
          "[wire][v5][MQTT5-3.1.2-25][MQTT5-3.3.4-9]") {
    World world;
    auto& reader = world.client5(limited("r", 30, property(P::kReceiveMaximum, 1)));
    reader.send(sub("t", 2));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    const std::string large(50, 'x');
    for (uint16_t i = 0; i < 100; ++i)
        writer.push(pub("t", large, 1, 1) + pub("t", large, 2, 2) + ack(PacketType::kPubrel, 2));
    writer.send(pub("t", "a", 1, 1));
    const std::string first = reader.received();
    CHECK(first.starts_with("PUBLISH(t,a,q1,id"));
    // Behind a full window, in the queue.
    for (uint16_t i = 0; i < 10; ++i)
        writer.push(pub("t", large, 1, 1));
    writer.send(pub("t", "b", 1, 1));
    CHECK(reader.received().empty());
    const auto id = static_cast<uint16_t>(std::stoi(first.substr(first.find("id") + 2)));
    reader.send(ack(PacketType::kPuback, id));
    const std::string second = reader.received();
    CHECK(second.starts_with("PUBLISH(t,b,q1,id"));
    CHECK(too_large(world) == 210);
    CHECK(world.stats().inflight_out == 1);
    CHECK(world.stats().queued == 0);
    CHECK(world.end() == 0);
}

// A long row of messages that are too large, while one in front of them is not acknowledged.
TEST_CASE("a flood of what is too large does not use up the window", "[wire][v5]") {
    World world;
    auto& reader = world.client5(limited("r", 30));
    reader.send(sub("t", 1));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("t", "first", 1, 1));
    CHECK(reader.received() == "PUBLISH(t,first,q1,id1)");
    const std::string large(50, 'x');
    for (uint32_t i = 0; i < 70'000; ++i)
        writer.push(pub("t", large, 1, 1));
    world.settle();
    writer.send(pub("t", "second", 1, 1));
    CHECK(reader.received().starts_with("PUBLISH(t,second,q1,id"));
    CHECK(too_large(world) == 70'000);
    CHECK(world.end() == 0);
}

// A session may come back with a smaller limit than before: what was in flight is let go. At QoS 2
// the client may have it already, and with it the identifier: PUBREL frees that.
TEST_CASE("a session that comes back with a smaller limit drops what no longer fits",
          "[wire][v5][MQTT5-3.1.2-25]") {
    World world;
    const std::string stays = property(P::kSessionExpiryInterval, 100);
    Connect fields{.client_id = "r", .clean = false, .properties = stays};
    auto& reader = world.client5(fields);
    reader.send(sub("t", 2));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("t", std::string(50, 'x'), 1, 1) + pub("t", "b", 1, 1) +
                pub("t", std::string(50, 'x'), 2, 2) + ack(PacketType::kPubrel, 2));
    reader.hang_up();
    writer.send(pub("t", std::string(50, 'x'), 1, 1) + pub("t", "d", 1, 1));
    Connect smaller = fields;
    smaller.properties = stays + property(P::kMaximumPacketSize, 40);
    auto& back = world.client5(smaller);
    const std::string words = back.received();
    CHECK(words.starts_with("PUBLISH(t,b,q1,id2,dup) PUBREL(3) PUBLISH(t,d,q1,id"));
    CHECK(too_large(world) == 3);
    CHECK(world.stats().inflight_out == 3);
    back.send(ack(PacketType::kPuback, 2) + ack(PacketType::kPubcomp, 3));
    CHECK(world.stats().inflight_out == 1);
    CHECK(back.open());
    CHECK(world.end() == 0);
}

// What a packet grows by on its way counts: the alias, the identifier, the expiry interval.
TEST_CASE("the properties that the broker adds count, too", "[wire][v5][MQTT5-3.1.2-24]") {
    World world;
    const std::string own = identifier(1) + alias(1) + expiry(7);
    const auto size = static_cast<uint32_t>(pub("topic", "x", own).size());
    for (const uint32_t bytes : {size - 1, size}) {
        auto& reader = world.client5(limited("r", bytes, property(P::kTopicAliasMaximum, 1)));
        reader.send(sub("topic", 0, identifier(1)));
        reader.take_output();
        auto& writer = world.client5({.client_id = "w"});
        writer.send(pub("topic", "x", expiry(7)));
        CHECK(reader.received() ==
              (bytes < size ? "" : "PUBLISH(topic,x,q0){sub=1,alias=1,expiry=7}"));
        // Known by its alias it is shorter.
        writer.send(pub("topic", "", expiry(7)) + pub("topic", "12345", expiry(7)));
        const std::string rest = reader.received();
        CHECK(rest == (bytes < size ? "PUBLISH(topic,,q0){sub=1,alias=1,expiry=7} "
                                      "PUBLISH(,12345,q0){sub=1,alias=1,expiry=7}"
                                    : "PUBLISH(,,q0){sub=1,alias=1,expiry=7} "
                                      "PUBLISH(,12345,q0){sub=1,alias=1,expiry=7}"));
        reader.send(disconnect());
    }
    CHECK(world.end() == 0);
}

// The smallest limits there are: what cannot be said is left unsaid, and never said all the same.
TEST_CASE("no packet of any type is larger than its receiver takes",
          "[wire][v5][MQTT5-3.1.2-24][MQTT5-3.14.2-3]") {
    for (uint32_t bytes = 1; bytes <= 60; ++bytes) {
        INFO("limit " << bytes);
        World world;
        auto& peer = world.connection();
        peer.speak_v5();
        std::string all;
        uint32_t largest = 0;
        const auto look = [&] {
            std::string got = peer.take_output();
            while (!got.empty()) {
                const size_t size = packets::packet_size(got);
                REQUIRE(size > 0);
                largest = std::max(largest, static_cast<uint32_t>(size));
                got.erase(0, size);
            }
        };
        peer.send(connect(limited("", bytes)));
        look();
        peer.send(sub("a/b/c", 2));
        look();
        peer.send(pub("a/b/c", "x", 1, 1) + pub("n", "x", 1, 2) + pub("a/b/c", "x", 2, 3) +
                  ack(PacketType::kPubrel, 3) + ack(PacketType::kPubrel, 9) +
                  ack(PacketType::kPubrec, 9));
        look();
        peer.send(unsubscribe(7, {"x", "y", "z"}));
        peer.send(packets::pingreq());
        look();
        peer.send(packets::raw(0x36, "bad"));
        look();
        CHECK(largest <= bytes);
        CHECK(world.end() == 0);
    }
}

// A SUBACK has a code for every filter and cannot be shortened.
TEST_CASE("a SUBACK that its client cannot take ends the link", "[wire][v5][MQTT5-3.1.2-24]") {
    World world;
    for (const size_t count : {34u, 35u, 36u, 37u}) {
        auto& peer = world.client5(limited("c", 40));
        Filters filters;
        for (size_t i = 0; i < count; ++i)
            filters.emplace_back("f" + std::to_string(i), 0);
        peer.send(subscribe(1, filters));
        const std::string words = peer.received();
        CHECK(words.starts_with(5 + count <= 40 ? "SUBACK(1,0,0" : "DISCONNECT(x95)"));
        peer.hang_up();
    }
    CHECK(world.end() == 0);
}

// And the other way: what a client may send at most.
TEST_CASE("a packet above max_packet_size ends the link before it is whole",
          "[wire][v5][MQTT5-3.2.2-15]") {
    BrokerOptions options = World::test_options();
    options.max_packet_size = 100;
    World world(options);
    const size_t empty = pub("t", "").size();
    for (const size_t size : {99u, 100u, 101u}) {
        auto& peer = world.client5({.client_id = "c"});
        const std::string packet = pub("t", std::string(size - empty, 'x'));
        REQUIRE(packet.size() == size);
        peer.send(packet.substr(0, 10));
        CHECK(peer.open() == (size <= 100));
        if (!peer.open()) CHECK(peer.received() == "DISCONNECT(x95){why=packet too large}");
        peer.hang_up();
    }
    auto& peer = world.connection();
    peer.speak_v5();
    peer.send(connect({.client_id = std::string(90, 'c')}));
    CHECK(peer.received() == "");
    CHECK_FALSE(peer.open());
    CHECK(world.end() == 0);
}
