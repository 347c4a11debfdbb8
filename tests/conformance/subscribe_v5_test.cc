// MQTT 5.0, SUBSCRIBE, UNSUBSCRIBE and shared subscriptions.   §3.8 to §3.11, §4.7, §4.8

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <string>

using namespace mqttd;
using namespace mqttd::packets5;
using packets::number;
using packets::pingreq;
using packets::raw;
using packets::text;

namespace {

using P = Property;
using T = PacketType;

// What a fresh client is told for these bytes.
std::string verdict(const std::string& bytes) {
    World world;
    auto& peer = world.client5({.client_id = "c"});
    peer.send(bytes);
    const std::string words = head(peer.received());
    CHECK(peer.open() != words.starts_with("DISCONNECT"));
    CHECK(world.end() == 0);
    return words;
}

}  // namespace

// Exhaustive: QoS 3 and Retain Handling 3 do not exist, bits 6 and 7 are reserved.
TEST_CASE("5.0: every byte of subscription options is judged",
          "[conformance][MQTT5-3.8.3-5][MQTT5-3.8.4-1][MQTT5-3.8.4-7]") {
    for (int options = 0; options < 256; ++options) {
        CAPTURE(options);
        const int qos = options & 3;
        std::string wanted = "SUBACK(1," + std::to_string(qos) + ")";
        if (qos == 3 || (options & 0x30) == 0x30) wanted = "DISCONNECT(x82)";
        if ((options & 0xc0) != 0) wanted = "DISCONNECT(x81)";
        CHECK(verdict(sub("t", options)) == wanted);
    }
}

