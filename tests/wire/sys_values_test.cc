// The broker's own values: all there from the start, then only what changes.

#include "support/sys_values.h"

#include "broker/sys_table.h"
#include "support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <map>
#include <set>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

constexpr uint64_t kEndless = ~uint64_t{0};

BrokerOptions with_sys(uint32_t interval_s = 10) {
    BrokerOptions options = World::test_options();
    options.sys_interval_s = interval_s;
    return options;
}

FakeConnection& watcher(World& world, const std::string& filter = "$SYS/#") {
    auto& client = world.client("watcher");
    client.send(subscribe(1,
                          {
                              {filter, 0}
    }));
    return client;
}

std::vector<SysValue> read(FakeConnection& client) {
    return sys_values(client.take_output());
}

// A retained value, as a client that comes now gets it.
std::string look(World& world, const std::string& name) {
    auto& client = world.client("look");
    client.send(subscribe(1,
                          {
                              {"$SYS/broker/" + name, 0}
    }));
    const std::string value = sys_value(read(client), name);
    client.send(disconnect());
    return value;
}

// Every name the tables make, pools and listeners with '+' for their own part.
std::set<std::string> names_of_tables() {
    std::set<std::string> names = {"uptime",
                                   "version",
                                   "loop/turn_us/histogram",
                                   "slow/top",
                                   "persist/state",
                                   "persist/last_save",
                                   "config/last_reload",
                                   "config/last_error"};
    for (const SysRow& row : sys_rows())
        names.insert(row.name);
    for (const SysLoadRow& row : sys_load_rows()) {
        for (const char* span : kSysSpanNames)
            names.insert(std::string(row.name) + "/" + span);
    }
    for (const SysPoolRow& row : sys_pool_rows())
        names.insert(std::string("pool/+/") + row.name);
    for (const SysListenerRow& row : sys_listener_rows())
        names.insert(std::string("listener/+/") + row.name);
    return names;
}

std::string generic(const std::string& name) {
    for (const std::string_view group : {"pool/", "listener/"}) {
        const size_t end = name.find('/', group.size());
        if (!name.starts_with(group) || end == name.npos) continue;
        const std::string own = name.substr(group.size(), end - group.size());
        const bool size = own.find_first_not_of("0123456789") == own.npos;
        if (group == "listener/" || size) return std::string(group) + "+" + name.substr(end);
    }
    return name;
}

}  // namespace

// Run with "[.sys-names]" to write the list that the test below and the end-to-end tests read.
TEST_CASE("write the list of names", "[.sys-names]") {
    std::ofstream file("tests/e2e/sys_topics.txt");
    for (const std::string& name : names_of_tables())
        file << name << "\n";
}

TEST_CASE("the list of names is that of the tables", "[sys]") {
    // The end-to-end tests compare the real broker with it.
    std::ifstream file("tests/e2e/sys_topics.txt");
    std::set<std::string> names;
    for (std::string line; std::getline(file, line);)
        names.insert(line);
    REQUIRE(names == names_of_tables());
}

TEST_CASE("the first subscriber gets every value once, retained", "[wire][sys]") {
    // A dashboard that connects right after the start must not wait for the next change.
    World world(with_sys());
    const std::vector<SysValue> values = read(watcher(world));
    std::set<std::string> seen;
    std::set<std::string> kinds;
    for (const SysValue& value : values) {
        INFO(value.name);
        REQUIRE(value.retain);
        REQUIRE_FALSE(value.payload.empty());
        REQUIRE(seen.insert(value.name).second);
        kinds.insert(generic(value.name));
    }
    std::set<std::string> wanted = names_of_tables();
    std::erase_if(wanted, [](const std::string& name) { return name.starts_with("listener/"); });
    REQUIRE(kinds == wanted);
    REQUIRE(seen.size() == wanted.size() + Arena::kClassCount * 3 - 3);
}

