// Message Expiry Interval in every place where a message may wait.   MQTT 5.0 §3.3.2.3.3

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

uint64_t drops(const World& world, Drop reason) {
    return world.stats().drops[static_cast<uint32_t>(reason)];
}

uint64_t expired(const World& world) {
    return drops(world, Drop::kExpired);
}

constexpr Duration kSeconds = 1'000;
constexpr uint32_t kForever = 0xffffffff;

}  // namespace

// Passed on at once, the interval is what it was: also 0, and also the largest there is.
TEST_CASE("a message that does not wait keeps its whole interval", "[wire][v5][MQTT5-3.3.2-6]") {
    World world;
    auto& reader = world.client5({.client_id = "r"});
    auto& old = world.client("old");
    reader.send(sub("t", 2));
    old.send(sub3("t", 2));
    reader.take_output();
    old.take_output();
    auto& writer = world.client5({.client_id = "w"});
    uint16_t id = 0;
    for (const uint32_t interval : {0u, 1u, 60u, 0x7fffffffu, 0xfffffffeu, 0xffffffffu}) {
        const std::string word = "{expiry=" + std::to_string(interval) + "}";
        writer.send(pub("t", "x", expiry(interval)));
        CHECK(reader.received() == "PUBLISH(t,x,q0)" + word);
        CHECK(old.received() == "PUBLISH(t,x,q0)");
        writer.send(pub("t", "x", 1, 1, expiry(interval)));
        ++id;
        const std::string number = std::to_string(id);
        CHECK(reader.received() == "PUBLISH(t,x,q1,id" + number + ")" + word);
        CHECK(old.received() == "PUBLISH(t,x,q1,id" + number + ")");
    }
    CHECK(expired(world) == 0);
    CHECK(world.end() == 0);
}

// The very largest interval counts down like any other.
TEST_CASE("the largest interval counts down, too", "[wire][v5][MQTT5-3.3.2-6]") {
    World world;
    world.client5(durable("r", kForever)).send(sub("t", 1));
    auto& writer = world.client5({.client_id = "w"});
    world.client5(durable("r", kForever)).hang_up();
    writer.send(pub("t", "x", 1, 1, expiry(0xffffffff)));
    world.advance(10 * kSeconds);
    auto& back = world.client5(durable("r", kForever));
    CHECK(back.received() ==
          "PUBLISH(t,x,q1,id1){expiry=" + std::to_string(0xffffffffu - 10) + "}");
    CHECK(world.end() == 0);
}

// For a session that is away: the second before its time, the very second, the one after. What
// comes to a 3.1.1 client is the same without the word.
TEST_CASE("a queued message is sent up to its last second",
          "[wire][v5][MQTT5-3.3.2-5][MQTT5-3.3.2-6]") {
    for (const uint32_t away_s : {4u, 5u, 6u}) {
        World world;
        world.client5(durable("five", kForever)).send(sub("t", 1));
        world.client("three", false).send(sub3("t", 1));
        world.client5(durable("five", kForever)).hang_up();
        world.client("three", false).hang_up();
        auto& writer = world.client5({.client_id = "w"});
        writer.send(pub("t", "a", 1, 1) + pub("t", "b", 1, 2, expiry(5)) + pub("t", "c", 1, 3));
        world.advance(away_s * kSeconds);
        const bool good = away_s < 5;
        auto& five = world.client5(durable("five", kForever));
        auto& three = world.client("three", false);
        const std::string last = good ? "id3" : "id2";
        CHECK(five.received() == "PUBLISH(t,a,q1,id1) " +
                                     std::string(good ? "PUBLISH(t,b,q1,id2){expiry=1} " : "") +
                                     "PUBLISH(t,c,q1," + last + ")");
        CHECK(three.received() == "PUBLISH(t,a,q1,id1) " +
                                      std::string(good ? "PUBLISH(t,b,q1,id2) " : "") +
                                      "PUBLISH(t,c,q1," + last + ")");
        CHECK(expired(world) == (good ? 0 : 2));
        CHECK(world.stats().queued == 0);
        CHECK(world.end() == 0);
    }
}

TEST_CASE("a message expires behind a full window", "[wire][v5][MQTT5-3.3.2-5]") {
    BrokerOptions options = World::test_options();
    options.max_inflight_messages = 1;
    World world(options);
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("t", 2));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("t", "1", 1, 1, expiry(2)) + pub("t", "2", 1, 2, expiry(2)) +
                pub("t", "3", 1, 3, expiry(9)));
    CHECK(reader.received() == "PUBLISH(t,1,q1,id1){expiry=2}");
    world.advance(3 * kSeconds);
    reader.send(ack(PacketType::kPuback, 1));
    CHECK(reader.received() == "PUBLISH(t,3,q1,id2){expiry=6}");
    CHECK(expired(world) == 1);
    CHECK(world.end() == 0);
}

