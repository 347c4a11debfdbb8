// MQTT 3.1.1, from PUBLISH and SUBSCRIBE to delivery: order, flows, sessions.   §3.3, §3.8, §4

#include "support/packets.h"
#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>

using namespace mqttd;
using namespace mqttd::packets;
using packets5::sub3;

namespace {

std::string pub3(const std::string& topic, const std::string& payload, int qos, uint16_t id) {
    return publish({.topic = topic, .payload = payload, .qos = qos, .packet_id = id});
}

FakeConnection& back(World& world, const char* id) {
    auto& peer = world.connection();
    peer.send(connect(id, false));
    return peer;
}

}  // namespace

// A hundred requests in one read: the answers come in their order, and our PUBRELs in the order of
// the PUBRECs, whatever that is.
TEST_CASE("3.1.1: acknowledgements keep the order of what they answer",
          "[conformance][MQTT-4.6.0-2][MQTT-4.6.0-3][MQTT-4.6.0-4][MQTT-2.3.1-6]") {
    BrokerOptions options = World::test_options();
    options.max_inflight_messages = 100;
    World world(options);
    auto& reader = world.client("r");
    reader.send(sub3("t", 2));
    auto& writer = world.client("w");
    for (const int qos : {1, 2}) {
        std::string requests;
        std::string answers;
        for (uint32_t i = 0; i < 100; ++i) {
            const auto id = static_cast<uint16_t>(i * 37 % 100 + 1);
            requests += pub3(qos == 1 ? "nobody" : "t", std::to_string(i), qos, id);
            answers += qos == 1 ? puback(id) : pubrec(id);
        }
        writer.send(requests);
        CHECK(writer.take_output() == answers);
    }
    std::string releases;
    std::string done;
    for (uint32_t i = 0; i < 100; ++i) {
        releases += pubrel(static_cast<uint16_t>(i * 53 % 100 + 1));
        done += pubcomp(static_cast<uint16_t>(i * 53 % 100 + 1));
    }
    writer.send(releases);
    CHECK(writer.take_output() == done);
    CHECK(world.stats().inflight_out == 100);
    reader.take_output();
    std::string received;
    std::string released;
    for (uint32_t i = 0; i < 100; ++i) {
        const auto id = static_cast<uint16_t>(i * 71 % 100 + 1);
        received += pubrec(id);
        released += pubrel(id);
    }
    reader.send(received);
    CHECK(reader.take_output() == released);
    CHECK(world.end() == 0);
}

// Numbers on three topics at three qualities, to plain, exact, wildcard and absent subscribers:
// each of them sees the numbers of a topic and quality rise, and all of them.
TEST_CASE("3.1.1: messages of a topic and QoS keep their order to everybody",
          "[conformance][MQTT-4.6.0-5][MQTT-4.6.0-6][MQTT-4.5.0-1]") {
    BrokerOptions options = World::test_options();
    options.max_queued_messages = 0;
    options.max_inflight_messages = 7;
    World world(options);
    const std::map<std::string, std::string> filters{
        {"exact", "t/0"},
        {"wild",  "t/+"},
        {"all",   "#"  },
        {"away",  "t/#"},
        {"slow",  "t/+"}
    };
    std::map<std::string, FakeConnection*> peers;
    for (const auto& [id, filter] : filters) {
        peers[id] = &world.client(id, false);
        peers[id]->send(sub3(filter, 2));
        peers[id]->take_output();
    }
    peers["away"]->hang_up();
    auto& writer = world.client("w");
    constexpr int kCount = 3'000;
    for (int i = 0; i < kCount; ++i) {
        if (i % 50 == 0) peers["slow"]->set_room(i % 100 == 0 ? 30 : ~uint64_t{0});
        writer.push(pub3("t/" + std::to_string(i % 3), std::to_string(i), i / 3 % 3, 1));
        if (i / 3 % 3 == 2) writer.push(pubrel(1));
        if (i % 10 == 9) world.settle();
    }
    peers["slow"]->set_room(~uint64_t{0});
    world.settle();
    peers["away"] = &back(world, "away");
    for (auto& [id, peer] : peers) {
        CAPTURE(id);
        std::map<std::string, int> last;  // by topic and QoS
        std::map<int, int> seen;
        for (std::string output; !(output = peer->take_output()).empty();) {
            for (std::string_view rest = output; !rest.empty();) {
                const size_t size = packet_size(rest);
                const std::string word = describe(rest.substr(0, size));
                rest.remove_prefix(size);
                const size_t at = word.find(",id");
                const uint16_t packet_id =
                    at == word.npos ? uint16_t{0}
                                    : static_cast<uint16_t>(std::stoi(word.substr(at + 3)));
                if (word.starts_with("PUBREL")) {
                    peer->push(pubcomp(static_cast<uint16_t>(std::stoi(word.substr(7)))));
                }
                if (!word.starts_with("PUBLISH(t/")) continue;
                const int qos = word[word.find(",q") + 2] - '0';
                const int value = std::stoi(word.substr(12));
                int& before =
                    last.emplace(word.substr(8, 3) + word[word.find(",q") + 2], -1).first->second;
                REQUIRE(value > before);
                before = value;
                ++seen[qos];
                if (qos == 1) peer->push(puback(packet_id));
                if (qos == 2) peer->push(pubrec(packet_id));
            }
            world.settle();
        }
        const int share = id == "exact" ? kCount / 9 : kCount / 3;
        CHECK(std::abs(seen[1] - share) <= 1);
        CHECK(std::abs(seen[2] - share) <= 1);
    }
    CHECK(world.stats().inflight_out == 0);
    CHECK(world.end() == 0);
}

