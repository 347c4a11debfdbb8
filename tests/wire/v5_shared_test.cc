#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <map>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

uint64_t drops(const World& world, Drop reason) {
    return world.stats().drops[static_cast<uint32_t>(reason)];
}

}  // namespace

// Each message goes to one member of each group, by turns, also when they come as one run; a plain
// subscriber beside the group gets all of them.
TEST_CASE("members of a group share its messages", "[wire][v5][shared]") {
    World world;
    auto& a = world.client5({.client_id = "a"});
    auto& b = world.client("b");
    auto& plain = world.client("plain");
    a.send(subscribe(1,
                     {
                         {"$share/g/t/+", 1}
    },
                     property(P::kSubscriptionIdentifier, 7)));
    REQUIRE(a.received() == "SUBACK(1,1)");
    b.send(packets::subscribe(1,
                              {
                                  {"$share/g/t/+", 1}
    }));
    REQUIRE(b.received() == "SUBACK(1,1)");
    plain.send(packets::subscribe(1,
                                  {
                                      {"t/#", 0}
    }));
    plain.take_output();
    auto& writer = world.client("w");
    std::string run;
    for (const char* payload : {"1", "2", "3", "4"})
        run += packets::publish({.topic = "t/x", .payload = payload});
    writer.send(run);
    REQUIRE(plain.take_output() == run);
    REQUIRE(a.received() == "PUBLISH(t/x,1,q0){sub=7} PUBLISH(t/x,3,q0){sub=7}");
    REQUIRE(b.received() == "PUBLISH(t/x,2,q0) PUBLISH(t/x,4,q0)");
    a.send(unsubscribe(2, {"$share/g/t/+"}));
    REQUIRE(a.received() == "UNSUBACK(2,0)");
    writer.send(packets::publish({.topic = "t/x", .payload = "5"}) +
                packets::publish({.topic = "t/x", .payload = "6"}));
    REQUIRE(b.received() == "PUBLISH(t/x,5,q0) PUBLISH(t/x,6,q0)");
    REQUIRE(world.end() == 0);
}

TEST_CASE("a group of its own for each name and alias", "[wire][v5][shared]") {
    World world;
    std::map<std::string, FakeConnection*> members;
    for (const std::string prefix : {"$share/g/", "$share/h/", "$queue/", "$Q/"}) {
        auto& member = world.client("m" + std::to_string(members.size()));
        member.send(packets::subscribe(1,
                                       {
                                           {prefix + "t", 0}
        }));
        REQUIRE(member.received() == "SUBACK(1,0)");
        members[prefix] = &member;
    }
    auto& writer = world.client5({.client_id = "w"});
    writer.send(publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}));
    REQUIRE(writer.received() == "PUBACK(1)");
    for (auto& [prefix, member] : members) {
        CAPTURE(prefix);
        REQUIRE(member->received() == "PUBLISH(t,x,q0)");
    }
    REQUIRE(world.end() == 0);
}

// Who is away or does not read is passed over while another one can take it; when only absent ones
// are left a message waits for one of them at QoS 1, and is dropped by name at QoS 0.
TEST_CASE("absent and blocked members are passed over", "[wire][v5][shared]") {
    World world;
    auto& away = world.client("away", false);
    auto& slow = world.client("slow");
    auto& good = world.client("good");
    for (auto* each : {&away, &slow, &good}) {
        each->send(packets::subscribe(1,
                                      {
                                          {"$share/g/t", 1}
        }));
        each->take_output();
    }
    away.hang_up();
    slow.set_room(0);
    slow.send(packets::pingreq());
    auto& writer = world.client("w");
    for (uint16_t id = 1; id <= 6; ++id)
        writer.send(packets::publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = id}));
    REQUIRE(world.stats().publish_sent == 6);
    REQUIRE(world.stats().queued == 0);
    good.take_output();
    good.send(packets::disconnect());
    slow.hang_up();
    world.settle();
    // What `good` had not acknowledged waits for the one that is away now.
    REQUIRE(world.stats().queued == 6);
    writer.send(packets::publish({.topic = "t", .payload = "y", .qos = 1, .packet_id = 7}) +
                packets::publish({.topic = "t", .payload = "z"}));
    REQUIRE(world.stats().queued == 7);
    REQUIRE(drops(world, Drop::kNoMember) == 1);
    auto& back = world.connection();
    back.send(packets::connect("away", false));
    REQUIRE(back.received() ==
            "CONNACK(0,present) PUBLISH(t,x,q1,id1) PUBLISH(t,x,q1,id2) PUBLISH(t,x,q1,id3) "
            "PUBLISH(t,x,q1,id4) PUBLISH(t,x,q1,id5) PUBLISH(t,x,q1,id6) PUBLISH(t,y,q1,id7)");
    REQUIRE(world.end() == 0);
}

