// Alarms: retained while they last, gone when they are over, said once.

#include "broker/sys_alarms.h"

#include "support/sys_values.h"
#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

BrokerOptions with_sys() {
    BrokerOptions options = World::test_options();
    options.sys_interval_s = 10;
    return options;
}

struct Alarms {
    explicit Alarms(size_t memory = size_t{64} << 20)
        : world(with_sys(), memory), client(world.client("watcher")) {
        client.send(subscribe(1,
                              {
                                  {"$SYS/broker/alarm/#", 0}
        }));
        client.take_output();
    }

    // "+name" for each raised, "-name" for each over, since the last call.
    std::string seen() {
        std::string text;
        for (const SysValue& value : sys_values(client.take_output())) {
            text += (text.empty() ? "" : " ");
            text += (value.payload.empty() ? "-" : "+") + value.name.substr(6);
        }
        return text;
    }

    World world;
    FakeConnection& client;
};

}  // namespace

TEST_CASE("an alarm is raised once and cleared once", "[wire][sys]") {
    // Whoever watches a limit may say so at every message.
    Alarms alarms;
    REQUIRE(alarms.world.broker().clear_alarm("x"));
    alarms.world.settle();
    REQUIRE(alarms.seen().empty());
    REQUIRE(alarms.world.broker().raise_alarm("x", "{\"n\":1}"));
    REQUIRE(alarms.world.broker().raise_alarm("x", "{\"n\":2}"));
    alarms.world.settle();
    REQUIRE(alarms.world.broker().raise_alarm("x", "{\"n\":3}"));
    alarms.world.settle();
    REQUIRE(alarms.seen() == "+x");
    REQUIRE(alarms.world.log_text().find("Alarm x: {\"n\":1}") != std::string::npos);
    // Who comes later gets it as well.
    auto& late = alarms.world.client("late");
    late.send(subscribe(1,
                        {
                            {"$SYS/broker/alarm/x", 0}
    }));
    REQUIRE(sys_value(sys_values(late.take_output()), "alarm/x") == "{\"n\":1}");
    REQUIRE(alarms.world.broker().clear_alarm("x"));
    REQUIRE(alarms.world.broker().clear_alarm("x"));
    alarms.world.settle();
    REQUIRE(alarms.world.broker().clear_alarm("x"));
    alarms.world.settle();
    REQUIRE(alarms.seen() == "-x");
    late.send(subscribe(2,
                        {
                            {"$SYS/broker/alarm/+", 0}
    }));
    REQUIRE(late.received() == "PUBLISH($SYS/broker/alarm/x,,q0) SUBACK(2,0)");
    REQUIRE(alarms.world.end() == 0);
}

TEST_CASE("both in one turn happen in their order", "[wire][sys]") {
    // Over before it was published is over all the same.
    Alarms alarms;
    alarms.world.broker().raise_alarm("x", "{}");
    alarms.world.broker().clear_alarm("x");
    alarms.world.broker().raise_alarm("x", "{}");
    alarms.world.settle();
    REQUIRE(alarms.seen() == "+x -x +x");
}

TEST_CASE("an alarm's name is one level, whatever it is made of", "[wire][sys]") {
    // Client identifiers are in it.
    Alarms alarms;
    for (const char* id : {"q.a/b", "q.+", "q.#", "q.%"})
        alarms.world.broker().raise_alarm(id, "{}");
    alarms.world.settle();
    REQUIRE(alarms.seen() == "+q.a%2Fb +q.%2B +q.%23 +q.%25");
    for (const char* id : {"q.a/b", "q.+", "q.#", "q.%"})
        alarms.world.broker().clear_alarm(id);
    alarms.world.settle();
    REQUIRE(alarms.seen() == "-q.a%2Fb -q.%2B -q.%23 -q.%25");
}

