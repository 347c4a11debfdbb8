// conf/emqttd-seed.conf at work: how large and how many, each value from the very file, at the
// value and beside it. Windows, queues and times are in emqttd_seed_test.cc.

#include "support/emqttd_seed.h"
#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

uint64_t dropped(const World& world, Drop reason) {
    return world.stats().drops[static_cast<int>(reason)];
}

void hear(FakeConnection& client, const std::string& filter, int qos) {
    client.send(subscribe(1,
                          {
                              {filter, qos}
    }));
    REQUIRE(client.received().starts_with("SUBACK(1," + std::to_string(qos) + ")"));
}

std::string answer_to(World& world, const std::string& bytes) {
    auto& client = world.connection();
    client.send(bytes);
    return client.received();
}

// What a new subscriber finds.
std::string found(World& world, const std::string& topic) {
    auto& client = world.client("finder");
    client.send(subscribe(1,
                          {
                              {topic, 0}
    }));
    const std::string words = client.received();
    client.send(disconnect());
    return words == "SUBACK(1,0)" ? "" : words.substr(words.find(' ') + 1);
}

std::string keep(const std::string& topic, size_t size) {
    return publish({.topic = topic, .payload = std::string(size, 'x'), .retain = true});
}

}  // namespace

TEST_CASE("seed: 5.0 clients are told what holds for them", "[wire][seed][v5]") {
    // max_packet_size 65536, persistent_client_expiration 48h
    World world(emqttd_seed_options());
    auto& client = world.connection();
    client.speak_v5();
    const std::string wish = packets5::property(Property::kSessionExpiryInterval, 0xffffffff);
    client.send(packets5::connect({.client_id = "c", .properties = wish}));
    const std::string connack = client.take_output();
    for (const auto& [id, value] : {
             std::pair{Property::kMaximumPacketSize,     65'536u },
             std::pair{Property::kSessionExpiryInterval, 172'800u}
    }) {
        REQUIRE(connack.find(packets5::property(id, value)) != std::string::npos);
    }
    REQUIRE(world.end() == 0);
}

TEST_CASE("seed: 100 000 topics are retained", "[wire][seed]") {
    // retain_max_messages 100000: the one above is refused, an old one may be replaced or give way
    constexpr uint32_t kMost = 100'000;
    World world(emqttd_seed_options(), size_t{256} << 20);
    auto& publisher = world.client("pub");
    const auto name = [](uint32_t i) {
        return "r/" + std::to_string(i % 997) + "/" + std::to_string(i);
    };
    for (uint32_t i = 1; i < kMost;) {
        std::string batch;
        for (uint32_t end = std::min(i + 1'000, kMost); i < end; ++i)
            batch += keep(name(i), 1);
        publisher.send(batch);
    }
    publisher.send(keep(name(kMost), 1));
    REQUIRE(world.stats().retained_refused_count == 0);
    REQUIRE(found(world, name(kMost)) == "PUBLISH(" + name(kMost) + ",x,q0,retain)");
    publisher.send(keep(name(kMost + 1), 1));
    REQUIRE(world.stats().retained_refused_count == 1);
    REQUIRE(found(world, name(kMost + 1)).empty());
    publisher.send(keep(name(1), 2));
    REQUIRE(found(world, name(1)) == "PUBLISH(" + name(1) + ",xx,q0,retain)");
    auto& all = world.client("all");
    hear(all, "none", 0);
    all.send(subscribe(2,
                       {
                           {"r/#", 0}
    }));
    const std::string output = all.take_output();
    uint32_t packets = 0;
    for (size_t at = 0; at < output.size(); ++packets)
        at += packet_size(std::string_view(output).substr(at));
    REQUIRE(packets == kMost + 1);  // and the SUBACK
    publisher.send(keep(name(2), 0) + keep(name(kMost + 1), 1));
    REQUIRE(found(world, name(kMost + 1)) == "PUBLISH(" + name(kMost + 1) + ",x,q0,retain)");
    REQUIRE(world.stats().retained_refused_count == 1);
    REQUIRE(world.end() == 0);
}

TEST_CASE("seed: payloads below 64 KiB are retained", "[wire][seed]") {
    // retain_max_payload 65536. Nothing so long fits a packet of max_packet_size 65536: through the
    // file as it is, 65529 bytes are the most. The limit itself shows with larger packets.
    for (const size_t size : {65'529u, 65'535u, 65'536u}) {
        BrokerOptions options = emqttd_seed_options();
        if (size > 65'529) options.max_packet_size += 100;
        World world(options);
        auto& live = world.client("live");
        hear(live, "t", 0);
        const bool kept = size < 65'536;
        world.client("pub").send(keep("t", size));
        REQUIRE(live.take_output().size() == size + 7);
        REQUIRE(found(world, "t").empty() == !kept);
        REQUIRE(world.stats().retained_refused_size == (kept ? 0 : 1));
        REQUIRE(dropped(world, Drop::kRetainLimit) == (kept ? 0 : 1));
        REQUIRE(world.end() == 0);
    }
}

TEST_CASE("seed: a packet has 65536 bytes at most", "[wire][seed]") {
    // max_packet_size 65536: the whole packet; one that only claims more is refused by its head
    for (const size_t size : {65'535u, 65'536u, 65'537u}) {
        World world(emqttd_seed_options());
        auto& watcher = world.client("watcher");
        hear(watcher, "t", 0);
        const std::string packet = publish({.topic = "t", .payload = std::string(size - 7, 'x')});
        REQUIRE(packet.size() == size);
        for (const std::string& bytes : {packet, packet.substr(0, 4)}) {
            auto& client = world.client("c");
            client.send(bytes);
            REQUIRE(client.open() == (size <= 65'536));
            if (!client.open()) REQUIRE(client.close_reason() == Error::kPacketTooLarge);
        }
        REQUIRE(watcher.take_output().size() == (size <= 65'536 ? size : 0));
        REQUIRE(world.end() == 0);
    }
}

TEST_CASE("seed: a client identifier has 1024 bytes at most", "[wire][seed]") {
    // max_clientid_len 1024; and nobody has to say a name and password (allow_anonymous true)
    World world(emqttd_seed_options());
    REQUIRE(answer_to(world, connect(std::string(1'024, 'c'))) == "CONNACK(0)");
    REQUIRE(answer_to(world, connect(std::string(1'025, 'c'))) == "CONNACK(2)");
    REQUIRE(world.stats().clients_connected == 1);
    REQUIRE(world.end() == 0);
}