// What is not allowed of a shared subscription, in both versions' words.
TEST_CASE("bad shared subscriptions are refused",
          "[wire][v5][shared][MQTT5-3.8.3-4][MQTT5-4.8.2-1][MQTT5-4.8.2-2]") {
    World world;
    auto& five = world.client5({.client_id = "five"});
    auto& three = world.client("three");
    uint16_t id = 0;
    for (const char* filter : {"$share/g", "$share//t", "$share/+/t", "$share/g/"}) {
        CAPTURE(filter);
        ++id;
        five.send(subscribe(id,
                            {
                                {filter, 0}
        }));
        REQUIRE(five.received() == "SUBACK(" + std::to_string(id) + ",x8f)");
        three.send(packets::subscribe(id,
                                      {
                                          {filter, 0}
        }));
        REQUIRE(three.received() == "SUBACK(" + std::to_string(id) + ",128)");
    }
    auto& no_local = world.client5({.client_id = "n"});
    no_local.send(subscribe(1,
                            {
                                {"$share/g/t", kNoLocal}
    }));
    REQUIRE(no_local.received() == "DISCONNECT(x82){why=protocol error}");
    REQUIRE(world.end() == 0);
    BrokerOptions options = World::test_options();
    options.shared_available = false;
    World off(options);
    auto& client = off.client5({.client_id = "c"});
    client.send(subscribe(1,
                          {
                              {"$share/g/t", 0}
    }));
    REQUIRE(client.received() == "SUBACK(1,x9e)");
    REQUIRE(off.end() == 0);
}

// Retained messages are not for groups.
TEST_CASE("a shared subscription gets no retained messages", "[wire][v5][shared]") {
    World world;
    auto& writer = world.client("w");
    writer.send(packets::publish({.topic = "t", .payload = "kept", .retain = true}));
    auto& member = world.client("m");
    member.send(packets::subscribe(1,
                                   {
                                       {"$share/g/t", 0}
    }));
    REQUIRE(member.received() == "SUBACK(1,0)");
    REQUIRE(world.end() == 0);
}

// A fan-out that is done in slices deals out to its groups as well, once each.
TEST_CASE("a fan-out job reaches the groups", "[wire][v5][shared]") {
    BrokerOptions options = World::test_options();
    options.fanout_slice = 8;
    World world(options);
    std::vector<FakeConnection*> members;
    for (int i = 0; i < 60; ++i) {
        auto& member = world.client("m" + std::to_string(i));
        const std::string group = "$share/g" + std::to_string(i % 20) + "/t";
        member.send(packets::subscribe(1,
                                       {
                                           {i < 40 ? group : "t", 0}
        }));
        member.take_output();
        members.push_back(&member);
    }
    auto& writer = world.client("w");
    writer.send(packets::publish({.topic = "t", .payload = "x"}));
    REQUIRE(world.stats().fanout_jobs == 1);
    int in_groups = 0;
    for (int i = 0; i < 60; ++i) {
        const std::string got = members[static_cast<size_t>(i)]->received();
        if (i >= 40) REQUIRE(got == "PUBLISH(t,x,q0)");
        if (i < 40) in_groups += got == "PUBLISH(t,x,q0)";
    }
    REQUIRE(in_groups == 20);
    REQUIRE(world.end() == 0);
}