TEST_CASE("long names are cut and stay apart", "[wire][sys]") {
    // At the bound, above it, and two that differ in their last byte of 64 KiB.
    Alarms alarms;
    const std::string longest(512, 'a');
    alarms.world.broker().raise_alarm(longest, "{}");
    alarms.world.settle();
    REQUIRE(alarms.seen() == "+" + longest);
    std::string huge(65'535, '/');
    alarms.world.broker().raise_alarm(longest + "a", "{}");
    alarms.world.broker().raise_alarm(huge, "{}");
    huge.back() = '+';
    alarms.world.broker().raise_alarm(huge, "{}");
    alarms.world.settle();
    const std::vector<SysValue> values = sys_values(alarms.client.take_output());
    REQUIRE(values.size() == 3);
    for (const SysValue& value : values)
        REQUIRE(value.name.size() < 600);
    REQUIRE(values[1].name != values[2].name);
    REQUIRE(values[1].name.find('/', 6) == std::string::npos);
}

TEST_CASE("what cannot be an alarm is not taken", "[wire][sys]") {
    // The list has a bound, and so has the text.
    Alarms alarms;
    Broker& broker = alarms.world.broker();
    REQUIRE_FALSE(broker.raise_alarm("", "{}"));
    REQUIRE_FALSE(broker.raise_alarm("x", ""));
    REQUIRE(broker.raise_alarm("size", std::string(16 * 1024, ' ')));
    REQUIRE_FALSE(broker.raise_alarm("more", std::string(16 * 1024 + 1, ' ')));
    for (int i = 1; i < 1'024; ++i)
        REQUIRE(broker.raise_alarm(std::to_string(i), "{}"));
    REQUIRE_FALSE(broker.raise_alarm("one more", "{}"));
    alarms.world.settle();
    REQUIRE(broker.raise_alarm("one more", "{}"));
    alarms.world.settle();
    REQUIRE(sys_values(alarms.client.take_output()).size() == 1'025);
    REQUIRE(alarms.world.end() == 0);
}

TEST_CASE("an alarm that could not be kept is said again at the next tick", "[wire][sys]") {
    // Neither lost nor a reason to spin: who watches has it, who comes later will.
    Alarms alarms;
    alarms.world.arena().refuse_nth(1);
    REQUIRE_FALSE(alarms.world.broker().raise_alarm("x", "{}"));
    REQUIRE(alarms.world.broker().raise_alarm("x", "{}"));
    alarms.world.arena().refuse_nth(1);  // its retained message
    alarms.world.settle();
    REQUIRE(alarms.seen() == "+x");
    REQUIRE(alarms.world.broker().idle());
    alarms.world.advance(10'000);
    REQUIRE(alarms.seen() == "+x");
    alarms.world.advance(10'000);
    REQUIRE(alarms.seen().empty());
}

TEST_CASE("without $SYS there are no alarms", "[wire][sys]") {
    // And none are remembered for later.
    World world;
    REQUIRE_FALSE(world.broker().raise_alarm("x", "{}"));
    REQUIRE(world.broker().clear_alarm("x"));
    REQUIRE(world.end() == 0);
}

TEST_CASE("a watcher who is stuck learns that an alarm is over", "[wire][sys]") {
    // Nothing retained would tell him.
    Alarms alarms;
    alarms.world.broker().raise_alarm("x", "{}");
    alarms.world.settle();
    REQUIRE(alarms.seen() == "+x");
    alarms.client.set_room(0);
    alarms.world.broker().raise_alarm("y", "{}");  // in the outbox
    alarms.world.settle();
    alarms.world.broker().clear_alarm("x");
    alarms.world.broker().raise_alarm("z", "{}");
    alarms.world.settle();
    alarms.client.set_room(~uint64_t{0});
    alarms.world.settle();
    REQUIRE(alarms.seen() == "+y -x +z");
}

TEST_CASE("descriptors raise an alarm above 90 percent", "[wire][sys]") {
    // At the limit and above it; over when they are 5 points below.
    Alarms alarms;
    alarms.world.host.files_limit = 100;
    const auto at = [&](uint64_t used) {
        alarms.world.host.files_used = used;
        alarms.world.advance(10'000);
        return alarms.seen();
    };
    REQUIRE(at(90).empty());
    REQUIRE(at(91) == "+fd_high");
    REQUIRE(at(99).empty());
    REQUIRE(at(86).empty());
    REQUIRE(at(85) == "-fd_high");
}

TEST_CASE("memory raises an alarm above 80 percent", "[wire][sys]") {
    // The alarm says how full it is, and goes when there is room again.
    Alarms alarms(size_t{16} << 20);
    std::vector<void*> held;
    const auto share = [&] {
        return alarms.world.arena().pages_used() * 100 / alarms.world.arena().pages_total();
    };
    while (share() < 84)
        held.push_back(alarms.world.arena().allocate(60'000));
    alarms.world.advance(10'000);
    std::vector<SysValue> values = sys_values(alarms.client.take_output());
    REQUIRE(values.size() == 1);
    REQUIRE(values[0].name == "alarm/memory_high");
    REQUIRE(
        values[0].payload.starts_with("{\"id\":\"memory_high\",\"severity\":\"warning\","
                                      "\"title\":\"nearly out of memory\",\"summary\":\""));
    REQUIRE(values[0].payload.ends_with(",\"ts\":" + std::to_string(1'010) + "}"));
    for (void* each : held)
        alarms.world.arena().release(each);
    alarms.world.advance(10'000);
    REQUIRE(alarms.seen() == "-memory_high");
}

// The alarm about a queue may itself have to wait in that queue, and push out what raised it. It
// must not raise and end itself for ever; the other messages of the queue are what it is about.
TEST_CASE("an alarm does not feed itself", "[wire][sys]") {
    for (const bool upgrade : {false, true}) {
        for (const uint8_t qos : {uint8_t{0}, uint8_t{1}, uint8_t{2}}) {
            for (const QueueFull full : {QueueFull::kDropNew, QueueFull::kDropOld}) {
                for (const uint32_t most : {1u, 2u, 3u, 10u}) {
                    CAPTURE(upgrade, qos, static_cast<int>(full), most);
                    BrokerOptions options = with_sys();
                    options.sys_qos = qos;
                    options.upgrade_outgoing_qos = upgrade;
                    options.queue_full = full;
                    options.max_queued_messages = most;
                    World world(options);
                    for (const char* id : {"a", "b"}) {
                        auto& client = world.client(id, false);
                        client.send(subscribe(1,
                                              {
                                                  {"$SYS/broker/alarm/#", 1},
                                                  {"t",                   1}
                        }));
                        client.hang_up();
                    }
                    auto& writer = world.client("w");
                    const uint64_t turns = world.turns();
                    for (uint32_t i = 0; i < 2 * most; ++i)
                        writer.send(publish({.topic = "t", .qos = 1, .packet_id = 1}));
                    CHECK(world.turns() - turns < 20 * most);
                    CHECK(writer.open());
                    if (qos == 0 && !upgrade) CHECK(world.stats().queue_alarms == 2);
                    CHECK(world.end() == 0);
                }
            }
        }
    }
}

namespace {

// What is retained below $SYS/broker/alarm/.
size_t standing(World& world) {
    auto& watcher = world.client("watcher");
    watcher.send(subscribe(1,
                           {
                               {"$SYS/broker/alarm/#", 0}
    }));
    const size_t count = sys_values(watcher.take_output()).size();
    watcher.send(disconnect());
    return count;
}

// So many durable sessions that are away, each with a queue above its mark.
void overfill(World& world, int sessions) {
    for (int i = 0; i < sessions; ++i) {
        world.connection().push(packets5::connect({.client_id = "c" + std::to_string(i),
                                                   .properties = packets5::property(
                                                       Property::kSessionExpiryInterval, 300)}) +
                                packets5::sub("t", 1) + packets5::disconnect());
    }
    world.settle();
    REQUIRE(world.stats().clients_connected == 0);
    auto& writer = world.client("w");
    for (uint64_t i = 0; i < 20 && world.stats().queue_alarms < static_cast<uint64_t>(sessions);
         ++i) {
        writer.send(publish({.topic = "t", .qos = 1, .packet_id = 1}));
        world.advance(11'000);
    }
    REQUIRE(world.stats().queue_alarms == static_cast<uint64_t>(sessions));
    writer.send(disconnect());
    REQUIRE(standing(world) == static_cast<size_t>(sessions));
}

BrokerOptions long_queues() {
    BrokerOptions options = with_sys();
    options.max_queued_messages = 20;
    options.queue_high_permille = 100;
    return options;
}

}  // namespace

// More sessions end at once than alarms may wait to be told: each one's end is told all the same.
TEST_CASE("the alarm of a session that ends is over, however many end", "[wire][sys]") {
    const int most = SysAlarms::kWaitingMax;
    for (const int sessions : {1, most - 1, most, most + 1, 2 * most + 1}) {
        CAPTURE(sessions);
        World world(long_queues());
        overfill(world, sessions);
        world.advance(300'000);
        CHECK(world.stats().sessions == 0);
        CHECK(world.stats().queue_alarms == 0);
        CHECK(standing(world) == 0);
        CHECK(world.end() == 0);
    }
}

// The same if there was no memory for it just then: the next tick has it.
TEST_CASE("the alarm of a session that ends is over when there is memory again",
          "[wire][sys][memory]") {
    for (uint64_t n = 1; n <= 12; ++n) {
        CAPTURE(n);
        World world(long_queues());
        overfill(world, 1);
        auto& client = world.connection();
        client.push(connect("c0"));
        world.arena().refuse_nth(n);
        world.settle();
        world.advance(100);
        world.arena().refuse_nth(0);
        world.advance(11'000);
        if (client.open()) {
            CHECK(world.stats().queue_alarms == 0);
            CHECK(standing(world) == 0);
        }
        CHECK(world.end() == 0);
    }
}