// What is in the outbox is on its way; what waits behind a blocked link is not.
TEST_CASE("a message expires while its receiver does not read", "[wire][v5][MQTT5-3.3.2-5]") {
    BrokerOptions options = World::test_options();
    options.queue_qos0_messages = true;
    World world(options);
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("t", 1));
    reader.take_output();
    reader.set_room(0);
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("t", "first", 1, 1, expiry(1)));  // fills the outbox, and blocks
    world.advance(10);
    writer.send(pub("t", "a", 1, 2, expiry(5)) + pub("t", "b", expiry(5)) +
                pub("t", "c", 1, 3, expiry(50)) + pub("t", "d", expiry(50)));
    world.advance(6 * kSeconds);
    reader.set_room(~uint64_t{0});
    world.advance(100);
    CHECK(reader.received() ==
          "PUBLISH(t,first,q1,id1){expiry=1} PUBLISH(t,c,q1,id2){expiry=44} "
          "PUBLISH(t,d,q0){expiry=44}");
    CHECK(expired(world) == 2);
    CHECK(world.end() == 0);
}

// Its onward delivery had begun: it is finished, with nothing left of its time.
TEST_CASE("a message in flight is sent again after its time", "[wire][v5][MQTT5-4.4.0-1]") {
    World world;
    auto& reader = world.client5(durable("r", kForever));
    reader.send(sub("t", 2));
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("t", "a", 1, 1, expiry(5)) + pub("t", "b", 2, 2, expiry(20)));
    writer.send(ack(PacketType::kPubrel, 2));
    reader.hang_up();
    world.advance(10 * kSeconds);
    auto& back = world.client5(durable("r", kForever));
    CHECK(back.received() ==
          "PUBLISH(t,a,q1,id1,dup){expiry=0} PUBLISH(t,b,q2,id2,dup){expiry=10}");
    CHECK(expired(world) == 0);
    CHECK(world.end() == 0);
}

// What was in flight and of which no byte had left when the connection broke has not been begun: it
// is dropped when its time has come, and its identifier is free again.
TEST_CASE("what had not begun to leave expires in flight", "[wire][v5][MQTT5-3.3.2-5]") {
    for (const int qos : {1, 2}) {
        for (const int seconds : {4, 5, 6}) {
            CAPTURE(qos, seconds);
            World world;
            auto& reader = world.client5(durable("r"));
            reader.send(sub("t", 2));
            reader.set_room(0);
            auto& writer = world.client5({.client_id = "w"});
            const auto word = std::to_string(qos);
            writer.send(pub("t", "a", qos, 1, expiry(5)));
            if (qos == 2) writer.send(ack(PacketType::kPubrel, 1));
            writer.send(pub("t", "b", qos, 2));
            if (qos == 2) writer.send(ack(PacketType::kPubrel, 2));
            reader.hang_up();
            world.advance(static_cast<uint32_t>(seconds) * kSeconds);
            auto& back = world.client5(durable("r"));
            const std::string b = "PUBLISH(t,b,q" + word + ",id2)";
            if (seconds < 5) {
                CHECK(back.received() == "PUBLISH(t,a,q" + word + ",id1){expiry=1} " + b);
            } else {
                CHECK(back.received() == b);
                CHECK(expired(world) == 1);
            }
            CHECK(world.stats().inflight_out == (seconds < 5 ? 2 : 1));
            REQUIRE(world.end() == 0);
        }
    }
}