// Sent once as new, again after each reconnect as a duplicate, and never after PUBACK.
TEST_CASE("3.1.1: a QoS 1 message is open until its PUBACK",
          "[conformance][MQTT-4.3.2-1][MQTT-4.4.0-1][MQTT-3.3.1-1]") {
    World world;
    auto* reader = &world.client("r", false);
    reader->send(sub3("t", 1));
    auto& writer = world.client("w");
    writer.send(pub3("t", "a", 1, 9) + pub3("t", "b", 1, 9));
    CHECK(writer.received() == "PUBACK(9) PUBACK(9)");
    CHECK(reader->received() == "SUBACK(1,1) PUBLISH(t,a,q1,id1) PUBLISH(t,b,q1,id2)");
    for (int i = 0; i < 3; ++i) {
        reader->hang_up();
        reader = &back(world, "r");
        CHECK(reader->received() ==
              "CONNACK(0,present) PUBLISH(t,a,q1,id1,dup) PUBLISH(t,b,q1,id2,dup)");
    }
    reader->send(puback(1));
    reader->hang_up();
    reader = &back(world, "r");
    CHECK(reader->received() == "CONNACK(0,present) PUBLISH(t,b,q1,id2,dup)");
    reader->send(puback(2));
    reader->hang_up();
    CHECK(back(world, "r").received() == "CONNACK(0,present)");
    CHECK(world.end() == 0);
}

// Subscribing to the same filter again and again while messages come: none is missing, none comes
// twice, and what is kept comes each time.
TEST_CASE("3.1.1: subscribing again interrupts nothing", "[conformance][MQTT-3.8.4-3]") {
    World world;
    auto& writer = world.client("w");
    writer.send(publish({.topic = "t/kept", .payload = "k", .retain = true}));
    auto& reader = world.client("r");
    reader.send(sub3("t/#", 1));
    CHECK(reader.received() == "SUBACK(1,1) PUBLISH(t/kept,k,q0,retain)");
    int retained = 0;
    for (int i = 0; i < 500; ++i) {
        writer.push(pub3("t/live", std::to_string(i), 1, 1));
        if (i % 3 == 0) reader.push(sub3("t/#", 1 + i % 2));
        if (i % 2 == 0) writer.push(pub3("t/x", "", 0, 0));
        world.settle();
        std::string words = reader.received();
        const std::string live = "PUBLISH(t/live," + std::to_string(i) + ",q1,";
        REQUIRE(words.find(live) != words.npos);
        REQUIRE(words.find(live, words.find(live) + 1) == words.npos);
        retained += words.find("PUBLISH(t/kept,k,q0,retain)") != words.npos;
        const size_t id = words.find(",id", words.find(live));
        reader.send(puback(static_cast<uint16_t>(std::stoi(words.substr(id + 3)))));
    }
    CHECK(retained == 167);
    CHECK(world.stats().inflight_out == 0);
    CHECK(world.end() == 0);
}

// A broker that has switched wildcards off refuses such filters, and only them.
TEST_CASE("3.1.1: without wildcards a filter with one is refused", "[conformance][MQTT-3.8.3-2]") {
    BrokerOptions options = World::test_options();
    options.wildcard_available = false;
    World world(options);
    auto& peer = world.client("c");
    const Filters filters{
        {"#",   0},
        {"a",   1},
        {"a/+", 2},
        {"+/a", 0},
        {"a/#", 1},
        {"a/b", 2}
    };
    peer.send(subscribe(1, filters));
    CHECK(peer.received() == "SUBACK(1,128,1,128,128,128,2)");
    world.client("w").send(publish({.topic = "a/c"}) + publish({.topic = "a/b"}));
    CHECK(peer.received() == "PUBLISH(a/b,,q0)");
    CHECK(world.end() == 0);
}

