// SUBSCRIBE, UNSUBSCRIBE and what matches.   MQTT 3.1.1 §3.8–3.11, §4.7.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

// True if `bytes` from a client closed it, and only it, with no answer.
bool closes(const std::string& bytes, int level = 4) {
    World world;
    auto& bystander = world.client("bystander");
    auto& client = world.client(Connect{.client_id = "c", .level = level});
    client.send(bytes);
    const bool closed = !client.open();
    if (closed) REQUIRE(client.received().empty());
    REQUIRE(bystander.open());
    REQUIRE(world.end() == 0);
    return closed;
}

bool reaches(const std::string& filter, const std::string& topic) {
    World world;
    auto& client = world.client("c");
    client.send(subscribe(1,
                          {
                              {filter, 0}
    }));
    REQUIRE(client.received() == "SUBACK(1,0)");
    world.client("pub").send(publish({.topic = topic, .payload = "x"}));
    const bool reached = !client.received().empty();
    REQUIRE(world.end() == 0);
    return reached;
}

Filters many(int count, int qos) {
    Filters filters;
    for (int i = 0; i < count; ++i)
        filters.push_back({"many/" + std::to_string(i), qos});
    return filters;
}

}  // namespace

// One answer with one code per filter, in their order.
TEST_CASE("SUBACK holds the granted QoS of each filter in order",
          "[wire][MQTT-3.8.4-1][MQTT-3.8.4-2][MQTT-3.8.4-4][MQTT-3.8.4-5][MQTT-3.9.3-1]") {
    World world;
    auto& client = world.client("c");
    client.send(subscribe(65'535,
                          {
                              {"a",   0},
                              {"b",   1},
                              {"c",   2},
                              {"a",   2},
                              {"+/#", 1}
    }));
    REQUIRE(client.received() == "SUBACK(65535,0,1,2,2,1)");
    REQUIRE(world.end() == 0);
}

// A filter beyond the limits fails alone; its neighbours are served.
TEST_CASE("a filter beyond a limit gets code 0x80 and the others their QoS",
          "[wire][MQTT-3.8.4-5][MQTT-3.9.3-2]") {
    BrokerOptions options = World::test_options();
    options.max_topic_len = 10;
    options.max_topic_levels = 3;
    World world(options);
    auto& client = world.client("c");
    client.send(subscribe(1,
                          {
                              {"0123456789",  1},
                              {"0123456789a", 1},
                              {"a/b/c",       2},
                              {"a/b/#",       2},
                              {"a/b/c/d",     2},
                              {"//",          0},
                              {"///",         0},
                              {"////",        0},
                              {"z",           0}
    }));
    REQUIRE(client.received() == "SUBACK(1,1,128,2,2,128,0,128,128,0)");
    REQUIRE(world.end() == 0);
}

// Wildcards in the wrong place, empty or bad text, QoS above 2, reserved bits, no filter, bytes too
// few or too many: the whole packet is malformed, and nothing of it takes effect.
TEST_CASE("a malformed SUBSCRIBE or UNSUBSCRIBE closes the link",
          "[wire][MQTT-4.7.1-2][MQTT-4.7.1-3][MQTT-3.8.3-1][MQTT-3.8.3-3][MQTT-3.8.3-4]"
          "[MQTT-3.10.3-1][MQTT-3.10.3-2][MQTT-4.7.3-1][MQTT-1.5.3-1][MQTT-1.5.3-2]") {
    for (const std::string& bad : {std::string("a#"),
                                   std::string("#/a"),
                                   std::string("a/#/b"),
                                   std::string("##"),
                                   std::string("a+"),
                                   std::string("+a"),
                                   std::string("a/+b"),
                                   std::string("++"),
                                   std::string(""),
                                   std::string("\xff"),
                                   std::string("\0", 1),
                                   std::string("a\0b", 3),
                                   std::string("\xed\xa0\x80"),
                                   std::string("+#"),
                                   std::string("a/b+/c")}) {
        INFO(bad);
        REQUIRE(closes(subscribe(1,
                                 {
                                     {"fine", 0},
                                     {bad,    0}
        })));
        REQUIRE(closes(unsubscribe(1, {"fine", bad})));
    }
    for (int qos = 3; qos < 256; ++qos) {
        REQUIRE(closes(subscribe(1,
                                 {
                                     {"fine", 0  },
                                     {"t",    qos}
        })));
    }
    REQUIRE(closes(subscribe(1, {})));
    REQUIRE(closes(unsubscribe(1, {})));
    const std::string whole[] = {
        subscribe(1, {{"fine", 0}, {"t", 1}}
         ), unsubscribe(1, {"fine",      "t"     }
         )
    };
    for (const std::string& packet : whole) {
        const std::string body = packet.substr(2);
        const bool subscribes = packet[0] == whole[0][0];
        for (size_t size = 0; size < body.size(); ++size) {
            const bool legal = subscribes ? size == 9 : size == 8;
            REQUIRE(closes(raw(static_cast<uint8_t>(packet[0]), body.substr(0, size))) == !legal);
        }
        REQUIRE(closes(raw(static_cast<uint8_t>(packet[0]), body + "x")));
    }
}

