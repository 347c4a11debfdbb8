// Retained messages: kept, replaced, cleared, limited, aged, replayed.   MQTT 3.1.1 §3.3.1.3.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

std::string keep(const std::string& topic, const std::string& payload, int qos = 0) {
    return publish(
               {.topic = topic, .payload = payload, .qos = qos, .packet_id = 1, .retain = true}) +
           (qos == 2 ? pubrel(1) : "");
}

// What a new subscriber finds.
std::string found(World& world, const std::string& filter, int qos = 0) {
    auto& client = world.client("finder");
    client.send(subscribe(1,
                          {
                              {filter, qos}
    }));
    const std::string words = client.received();
    const std::string suback = "SUBACK(1," + std::to_string(qos) + ")";
    REQUIRE(words.starts_with(suback));
    client.send(disconnect());
    return words.size() > suback.size() ? words.substr(suback.size() + 1) : "";
}

}  // namespace

// The last one counts, whatever its QoS; without the flag nothing is stored or removed.
TEST_CASE("the last retained message of a topic replaces the one before",
          "[wire][MQTT-3.3.1-5][MQTT-3.3.1-6][MQTT-3.3.1-7][MQTT-3.3.1-12][MQTT-3.1.2-7]") {
    World world;
    auto& publisher = world.client("pub");
    publisher.send(keep("t", "1", 2));
    REQUIRE(found(world, "t", 2) == "PUBLISH(t,1,q2,id1,retain)");
    publisher.send(publish({.topic = "t", .payload = "live"}) + publish({.topic = "t"}));
    REQUIRE(found(world, "t", 2) == "PUBLISH(t,1,q2,id1,retain)");
    publisher.send(keep("t", "2", 0));
    REQUIRE(found(world, "t", 2) == "PUBLISH(t,2,q0,retain)");
    publisher.hang_up();
    REQUIRE(found(world, "+", 2) == "PUBLISH(t,2,q0,retain)");  // not part of the session
    REQUIRE(world.stats().messages_stored == 1);
    REQUIRE(world.end() == 0);
}

// An empty one clears and is passed on live, but never stored; clearing what is not there is fine.
TEST_CASE("an empty retained message clears its topic and is passed on",
          "[wire][MQTT-3.3.1-10][MQTT-3.3.1-11]") {
    for (int qos = 0; qos <= 2; ++qos) {
        World world;
        auto& publisher = world.client("pub");
        auto& live = world.client("live");
        live.send(subscribe(1,
                            {
                                {"t", 0}
        }));
        publisher.send(keep("t", "1", qos) + keep("t", "", qos) + keep("t", "", qos));
        REQUIRE(live.received() == "SUBACK(1,0) PUBLISH(t,1,q0) PUBLISH(t,,q0) PUBLISH(t,,q0)");
        REQUIRE(found(world, "t").empty());
        REQUIRE(world.stats().messages_stored == 0);
        REQUIRE(world.end() == 0);
    }
}

// The flag is 1 for a new subscription and 0 for those who were there, also for those who were
// away.
TEST_CASE("the retain flag is set only on what a new subscription gets",
          "[wire][MQTT-3.3.1-8][MQTT-3.3.1-9]") {
    World world;
    auto& away = world.client("away", false);
    away.send(subscribe(1,
                        {
                            {"t", 1}
    }));
    away.hang_up();
    auto& live = world.client("live");
    live.send(subscribe(1,
                        {
                            {"t", 1}
    }));
    live.take_output();
    world.client("pub").send(keep("t", "x", 1));
    REQUIRE(live.received() == "PUBLISH(t,x,q1,id1)");
    REQUIRE(found(world, "t", 1) == "PUBLISH(t,x,q1,id1,retain)");
    auto& back = world.connection();
    back.send(connect("away", false));
    REQUIRE(back.received() == "CONNACK(0,present) PUBLISH(t,x,q1,id1)");
    REQUIRE(world.end() == 0);
}

// The lower QoS of the stored message and the subscription; and the flag stays when a replayed
// message is repeated after a reconnect.
TEST_CASE("a retained message comes at the lower QoS and keeps its flag when repeated",
          "[wire][MQTT-3.8.4-6]") {
    for (int stored = 0; stored <= 2; ++stored) {
        for (int wanted = 0; wanted <= 2; ++wanted) {
            World world;
            world.client("pub").send(keep("t", "x", stored));
            auto& client = world.client("c", false);
            client.send(subscribe(1,
                                  {
                                      {"t", wanted}
            }));
            const int qos = std::min(stored, wanted);
            const std::string words =
                "PUBLISH(t,x,q" + std::to_string(qos) + (qos > 0 ? ",id1" : "");
            REQUIRE(client.received() ==
                    "SUBACK(1," + std::to_string(wanted) + ") " + words + ",retain)");
            client.hang_up();
            auto& back = world.connection();
            back.send(connect("c", false));
            REQUIRE(back.received() ==
                    "CONNACK(0,present)" + (qos > 0 ? " " + words + ",retain,dup)" : ""));
            REQUIRE(world.end() == 0);
        }
    }
}

