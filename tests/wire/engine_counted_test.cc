// QoS 1 and 2 to many, where one packet is copied for all; and rows of PUBACKs, taken at once.

#include "support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

uint64_t received_acks(const World& world) {
    return world.stats().packets_received[static_cast<uint32_t>(PacketType::kPuback)];
}

std::string publish5(const std::string& topic, const std::string& payload, int qos, bool retain) {
    packets5::Publish fields{.topic = topic, .payload = payload, .qos = qos, .packet_id = 9};
    fields.retain = retain;
    fields.properties = packets5::property(Property::kMessageExpiryInterval, 60) +
                        packets5::property(Property::kContentType, "c");
    return packets5::publish(fields);
}

}  // namespace

// Each receiver has its own QoS, RETAIN and packet identifier in what is otherwise the same packet;
// whoever has more of its own (an identifier, a limit of size) gets it among the others.
TEST_CASE("a copied packet has what is each receiver's own", "[wire][engine]") {
    for (const bool retain : {false, true}) {
        for (const size_t size :
             {size_t{0}, size_t{1}, size_t{120}, size_t{2'047}, size_t{2'048}}) {
            CAPTURE(retain, size);
            World world;
            std::vector<FakeConnection*> all;
            const auto join3 = [&](const std::string& id, int options) {
                all.push_back(&world.client(id));
                all.back()->send(subscribe(1,
                                           {
                                               {"t", options}
                }));
            };
            const auto join5 = [&](const std::string& id, int options, const std::string& more) {
                packets5::Connect fields{.client_id = id};
                if (id == "limited") {
                    fields.properties = packets5::property(Property::kMaximumPacketSize, 100'000);
                }
                all.push_back(&world.client5(fields));
                all.back()->send(packets5::subscribe(1,
                                                     {
                                                         {"t", options}
                },
                                                     more));
            };
            join3("old 1", 1);
            join5("new 1", 1, {});
            join5("as published", 1 | 8, {});
            join3("old 2", 2);
            join5("new 2", 2, {});
            join5("marked", 1, packets5::property(Property::kSubscriptionIdentifier, 7));
            join5("limited", 2, {});
            join3("old 0", 0);
            auto& writer = world.client5({.client_id = "writer"});
            for (auto* each : all)
                each->take_output();
            const std::string payload(size, 'p');
            const std::string text = size <= 40 ? payload : "#" + std::to_string(size);
            for (int id = 1; id <= 3; ++id) {
                writer.send(publish5("t", payload, 2, retain));
                writer.send(packets5::ack(PacketType::kPubrel, 9));
                std::vector<std::string> got;
                for (auto* each : all)
                    got.push_back(each->received());
                const auto heads = [&](int qos) {
                    return ",q" + std::to_string(qos) + ",id" + std::to_string(id);
                };
                const auto ends = [](const std::string& words, const std::string& end) {
                    return words.size() >= end.size() &&
                           words.compare(words.size() - end.size(), end.size(), end) == 0;
                };
                const std::string shown = retain ? ",retain" : "";
                const std::string tail = ")";
                const std::string tail5 = "){expiry=60,type=c}";
                CAPTURE(got);
                CHECK(ends(got[0], heads(1) + tail));
                CHECK(got[1].find(heads(1) + ")") != std::string::npos);
                CHECK(got[2].find(heads(1) + shown + ")") != std::string::npos);
                CHECK(ends(got[3], heads(2) + tail));
                CHECK(got[4].find(heads(2) + ")") != std::string::npos);
                CHECK(got[5].find(heads(1) + ")") != std::string::npos);
                CHECK(got[6].find(heads(2) + ")") != std::string::npos);
                CHECK(ends(got[7], ",q0)"));
                // Behind their heads all of the new ones have the same, but for the identifier.
                const auto behind = [](const std::string& words) {
                    return words.substr(words.find('{'));
                };
                CHECK(behind(got[1]) == behind(got[2]));
                CHECK(behind(got[1]) == behind(got[4]));
                CHECK(behind(got[1]) == behind(got[6]));
                CHECK(behind(got[1]) != behind(got[5]));
                CHECK(behind(got[1]).find("60") != std::string::npos);
            }
            CHECK(world.stats().publish_sent == 3 * all.size());
            CHECK(world.stats().publish_bytes_sent == 3 * all.size() * size);
            CHECK(world.stats().inflight_out == 3 * (all.size() - 1));
            REQUIRE(world.end() == 0);
        }
    }
}

// A window is each receiver's own: who has none left waits, and gets the rest in order.
TEST_CASE("copies stop at each receiver's window", "[wire][engine]") {
    for (const uint32_t window : {1u, 2u, 3u, 50u}) {
        CAPTURE(window);
        BrokerOptions options = World::test_options();
        options.max_inflight_messages = window;
        World world(options);
        std::vector<FakeConnection*> all;
        for (int i = 0; i < 5; ++i) {
            all.push_back(&world.client("c" + std::to_string(i)));
            all.back()->send(subscribe(1,
                                       {
                                           {"t", 1}
            }));
            all.back()->take_output();
        }
        auto& writer = world.client("writer");
        std::string input;
        for (uint16_t id = 1; id <= 20; ++id)
            input +=
                publish({.topic = "t", .payload = std::to_string(id), .qos = 1, .packet_id = id});
        writer.send(input);
        const uint32_t first = std::min(window, 20u);
        CHECK(world.stats().inflight_out == 5 * first);
        CHECK(world.stats().queued == 5 * (20 - first));
        for (auto* each : all) {
            std::string words;
            std::string expected;
            for (uint16_t id = 1; id <= 20; ++id) {
                words += each->received() + ' ';
                each->send(puback(id));
                expected += "PUBLISH(t," + std::to_string(id) + ",q1,id" + std::to_string(id) + ")";
            }
            words.erase(std::remove(words.begin(), words.end(), ' '), words.end());
            CHECK(words == expected);
        }
        CHECK(world.stats().inflight_out == 0);
        REQUIRE(world.end() == 0);
    }
}

// However a row of acknowledgements is cut, each counts once and frees its place; what is not in
// flight is ignored, and other packets may stand between.
TEST_CASE("a row of PUBACKs is taken like each alone", "[wire][engine]") {
    std::string row;
    for (const int id : {1, 3, 2, 2, 77, 4, 5, 6, 8, 7, 9, 10})
        row += puback(static_cast<uint16_t>(id));
    row.insert(20, pingreq());
    for (const bool v5 : {false, true}) {
        for (uint32_t cut = 0; cut <= row.size(); ++cut) {
            CAPTURE(v5, cut);
            BrokerOptions options = World::test_options();
            options.max_inflight_messages = 10;
            World world(options);
            auto& reader = v5 ? world.client5({.client_id = "r"}) : world.client("r");
            reader.send(v5 ? packets5::subscribe(1, packets::Filters(1, {"t", 1}))
                           : subscribe(1, packets::Filters(1, {"t", 1})));
            auto& writer = world.client("w");
            for (uint16_t id = 1; id <= 12; ++id)
                writer.send(publish({.topic = "t", .payload = "m", .qos = 1, .packet_id = id}));
            reader.take_output();
            CHECK(world.stats().queued == 2);
            const uint64_t bytes = world.stats().bytes_received;
            reader.push(std::string_view(row).substr(0, cut));
            world.turn();
            reader.send(std::string_view(row).substr(cut));
            CHECK(received_acks(world) == 12);
            CHECK(world.stats().bytes_received - bytes == row.size());
            CHECK(world.stats().inflight_out == 2);
            CHECK(world.stats().queued == 0);
            const std::string words = reader.received();
            CHECK(words.find("PINGRESP") != std::string::npos);
            CHECK(words.find("id11)") != std::string::npos);
            CHECK(words.find("id12)") != std::string::npos);
            REQUIRE(world.end() == 0);
        }
    }
}

// The place in a row changes nothing about what is wrong.
TEST_CASE("a wrong PUBACK in a row ends the link", "[wire][engine]") {
    for (int before = 0; before < 4; ++before) {
        for (const bool zero : {false, true}) {
            CAPTURE(before, zero);
            World world;
            auto& reader = world.client("r");
            reader.send(subscribe(1,
                                  {
                                      {"one", 1},
                                      {"two", 2}
            }));
            auto& writer = world.client("w");
            for (uint16_t id = 1; id <= 3; ++id)
                writer.send(publish({.topic = "one", .qos = 1, .packet_id = id}));
            writer.send(publish({.topic = "two", .qos = 2, .packet_id = 4}) + pubrel(4));
            std::string row;
            for (int id = 1; id <= before; ++id)
                row += puback(static_cast<uint16_t>(id));
            row = row.substr(0, static_cast<size_t>(std::min(before, 3)) * 4);
            row += puback(zero ? uint16_t{0} : uint16_t{4});  // no identifier; awaits PUBREC
            reader.send(row + puback(3) + pingreq());
            CHECK(!reader.open());
            CHECK(received_acks(world) >= static_cast<uint64_t>(std::min(before, 3)));
            REQUIRE(world.end() == 0);
        }
    }
}
