// What MQTT 5.0 repeats, and when it does not.   §4.3, §4.4

#include "base/prng.h"
#include "support/flow5.h"
#include "support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

using namespace mqttd;
using namespace mqttd::packets5;

using P = Property;

// What is in flight counts anew on each connection: never more than the new maximum are repeated
// before something is acknowledged, in their order, and what waited comes after them.
TEST_CASE("a lower Receive Maximum holds for what is repeated",
          "[wire][v5][MQTT5-3.3.4-9][MQTT5-4.4.0-1][MQTT5-4.3.2-3][MQTT5-4.3.3-3]"
          "[MQTT5-4.6.0-5][MQTT5-3.3.1-1]") {
    for (const int qos : {1, 2}) {
        for (const int most : {1, 2, 9, 10, 11}) {
            CAPTURE(qos, most);
            World world;
            auto& reader = world.client5(reader_with(10));
            subscribe_to_t(reader);
            auto& writer = world.client5({.client_id = "w"});
            publish_numbers(writer, 0, 15, qos);
            REQUIRE(reader.received() == publishes(0, 10, qos));
            reader.hang_up();
            publish_numbers(writer, 15, 18, qos);
            auto& back = world.client5(reader_with(static_cast<uint32_t>(most)));
            publish_numbers(writer, 18, 20, qos);
            const auto wanted = [&](int i) {
                return i >= 20 ? "" : publishes(i, i + 1, qos, i < 10 ? ",dup" : "");
            };
            std::string first;
            for (int i = 0; i < most; ++i)
                first += (first.empty() ? "" : " ") + wanted(i);
            REQUIRE(back.received() == first);
            for (int i = 0; i < 20; ++i) {
                const auto id = static_cast<uint16_t>(i + 1);
                if (qos == 1) {
                    back.send(ack(PacketType::kPuback, id));
                } else {
                    back.send(ack(PacketType::kPubrec, id));
                    REQUIRE(back.received() == "PUBREL(" + std::to_string(id) + ")");
                    back.send(ack(PacketType::kPubcomp, id));
                }
                REQUIRE(back.received() == wanted(i + most));
            }
            REQUIRE(world.stats().inflight_out + world.stats().queued == 0);
            REQUIRE(world.end() == 0);
        }
    }
}

// PUBREL is no PUBLISH: those that are open come again at once, whatever the maximum.
TEST_CASE("a PUBREL that is repeated takes no place in the window",
          "[wire][v5][MQTT5-4.3.3-5][MQTT5-4.3.3-6]") {
    World world;
    auto& reader = world.client5(reader_with(0));
    subscribe_to_t(reader);
    auto& writer = world.client5({.client_id = "w"});
    publish_numbers(writer, 0, 5, 2);
    reader.take_output();
    for (const uint16_t id : {uint16_t{1}, uint16_t{2}, uint16_t{4}})
        reader.send(ack(PacketType::kPubrec, id));
    REQUIRE(reader.received() == "PUBREL(1) PUBREL(2) PUBREL(4)");
    reader.hang_up();
    auto& back = world.client5(reader_with(1));
    REQUIRE(back.received() == "PUBREL(1) PUBREL(2) PUBLISH(t,2,q2,id3,dup) PUBREL(4)");
    for (const uint16_t id : {uint16_t{1}, uint16_t{2}, uint16_t{4}})
        back.send(ack(PacketType::kPubcomp, id));
    REQUIRE(back.received().empty());  // the one under way is still open
    back.send(ack(PacketType::kPubrec, 3));
    REQUIRE(back.received() == "PUBREL(3)");
    back.send(ack(PacketType::kPubcomp, 3));
    REQUIRE(back.received() == "PUBLISH(t,4,q2,id5,dup)");
    REQUIRE(world.end() == 0);
}

// DUP says that the bytes may have been seen: not where none of them had left.
TEST_CASE("DUP only where bytes had left", "[wire][v5][MQTT5-4.3.2-2]") {
    const auto size =
        static_cast<int>(publish({.topic = "t", .payload = "0", .qos = 1, .packet_id = 1}).size());
    for (int room = 0; room <= 3 * size; ++room) {
        CAPTURE(room);
        World world;
        auto& reader = world.client5(reader_with(0));
        subscribe_to_t(reader);
        auto& writer = world.client5({.client_id = "w"});
        reader.set_room(static_cast<uint64_t>(room));
        writer.push(publish({.topic = "t", .payload = "0", .qos = 1, .packet_id = 1}) +
                    publish({.topic = "t", .payload = "1", .qos = 1, .packet_id = 1}) +
                    publish({.topic = "t", .payload = "2", .qos = 1, .packet_id = 1}));
        world.settle();
        reader.hang_up();
        auto& back = world.client5(reader_with(0));
        std::string words;
        for (int i = 0; i < 3; ++i) {
            words += (i == 0 ? "" : " ") + publishes(i, i + 1, 1, room > i * size ? ",dup" : "");
        }
        REQUIRE(back.received() == words);
        // And once it has left, always.
        back.hang_up();
        REQUIRE(world.client5(reader_with(0)).received() == publishes(0, 3, 1, ",dup"));
        REQUIRE(world.end() == 0);
    }
}