// Wildcards find what they match, `$` topics only by their name.
TEST_CASE("a subscription finds the retained messages that match",
          "[wire][MQTT-3.3.1-6][MQTT-4.7.2-1]") {
    World world;
    auto& publisher = world.client("pub");
    for (const char* topic : {"a", "a/b", "a/b/c", "a//c", "/a", "$own/a"}) {
        publisher.send(keep(topic, "x"));
    }
    REQUIRE(found(world, "a/#") ==
            "PUBLISH(a,x,q0,retain) PUBLISH(a/b,x,q0,retain) PUBLISH(a/b/c,x,q0,retain) "
            "PUBLISH(a//c,x,q0,retain)");
    REQUIRE(found(world, "a/+/c") == "PUBLISH(a/b/c,x,q0,retain) PUBLISH(a//c,x,q0,retain)");
    REQUIRE(found(world, "+") == "PUBLISH(a,x,q0,retain)");
    REQUIRE(found(world, "+/a") == "PUBLISH(/a,x,q0,retain)");
    REQUIRE(found(world, "$own/#") == "PUBLISH($own/a,x,q0,retain)");
    REQUIRE(found(world, "nothing").empty());
    REQUIRE(world.end() == 0);
}

// retain_max_messages refuses new topics when full; old ones may be replaced and cleared.
TEST_CASE("retain_max_messages refuses the topic above it and nothing else", "[wire]") {
    for (const uint64_t limit : {1u, 3u}) {
        BrokerOptions options = World::test_options();
        options.retain_max_messages = limit;
        World world(options);
        auto& publisher = world.client("pub");
        auto& live = world.client("live");
        live.send(subscribe(1,
                            {
                                {"#", 0}
        }));
        live.take_output();
        for (uint64_t i = 1; i <= limit + 1; ++i)
            publisher.send(keep(std::to_string(i), "x"));
        const std::string above = std::to_string(limit + 1);
        REQUIRE(live.received().ends_with("PUBLISH(" + above + ",x,q0)"));  // it came live
        REQUIRE(world.stats().drops[static_cast<int>(Drop::kRetainLimit)] == 1);
        REQUIRE(found(world, std::to_string(limit)) ==
                "PUBLISH(" + std::to_string(limit) + ",x,q0,retain)");
        REQUIRE(found(world, above).empty());
        publisher.send(keep("1", "y"));
        REQUIRE(found(world, "1") == "PUBLISH(1,y,q0,retain)");
        publisher.send(keep("1", "") + keep(above, "z"));
        REQUIRE(found(world, above) == "PUBLISH(" + above + ",z,q0,retain)");
        REQUIRE(world.stats().drops[static_cast<int>(Drop::kRetainLimit)] == 1);
        REQUIRE(world.end() == 0);
    }
}

// retain_max_payload: that long or longer is delivered, not kept.
TEST_CASE("a payload of retain_max_payload bytes is not kept", "[wire]") {
    for (const size_t size : {9u, 10u, 11u}) {
        BrokerOptions options = World::test_options();
        options.retain_max_payload = 10;
        World world(options);
        auto& live = world.client("live");
        live.send(subscribe(1,
                            {
                                {"t", 0}
        }));
        const std::string payload(size, 'x');
        world.client("pub").send(keep("t", payload, 1));
        REQUIRE(live.received() == "SUBACK(1,0) PUBLISH(t," + payload + ",q0)");
        REQUIRE(found(world, "t").empty() == (size >= 10));
        REQUIRE(world.stats().drops[static_cast<int>(Drop::kRetainLimit)] == (size >= 10 ? 1 : 0));
        REQUIRE(world.end() == 0);
    }
}

// retain_available false: a client that retains breaks the rules, one that does not is served.
TEST_CASE("retaining closes the link where it is switched off", "[wire]") {
    for (int qos = 0; qos <= 2; ++qos) {
        BrokerOptions options = World::test_options();
        options.retain_available = false;
        World world(options);
        auto& publisher = world.client("pub");
        publisher.send(publish({.topic = "t", .payload = "x"}));
        REQUIRE(publisher.open());
        publisher.send(keep("t", "x", qos));
        REQUIRE_FALSE(publisher.open());
        REQUIRE(publisher.close_reason() == Error::kRetainNotSupported);
        REQUIRE(found(world, "#").empty());
        REQUIRE(world.end() == 0);
    }
}

// retain_max_age: too old is not sent from that second on, and goes with the next sweep; a new
// message begins anew.
TEST_CASE("a retained message is kept for retain_max_age", "[wire]") {
    BrokerOptions options = World::test_options();
    options.retain_max_age_s = 100;
    World world(options);
    auto& publisher = world.client("pub");
    publisher.send(keep("a", "1") + keep("b", "1"));
    world.advance(60'000);
    publisher.send(keep("b", "2"));
    world.advance(39'000);
    REQUIRE(found(world, "#") == "PUBLISH(a,1,q0,retain) PUBLISH(b,2,q0,retain)");
    world.advance(2'000);
    REQUIRE(found(world, "#") == "PUBLISH(b,2,q0,retain)");
    REQUIRE(found(world, "a").empty());
    world.advance(61'000);
    REQUIRE(found(world, "#").empty());
    world.advance(60'000);
    REQUIRE(world.stats().retained_expired == 2);
    REQUIRE(world.stats().messages_stored == 0);
    REQUIRE(world.end() == 0);
}

// Many retained messages for a slow reader: a window of 20, no limit of the queue applies, each
// A SUBSCRIBE that must wait for replays still lets the client's acknowledgements through: without