// A member of two groups has the message twice, once for each; when its session ends both groups
// get their own back, whether it was under way or waited in the queue.
TEST_CASE("what came through a group goes back to that group", "[wire][v5][shared]") {
    for (const bool queued : {false, true}) {
        CAPTURE(queued);
        BrokerOptions options = World::test_options();
        if (queued) options.max_inflight_messages = 1;
        World world(options);
        auto& a = world.client5({.client_id = "a"});
        a.send(sub("$share/g/t", 1) + sub("$share/h/t", 1) + sub("first", 1));
        a.take_output();
        auto& w = world.client("w");
        if (queued) w.send(packets::publish({.topic = "first", .qos = 1, .packet_id = 1}));
        w.send(packets::publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}));
        REQUIRE(world.stats().queued == (queued ? 2 : 0));
        auto& g = world.client5({.client_id = "g"});
        auto& h = world.client5({.client_id = "h"});
        g.send(sub("$share/g/t", 1));
        h.send(sub("$share/h/t", 1));
        g.take_output();
        h.take_output();
        SECTION("its member") {}
        SECTION("who is none any more") {
            a.send(unsubscribe(2, {"$share/h/t"}));
        }
        a.hang_up();
        world.settle();
        CHECK(g.received() == "PUBLISH(t,x,q1,id1)");
        CHECK(h.received() == "PUBLISH(t,x,q1,id1)");
        CHECK(drops(world, Drop::kSessionEnded) == (queued ? 1 : 0));
        CHECK(world.end() == 0);
    }
}

// The group may have gone before the session that has its message, and one of the same name and
// filter that comes later is another one.
TEST_CASE("what came through a group that has gone is dropped by name", "[wire][v5][shared]") {
    World world;
    auto& a = world.client5({.client_id = "a"});
    a.send(sub("$share/g/t", 1));
    a.take_output();
    auto& w = world.client("w");
    w.send(packets::publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}));
    a.send(unsubscribe(2, {"$share/g/t"}));
    auto& later = world.client5({.client_id = "later"});
    later.send(sub("$share/g/t", 1) + sub("$share/h/t", 1));
    later.take_output();
    a.hang_up();
    world.settle();
    CHECK(later.received().empty());
    CHECK(drops(world, Drop::kSessionEnded) == 1);
    CHECK(world.end() == 0);
}

// At QoS 2 a delivery of which a byte has left is that member's, also when its session ends; at
// QoS 1, or while all of it is still here, another member gets it.
TEST_CASE("QoS 2 that a member was being sent goes to nobody else",
          "[wire][v5][shared][MQTT5-4.8.2-5]") {
    for (const int qos : {1, 2}) {
        const std::string one = publish({.topic = "t", .payload = "x", .qos = qos, .packet_id = 1});
        for (const size_t left : {size_t{0}, size_t{1}, one.size() - 1, one.size()}) {
            CAPTURE(qos, left);
            World world;
            auto& a = world.client5({.client_id = "a"});
            a.send(sub("$share/g/t", qos));
            a.take_output();
            a.set_room(left);
            auto& w = world.client("w");
            w.send(packets::publish({.topic = "t", .payload = "x", .qos = 2, .packet_id = 1}) +
                   packets::pubrel(1));
            REQUIRE(a.take_output() == one.substr(0, left));
            auto& b = world.client5({.client_id = "b"});
            b.send(sub("$share/g/t", 2));
            b.take_output();
            a.hang_up();
            world.settle();
            const bool begun = qos == 2 && left > 0;
            CHECK(b.received() == (begun ? "" : "PUBLISH(t,x,q2,id1)"));
            CHECK(drops(world, Drop::kSessionEnded) == (begun ? 1 : 0));
            CHECK(world.end() == 0);
        }
    }
}