// Whatever ends one link for what came on it, the others go on.
TEST_CASE("3.1.1: a violation ends the connection on which it came",
          "[conformance][MQTT-4.8.0-1][MQTT-3.3.2-2][MQTT-4.7.1-1][MQTT-4.7.3-1][MQTT-3.8.3-3]"
          "[MQTT-3.8.3-4][MQTT-3.10.3-2][MQTT-3.1.0-2]") {
    World world;
    auto& reader = world.client("r");
    reader.send(sub3("#", 1));
    reader.take_output();
    auto& writer = world.client("w");
    const std::string bad[] = {connect("c"),
                               connect("other"),
                               pub3("#", "", 0, 0),
                               pub3("+", "", 1, 1),
                               pub3("a/#", "", 2, 1),
                               pub3("a/+/b", "", 0, 0),
                               pub3("a+", "", 0, 0),
                               pub3("", "", 0, 0),
                               pub3("", "", 1, 1),
                               pub3("t", "", 1, 0),
                               raw(0x82, number(1)),
                               raw(0xa2, number(1)),
                               sub3("", 0),
                               sub3("t", 3),
                               sub3("t", 4),
                               sub3("t", 0x80),
                               raw(0x82, number(1) + text("t")),
                               raw(0x20, std::string(2, '\0')),
                               raw(0xf0, ""),
                               raw(0x00, "")};
    uint16_t id = 0;
    for (const std::string& packet : bad) {
        CAPTURE(&packet - bad);
        auto& peer = world.client("c");
        peer.send(packet + pub3("after", "", 0, 0));
        CHECK_FALSE(peer.open());
        CHECK(peer.take_output().empty());
        writer.send(pub3("t", "x", 1, ++id));
        CHECK(writer.received() == "PUBACK(" + std::to_string(id) + ")");
        CHECK(reader.received() == "PUBLISH(t,x,q1,id" + std::to_string(id) + ")");
        reader.send(puback(id));
    }
    CHECK(world.end() == 0);
}

// Each allocation that a request needs, refused once: either the request is carried out and
// answered as ever, perhaps later, or said to have failed where there is a word for it, or its
// connection ends. Nobody is left without an answer on an open connection.
TEST_CASE("3.1.1: a request that cannot be carried out ends its connection",
          "[conformance][MQTT-4.8.0-2]") {
    struct Row {
        const char* name;
        std::string bytes;
        const char* good;
        const char* failed;  // in the words of 3.1.1
    };

    // clang-format off
    const Row rows[] = {
        {"CONNECT",     connect({.client_id = "new", .clean = false, .will_topic = "w"}), "CONNACK(0)", "CONNACK(3)"},
        {"SUBSCRIBE",   sub3("a/+/long/filter/that/is/new", 1), "SUBACK(1,1)", "SUBACK(1,128)"},
        {"PUBLISH 1", publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1, .retain = true}), "PUBACK(1)", ""},
        {"PUBLISH 2",   pub3("t", "x", 2, 1), "PUBREC(1)", ""},
        {"flow 2",      pub3("t", "x", 2, 1) + pubrel(1), "PUBREC(1) PUBCOMP(1)", ""},
    };
    // clang-format on
    uint32_t closed = 0;
    for (const Row& row : rows) {
        const bool opens = row.bytes[0] == 0x10;
        uint64_t count = 1;
        for (uint64_t n = 0; n <= count; ++n) {
            CAPTURE(row.name, n);
            World world;
            auto& reader = world.client("r", false);
            reader.send(sub3("t", 2));
            reader.take_output();
            auto& peer = opens ? world.connection() : world.client("c");
            const uint64_t before = world.arena().allocations();
            if (n > 0) world.arena().refuse_nth(n);
            peer.send(row.bytes);
            if (n == 0) count = world.arena().allocations() - before;
            world.advance(2'000);  // who waits for memory tries again
            world.arena().refuse_nth(0);
            world.advance(2'000);
            const std::string words = peer.received();
            if (n == 0) CHECK(words == row.good);
            if (peer.open()) {
                CHECK((words == row.good || words == row.failed));
                peer.send(pingreq());
                CHECK(peer.received() == "PINGRESP");
            } else {
                ++closed;
                CHECK((words == row.failed || std::string_view(row.good).starts_with(words)));
            }
            reader.send(pingreq());
            CHECK(reader.received().ends_with("PINGRESP"));
            CHECK(world.end() == 0);
        }
    }
    CHECK(closed > 5);
}
