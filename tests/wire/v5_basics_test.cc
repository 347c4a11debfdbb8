#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

}  // namespace

// The first contact: what the broker says of itself, and a message each way at every QoS.
TEST_CASE("a 5.0 client comes in and is told what differs from the standard", "[wire][v5]") {
    World world;
    auto& client = world.connection();
    client.speak_v5();
    client.send(connect({.client_id = "c"}));
    const std::string connack = client.take_output();
    REQUIRE(describe(connack) == "CONNACK(0)");
    REQUIRE(connack.find(property(P::kReceiveMaximum, 100)) != std::string::npos);
    REQUIRE(connack.find(property(P::kMaximumPacketSize, 2'000'000)) != std::string::npos);
    REQUIRE(connack.find(property(P::kTopicAliasMaximum, 10)) != std::string::npos);
    auto& nameless = world.connection();
    nameless.speak_v5();
    nameless.send(connect({.client_id = ""}));
    REQUIRE(nameless.received().starts_with("CONNACK(0){id=auto-"));
    REQUIRE(world.end() == 0);
}

TEST_CASE("messages of 5.0 pass at every QoS with their properties",
          "[wire][v5][MQTT5-3.3.4-1][MQTT5-4.3.3-8][MQTT5-4.3.3-11][MQTT5-4.3.2-4]") {
    World world;
    auto& reader = world.client5({.client_id = "r"});
    auto& old = world.client("old");
    reader.send(subscribe(1,
                          {
                              {"t/#", 2}
    }));
    REQUIRE(reader.received() == "SUBACK(1,2)");
    old.send(packets::subscribe(1,
                                {
                                    {"t/#", 2}
    }));
    REQUIRE(old.received() == "SUBACK(1,2)");
    auto& writer = world.client5({.client_id = "w"});
    const std::string properties =
        property(P::kContentType, "text") + user("a", "1") + user("a", "2");
    writer.send(publish({.topic = "t/0", .payload = "x", .properties = properties}));
    REQUIRE(reader.received() == "PUBLISH(t/0,x,q0){type=text,user=a:1,user=a:2}");
    REQUIRE(old.received() == "PUBLISH(t/0,x,q0)");
    writer.send(publish(
        {.topic = "t/1", .payload = "x", .qos = 1, .packet_id = 7, .properties = properties}));
    REQUIRE(writer.received() == "PUBACK(7)");
    REQUIRE(reader.received() == "PUBLISH(t/1,x,q1,id1){type=text,user=a:1,user=a:2}");
    REQUIRE(old.received() == "PUBLISH(t/1,x,q1,id1)");
    writer.send(publish({.topic = "t/2", .payload = "x", .qos = 2, .packet_id = 8}));
    REQUIRE(writer.received() == "PUBREC(8)");
    writer.send(ack(PacketType::kPubrel, 8));
    REQUIRE(writer.received() == "PUBCOMP(8)");
    REQUIRE(reader.received() == "PUBLISH(t/2,x,q2,id2)");
    writer.send(publish({.topic = "nobody", .payload = "x", .qos = 1, .packet_id = 9}));
    REQUIRE(writer.received() == "PUBACK(9,x10)");
    old.send(packets::publish({.topic = "t/3", .payload = "y"}));
    REQUIRE(reader.received() == "PUBLISH(t/3,y,q0)");
    REQUIRE(world.end() == 0);
}

// A run of equal topics reaches a reader of the other family packet by packet, one of its own as
// the bytes that came.
TEST_CASE("runs cross the families", "[wire][v5]") {
    World world;
    auto& five = world.client5({.client_id = "five"});
    auto& three = world.client("three");
    five.send(subscribe(1,
                        {
                            {"t", 0}
    }));
    three.send(packets::subscribe(1,
                                  {
                                      {"t", 0}
    }));
    five.take_output();
    three.take_output();
    const std::string two =
        publish({.topic = "t", .payload = "a"}) + publish({.topic = "t", .payload = "b"});
    five.send(two);
    REQUIRE(five.take_output() == two);
    REQUIRE(three.received() == "PUBLISH(t,a,q0) PUBLISH(t,b,q0)");
    REQUIRE(world.stats().runs == 1);
    three.send(packets::publish({.topic = "t", .payload = "c"}) +
               packets::publish({.topic = "t", .payload = "d"}));
    REQUIRE(five.received() == "PUBLISH(t,c,q0) PUBLISH(t,d,q0)");
    REQUIRE(three.received() == "PUBLISH(t,c,q0) PUBLISH(t,d,q0)");
    REQUIRE(world.stats().runs == 2);
    REQUIRE(world.stats().fast_deliveries == 4);
    REQUIRE(world.end() == 0);
}

TEST_CASE("topic aliases work both ways", "[wire][v5]") {
    World world;
    auto& reader =
        world.client5({.client_id = "r", .properties = property(P::kTopicAliasMaximum, 2)});
    reader.send(subscribe(1,
                          {
                              {"#", 0}
    }));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(publish({.topic = "a", .payload = "1", .properties = property(P::kTopicAlias, 3)}));
    writer.send(publish({.topic = "", .payload = "2", .properties = property(P::kTopicAlias, 3)}));
    REQUIRE(reader.received() == "PUBLISH(a,1,q0){alias=1} PUBLISH(,2,q0){alias=1}");
    writer.send(publish({.topic = "b", .payload = "3"}) + publish({.topic = "c", .payload = "4"}) +
                publish({.topic = "b", .payload = "5"}) + publish({.topic = "a", .payload = "6"}));
    REQUIRE(reader.received() ==
            "PUBLISH(b,3,q0){alias=2} PUBLISH(c,4,q0){alias=1} "
            "PUBLISH(,5,q0){alias=2} PUBLISH(a,6,q0){alias=1}");
    writer.send(publish({.topic = "", .properties = property(P::kTopicAlias, 4)}));
    REQUIRE(writer.received() == "DISCONNECT(x82){why=protocol error}");
    auto& high = world.client5({.client_id = "h"});
    high.send(publish({.topic = "a", .properties = property(P::kTopicAlias, 11)}));
    REQUIRE(high.received() == "DISCONNECT(x94){why=topic alias invalid}");
    REQUIRE(world.end() == 0);
}

TEST_CASE("expiry is counted down while a message waits", "[wire][v5]") {
    World world;
    auto& reader = world.client5(
        {.client_id = "r", .clean = false, .properties = property(P::kSessionExpiryInterval, 100)});
    reader.send(subscribe(1,
                          {
                              {"t", 1}
    },
                          property(P::kSubscriptionIdentifier, 300)));
    REQUIRE(reader.received() == "SUBACK(1,1)");
    reader.hang_up();
    auto& writer = world.client5({.client_id = "w"});
    const auto message = [](const char* payload, uint16_t id, uint32_t expiry) {
        return publish({.topic = "t",
                        .payload = payload,
                        .qos = 1,
                        .packet_id = id,
                        .properties = property(P::kMessageExpiryInterval, expiry)});
    };
    writer.send(message("short", 1, 5) + message("long", 2, 60));
    REQUIRE(writer.received() == "PUBACK(1) PUBACK(2)");
    world.advance(10'000);
    auto& back = world.connection();
    back.speak_v5();
    back.send(connect({.client_id = "r", .clean = false}));
    REQUIRE(back.received() == "CONNACK(0,present) PUBLISH(t,long,q1,id1){sub=300,expiry=50}");
    REQUIRE(world.stats().drops[static_cast<uint32_t>(Drop::kExpired)] == 1);
    REQUIRE(world.end() == 0);
}