// 5.0 repeats at a return and at no other time; 3.1.1 may repeat by a timer.
TEST_CASE("5.0 repeats nothing by a timer", "[wire][v5][MQTT5-4.4.0-1]") {
    BrokerOptions options = World::test_options();
    options.unack_retry_interval_s = 5;
    World world(options);
    auto& five = world.client5(reader_with(2));
    subscribe_to_t(five);
    packets::Connect fields;
    fields.client_id = "old";
    fields.clean = false;
    auto& old = world.client(fields);
    old.send(packets::subscribe(1,
                                {
                                    {"t", 2}
    }));
    old.take_output();
    auto& writer = world.client5({.client_id = "w"});
    publish_numbers(writer, 0, 3, 2);
    five.send(ack(PacketType::kPubrec, 1));
    REQUIRE(five.received() == publishes(0, 2, 2) + " PUBREL(1)");
    old.send(packets::pubrec(1));
    old.take_output();
    world.advance(120'000);
    REQUIRE(five.received().empty());
    REQUIRE(old.received().find("PUBLISH(t,1,q2,id2,dup)") != std::string::npos);
    five.send(ack(PacketType::kPubcomp, 1));
    REQUIRE(five.received() == publishes(2, 3, 2));
    REQUIRE(world.stats().retries > 0);
    REQUIRE(world.end() == 0);
}

// The timer of 3.1.1 runs also for what a reconnect has repeated.
TEST_CASE("3.1.1 repeats by its timer after a reconnect, too", "[wire]") {
    BrokerOptions options = World::test_options();
    options.unack_retry_interval_s = 5;
    World world(options);
    auto& reader = world.client5(reader_with(0));
    subscribe_to_t(reader);
    auto& writer = world.client5({.client_id = "w"});
    publish_numbers(writer, 0, 2, 2);
    reader.send(ack(PacketType::kPubrec, 1));
    reader.hang_up();
    auto& old = world.client("r", false);
    REQUIRE(old.received() == "PUBREL(1) PUBLISH(t,1,q2,id2,dup)");
    world.advance(4'900);
    REQUIRE(old.received().empty());
    world.advance(400);
    REQUIRE(old.received() == "PUBREL(1) PUBLISH(t,1,q2,id2,dup)");
    auto& back = world.client5(reader_with(0));
    REQUIRE(back.received() == "PUBREL(1) PUBLISH(t,1,q2,id2,dup)");
    world.advance(20'000);
    REQUIRE(back.received().empty());
    REQUIRE(world.end() == 0);
}

// await_rel_timeout frees the place of a flow whose PUBCOMP is long in coming, but not towards 5.0:
// such a client would get more than its Receive Maximum.
TEST_CASE("a missing PUBCOMP makes no room in 5.0", "[wire][v5][MQTT5-3.3.4-9][MQTT5-4.3.3-5]") {
    BrokerOptions options = World::test_options();
    options.await_rel_timeout_s = 20;
    options.max_inflight_messages = 2;
    World world(options);
    auto& five = world.client5(reader_with(2));
    subscribe_to_t(five);
    auto& three = world.client("three", false);
    three.send(packets::subscribe(1,
                                  {
                                      {"t", 2}
    }));
    three.take_output();
    auto& writer = world.client5({.client_id = "w"});
    publish_numbers(writer, 0, 3, 2);
    five.send(ack(PacketType::kPubrec, 1));
    REQUIRE(five.received() == publishes(0, 2, 2) + " PUBREL(1)");
    // What it never releases itself has the timer run for it all the same.
    five.send(publish({.topic = "y", .qos = 2, .packet_id = 9}));
    REQUIRE(five.received() == "PUBREC(9)");
    three.send(packets::pubrec(1));
    REQUIRE(three.received() == publishes(0, 2, 2) + " PUBREL(1)");
    world.advance(19'900);
    REQUIRE(dropped(world, Drop::kRelTimeout) == 0);
    world.advance(10'000);
    REQUIRE(dropped(world, Drop::kRelTimeout) == 2);  // of three, and what five did not release
    REQUIRE(three.received() == publishes(2, 3, 2));
    REQUIRE(five.received().empty());
    five.hang_up();
    auto& back = world.client5(reader_with(2));
    REQUIRE(back.received() == "PUBREL(1) " + publishes(1, 2, 2, ",dup"));
    back.send(ack(PacketType::kPubcomp, 1));
    REQUIRE(back.received() == publishes(2, 3, 2));
    // Taken up by 3.1.1 its rules hold.
    back.send(ack(PacketType::kPubrec, 2));
    back.hang_up();
    auto& old = world.client("r", false);
    REQUIRE(old.received() == "PUBREL(2) " + publishes(2, 3, 2, ",dup"));
    world.advance(21'000);
    REQUIRE(dropped(world, Drop::kRelTimeout) == 3);
    REQUIRE(world.end() == 0);
}

// An expiry interval ends what waits, not what was begun.
TEST_CASE("a message that was sent does not expire",
          "[wire][v5][MQTT5-4.3.3-7][MQTT5-4.3.3-13][MQTT5-3.3.2-5]") {
    World world;
    auto& reader = world.client5(reader_with(1));
    subscribe_to_t(reader);
    auto& writer = world.client5({.client_id = "w"});
    const std::string brief = property(P::kMessageExpiryInterval, 2);
    for (const char* payload : {"0", "1"}) {
        writer.send(
            publish(
                {.topic = "t", .payload = payload, .qos = 2, .packet_id = 1, .properties = brief}) +
            ack(PacketType::kPubrel, 1));
    }
    REQUIRE(reader.received() == "PUBLISH(t,0,q2,id1){expiry=2}");
    reader.hang_up();
    world.advance(5'000);
    auto& back = world.client5(reader_with(1));
    REQUIRE(back.received() == "PUBLISH(t,0,q2,id1,dup){expiry=0}");
    back.send(ack(PacketType::kPubrec, 1));
    back.send(ack(PacketType::kPubcomp, 1));
    REQUIRE(back.received() == "PUBREL(1)");
    REQUIRE(dropped(world, Drop::kExpired) == 1);
    // Between PUBLISH and PUBREL it expires; the flow is completed all the same.
    writer.take_output();
    writer.send(
        publish({.topic = "t", .payload = "2", .qos = 2, .packet_id = 7, .properties = brief}));
    world.advance(5'000);
    writer.send(ack(PacketType::kPubrel, 7));
    REQUIRE(writer.received() == "PUBREC(7) PUBCOMP(7)");
    REQUIRE(world.stats().inflight_in == 0);
    REQUIRE(world.end() == 0);
}

// The same for what was in flight when the client came back with less room.
TEST_CASE("what became too large for its reader is let go", "[wire][v5][MQTT5-3.1.2-25]") {
    World world;
    auto& reader = world.client5(reader_with(0));
    subscribe_to_t(reader);
    auto& writer = world.client5({.client_id = "w"});
    for (const size_t size : {10u, 200u, 300u, 20u, 400u}) {
        writer.send(
            publish({.topic = "t", .payload = std::string(size, 'x'), .qos = 1, .packet_id = 1}));
    }
    reader.hang_up();
    writer.send(
        publish({.topic = "t", .payload = std::string(500, 'y'), .qos = 1, .packet_id = 1}));
    writer.send(publish({.topic = "t", .payload = "last", .qos = 1, .packet_id = 1}));
    Connect fields = reader_with(1);
    fields.properties += property(P::kMaximumPacketSize, 100);
    auto& back = world.client5(fields);
    REQUIRE(back.received() == "PUBLISH(t,xxxxxxxxxx,q1,id1,dup)");
    back.send(ack(PacketType::kPuback, 1));
    REQUIRE(back.received() == "PUBLISH(t,xxxxxxxxxxxxxxxxxxxx,q1,id4,dup)");
    back.send(ack(PacketType::kPuback, 4));
    const std::string last = back.received();
    REQUIRE(last.starts_with("PUBLISH(t,last,q1,id"));
    REQUIRE(dropped(world, Drop::kReceiverSize) == 4);
    back.send(ack(PacketType::kPuback, static_cast<uint16_t>(std::stoi(last.substr(20)))));
    REQUIRE(world.stats().inflight_out + world.stats().queued == 0);
    REQUIRE(world.end() == 0);
}

// Random readers of both versions with random windows, acknowledgements in any order, broken
// connections: never more under way than the client said, everything arrives in order, at QoS 2
// once.
TEST_CASE("windows hold over random reconnects",
          "[wire][v5][MQTT5-3.3.4-9][MQTT5-4.6.0-5][MQTT5-4.4.0-1]") {
    const int seed = GENERATE(range(1, 31));
    CAPTURE(seed);
    Prng random(static_cast<uint64_t>(seed));
    BrokerOptions options = World::test_options();
    options.max_inflight_messages = static_cast<uint32_t>(random.below(12) + 1);
    if (random.below(2) == 0) options.max_inflight_bytes = random.below(30) + 1;
    World world(options);
    auto& writer = world.client5({.client_id = "w"});
    FakeConnection* reader = &world.client5(reader_with(3));
    subscribe_to_t(*reader);
    bool v5 = true;
    uint32_t most = 3;
    int sent = 0;
    // The client's side: open flows by identifier, true once PUBREC was sent.
    std::map<uint16_t, bool> known;  // QoS 2 identifiers taken, over connections
    std::set<uint16_t> open1;        // of this connection
    std::map<uint16_t, bool> open2;
    std::vector<int> got1;
    std::vector<int> got2;
    std::string bytes;  // received, the last packet perhaps not whole
    const auto take = [&] {
        bytes += reader->take_output();
        while (const size_t size = packets::packet_size(bytes)) {
            const std::string packet = bytes.substr(0, size);
            bytes.erase(0, size);
            const std::string word = v5 ? describe(packet) : packets::describe(packet);
            if (word.starts_with("PUBLISH(t,")) {
                const int value = std::stoi(word.substr(10));
                const int qos = word[word.find(",q") + 2] - '0';
                const auto id = static_cast<uint16_t>(std::stoi(word.substr(word.find(",id") + 3)));
                if (qos == 1) {
                    REQUIRE(open1.insert(id).second);
                    if (got1.empty() || value > got1.back()) got1.push_back(value);
                } else {
                    REQUIRE(open2.emplace(id, false).second);
                    if (known.emplace(id, true).second) got2.push_back(value);
                }
            } else if (word.starts_with("PUBREL(")) {
                const auto id = static_cast<uint16_t>(std::stoi(word.substr(7)));
                reader->send(v5 ? ack(PacketType::kPubcomp, id) : packets::pubcomp(id));
                known.erase(id);
                open2.erase(id);
            }
        }
        REQUIRE(open1.size() + open2.size() <= most);
    };
    const auto take_all = [&] {
        for (int i = 0; i < 50; ++i)
            take();
    };
    for (int step = 0; step < 400 || reader == nullptr; ++step) {
        switch (random.below(reader != nullptr ? 8 : 2)) {
            case 0:
            case 1: {
                const int qos = static_cast<int>(random.below(2)) + 1;
                publish_numbers(writer, sent, sent + 1, qos);
                ++sent;
                break;
            }
            case 2:
            case 3:
                if (open1.empty()) break;
                {
                    auto it = open1.begin();
                    std::advance(
                        it, static_cast<long>(random.below(static_cast<uint32_t>(open1.size()))));
                    const uint16_t id = *it;
                    open1.erase(it);
                    reader->send(v5 ? ack(PacketType::kPuback, id) : packets::puback(id));
                }
                break;
            case 4:
            case 5:
                for (auto& [id, received] : open2) {
                    if (received || random.below(2) == 0) continue;
                    received = true;
                    reader->send(v5 ? ack(PacketType::kPubrec, id) : packets::pubrec(id));
                    break;
                }
                break;
            case 6:
                if (random.below(4) != 0) break;
                reader->set_room(random.below(200));
                break;
            default:
                if (random.below(6) != 0) break;
                take_all();
                reader->hang_up();
                take_all();
                reader = nullptr;
        }
        if (reader == nullptr && random.below(3) == 0) {
            open1.clear();
            open2.clear();
            bytes.clear();
            v5 = random.below(3) != 0;
            most = static_cast<uint32_t>(random.below(6) + 1);
            if (v5) {
                reader = &world.client5(reader_with(most));
            } else {
                reader = &world.client("r", false);
                most = options.max_inflight_messages;
            }
        }
        if (reader != nullptr) take_all();
    }
    reader->set_room(~uint64_t{0});
    for (int i = 0; i < 3 * sent + 100; ++i) {
        world.settle();  // the room has come back
        take_all();
        if (!open1.empty()) {
            const uint16_t id = *open1.begin();
            open1.erase(open1.begin());
            reader->send(v5 ? ack(PacketType::kPuback, id) : packets::puback(id));
        }
        for (auto& [id, received] : open2) {
            received = true;
            reader->send(v5 ? ack(PacketType::kPubrec, id) : packets::pubrec(id));
            break;
        }
    }
    REQUIRE(got1.size() + got2.size() == static_cast<size_t>(sent));
    REQUIRE(std::is_sorted(got1.begin(), got1.end()));
    REQUIRE(std::is_sorted(got2.begin(), got2.end()));
    REQUIRE(world.stats().inflight_out + world.stats().queued == 0);
    REQUIRE(world.end() == 0);
}
