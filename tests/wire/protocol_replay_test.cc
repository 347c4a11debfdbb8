// Many retained messages to one new subscriber.   MQTT 3.1.1 §3.3.1.3.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

std::string keep(const std::string& topic, const std::string& payload, int qos) {
    return publish(
        {.topic = topic, .payload = payload, .qos = qos, .packet_id = 1, .retain = true});
}

}  // namespace

// comes once, and messages published meanwhile are not lost.
TEST_CASE("a replay of thousands arrives whole through a small window", "[wire][MQTT-3.3.1-6]") {
    for (const int qos : {0, 1}) {
        BrokerOptions options = World::test_options();
        options.max_queued_messages = 50;
        World world(options);
        auto& publisher = world.client("pub");
        constexpr int kCount = 3'000;
        for (int i = 0; i < kCount; ++i)
            publisher.send(keep("r/" + std::to_string(i), "x", 1));
        auto& client = world.client("c");
        client.set_room(5'000);
        client.send(subscribe(1,
                              {
                                  {"r/#", qos}
        }));
        publisher.send(publish({.topic = "r/live", .payload = "x", .qos = 1, .packet_id = 1}));
        client.set_room(~uint64_t{0});
        world.settle();
        std::string stream;
        int retained = 0;
        int live = 0;
        for (bool more = true; more;) {
            stream += client.take_output();
            more = false;
            std::string acks;
            while (const size_t size = packet_size(stream)) {
                const std::string word = describe(stream.substr(0, size));
                if (word.starts_with("PUBLISH")) {
                    (word.find("retain") != word.npos ? retained : live) += 1;
                    const size_t id = word.find(",id");
                    if (id != word.npos)
                        acks += puback(static_cast<uint16_t>(std::stoi(word.substr(id + 3))));
                }
                stream.erase(0, size);
            }
            if (acks.empty()) continue;
            client.send(acks);
            more = true;
        }
        REQUIRE(retained == kCount);
        REQUIRE(live == qos);  // at QoS 0 it was dropped: the client did not read
        REQUIRE(world.stats().inflight_out == 0);
        REQUIRE(world.end() == 0);
    }
}

// them the replays could never end.
TEST_CASE("many exact filters with retained messages of QoS 1 get their SUBACK", "[wire]") {
    for (const int count : {63, 64, 65, 117, 400}) {
        INFO(count << " filters");
        World world;
        auto& publisher = world.client("pub");
        Filters filters;
        for (int i = 0; i < count; ++i) {
            filters.push_back({"r/" + std::to_string(i), 1});
            publisher.send(keep(filters.back().first, "x", 1));
        }
        auto& client = world.client("c");
        client.send(subscribe(1, filters));
        int got = 0;
        bool suback = false;
        for (std::string output; !(output = client.take_output()).empty();) {
            std::string acks;
            for (std::string_view rest = output; !rest.empty();) {
                const size_t size = packet_size(rest);
                const std::string word = describe(rest.substr(0, size));
                suback = suback || word.starts_with("SUBACK");
                if (word.starts_with("PUBLISH")) acks += puback(static_cast<uint16_t>(++got));
                rest.remove_prefix(size);
            }
            client.send(acks);
        }
        REQUIRE(got == count);
        REQUIRE(suback);
        REQUIRE(world.end() == 0);
    }
}
