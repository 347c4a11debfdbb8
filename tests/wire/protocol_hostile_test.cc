// Whatever somebody sends, only he is closed for it, and everybody else's service goes on.

#include "base/prng.h"
#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

// Two well-behaved clients that nobody can know of, exchanging numbered QoS 1 messages.
class Couple {
  public:
    explicit Couple(World& world)
        : subscriber_(world.client("couple-subscriber-8f1d")),
          publisher_(world.client("couple-publisher-8f1d")) {
        subscriber_.send(subscribe(1,
                                   {
                                       {"couple/8f1d", 1}
        }));
        subscriber_.take_output();
    }

    // One more message goes from one to the other and is acknowledged on both sides.
    void exchange() {
        const std::string payload = std::to_string(++count_);
        const auto id = static_cast<uint16_t>((count_ - 1) % 65'535 + 1);
        publisher_.send(
            publish({.topic = "couple/8f1d", .payload = payload, .qos = 1, .packet_id = id}));
        REQUIRE(publisher_.received() == "PUBACK(" + std::to_string(id) + ")");
        REQUIRE(subscriber_.received() ==
                "PUBLISH(couple/8f1d," + payload + ",q1,id" + std::to_string(id) + ")");
        subscriber_.send(puback(id));
    }

  private:
    FakeConnection& subscriber_;
    FakeConnection& publisher_;
    uint32_t count_ = 0;
};

std::string garbage(Prng& random, uint32_t size) {
    std::string bytes;
    for (uint32_t i = 0; i < size; ++i)
        bytes += static_cast<char>(random.below(256));
    return bytes;
}

std::string id_of(Prng& random) {
    return "guest" + std::to_string(random.below(6));
}

// One packet as somebody might send it.
std::string some_packet(Prng& random) {
    const auto id = static_cast<uint16_t>(random.below(4));
    const int qos = static_cast<int>(random.below(3));
    const std::string topic = "g/" + std::to_string(random.below(5));
    switch (random.below(12)) {
        case 0:
            return connect({.client_id = id_of(random),
                            .clean = random.below(2) == 0,
                            .keep_alive_s = static_cast<uint16_t>(random.below(5)),
                            .level = static_cast<int>(3 + random.below(2)),
                            .will_topic = topic,
                            .will_payload = "w",
                            .will_qos = qos,
                            .will_retain = random.below(2) == 0});
        case 1:
        case 2:
        case 3:
            return publish({.topic = topic,
                            .payload = garbage(random, random.below(50)),
                            .qos = qos,
                            .packet_id = id,
                            .retain = random.below(4) == 0,
                            .dup = random.below(8) == 0});
        case 4:
            return puback(id);
        case 5:
            return pubrec(id);
        case 6:
            return pubrel(id);
        case 7:
            return pubcomp(id);
        case 8:
            return subscribe(id,
                             {
                                 {topic,   qos},
                                 {"g/#",   1  },
                                 {"+/+/x", 2  }
            });
        case 9:
            return unsubscribe(id, {topic, "g/#"});
        case 10:
            return pingreq();
        default:
            return random.below(4) == 0 ? disconnect() : pingreq();
    }
}

// Right, cut, lengthened or with bits turned.
std::string mutated(Prng& random) {
    std::string packet = some_packet(random);
    switch (random.below(6)) {
        case 0:
            packet.resize(random.below(static_cast<uint32_t>(packet.size()) + 1));
            break;
        case 1:
            packet += garbage(random, random.below(4));
            break;
        case 2:
            packet[random.below(static_cast<uint32_t>(packet.size()))] ^=
                static_cast<char>(1 << random.below(8));
            break;
        default:
            break;
    }
    return packet;
}

}  // namespace

