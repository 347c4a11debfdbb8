// Retained messages towards 5.0 subscribers.

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

}  // namespace

// 0: at each SUBSCRIBE; 1: only if there was no such subscription; 2: never. "Such" is the same
// filter of the same session, also from an earlier connection.
TEST_CASE("retain handling decides who gets what is kept",
          "[wire][v5][MQTT5-3.3.1-9][MQTT5-3.3.1-10][MQTT5-3.3.1-11]") {
    World world;
    world.client5({.client_id = "w"}).send(keep("t/a", "x"));
    auto& reader = world.client5(durable("r"));
    const std::string kept = " PUBLISH(t/a,x,q0,retain)";
    const auto told = [](FakeConnection& peer, int handling, const char* filter = "t/+") {
        peer.send(sub(filter, handling));
        return peer.received();
    };
    CHECK(told(reader, kRetainNever) == "SUBACK(1,0)");
    CHECK(told(reader, kRetainIfNew) == "SUBACK(1,0)");  // it is there already
    CHECK(told(reader, 0) == "SUBACK(1,0)" + kept);
    CHECK(told(reader, 0) == "SUBACK(1,0)" + kept);
    reader.send(unsubscribe(2, {"t/+"}));
    reader.take_output();
    CHECK(told(reader, kRetainIfNew) == "SUBACK(1,0)" + kept);
    CHECK(told(reader, kRetainIfNew) == "SUBACK(1,0)");
    CHECK(told(reader, kRetainIfNew, "t/#") == "SUBACK(1,0)" + kept);
    reader.hang_up();
    auto& back = world.client5(durable("r"));
    CHECK(told(back, kRetainIfNew) == "SUBACK(1,0)");
    CHECK(told(back, kRetainNever) == "SUBACK(1,0)");
    CHECK(told(back, 0) == "SUBACK(1,0)" + kept);
    auto& fresh = world.client5({.client_id = "r"});
    CHECK(told(fresh, kRetainIfNew) == "SUBACK(1,0)" + kept);
    CHECK(world.end() == 0);
}

// From the store: RETAIN is set whatever the subscription says, with its identifier, its QoS and
// the properties of the message.
TEST_CASE("what is kept comes with the identifier of the subscription that asked",
          "[wire][v5][MQTT5-3.3.4-3][MQTT5-3.8.4-4]") {
    World world;
    auto& writer = world.client5({.client_id = "w"});
    writer.send(publish({.topic = "t",
                         .payload = "x",
                         .qos = 2,
                         .packet_id = 1,
                         .properties = user("k", "v") + property(P::kContentType, "c"),
                         .retain = true}));
    writer.send(ack(PacketType::kPubrel, 1));
    for (const bool aliased : {false, true}) {
        auto& reader = world.client5(
            {.client_id = "r",
             .properties = aliased ? property(P::kTopicAliasMaximum, 3) : std::string()});
        const std::string own = aliased ? "{sub=8,alias=1," : "{sub=8,";
        const std::string again = aliased ? "PUBLISH(,x," : "PUBLISH(t,x,";
        reader.send(sub("t", 0, identifier(8)));
        CHECK(reader.received() == "SUBACK(1,0) PUBLISH(t,x,q0,retain)" + own + "user=k:v,type=c}");
        reader.send(sub("t", 1 | kRetainAsPublished, identifier(8)));
        CHECK(reader.received() ==
              "SUBACK(1,1) " + again + "q1,id1,retain)" + own + "user=k:v,type=c}");
        reader.send(sub("t", 2, identifier(8)));
        CHECK(reader.received() ==
              "SUBACK(1,2) " + again + "q2,id2,retain)" + own + "user=k:v,type=c}");
        reader.send(disconnect());
    }
    auto& old = world.client("old");
    old.send(sub3("t", 1));
    CHECK(old.received() == "SUBACK(1,1) PUBLISH(t,x,q1,id1,retain)");
    CHECK(world.end() == 0);
}

// Two overlapping filters in one packet: what is kept comes for each.
TEST_CASE("each new subscription has its own replay", "[wire][v5][MQTT5-3.8.4-5]") {
    for (const bool merged : {false, true}) {
        BrokerOptions options = World::test_options();
        options.allow_duplicate_messages = !merged;
        World world(options);
        world.client5({.client_id = "w"}).send(keep("a/b", "x"));
        auto& reader = world.client5({.client_id = "r"});
        reader.send(subscribe(1,
                              Filters{
                                  {"a/b", 0           },
                                  {"a/#", 1           },
                                  {"#",   kRetainNever}
        },
                              identifier(4)));
        CHECK(reader.received() ==
              "SUBACK(1,0,1,0) PUBLISH(a/b,x,q0,retain){sub=4} PUBLISH(a/b,x,q0,retain){sub=4}");
        CHECK(world.end() == 0);
    }
}

// A long replay goes in slices behind a small window; identifiers stay with it, and what is too
// large for the receiver is left out without stopping the rest.
TEST_CASE("a long replay keeps identifiers and leaves out what is too large",
          "[wire][v5][MQTT5-3.1.2-25]") {
    BrokerOptions options = World::test_options();
    options.max_inflight_messages = 3;
    World world(options);
    auto& writer = world.client5({.client_id = "w"});
    for (int i = 0; i < 500; ++i) {
        writer.push(publish({.topic = "t/" + std::to_string(i),
                             .payload = std::string(i % 5 == 0 ? 200 : 2, 'x'),
                             .qos = 1,
                             .packet_id = 1,
                             .retain = true}));
    }
    world.settle();
    auto& reader = world.client5(
        {.client_id = "r",
         .properties = property(P::kMaximumPacketSize, 100) + property(P::kTopicAliasMaximum, 2)});
    reader.send(sub("t/#", 1, identifier(300)));
    std::string words = reader.received();
    int count = 0;
    for (int round = 0; round < 400; ++round) {
        for (size_t at = words.find("PUBLISH("); at != std::string::npos;
             at = words.find("PUBLISH(", at + 1)) {
            ++count;
            REQUIRE(words.find("{sub=300,alias=", at) != std::string::npos);
            const size_t id = words.find(",id", at);
            reader.push(
                ack(PacketType::kPuback, static_cast<uint16_t>(std::stoi(words.substr(id + 3)))));
        }
        world.settle();
        words = reader.received();
        if (words.empty()) break;
    }
    CHECK(count == 400);
    CHECK(world.stats().drops[static_cast<uint32_t>(Drop::kReceiverSize)] == 100);
    CHECK(world.stats().inflight_out == 0);
    CHECK(world.end() == 0);
}

TEST_CASE("an empty retained message clears, and is passed on with its properties",
          "[wire][v5][MQTT5-3.3.1-6][MQTT5-3.3.1-7][MQTT5-3.3.1-8]") {
    World world;
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("t", kRetainAsPublished));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(keep("t", "x") + keep("t", "", user("why", "over")));
    CHECK(reader.received() == "PUBLISH(t,x,q0,retain) PUBLISH(t,,q0,retain){user=why:over}");
    CHECK(world.stats().messages_stored == 0);
    reader.send(sub("t", 0));
    CHECK(reader.received() == "SUBACK(1,0)");
    CHECK(world.end() == 0);
}
