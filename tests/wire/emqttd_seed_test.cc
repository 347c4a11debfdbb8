// conf/emqttd-seed.conf at work: windows, queues and times, each value from the very file, at the
// value and beside it. Sizes are in emqttd_seed_sizes_test.cc, what the listener acts on in
// emqttd_seed_listener_test.cc.

#include "support/emqttd_seed.h"

#include "support/sys_values.h"
#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

constexpr Duration kStep = 50;    // of World::advance
constexpr Duration kTicks = 100;  // a timer fires so late at most, seen in steps
constexpr Duration kHour = 3'600'000;

uint64_t dropped(const World& world, Drop reason) {
    return world.stats().drops[static_cast<int>(reason)];
}

std::string numbered(int number, int qos = 1, uint16_t packet_id = 1) {
    return publish(
        {.topic = "t", .payload = std::to_string(number), .qos = qos, .packet_id = packet_id});
}

std::string got(int number, int packet_id, bool dup = false) {
    return "PUBLISH(t," + std::to_string(number) + ",q1,id" + std::to_string(packet_id) +
           (dup ? ",dup)" : ")");
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

TEST_CASE("seed: 100 messages are under way to a client, the next waits", "[wire][seed]") {
    // max_inflight_messages 100
    World world(emqttd_seed_options());
    auto& subscriber = world.client("sub");
    hear(subscriber, "t", 1);
    auto& publisher = world.client("pub");
    for (int i = 1; i <= 101; ++i) {
        publisher.send(numbered(i));
        REQUIRE(subscriber.received() == (i <= 100 ? got(i, i) : ""));
    }
    REQUIRE(world.stats().inflight_out == 100);
    REQUIRE(world.stats().queued == 1);
    subscriber.send(puback(7));
    REQUIRE(subscriber.received() == got(101, 101));
    REQUIRE(world.end() == 0);
}

TEST_CASE("seed: what is not acknowledged comes again after 60 s", "[wire][seed]") {
    // unack_retry_interval 60
    World world(emqttd_seed_options());
    auto& subscriber = world.client("sub");
    hear(subscriber, "t", 1);
    world.client("pub").send(numbered(1));
    REQUIRE(subscriber.received() == got(1, 1));
    world.advance(60'000 - kStep);
    REQUIRE(subscriber.received().empty());
    world.advance(kTicks);
    REQUIRE(subscriber.received() == got(1, 1, true));
    REQUIRE(world.stats().retries == 1);
    REQUIRE(world.end() == 0);
}

TEST_CASE("seed: a QoS 2 message waits 20 s for its PUBREL", "[wire][seed]") {
    // await_rel_timeout 20: released just before, and given up just behind
    World world(emqttd_seed_options());
    auto& watcher = world.client("watcher");
    hear(watcher, "t", 0);
    auto& publisher = world.client("pub");
    publisher.send(numbered(1, 2, 1) + numbered(2, 2, 2));
    REQUIRE(publisher.received() == "PUBREC(1) PUBREC(2)");
    world.advance(20'000 - kStep);
    publisher.send(pubrel(1));
    REQUIRE(watcher.received() == "PUBLISH(t,1,q0)");
    REQUIRE(world.stats().inflight_in == 1);
    world.advance(kTicks);
    REQUIRE(world.stats().inflight_in == 0);
    REQUIRE(dropped(world, Drop::kRelTimeout) == 1);
    publisher.send(pubrel(2));
    REQUIRE(watcher.received().empty());
    REQUIRE(world.end() == 0);
}

TEST_CASE("seed: any number of QoS 2 messages may wait for PUBREL", "[wire][seed]") {
    // max_awaiting_rel 0: as many as there are identifiers
    World world(emqttd_seed_options());
    auto& publisher = world.client("pub");
    std::string all;
    for (uint32_t id = 1; id <= 65'535; ++id)
        all += numbered(0, 2, static_cast<uint16_t>(id));
    publisher.send(all);
    REQUIRE(world.stats().inflight_in == 65'535);
    REQUIRE(world.stats().dropped == 0);
    REQUIRE(publisher.take_output().size() == 65'535 * 4);
    REQUIRE(world.end() == 0);
}

TEST_CASE("seed: a session and its queue last 48 h, a retained message for ever", "[wire][seed]") {
    // persistent_client_expiration 48h, retain_max_age 0
    World world(emqttd_seed_options());
    for (const char* id : {"in time", "too late"}) {
        auto& client = world.client(id, false);
        hear(client, "t", 1);
        client.hang_up();
    }
    auto& publisher = world.client("pub");
    publisher.send(numbered(1) + keep("kept", 3));
    world.advance(48 * kHour - 1'000);
    REQUIRE(answer_to(world, connect("in time", false)) == "CONNACK(0,present) " + got(1, 1));
    world.advance(1'000 - kStep);
    REQUIRE(world.stats().sessions_expired == 0);
    world.advance(kTicks);
    REQUIRE(world.stats().sessions_expired == 1);
    REQUIRE(answer_to(world, connect("too late", false)) == "CONNACK(0)");
    REQUIRE(found(world, "kept") == "PUBLISH(kept,xxx,q0,retain)");
    REQUIRE(world.end() == 0);
}

TEST_CASE("seed: 100 messages wait for a client, then the oldest goes", "[wire][seed]") {
    // max_queued_messages 100, queue_full drop_old
    World world(emqttd_seed_options());
    auto& away = world.client("away", false);
    hear(away, "t", 1);
    away.hang_up();
    auto& publisher = world.client("pub");
    for (int i = 1; i <= 102; ++i) {
        publisher.send(numbered(i));
        REQUIRE(world.stats().queued == std::min<uint64_t>(static_cast<uint64_t>(i), 100));
        REQUIRE(dropped(world, Drop::kQueueFull) == (i > 100 ? static_cast<uint64_t>(i) - 100 : 0));
    }
    std::string expected = "CONNACK(0,present)";
    for (int i = 3; i <= 102; ++i)
        expected += " " + got(i, i - 2);
    REQUIRE(answer_to(world, connect("away", false)) == expected);
    REQUIRE(world.end() == 0);
}

TEST_CASE("seed: a queue is an alarm above 60 messages until it is below 20", "[wire][seed]") {
    // queue_high_watermark 0.6, queue_low_watermark 0.2, of 100; and no alarm in between
    World world(emqttd_seed_options());
    auto& watcher = world.client("watcher");
    hear(watcher, "$SYS/broker/alarm/#", 0);
    const auto alarms = [&] {
        std::string text;
        for (const SysValue& value : sys_values(watcher.take_output()))
            text += (value.payload.empty() ? "-" : "+") + value.name;
        return text;
    };
    auto& subscriber = world.client("sub");
    hear(subscriber, "t", 1);
    auto& publisher = world.client("pub");
    uint64_t sent = 0;
    uint16_t acked = 0;
    const auto fill = [&](uint64_t waiting) {
        while (world.stats().queued < waiting || sent < 100) {
            publisher.send(numbered(static_cast<int>(++sent)));
            if (world.stats().queued < waiting) REQUIRE(alarms().empty());
        }
        REQUIRE(world.stats().queued == waiting);
        return alarms();
    };
    const auto empty = [&](uint64_t waiting) {
        while (world.stats().queued > waiting) {
            REQUIRE(alarms().empty());
            subscriber.send(puback(++acked));
        }
        return alarms();
    };
    for (int round = 0; round < 2; ++round) {
        REQUIRE(fill(60).empty());
        REQUIRE(world.stats().queue_alarms == 0);
        REQUIRE(fill(61) == "+alarm/queue_high_watermark.sub");
        REQUIRE(world.stats().queue_alarms == 1);
        REQUIRE(fill(100).empty());
        REQUIRE(empty(20).empty());
        REQUIRE(fill(61).empty());  // it has not been over
        REQUIRE(empty(20).empty());
        REQUIRE(empty(19) == "-alarm/queue_high_watermark.sub");
        REQUIRE(world.stats().queue_alarms == 0);
    }
    REQUIRE(world.end() == 0);
}

TEST_CASE("seed: QoS 0 waits for a client that is away", "[wire][seed]") {
    // queue_qos0_messages true: in its place among the others, and within the same 100
    World world(emqttd_seed_options());
    auto& away = world.client("away", false);
    hear(away, "t", 1);
    away.hang_up();
    auto& publisher = world.client("pub");
    publisher.send(numbered(1, 0) + numbered(2) + numbered(3, 0));
    REQUIRE(answer_to(world, connect("away", false)) ==
            "CONNACK(0,present) PUBLISH(t,1,q0) " + got(2, 1) + " PUBLISH(t,3,q0)");
    REQUIRE(world.stats().dropped == 0);
    auto& other = world.client("other", false);
    hear(other, "t", 0);
    other.hang_up();
    for (int i = 1; i <= 101; ++i)
        publisher.send(numbered(i, 0));
    REQUIRE(world.stats().queued == 100);
    REQUIRE(dropped(world, Drop::kQueueFull) == 1);
    REQUIRE(world.end() == 0);
}

TEST_CASE("seed: a connection has 20 s for its CONNECT", "[wire][seed]") {
    // connect_timeout 20
    World world(emqttd_seed_options());
    auto& in_time = world.connection();
    auto& silent = world.connection();
    world.advance(20'000 - kStep);
    REQUIRE(silent.open());
    in_time.send(connect("c"));
    world.advance(kTicks);
    REQUIRE_FALSE(silent.open());
    REQUIRE(silent.close_reason() == Error::kConnectTimeout);
    REQUIRE(in_time.open());
    REQUIRE(world.end() == 0);
}

TEST_CASE("seed: $SYS comes every 60 s", "[wire][seed]") {
    // sys_interval 60
    World world(emqttd_seed_options());
    auto& watcher = world.client("watcher");
    hear(watcher, "$SYS/broker/uptime", 0);
    world.advance(80'000);  // from 1000 s to a whole minute: at those it comes
    watcher.take_output();
    for (int minute = 1; minute <= 3; ++minute) {
        world.advance(60'000 - kStep);
        REQUIRE(watcher.take_output().empty());
        world.advance(kStep);
        REQUIRE(sys_values(watcher.take_output()).size() == 1);
    }
    REQUIRE(world.end() == 0);
}