// Types that do not exist, or that only a server sends, in each version and with any length.
TEST_CASE("a packet type that no client sends closes the link", "[wire][MQTT-4.8.0-1]") {
    for (const int level : {3, 4}) {
        for (const int type : {0, 2, 9, 11, 13, 15}) {
            for (int flags = 0; flags < 16; ++flags) {
                for (const size_t size : {0u, 2u, 3u, 5u}) {
                    World world;
                    Couple couple(world);
                    auto& client = world.client({.client_id = "c", .level = level});
                    client.send(raw(static_cast<uint8_t>(type << 4 | flags),
                                    std::string("\0\1\0\0\0", 5).substr(0, size)) +
                                pingreq());
                    REQUIRE_FALSE(client.open());
                    REQUIRE(client.received().empty());
                    couple.exchange();
                    REQUIRE(world.end() == 0);
                }
            }
        }
    }
}

// PINGREQ and DISCONNECT have no flags and no body.
TEST_CASE("PINGREQ and DISCONNECT with flags or a body are malformed",
          "[wire][MQTT-2.2.2-2][MQTT-3.14.1-1][MQTT-3.12.4-1]") {
    for (const int type : {12, 14}) {
        for (int flags = 0; flags < 16; ++flags) {
            for (const size_t size : {0u, 1u, 2u}) {
                World world;
                auto& client = world.client("c");
                client.send(raw(static_cast<uint8_t>(type << 4 | flags), std::string(size, '\0')));
                const bool legal = flags == 0 && size == 0;
                REQUIRE(client.open() == (legal && type == 12));
                REQUIRE(client.received() == (legal && type == 12 ? "PINGRESP" : ""));
                REQUIRE((client.close_reason() == Error::kMalformedPacket) == !legal);
                REQUIRE(world.end() == 0);
            }
        }
    }
}

// Pure noise, from strangers and behind a good CONNECT.
TEST_CASE("random bytes disturb nobody else", "[wire][MQTT-4.8.0-1]") {
    for (uint64_t seed = 1; seed <= 40; ++seed) {
        INFO("seed " << seed);
        Prng random(seed);
        World world;
        Couple couple(world);
        for (int i = 0; i < 50; ++i) {
            auto& connection = world.connection();
            if (random.below(2) == 0) connection.send(connect(id_of(random)));
            world.set_cut(random.below(3));
            connection.send(garbage(random, 1 + random.below(200)));
            if (random.below(2) == 0) connection.hang_up();
            world.set_cut(0);
            couple.exchange();
        }
        world.advance(11'000);
        couple.exchange();
        REQUIRE(world.end() == 0);
    }
}

// Almost right packets of clients that share identifiers and topics, read slowly or not at all, and
// come and go, while time passes.
TEST_CASE("mutated packets disturb nobody else", "[wire][MQTT-4.8.0-1]") {
    for (uint64_t seed = 1; seed <= 40; ++seed) {
        INFO("seed " << seed);
        Prng random(seed);
        BrokerOptions options = World::test_options();
        options.max_awaiting_rel = 1 + random.below(3);
        options.await_rel_timeout_s = random.below(3);
        options.unack_retry_interval_s = random.below(3);
        options.persistent_client_expiration_s = random.below(3);
        options.max_inflight_messages = 1 + random.below(4);
        options.max_queued_messages = random.below(20);
        options.queue_qos0_messages = random.below(2) == 0;
        options.allow_duplicate_messages = random.below(2) == 0;
        options.retain_max_age_s = random.below(3);
        options.fanout_slice = random.below(2) == 0 ? 1 : 4'096;
        World world(options);
        Couple couple(world);
        std::vector<FakeConnection*> guests;
        for (int i = 0; i < 400; ++i) {
            if (guests.size() < 6) {
                guests.push_back(&world.connection());
                guests.back()->send(
                    connect({.client_id = id_of(random), .clean = random.below(2) == 0}));
            }
            const uint32_t at = random.below(static_cast<uint32_t>(guests.size()));
            FakeConnection& guest = *guests[at];
            if (random.below(10) == 0)
                guest.set_room(random.below(2) == 0 ? random.below(40) : ~uint64_t{0});
            if (random.below(20) == 0) guest.hang_up();
            world.set_cut(random.below(4));
            if (guest.open()) guest.send(mutated(random));
            world.set_cut(0);
            if (!guest.open()) guests.erase(guests.begin() + at);
            if (random.below(8) == 0) world.advance(random.below(3'000));
            couple.exchange();
        }
        REQUIRE(world.end() == 0);
    }
}