// Where a wildcard may stand, and where not; the whole packet falls with one bad filter.
TEST_CASE("5.0: a filter has its wildcards where they may stand",
          "[conformance][MQTT5-4.7.1-1][MQTT5-4.7.1-2][MQTT5-4.7.3-1][MQTT5-4.7.3-3]"
          "[MQTT5-3.8.3-2][MQTT5-3.10.3-2][MQTT5-2.2.1-3]") {
    for (const char* bad :
         {"", "a#", "#/a", "a/#/b", "##", "#+", "a+", "+a", "a/+b", "a/b+/c", "++"}) {
        CAPTURE(bad);
        CHECK(verdict(sub(bad, 0)) == "DISCONNECT(x8f)");
        CHECK(verdict(raw(0x82, number(1) + '\0' + text("fine") + '\0' + text(bad) + '\0')) ==
              "DISCONNECT(x8f)");
        CHECK(verdict(unsubscribe(1, {"fine", bad})) == "DISCONNECT(x8f)");
    }
    for (const std::string& good : {std::string("#"),
                                    std::string("+"),
                                    std::string("/"),
                                    std::string("+/#"),
                                    std::string("a/+/b"),
                                    std::string("/+"),
                                    std::string("+/+/+"),
                                    std::string("a/#"),
                                    std::string(65'535, 'f')}) {
        CHECK(verdict(sub(good, 0)) == "SUBACK(1,0)");
        CHECK(verdict(unsubscribe(1, {good})) == "UNSUBACK(1,x11)");
    }
    CHECK(verdict(raw(0x82, number(1) + '\0')) == "DISCONNECT(x82)");
    CHECK(verdict(raw(0xa2, number(1) + '\0')) == "DISCONNECT(x82)");
    CHECK(verdict(raw(0x82, number(0) + '\0' + text("t") + '\0')) == "DISCONNECT(x82)");
    CHECK(verdict(unsubscribe(0, {"t"})) == "DISCONNECT(x82)");
}

// One packet of many filters does what as many packets would do, with one answer.
TEST_CASE("5.0: many filters are answered together and work alone",
          "[conformance][MQTT5-3.8.4-5][MQTT5-3.8.4-6][MQTT5-3.9.3-1][MQTT5-3.10.4-6]"
          "[MQTT5-3.11.3-1]") {
    World world;
    auto& writer = world.client5({.client_id = "w"});
    writer.send(keep("b/1", "kept"));
    auto& one = world.client5({.client_id = "one"});
    auto& each = world.client5({.client_id = "each"});
    const Filters filters{
        {"a",        0           },
        {"b/+",      1           },
        {"c/#",      2           },
        {"$share/g", 1           },
        {"a",        2 | kNoLocal}
    };
    one.send(subscribe(9, filters));
    for (const auto& [filter, options] : filters)
        each.send(sub(filter, options));
    CHECK(one.received() == "SUBACK(9,0,1,2,x8f,2) PUBLISH(b/1,kept,q0,retain)");
    CHECK(each.received() ==
          "SUBACK(1,0) SUBACK(1,1) PUBLISH(b/1,kept,q0,retain) SUBACK(1,2) SUBACK(1,x8f) "
          "SUBACK(1,2)");
    for (auto* peer : {&one, &each})
        peer->send(pub("a", "own", 1, 1));
    CHECK(one.received() == "PUBACK(1) PUBLISH(a,own,q1,id1)");
    CHECK(each.received() == "PUBLISH(a,own,q1,id1) PUBACK(1)");
    writer.send(pub("a", "x", 2, 1) + ack(T::kPubrel, 1) + pub("c", "y", 1, 1));
    for (auto* peer : {&one, &each})
        CHECK(peer->received() == "PUBLISH(a,x,q2,id2) PUBLISH(c,y,q1,id3)");
    one.send(unsubscribe(10, {"c/#", "none", "a", "a", "b/1"}));
    CHECK(one.received() == "UNSUBACK(10,0,x11,0,x11,x11)");
    writer.send(pub("a", "x") + pub("c", "y") + pub("b/2", "z"));
    CHECK(one.received() == "PUBLISH(b/2,z,q0)");
    CHECK(world.end() == 0);
}

// Only the very same filter is taken away, from then on nothing comes for it, and what was begun
// is finished.
TEST_CASE("5.0: UNSUBSCRIBE takes away an equal filter and nothing else",
          "[conformance][MQTT5-3.10.4-1][MQTT5-3.10.4-2][MQTT5-3.10.4-3][MQTT5-3.10.4-4]"
          "[MQTT5-3.10.4-5][MQTT5-3.11.3-2]") {
    World world;
    auto& writer = world.client5({.client_id = "w"});
    auto& peer = world.client5(durable("c"));
    peer.send(sub("a/+", 2));
    peer.send(unsubscribe(2, {"a/b", "a/#", "+/+", "#", "A/+", "a/+/", "a", "$share/g/a/+"}));
    CHECK(peer.received() == "SUBACK(1,2) UNSUBACK(2,x11,x11,x11,x11,x11,x11,x11,x11)");
    writer.send(pub("a/b", "1", 1, 1) + pub("a/b", "2", 2, 2) + ack(T::kPubrel, 2) +
                pub("a/b", "3", 2, 3) + ack(T::kPubrel, 3));
    CHECK(peer.received() == "PUBLISH(a/b,1,q1,id1) PUBLISH(a/b,2,q2,id2) PUBLISH(a/b,3,q2,id3)");
    peer.send(ack(T::kPubrec, 3));
    peer.send(unsubscribe(3, {"a/+"}));
    CHECK(peer.received() == "PUBREL(3) UNSUBACK(3,0)");
    writer.send(pub("a/b", "4") + pub("a/b", "5", 1, 1));
    CHECK(peer.received().empty());
    peer.hang_up();
    writer.send(pub("a/b", "6", 1, 1));
    auto& back = world.client5(durable("c"));
    CHECK(back.received() == "PUBLISH(a/b,1,q1,id1,dup) PUBLISH(a/b,2,q2,id2,dup) PUBREL(3)");
    back.send(ack(T::kPuback, 1) + ack(T::kPubrec, 2));
    CHECK(back.received() == "PUBREL(2)");
    back.send(ack(T::kPubcomp, 2) + ack(T::kPubcomp, 3) + unsubscribe(4, {"a/+"}));
    CHECK(back.received() == "UNSUBACK(4,x11)");
    CHECK(world.stats().inflight_out == 0);
    CHECK(world.end() == 0);
}

// Again and again the same filter while messages come: none is missing, none comes twice, and what
// is kept comes each time it is asked for.
TEST_CASE("5.0: subscribing again interrupts nothing",
          "[conformance][MQTT5-3.8.4-3][MQTT5-3.8.4-4][MQTT5-3.3.1-9]") {
    World world;
    auto& writer = world.client5({.client_id = "w"});
    writer.send(keep("t/kept", "k"));
    auto& reader = world.client5({.client_id = "r"});
    reader.send(sub("t/#", 1));
    reader.take_output();
    int kept = 0;
    for (int i = 0; i < 500; ++i) {
        writer.push(pub("t/live", std::to_string(i), 1, 1));
        if (i % 3 == 0)
            reader.push(sub("t/#", 1 + i % 2, identifier(static_cast<uint32_t>(i + 1))));
        world.settle();
        const std::string words = reader.received();
        const std::string live = "PUBLISH(t/live," + std::to_string(i) + ",q1,";
        REQUIRE(words.find(live) != words.npos);
        REQUIRE(words.find(live, words.find(live) + 1) == words.npos);
        kept +=
            words.find("PUBLISH(t/kept,k,q0,retain){sub=" + std::to_string(i + 1)) != words.npos;
        const size_t id = words.find(",id", words.find(live));
        reader.send(ack(T::kPuback, static_cast<uint16_t>(std::stoi(words.substr(id + 3)))));
    }
    CHECK(kept == 167);
    CHECK(world.end() == 0);
}

// `$share/`, a name without wildcards, a slash, a filter: whatever begins so and is not so is
// refused, and no message ever comes for it.
TEST_CASE("5.0: a shared subscription has a name and a filter",
          "[conformance][MQTT5-4.8.2-1][MQTT5-4.8.2-2]") {
    for (const char* bad : {"$share/",
                            "$share//",
                            "$share//t",
                            "$share/g",
                            "$share/g/",
                            "$share/+/t",
                            "$share/g+/t",
                            "$share/#/t",
                            "$share/g#/t",
                            "$share/+",
                            "$share/#"}) {
        CAPTURE(bad);
        World world;
        auto& peer = world.client5({.client_id = "c"});
        peer.send(sub(bad, 0));
        const std::string words = head(peer.received());
        CHECK((words == "SUBACK(1,x8f)" || words == "DISCONNECT(x8f)"));
        world.client5({.client_id = "w"}).send(pub("t", "x") + pub("g", "x") + pub("/t", "x"));
        CHECK(peer.received().empty());
        CHECK(world.end() == 0);
    }
    for (const char* good :
         {"$share/g/t", "$share/$g/t", "$share/g/+", "$share/g/#", "$share/g/t/#"}) {
        CAPTURE(good);
        World world;
        auto& peer = world.client5({.client_id = "c"});
        peer.send(sub(good, 0));
        CHECK(peer.received() == "SUBACK(1,0)");
        world.client5({.client_id = "w"}).send(pub("t", "x"));
        CHECK(peer.received() == "PUBLISH(t,x,q0)");
        CHECK(world.end() == 0);
    }
}

// Each member gets its share at its own QoS, or the publisher's if that is lower.
TEST_CASE("5.0: a member of a group gets its share at its own QoS",
          "[conformance][MQTT5-4.8.2-3]") {
    for (int sent = 0; sent <= 2; ++sent) {
        World world;
        FakeConnection* members[3];
        for (int qos = 0; qos <= 2; ++qos) {
            members[qos] = &world.client5({.client_id = "m" + std::to_string(qos)});
            members[qos]->send(sub("$share/g/t", qos));
            CHECK(members[qos]->received() == "SUBACK(1," + std::to_string(qos) + ")");
        }
        auto& writer = world.client5({.client_id = "w"});
        for (int i = 0; i < 9; ++i) {
            writer.send(publish({.topic = "t", .payload = "x", .qos = sent, .packet_id = 1}));
            if (sent == 2) writer.send(ack(T::kPubrel, 1));
        }
        for (int qos = 0; qos <= 2; ++qos) {
            CAPTURE(sent, qos);
            const std::string words = members[qos]->received();
            const std::string mark = ",x,q" + std::to_string(std::min(sent, qos));
            size_t count = 0;
            for (size_t at = 0; (at = words.find(mark, at)) != words.npos; ++at)
                ++count;
            CHECK(count == 3);
            CHECK(std::count(words.begin(), words.end(), '(') == 3);
        }
        CHECK(world.end() == 0);
    }
}

// A QoS 2 message that was begun with one member is finished with it when it returns, wherever it
// was cut, and goes to nobody else meanwhile; if its session ends, it goes to nobody at all. What
// only waited behind it goes to another one then.
TEST_CASE("5.0: a QoS 2 message stays with the member that it was begun with",
          "[conformance][MQTT5-4.8.2-4][MQTT5-4.8.2-5]") {
    for (const bool released : {false, true}) {
        for (const int end : {0, 1, 2}) {  // it returns, returns anew, or never
            CAPTURE(released, end);
            World world;
            Connect fields = durable("first");
            fields.properties += property(P::kReceiveMaximum, 1);
            auto& first = world.client5(fields);
            first.send(sub("$share/g/t", 2));
            auto& writer = world.client5({.client_id = "w"});
            for (const char* payload : {"begun", "waits"})
                writer.send(pub("t", payload, 2, 1) + ack(T::kPubrel, 1));
            CHECK(first.received() == "SUBACK(1,2) PUBLISH(t,begun,q2,id1)");
            auto& second = world.client5({.client_id = "second"});
            second.send(sub("$share/g/t", 2));
            CHECK(second.received() == "SUBACK(1,2)");
            if (released) {
                first.send(ack(T::kPubrec, 1));
                CHECK(first.received() == "PUBREL(1)");
            }
            first.hang_up();
            world.advance(5'000);
            CHECK(second.received().empty());
            if (end == 0) {
                auto& back = world.client5(fields);
                if (!released) {
                    CHECK(back.received() == "PUBLISH(t,begun,q2,id1,dup)");
                    back.send(ack(T::kPubrec, 1));
                    CHECK(back.received() == "PUBREL(1)");
                } else {
                    CHECK(back.received().starts_with("PUBREL(1)"));
                }
                back.send(ack(T::kPubcomp, 1) + ack(T::kPubrec, 2) + ack(T::kPubcomp, 2));
                CHECK(world.stats().inflight_out == 0);
            } else if (end == 1) {
                CHECK(world.client5({.client_id = "first"}).received().empty());
            } else {
                world.advance(1'100'000);
                CHECK(world.stats().sessions_expired == 1);
            }
            world.settle();
            CHECK(second.received() == (end == 0 ? "" : "PUBLISH(t,waits,q2,id1)"));
            CHECK(world.end() == 0);
        }
    }
}

// Taken over by a clean start in the very turn in which the message is handed out, with every
// number of bytes that the kernel still takes: whoever saw the first byte of it is the only one who
// did.
TEST_CASE("5.0: a member that is taken over shares nothing it has begun",
          "[conformance][MQTT5-4.8.2-5]") {
    for (int room = 0; room < 40; ++room) {
        for (const bool publish_first : {false, true}) {
            CAPTURE(room, publish_first);
            World world;
            auto& first = world.client5(durable("first"));
            first.send(sub("$share/g/t", 2));
            first.take_output();
            auto& writer = world.client5({.client_id = "w"});
            writer.send(pub("t", "x", 2, 1));
            auto& second = world.client5(durable("second"));
            second.send(sub("$share/g/t", 2));
            second.take_output();
            second.hang_up();  // so that the first is chosen
            first.set_room(static_cast<uint64_t>(room));
            auto& taker = world.connection();
            if (publish_first) writer.push(ack(T::kPubrel, 1));
            if (publish_first) world.turn();
            taker.push(connect({.client_id = "first"}));
            if (!publish_first) writer.push(ack(T::kPubrel, 1));
            world.settle();
            const bool begun = first.take_output().starts_with("\x34");
            if (publish_first) CHECK(begun == (room > 0));
            // What nobody saw may be given up all the same: it could still have been on its way.
            const std::string words = world.client5(durable("second")).received();
            CHECK((words == "" || (!begun && words == "PUBLISH(t,x,q2,id1)")));
            CHECK(world.end() == 0);
        }
    }
}

// A member that answers with an error has ended the message for all of its group.
TEST_CASE("5.0: a message that a member refuses goes to no other member",
          "[conformance][MQTT5-4.8.2-6][MQTT5-4.4.0-2]") {
    for (const int qos : {1, 2}) {
        for (const int code : {0x80, 0x83, 0x87, 0x90, 0x97, 0x99}) {
            CAPTURE(qos, code);
            World world;
            auto& a = world.client5(durable("a"));
            auto& b = world.client5({.client_id = "b"});
            for (auto* each : {&a, &b}) {
                each->send(sub("$share/g/t", 2));
                each->take_output();
            }
            auto& writer = world.client5({.client_id = "w"});
            writer.send(pub("t", "x", qos, 1));
            if (qos == 2) writer.send(ack(T::kPubrel, 1));
            std::string words = a.received();
            FakeConnection& one = words.empty() ? b : a;
            FakeConnection& other = words.empty() ? a : b;
            if (words.empty()) words = b.received();
            CHECK(words == "PUBLISH(t,x,q" + std::to_string(qos) + ",id1)");
            one.send(ack(qos == 1 ? T::kPuback : T::kPubrec, 1, code));
            CHECK(one.received().empty());
            one.hang_up();
            world.settle();
            CHECK(other.received().empty());
            CHECK(world.stats().inflight_out + world.stats().queued == 0);
            if (&one == &a) CHECK(world.client5(durable("a")).received().empty());
            CHECK(world.end() == 0);
        }
    }
}