TEST_CASE("a listener's values are below its name", "[wire][sys]") {
    // The name of a Unix socket is a path: one level all the same.
    World world(with_sys());
    ListenerHostStats listeners[2];
    listeners[0].name = "1883";
    listeners[0].connections = 7;
    listeners[1].name = "/run/mqttd.sock";
    listeners[1].refused_max = 3;
    world.host.listeners = listeners;
    auto& client = watcher(world, "$SYS/broker/listener/#");
    world.advance(11'000);
    const std::vector<SysValue> values = read(client);
    REQUIRE(values.size() == 2 * kSysListenerRows);
    REQUIRE(sys_value(values, "listener/1883/connections") == "7");
    REQUIRE(sys_value(values, "listener/%2Frun%2Fmqttd.sock/refused/max") == "3");
    REQUIRE(sys_value(values, "listener/1883/bytes/sent") == "0");
    listeners[1].refused_max = 4;
    world.advance(10'000);
    const std::vector<SysValue> changed = read(client);
    REQUIRE(changed.size() == 1);
    REQUIRE(changed[0].payload == "4");
}

TEST_CASE("a tick sends only what has changed", "[wire][sys]") {
    // Nothing is said twice, and uptime changes with every tick.
    World world(with_sys());
    auto& client = watcher(world);
    std::map<std::string, std::string> last;
    for (const SysValue& value : read(client))
        last[value.name] = value.payload;
    auto& other = world.client("other");
    for (int tick = 0; tick < 6; ++tick) {
        other.send(publish({.topic = "t", .payload = "x"}));
        world.advance(10'000);
        const std::vector<SysValue> values = read(client);
        REQUIRE(sys_value(values, "uptime") == std::to_string((tick + 1) * 10) + " seconds");
        REQUIRE(sys_value(values, "publish/messages/received") == std::to_string(tick + 1));
        REQUIRE(sys_value(values, "version") == "-");
        for (const SysValue& value : values) {
            INFO(value.name);
            REQUIRE_FALSE(value.retain);
            REQUIRE(last[value.name] != value.payload);
            last[value.name] = value.payload;
        }
    }
}

TEST_CASE("watching does not change what is counted", "[wire][sys]") {
    // Neither the retained values nor the live ones are messages: only bytes.
    World world(with_sys(1));
    auto& client = watcher(world);
    const uint64_t packets = world.stats().packets_sent_all;
    const uint64_t before = world.stats().sys_published;
    world.advance(5'000);
    REQUIRE(read(client).size() > 100);
    REQUIRE(world.stats().sys_published > before);
    REQUIRE(world.stats().packets_sent_all == packets);
    REQUIRE(world.stats().publish_sent == 0);
    REQUIRE(world.stats().publish_bytes_sent == 0);
    REQUIRE(world.stats().packets_sent[3] == 0);
    REQUIRE(look(world, "publish/messages/sent") == "0");
    REQUIRE(look(world, "retained messages/count") == "0");
    REQUIRE(look(world, "store/messages/count") == "0");
    REQUIRE(look(world, "store/messages/bytes") == "0");
}

TEST_CASE("loads are mosquitto's averages", "[wire][sys]") {
    // 600 messages in 10 s, then silence.
    World world(with_sys());
    auto& client = watcher(world, "$SYS/broker/load/publish/received/+");
    auto& publisher = world.client("publisher");
    read(client);
    for (int i = 0; i < 600; ++i) {
        publisher.send(publish({.topic = "t", .payload = "x"}));
        if (i % 3 == 2) world.advance(50);
    }
    const double spans[] = {60, 300, 900};
    const char* const names[] = {"1min", "5min", "15min"};
    std::vector<SysValue> values = read(client);
    for (int tick = 0; tick < 12; ++tick) {
        for (int i = 0; i < 3; ++i) {
            const double wanted =
                3600 * (1 - std::exp(-10 / spans[i])) * std::exp(-10 * tick / spans[i]);
            const std::string text =
                sys_value(values, std::string("load/publish/received/") + names[i]);
            INFO(names[i] << " after " << tick << " ticks: " << text);
            REQUIRE(std::stod(text) == Approx(wanted).epsilon(0.01));
            REQUIRE(text.size() - text.find('.') == 3);
        }
        world.advance(10'000);
        values = read(client);
    }
}

TEST_CASE("ticks fall on multiples of the interval", "[wire][sys]") {
    // The wall clock of this world is its own in seconds; it starts at a multiple of ten.
    World world(with_sys(10));
    world.advance(3'000);
    auto& client = watcher(world, "$SYS/broker/uptime");
    read(client);
    world.advance(6'900);
    REQUIRE(read(client).empty());
    world.advance(200);
    REQUIRE(sys_value(read(client), "uptime") == "10 seconds");
    BrokerOptions options = with_sys(4);  // the next multiples of 4 are 1012 and 1016
    world.broker().reconfigure(options);
    world.advance(1'800);
    REQUIRE(read(client).empty());
    world.advance(200);
    REQUIRE(sys_value(read(client), "uptime") == "12 seconds");
    world.advance(4'000);
    REQUIRE(sys_value(read(client), "uptime") == "16 seconds");
}

TEST_CASE("the interval can become 0 and come back", "[wire][sys]") {
    // 0: not a single topic; again: all of them, and the watcher who stayed gets them live.
    World world(with_sys());
    auto& client = watcher(world);
    const size_t all = read(client).size();
    auto& publisher = world.client("publisher");
    publisher.send(publish({.topic = "kept", .payload = "x", .retain = true}));
    world.broker().reconfigure(with_sys(0));
    world.advance(30'000);
    REQUIRE(read(client).empty());
    auto& late = world.client("late");
    late.send(subscribe(1,
                        {
                            {"$SYS/#", 0},
                            {"#",      0}
    }));
    REQUIRE(late.received() == "SUBACK(1,0,0) PUBLISH(kept,x,q0,retain)");
    world.broker().reconfigure(with_sys(10));
    world.settle();
    REQUIRE(read(client).size() == all);
    REQUIRE(look(world, "retained messages/count") == "1");
    // Off and on before anything was taken away.
    world.broker().reconfigure(with_sys(0));
    world.broker().reconfigure(with_sys(1));
    world.advance(2'000);
    REQUIRE(look(world, "retained messages/count") == "1");
    REQUIRE(world.end() == 0);
}

TEST_CASE("who could not take a value gets it when he can", "[wire][sys]") {
    // It may not change again for hours.
    World world(with_sys());
    auto& client = watcher(world);
    read(client);
    client.set_room(100);
    auto& other = world.client("other");
    for (int tick = 0; tick < 3; ++tick) {
        other.send(publish({.topic = "t", .payload = "x"}));
        world.advance(10'000);
    }
    const uint64_t packets = world.stats().packets_sent_all;
    client.set_room(kEndless);
    world.settle();
    std::vector<SysValue> values = read(client);
    REQUIRE(sys_value(values, "publish/messages/received") == "3");
    REQUIRE(sys_value(values, "clients/connected") == "2");
    REQUIRE(sys_value(values, "uptime") == "30 seconds");
    REQUIRE(sys_value(values, "version") == "-");  // not changed, not missed
    REQUIRE(world.stats().packets_sent_all == packets);
    REQUIRE(world.stats().dropped == 0);
    world.advance(10'000);
    REQUIRE(sys_value(read(client), "uptime") == "40 seconds");
}

TEST_CASE("what is missed during a replay comes after it", "[wire][sys]") {
    // He is stuck in the middle of the retained values when they change.
    World world(with_sys());
    auto& client = world.client("watcher");
    client.set_room(2'000);
    client.send(subscribe(1,
                          {
                              {"$SYS/#", 0}
    }));
    auto& other = world.client("other");
    for (int tick = 0; tick < 3; ++tick) {
        other.send(publish({.topic = "t", .payload = "x"}));
        world.advance(10'000);
        client.set_room(500);
    }
    client.set_room(kEndless);
    world.settle();
    const std::vector<SysValue> values = read(client);
    REQUIRE(sys_value(values, "uptime") == "30 seconds");
    REQUIRE(sys_value(values, "publish/messages/received") == "3");
    REQUIRE(sys_value(values, "version").starts_with("mqttd version"));
    REQUIRE(world.end() == 0);
}

TEST_CASE("slow clients are listed, most bytes first, ten at most", "[wire][sys]") {
    // From slow_consumer_ms on; at the limit and just below it.
    BrokerOptions options = with_sys(10);
    options.slow_consumer_ms = 5'000;
    World world(options);
    std::vector<FakeConnection*> slow;
    auto& publisher = world.client("publisher");
    for (int i = 0; i < 12; ++i) {
        auto& client = world.client("slow\"" + std::to_string(i));
        client.send(subscribe(1,
                              {
                                  {"t/" + std::to_string(i), 0}
        }));
        client.set_room(0);
        slow.push_back(&client);
    }
    const auto feed = [&](int i) {
        const std::string topic = "t/" + std::to_string(i);
        publisher.send(publish({.topic = topic, .payload = std::string(size_t(100 + i), 'x')}));
        publisher.send(publish({.topic = topic, .payload = "dropped"}));
    };
    for (int i = 0; i < 11; ++i)
        feed(i);
    world.advance(5'050);  // the last one is too young at the tick
    feed(11);
    world.advance(4'950);
    REQUIRE(look(world, "slow/count") == "11");
    REQUIRE(look(world, "slow/blocked") == "12");
    REQUIRE(look(world, "slow/dropped") == "12");
    const std::string top = look(world, "slow/top");
    INFO(top);
    REQUIRE(std::count(top.begin(), top.end(), '{') == 10);
    REQUIRE(
        top.starts_with("[{\"clientid\":\"slow\\\"10\",\"queued\":0,\"bytes\":118,"
                        "\"inflight\":0,\"oldest_ms\":10000,\"dropped\":1},"
                        "{\"clientid\":\"slow\\\"9\","));
    REQUIRE(top.find("slow\\\"0\"") == top.npos);  // the eleventh
    for (FakeConnection* client : slow)
        client->set_room(kEndless);
    world.advance(10'000);
    REQUIRE(look(world, "slow/top") == "[]");
    REQUIRE(look(world, "slow/count") == "0");
}

TEST_CASE("shared messages are counted as what they are", "[wire][sys]") {
    // One copy, three receivers that have not acknowledged it: three references to it.
    World world(with_sys(1));
    for (const char* id : {"a", "b", "c"}) {
        world.client(id).send(subscribe(1,
                                        {
                                            {"t", 1}
        }));
    }
    auto& publisher = world.client("publisher");
    publisher.send(publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}));
    world.advance(1'000);
    REQUIRE(look(world, "pool/msg/shared_refs") == "2");
    REQUIRE(look(world, "inflight/out") == "3");
    REQUIRE(look(world, "store/messages/count") == "1");
}