// A durable member that comes back goes on with it; in its second connection, too, it has begun.
TEST_CASE("QoS 2 that had left on an earlier connection goes to nobody else",
          "[wire][v5][shared][MQTT5-4.8.2-4][MQTT5-4.8.2-5]") {
    World world;
    const Connect durable{
        .client_id = "a", .clean = false, .properties = property(P::kSessionExpiryInterval, 60)};
    auto& a = world.client5(durable);
    a.send(sub("$share/g/t", 2));
    a.take_output();
    auto& b = world.client5({.client_id = "b"});
    b.send(sub("$share/g/other", 2));
    auto& w = world.client("w");
    w.send(packets::publish({.topic = "t", .payload = "x", .qos = 2, .packet_id = 1}) +
           packets::pubrel(1));
    CHECK(a.received() == "PUBLISH(t,x,q2,id1)");
    b.send(sub("$share/g/t", 2));
    b.take_output();
    a.hang_up();
    auto& back = world.connection();
    back.speak_v5();
    back.set_room(0);
    back.send(connect(durable));
    back.hang_up();
    world.advance(62'000);
    CHECK(b.received().empty());
    CHECK(drops(world, Drop::kSessionEnded) == 1);
    CHECK(world.end() == 0);
}

// A member that has messages of QoS 1 waiting takes one of QoS 0 all the same: it overtakes them.
TEST_CASE("QoS 0 reaches the only member over its queue", "[wire][v5][shared]") {
    World world;
    auto& member = world.client5({.client_id = "m", .properties = property(P::kReceiveMaximum, 1)});
    member.send(sub("$share/g/t", 1));
    member.take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("t", "1", 1, 1) + pub("t", "2", 1, 2));
    REQUIRE(member.received() == "PUBLISH(t,1,q1,id1)");
    REQUIRE(world.stats().queued == 1);
    writer.send(pub("t", "0", 0, 0));
    CHECK(member.received() == "PUBLISH(t,0,q0)");
    CHECK(drops(world, Drop::kNoMember) == 0);
    member.send(ack(PacketType::kPuback, 1));
    CHECK(member.received() == "PUBLISH(t,2,q1,id2)");
    CHECK(world.end() == 0);
}

// Clients that went and never came back stay in their groups for as long as their sessions stay.
TEST_CASE("a message finds the one member who can among many who went away", "[wire][v5][shared]") {
    World world;
    const auto leave = [&](int i) {
        auto& gone = world.client("gone" + std::to_string(i), false);
        gone.send(packets::subscribe(1,
                                     {
                                         {"$share/g/t", 0}
        }));
        gone.hang_up();
    };
    for (int i = 0; i < 30; ++i)
        leave(i);
    auto& reader = world.client("reader", false);
    reader.send(packets::subscribe(1,
                                   {
                                       {"$share/g/t", 1}
    }));
    reader.take_output();
    for (int i = 30; i < 60; ++i)
        leave(i);
    auto& writer = world.client("w");
    for (int i = 0; i < 5; ++i)
        writer.send(packets::publish({.topic = "t", .payload = std::to_string(i)}));
    REQUIRE(reader.received() ==
            "PUBLISH(t,0,q0) PUBLISH(t,1,q0) PUBLISH(t,2,q0) PUBLISH(t,3,q0) "
            "PUBLISH(t,4,q0)");
    reader.hang_up();
    writer.send(packets::publish({.topic = "t", .payload = "later", .qos = 1, .packet_id = 9}));
    REQUIRE(writer.received() == "PUBACK(9)");
    REQUIRE(drops(world, Drop::kNoMember) == 0);
    auto& again = world.connection();
    again.send(packets::connect("reader", false));
    REQUIRE(again.received() == "CONNACK(0,present) PUBLISH(t,later,q1,id1)");
    REQUIRE(world.end() == 0);
}