// A retained message that is too old is not sent to who subscribes then, and does not stay.
TEST_CASE("a retained message expires", "[wire][v5][MQTT5-3.3.2-5][MQTT5-3.3.2-6]") {
    World world;
    auto& writer = world.client5({.client_id = "w"});
    writer.send(keep("t/0", "x", expiry(0)) + keep("t/5", "x", expiry(5)) +
                keep("t/50", "x", expiry(50)) + keep("t/ever", "x"));
    const auto kept = [&] {
        auto& reader = world.client5({.client_id = "r"});
        reader.send(sub("t/#", 0));
        std::string words = reader.received();
        reader.send(disconnect());
        return words;
    };
    world.advance(4 * kSeconds);
    CHECK(kept() ==
          "SUBACK(1,0) PUBLISH(t/5,x,q0,retain){expiry=1} "
          "PUBLISH(t/50,x,q0,retain){expiry=46} PUBLISH(t/ever,x,q0,retain)");
    world.advance(1 * kSeconds);
    CHECK(kept() ==
          "SUBACK(1,0) PUBLISH(t/50,x,q0,retain){expiry=45} "
          "PUBLISH(t/ever,x,q0,retain)");
    world.advance(120 * kSeconds);
    CHECK(kept() == "SUBACK(1,0) PUBLISH(t/ever,x,q0,retain)");
    CHECK(world.stats().messages_stored == 1);
    // A new value starts its own time; one without an interval stays.
    writer.send(keep("t/ever", "y", expiry(3)));
    world.advance(2 * kSeconds);
    writer.send(keep("t/ever", "z"));
    world.advance(60 * kSeconds);
    CHECK(kept() == "SUBACK(1,0) PUBLISH(t/ever,z,q0,retain)");
    CHECK(world.end() == 0);
}

// The interval of a will begins when it is published; none and 0 are not the same.
TEST_CASE("the interval of a will begins when it is published", "[wire][v5][MQTT5-3.3.2-6]") {
    World world;
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("w/#", 0));
    reader.take_output();
    const auto die = [&](const char* topic, const std::string& properties) {
        auto& mortal = world.client5({.client_id = "m",
                                      .will_topic = topic,
                                      .will_payload = "gone",
                                      .will_retain = true,
                                      .will_properties = properties});
        world.advance(10 * kSeconds);
        mortal.hang_up();
        return reader.received();
    };
    CHECK(die("w/5", expiry(5)) == "PUBLISH(w/5,gone,q0){expiry=5}");
    CHECK(die("w/0", expiry(0)) == "PUBLISH(w/0,gone,q0){expiry=0}");
    CHECK(die("w/none", "") == "PUBLISH(w/none,gone,q0)");
    CHECK(die("w/max", expiry(0xffffffff)) == "PUBLISH(w/max,gone,q0){expiry=4294967295}");
    reader.send(sub("w/#", 0));
    CHECK(reader.received() ==
          "SUBACK(1,0) PUBLISH(w/none,gone,q0,retain) "
          "PUBLISH(w/max,gone,q0,retain){expiry=4294967295}");
    CHECK(world.end() == 0);
}

// QoS 2 is passed on at PUBREL: the time until then is time waited.
TEST_CASE("the interval runs while a message waits for its PUBREL",
          "[wire][v5][MQTT5-3.3.2-5][MQTT5-3.3.2-6]") {
    World world;
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("t", 2));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("t", "long", 2, 1, expiry(10)) + pub("t", "short", 2, 2, expiry(3)));
    world.advance(4 * kSeconds);
    writer.send(ack(PacketType::kPubrel, 1) + ack(PacketType::kPubrel, 2));
    CHECK(writer.received() == "PUBREC(1) PUBREC(2) PUBCOMP(1) PUBCOMP(2)");
    CHECK(reader.received() == "PUBLISH(t,long,q2,id1){expiry=6}");
    CHECK(expired(world) == 1);
    CHECK(world.end() == 0);
}

// Neither a member of a group nor nobody gets what ran out while it waited for a session that
// ended: it is dropped as expired, the second before that it is passed on.
TEST_CASE("what has expired is not handed to another member", "[wire][v5][shared][MQTT5-3.3.2-5]") {
    for (const uint32_t seconds : {0u, 5u, 60u, 61u, 600u}) {
        for (const char* filter : {"$share/g/t", "t"}) {
            CAPTURE(seconds, filter);
            World world;
            auto& a = world.client5(
                {.client_id = "a", .properties = property(P::kSessionExpiryInterval, 60)});
            a.send(sub(filter, 1));
            a.hang_up();
            auto& w = world.client5({.client_id = "w"});
            w.send(pub("t", "x", 1, 1, expiry(seconds)));
            auto& b = world.client5({.client_id = "b"});
            b.send(sub("$share/g/t", 1));
            b.take_output();
            world.advance(59'000);
            REQUIRE(world.stats().sessions == 3);
            world.advance(2'000);
            REQUIRE(world.stats().sessions == 2);
            const bool shared = filter[0] == '$';
            const bool over = seconds <= 60;
            CHECK(b.received().empty() == (over || !shared));
            CHECK(drops(world, Drop::kExpired) == (over ? 1 : 0));
            CHECK(drops(world, Drop::kSessionEnded) == (over || shared ? 0 : 1));
            CHECK(world.end() == 0);
        }
    }
}