// The low bits are 0010; a 3.1 client may repeat the packet with DUP.
TEST_CASE("SUBSCRIBE and UNSUBSCRIBE with wrong header bits close the link",
          "[wire][MQTT-3.8.1-1][MQTT-3.10.1-1]") {
    for (const int level : {3, 4}) {
        for (int flags = 0; flags < 16; ++flags) {
            INFO("level " << level << " flags " << flags);
            const bool legal = flags == 2 || (level == 3 && flags == 10);
            std::string packet = subscribe(1,
                                           {
                                               {"t", 0}
            });
            packet[0] = static_cast<char>(0x80 | flags);
            REQUIRE(closes(packet, level) == !legal);
            packet = unsubscribe(1, {"t"});
            packet[0] = static_cast<char>(0xa0 | flags);
            REQUIRE(closes(packet, level) == !legal);
        }
    }
}

// The table of the standard, and what people get wrong.
TEST_CASE("filters match the topics that the standard says",
          "[wire][MQTT-3.3.2-3][MQTT-4.7.2-1][MQTT-4.7.3-4]") {
    struct Row {
        const char* filter;
        const char* topic;
        bool match;
    };

    const Row rows[] = {
        {"a/b",   "a/b",    true },
        {"a/b",   "a/b/",   false},
        {"a/b",   "/a/b",   false},
        {"a/#",   "a",      true },
        {"a/#",   "a/",     true },
        {"a/#",   "a/b/c",  true },
        {"a/#",   "ab",     false},
        {"#",     "a/b",    true },
        {"#",     "/",      true },
        {"+",     "a",      true },
        {"+",     "/a",     false},
        {"+",     "a/b",    false},
        {"+/+",   "/a",     true },
        {"/+",    "/a",     true },
        {"/+",    "a",      false},
        {"+/b",   "a/b",    true },
        {"a/+/c", "a//c",   true },
        {"a/+",   "a/",     true },
        {"a/+",   "a",      false},
        {"a/+/#", "a",      false},
        {"a/+/#", "a/b",    true },
        {"+/#",   "a",      true },
        {"//",    "//",     true },
        {"+/+/+", "//",     true },
        {"#",     "$x",     false},
        {"+",     "$x",     false},
        {"+/a",   "$x/a",   false},
        {"$x/#",  "$x",     true },
        {"$x/#",  "$x/a/b", true },
        {"$x/+",  "$x/a",   true },
        {"$x/#",  "$xy",    false},
        {"a/$x",  "a/$x",   true },
        {"a/+",   "a/$x",   true },
        {"a/#",   "a/$x",   true },
        {"A",     "a",      false},
        {"+/#",   "$x/a",   false},
    };
    for (const Row& row : rows) {
        INFO(row.filter << " and " << row.topic);
        REQUIRE(reaches(row.filter, row.topic) == row.match);
    }
}

// More filters than a slice, with the limits of the slice itself: one answer, all in force, all
// taken back by one UNSUBSCRIBE.
TEST_CASE("a SUBSCRIBE of thousands of filters gets one answer",
          "[wire][MQTT-3.8.4-4][MQTT-3.10.4-6]") {
    for (const int count : {511, 512, 513, 1'024, 1'025, 5'000}) {
        World world;
        auto& client = world.client("c");
        client.send(subscribe(7, many(count, 1)) + pingreq());
        const std::string output = client.take_output();
        REQUIRE(output == raw(0x90, number(7) + std::string(static_cast<size_t>(count), '\1')) +
                              raw(0xd0, ""));
        auto& publisher = world.client("pub");
        const std::string last = "many/" + std::to_string(count - 1);
        publisher.send(publish({.topic = last, .payload = "x"}));
        REQUIRE(client.received() == "PUBLISH(" + last + ",x,q0)");
        std::vector<std::string> filters;
        for (const auto& [filter, qos] : many(count, 1))
            filters.push_back(filter);
        client.send(unsubscribe(8, filters) + pingreq());
        REQUIRE(client.received() == "UNSUBACK(8) PINGRESP");
        publisher.send(publish({.topic = last, .payload = "x"}));
        REQUIRE(client.received().empty());
        REQUIRE(world.end() == 0);
    }
}

// The client goes in the middle of its long request: nothing of it is left.
TEST_CASE("a client may leave in the middle of a long SUBSCRIBE", "[wire]") {
    World world;
    auto& client = world.client("c");
    client.push(subscribe(7, many(3'000, 1)));
    world.turn();
    client.hang_up(Error::kReset);
    REQUIRE(world.stats().sessions == 0);
    REQUIRE(world.end() == 0);
}
