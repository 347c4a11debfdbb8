// Mount points: what stands in front of every topic name and filter of a listener's clients, and
// what they never see of it.

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <string>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

// Clients of World come in by listener 0, which is mounted; a listener that is not in the list is
// `options.listener`.
BrokerOptions mounted(std::string_view mount = "m/") {
    BrokerOptions options = World::test_options();
    options.listener.mount_point = mount;
    return options;
}

}  // namespace

// Both versions publish and subscribe below the mount point and see topics without it.
TEST_CASE("a mount point is in front of topics and filters and nobody sees it",
          "[wire][v5][mount]") {
    World world(mounted());
    auto& five = world.client5({.client_id = "five"});
    auto& aliased =
        world.client5({.client_id = "aliased", .properties = property(P::kTopicAliasMaximum, 2)});
    auto& old = world.client("old");
    five.send(sub("#", 2, identifier(1)));
    aliased.send(sub("a/+", 2));
    old.send(sub3("a/b", 2));
    for (auto* each : {&five, &aliased, &old})
        each->take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("a/b", "1") + pub("a/b", "2", user("k", "v")));
    CHECK(five.received() == "PUBLISH(a/b,1,q0){sub=1} PUBLISH(a/b,2,q0){sub=1,user=k:v}");
    CHECK(aliased.received() == "PUBLISH(a/b,1,q0){alias=1} PUBLISH(,2,q0){alias=1,user=k:v}");
    CHECK(old.received() == "PUBLISH(a/b,1,q0) PUBLISH(a/b,2,q0)");
    writer.send(pub("a/b", "3", 1, 1, alias(4)) + pub("", "4", 2, 2, alias(4)));
    writer.send(ack(PacketType::kPubrel, 2));
    CHECK(writer.received() == "PUBACK(1) PUBREC(2) PUBCOMP(2)");
    CHECK(five.received() == "PUBLISH(a/b,3,q1,id1){sub=1} PUBLISH(a/b,4,q2,id2){sub=1}");
    CHECK(old.received() == "PUBLISH(a/b,3,q1,id1) PUBLISH(a/b,4,q2,id2)");
    // The mount point again in the topic is cut off once.
    writer.send(pub("m/x", "5"));
    CHECK(five.received() == "PUBLISH(m/x,5,q0){sub=1}");
    old.send(packets::publish({.topic = "a/b", .payload = std::string(5'000, 'L')}));
    CHECK(five.received() == "PUBLISH(a/b,5000B,q0){sub=1}");
    CHECK(old.received() == "PUBLISH(a/b,5000B,q0)");
    CHECK(world.end() == 0);
}

TEST_CASE("what is kept, queued or willed is below the mount point, too", "[wire][v5][mount]") {
    World world(mounted());
    auto& writer = world.client5({.client_id = "w"});
    writer.send(keep("a", "kept"));
    const Connect durable{
        .client_id = "r", .clean = false, .properties = property(P::kSessionExpiryInterval, 100)};
    auto& reader = world.client5(durable);
    reader.send(sub("+", 1));
    CHECK(reader.received() == "SUBACK(1,1) PUBLISH(a,kept,q0,retain)");
    reader.hang_up();
    writer.send(pub("b", "queued", 1, 1));
    auto& mortal =
        world.client5({.client_id = "m", .will_topic = "w", .will_payload = "gone", .will_qos = 1});
    mortal.hang_up();
    auto& old_mortal =
        world.client({.client_id = "m3", .will_topic = "w3", .will_payload = "gone"});
    old_mortal.hang_up();
    auto& back = world.client5(durable);
    CHECK(back.received() == "PUBLISH(b,queued,q1,id1) PUBLISH(w,gone,q1,id2)");
    auto& old = world.client("old");
    old.send(sub3("a", 0));
    CHECK(old.received() == "SUBACK(1,0) PUBLISH(a,kept,q0,retain)");
    back.send(unsubscribe(5, {"m/+", "+"}));
    CHECK(back.received() == "UNSUBACK(5,x11,0)");
    writer.send(pub("b", "x", 1, 2));
    writer.take_output();
    CHECK(back.received().empty());
    writer.send(keep("a", ""));
    old.send(sub3("a", 0));
    CHECK(old.received() == "PUBLISH(a,,q0) SUBACK(1,0)");
    CHECK(world.end() == 0);
}

// $SYS belongs to who has no mount point: below one there is only what clients put there.
TEST_CASE("the names of the broker are out of reach below a mount point", "[wire][v5][mount]") {
    BrokerOptions options = mounted();
    options.sys_interval_s = 1;
    World world(options);
    auto& client = world.client5({.client_id = "c"});
    client.send(sub("$SYS/#", 0));
    client.send(sub("#", 0));
    world.advance(3'000);
    CHECK(client.received() == "SUBACK(1,0) SUBACK(1,0)");
    client.send(pub("$SYS/x", "mine", 1, 1));
    CHECK(client.received().find("PUBACK(1)") != std::string::npos);
    CHECK(world.end() == 0);
}

// Limits hold for the whole topic, mount point and all, to the byte; a will as long must not
// become another topic.
TEST_CASE("a topic with its mount point is as long as a topic may be", "[wire][v5][mount]") {
    const std::string mount = "mount/";
    World world(mounted(mount));
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("#", 0));
    reader.take_output();
    for (const size_t size : {65'535 - mount.size(), 65'536 - mount.size(), size_t{65'535}}) {
        INFO("topic of " << size);
        const bool fits = size + mount.size() <= 65'535;
        const std::string topic(size, 't');
        for (const int qos : {0, 1}) {
            auto& writer = world.client5({.client_id = "w"});
            writer.send(qos == 0 ? pub(topic, "x") : pub(topic, "x", 1, 1));
            CHECK(writer.open() == fits);
            if (!fits) CHECK(writer.received().starts_with("DISCONNECT(x90)"));
            CHECK((reader.take_output().size() > size) == fits);
        }
        auto& filter = world.client5({.client_id = "f"});
        filter.send(sub(topic, 0));
        CHECK(filter.received() == (fits ? "SUBACK(1,0)" : "SUBACK(1,x8f)"));
        auto& mortal = world.connection();
        mortal.speak_v5();
        mortal.send(connect({.client_id = "m", .will_topic = topic, .will_payload = "gone"}));
        CHECK(mortal.received().starts_with(fits ? "CONNACK(0)" : "CONNACK(x90)"));
        mortal.hang_up();
        CHECK((reader.take_output().size() > size) == fits);
        auto& old = world.connection();
        old.send(packets::connect({.client_id = "o", .will_topic = topic, .will_payload = "gone"}));
        old.hang_up();
        CHECK((reader.take_output().size() > size) == fits);
    }
    CHECK(world.end() == 0);
}

TEST_CASE("levels are counted with those of the mount point", "[wire][v5][mount]") {
    BrokerOptions options = mounted("a/b/");
    options.max_topic_levels = 4;
    World world(options);
    auto& client = world.client5({.client_id = "c"});
    client.send(subscribe(1,
                          Filters{
                              {"x",     0},
                              {"x/y",   0},
                              {"x/y/z", 0}
    }));
    CHECK(client.received() == "SUBACK(1,0,0,x8f)");
    client.send(pub("x/y", "1", 1, 1));
    CHECK(client.received() == "PUBLISH(x/y,1,q0) PUBACK(1)");
    client.send(pub("x/y/z", "1", 1, 1));
    CHECK(client.received().starts_with("DISCONNECT(x90)"));
    auto& mortal = world.connection();
    mortal.speak_v5();
    mortal.send(connect({.client_id = "m", .will_topic = "x/y/z"}));
    CHECK(mortal.received().starts_with("CONNACK(x90)"));
    CHECK(world.end() == 0);
}

// The size limit is of the packet that leaves, without the mount point.
TEST_CASE("a mount point takes nothing of what a receiver can take",
          "[wire][v5][mount][MQTT5-3.1.2-25]") {
    World world(mounted("a/very/long/mount/point/"));
    const auto bytes = static_cast<uint32_t>(pub("topic", std::string(20, 'x')).size());
    auto& reader =
        world.client5({.client_id = "r", .properties = property(P::kMaximumPacketSize, bytes)});
    reader.send(sub("topic", 0));
    reader.take_output();
    auto& writer = world.client5({.client_id = "w"});
    writer.send(pub("topic", std::string(20, 'x')) + pub("topic", std::string(21, 'x')));
    CHECK(reader.received() == "PUBLISH(topic," + std::string(20, 'x') + ",q0)");
    CHECK(world.stats().drops[static_cast<uint32_t>(Drop::kReceiverSize)] == 1);
    CHECK(world.end() == 0);
}

// Two listeners with mount points of their own, one without: the clients of the first two do not
// hear each other, the third sees both under their full names, and speaks to both.
TEST_CASE("mount points keep listeners apart", "[wire][v5][mount]") {
    BrokerOptions options = World::test_options();
    ListenerOptions listeners[3] = {options.listener, options.listener, options.listener};
    listeners[1].mount_point = "one/";
    listeners[2].mount_point = "two/";
    options.listeners = listeners;
    World world(options);
    auto& all = world.client5({.client_id = "all"});
    world.set_listener(1);
    auto& one = world.client5({.client_id = "one"});
    auto& one_old = world.client("one-old");
    world.set_listener(2);
    auto& two = world.client5({.client_id = "two"});
    for (auto* each : {&all, &one, &two}) {
        each->send(sub("#", 1, identifier(1)));
        each->take_output();
    }
    one_old.send(sub3("t", 1));
    one_old.take_output();
    one.send(pub("t", "a") + pub("t", "b"));
    CHECK(all.received() == "PUBLISH(one/t,a,q0){sub=1} PUBLISH(one/t,b,q0){sub=1}");
    CHECK(one.received() == "PUBLISH(t,a,q0){sub=1} PUBLISH(t,b,q0){sub=1}");
    CHECK(one_old.received() == "PUBLISH(t,a,q0) PUBLISH(t,b,q0)");
    two.send(pub("t", "c", 1, 1));
    CHECK(all.received() == "PUBLISH(two/t,c,q1,id1){sub=1}");
    CHECK(two.received() == "PUBLISH(t,c,q1,id1){sub=1} PUBACK(1)");
    all.send(pub("one/t", "d") + pub("one/t", "e") + pub("two/u", "f") + pub("t", "g"));
    CHECK(one.received() == "PUBLISH(t,d,q0){sub=1} PUBLISH(t,e,q0){sub=1}");
    CHECK(one_old.received() == "PUBLISH(t,d,q0) PUBLISH(t,e,q0)");
    CHECK(two.received() == "PUBLISH(u,f,q0){sub=1}");
    CHECK(world.end() == 0);
}

// A shared subscription's mount point stands in front of its filter, not of its group, so members
// from everywhere are in one group; the group's own rules hold as they do without a mount point.
TEST_CASE("shared subscriptions behind a mount point are what they are in front of it",
          "[wire][v5][mount][shared][MQTT5-4.8.2-1][MQTT5-4.8.2-2]") {
    BrokerOptions options = World::test_options();
    ListenerOptions listeners[2] = {options.listener, options.listener};
    listeners[1].mount_point = "m/";
    options.listeners = listeners;
    World world(options);
    auto& outside = world.client5({.client_id = "outside"});
    world.set_listener(1);
    auto& five = world.client5({.client_id = "five"});
    auto& three = world.client("three");
    const auto word = [](const char* name, uint16_t id, std::string_view code) {
        return std::string(name) + "(" + std::to_string(id) + "," + std::string(code) + ")";
    };
    uint16_t id = 0;
    for (const char* bad : {"$share/g",
                            "$share/",
                            "$share//t",
                            "$share/+/t",
                            "$share/#",
                            "$share/g/",
                            "$share/g/$share/h/t",
                            "$queue/",
                            "$Q/"}) {
        CAPTURE(bad);
        ++id;
        const Filters filters(1, {bad, 0});
        const packets::Filters old_filters(1, {bad, 0});
        five.send(subscribe(id, filters));
        three.send(packets::subscribe(id, old_filters));
        CHECK(five.received() == word("SUBACK", id, "x8f"));
        CHECK(three.received() == word("SUBACK", id, "128"));
        five.send(unsubscribe(id, {bad}));
        CHECK(five.received() == word("UNSUBACK", id, "x11"));
    }
    CHECK(world.stats().sessions == 3);
    for (const char* good : {"$share/g/t/+", "$queue/t/x", "$Q/#", "$share/g/m/#"}) {
        CAPTURE(good);
        five.send(sub(good, 1));
        CHECK(five.received() == "SUBACK(1,1)");
        three.send(sub3(good, 1));
        CHECK(three.received() == "SUBACK(1,1)");
        const std::string topic = std::string_view(good).ends_with("m/#") ? "m/t/x" : "t/x";
        outside.send(pub("m/" + topic, "1") + pub("m/" + topic, "2") + pub(topic, "3"));
        const std::string first = "PUBLISH(" + topic + ",1,q0)";
        const std::string second = "PUBLISH(" + topic + ",2,q0)";
        CHECK(five.received() == first);
        CHECK(three.received() == second);
        five.send(unsubscribe(2, {good}));
        CHECK(five.received() == "UNSUBACK(2,0)");
        three.send(packets::unsubscribe(2, {good}));
        CHECK(three.received() == "UNSUBACK(2)");
    }
    // The same group from both sides of the mount point.
    outside.send(sub("$share/g/m/t", 0));
    five.send(sub("$share/g/t", 0));
    outside.take_output();
    five.take_output();
    outside.send(pub("m/t", "1") + pub("m/t", "2"));
    CHECK(outside.received() == "PUBLISH(m/t,1,q0)");
    CHECK(five.received() == "PUBLISH(t,2,q0)");
    CHECK(world.end() == 0);
}
