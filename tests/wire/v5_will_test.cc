// Wills of MQTT 5.0: when they are sent, and with what.   §3.1.2.5, §3.1.3.2

#include "support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <vector>

using namespace mqttd;
using namespace mqttd::packets5;
using packets::raw;

namespace {

using P = Property;

constexpr uint32_t kForEver = 0xffff'ffff;
constexpr const char* kSent = "PUBLISH(will,gone,q0)";

std::string expiry(uint32_t seconds) {
    return property(P::kSessionExpiryInterval, seconds);
}

Connect with_will(uint32_t delay_s, uint32_t expiry_s, bool clean = true) {
    Connect fields{.client_id = "c", .clean = clean, .will_topic = "will", .will_payload = "gone"};
    if (delay_s != 0) fields.will_properties = property(P::kWillDelayInterval, delay_s);
    if (expiry_s != 0) fields.properties = expiry(expiry_s);
    return fields;
}

FakeConnection& watch(World& world, int options = 2) {
    auto& watcher = world.client5({.client_id = "watcher"});
    watcher.send(subscribe(1,
                           {
                               {"will/#", options}
    }));
    watcher.take_output();
    return watcher;
}

void shut_down(World& world) {
    while (!world.broker().shut_down())
        world.settle();
    world.settle();
}

}  // namespace

// Each way in which a connection can end, without a delay: only DISCONNECT 0x00 takes the will
// back.
TEST_CASE("a will is sent exactly once for every end but DISCONNECT 0x00",
          "[wire][v5][MQTT5-3.1.2-8][MQTT5-3.1.2-10][MQTT5-3.1.2-22][MQTT5-3.14.4-3]") {
    struct Cause {
        const char* name;
        std::function<void(World&, FakeConnection&)> end;
        bool sent = true;
    };

    // clang-format off
    const Cause causes[] = {
        {"end of file",       [](World&, auto& c) { c.hang_up(Error::kEndOfFile); }},
        {"reset",             [](World&, auto& c) { c.hang_up(Error::kReset); }},
        {"malformed packet",  [](World&, auto& c) { c.send(raw(0xc1, "")); }},
        {"second CONNECT",    [](World&, auto& c) { c.send(connect({.client_id = "c"})); }},
        {"keep-alive",        [](World& w, auto&) { w.advance(16'000); }},
        {"takeover",          [](World& w, auto&) { w.client5({.client_id = "c", .clean = false}); }},
        {"clean takeover",    [](World& w, auto&) { w.client5({.client_id = "c"}); }},
        {"takeover by 3.1.1", [](World& w, auto&) { w.client("c", false); }},
        {"shutdown",          [](World& w, auto&) { shut_down(w); }},
        {"DISCONNECT 0x04",   [](World&, auto& c) { c.send(disconnect(4)); }},
        {"DISCONNECT 0x80",   [](World&, auto& c) { c.send(disconnect(0x80)); }},
        {"DISCONNECT 0x81",   [](World&, auto& c) { c.send(disconnect(0x81)); }},
        {"DISCONNECT 0x93",   [](World&, auto& c) { c.send(disconnect(0x93)); }},
        {"DISCONNECT 0x55",   [](World&, auto& c) { c.send(disconnect(0x55)); }},
        {"DISCONNECT flags",  [](World&, auto& c) { c.send(raw(0xe1, "")); }},
        {"DISCONNECT 0x00",   [](World&, auto& c) { c.send(disconnect()); }, false},
        {"the same, long",    [](World&, auto& c) { c.send(raw(0xe0, std::string(2, '\0'))); }, false},
        {"with a reason",     [](World&, auto& c) { c.send(disconnect(0, property(P::kReasonString, "bye"))); }, false},
    };
    // clang-format on
    for (const uint32_t stays : {0u, 5u, kForEver}) {
        for (const Cause& cause : causes) {
            CAPTURE(cause.name, stays);
            World world;
            auto& watcher = watch(world);
            Connect fields = with_will(0, stays);
            fields.keep_alive_s = 10;
            auto& client = world.client5(fields);
            cause.end(world, client);
            REQUIRE_FALSE(client.open());
            world.settle();
            const std::string now = watcher.received();
            const std::string sent = now.substr(0, now.find(" DISCONNECT"));
            REQUIRE(sent == (cause.sent ? kSent : ""));
            client.hang_up();
            world.advance(20'000);
            REQUIRE(watcher.received().empty());
            REQUIRE(world.end() == 0);
        }
    }
}

// The delay runs from the end of the connection and is never cut short, whatever part of a second
// it begins in; if the session ends earlier the will is sent then.
TEST_CASE("a will waits for its delay or the end of its session",
          "[wire][v5][MQTT5-3.1.2-8][MQTT5-3.1.3-9][MQTT5-3.1.2-7]") {
    struct Case {
        uint32_t delay_s;
        uint32_t expiry_s;
        Duration earliest_ms;
    };

    for (const Duration part : {0u, 50u, 500u, 950u}) {
        for (const Case& each : {
                 Case{1,        10,       1'000 },
                 Case{3,        10,       3'000 },
                 Case{9,        10,       9'000 },
                 Case{10,       10,       10'000},
                 Case{11,       10,       10'000},
                 Case{kForEver, 2,        2'000 },
                 Case{3,        kForEver, 3'000 },
                 Case{3,        0,        0     }
        }) {
            CAPTURE(part, each.delay_s, each.expiry_s);
            World world;
            auto& watcher = watch(world);
            world.advance(part);
            world.client5(with_will(each.delay_s, each.expiry_s)).hang_up();
            if (each.earliest_ms > 0) {
                world.advance(each.earliest_ms - 50);
                REQUIRE(watcher.received().empty());
                world.advance(1'250);
            }
            REQUIRE(watcher.received() == kSent);
            world.advance(20'000);
            REQUIRE(watcher.received().empty());
            REQUIRE(world.stats().sessions == (each.expiry_s == kForEver ? 2 : 1));
            REQUIRE(world.end() == 0);
        }
    }
}

// Back in time: no will. Too late: it was sent, once. A clean start ends the session: it is sent.
TEST_CASE("a return before the delay is over takes the will back",
          "[wire][v5][MQTT5-3.1.3-9][MQTT5-3.1.2-10]") {
    for (const bool old : {false, true}) {
        for (const bool clean : {false, true}) {
            for (const Duration away : {100u, 2'950u, 4'200u}) {
                CAPTURE(old, clean, away);
                World world;
                auto& watcher = watch(world);
                world.client5(with_will(3, 60)).hang_up();
                world.advance(away);
                const bool late = away > 3'000;
                REQUIRE(watcher.received() == (late ? kSent : ""));
                if (old) {
                    world.client("c", clean);
                } else {
                    world.client5({.client_id = "c", .clean = clean, .properties = expiry(60)});
                }
                REQUIRE(watcher.received() == (clean && !late ? kSent : ""));
                world.advance(60'000);
                REQUIRE(watcher.received().empty());
                REQUIRE(world.end() == 0);
            }
        }
    }
}

// A takeover is a return in time: with a delay no will, unless the session ends.
TEST_CASE("a takeover is a return within the delay", "[wire][v5][MQTT5-3.1.3-9][MQTT5-3.1.4-3]") {
    for (const bool clean : {false, true}) {
        World world;
        auto& watcher = watch(world);
        auto& first = world.client5(with_will(3, 60));
        Connect again = with_will(2, 60, clean);
        again.will_payload = "second";
        auto& second = world.client5(again);
        REQUIRE(first.received() == "DISCONNECT(x8e){why=session taken over}");
        REQUIRE(watcher.received() == (clean ? kSent : ""));
        world.advance(10'000);
        REQUIRE(watcher.received().empty());
        second.hang_up();
        world.advance(1'950);
        REQUIRE(watcher.received().empty());
        world.advance(1'250);
        REQUIRE(watcher.received() == "PUBLISH(will,second,q0)");
        REQUIRE(world.end() == 0);
    }
}

// 0x04 keeps the will, and with it its delay; an interval of 0 in the same packet ends both.
TEST_CASE("DISCONNECT 0x04 leaves the will its delay", "[wire][v5][MQTT5-3.14.4-3]") {
    World world;
    auto& watcher = watch(world);
    world.client5(with_will(3, 60)).send(disconnect(4));
    world.advance(2'950);
    REQUIRE(watcher.received().empty());
    world.advance(1'250);
    REQUIRE(watcher.received() == kSent);
    world.client5(with_will(3, 60)).send(disconnect(4, expiry(0)));
    REQUIRE(watcher.received() == kSent);
    world.client5(with_will(30, 60)).send(disconnect(4, expiry(2)));
    world.advance(1'950);
    REQUIRE(watcher.received().empty());
    world.advance(1'250);
    REQUIRE(watcher.received() == kSent);
    // 0x00 takes it back also where a delay and an interval would keep it.
    world.client5(with_will(3, 60)).send(disconnect(0, expiry(30)));
    world.advance(40'000);
    REQUIRE(watcher.received().empty());
    REQUIRE(world.end() == 0);
}

// Everything but the delay is passed on, in its order, to those whose version knows it.
TEST_CASE("a will's properties are passed on",
          "[wire][v5][MQTT5-3.1.3-10][MQTT5-3.3.2-4][MQTT5-3.3.2-15][MQTT5-3.3.2-16]") {
    World world;
    auto& watcher = watch(world);
    auto& old = world.client("old");
    old.send(packets::subscribe(1,
                                {
                                    {"will", 2}
    }));
    old.take_output();
    const std::string binary("\0\xff\x80", 3);
    Connect fields = with_will(0, 10);
    fields.will_qos = 1;
    fields.will_properties = user("k", "1") + property(P::kWillDelayInterval, 1) +
                             property(P::kPayloadFormatIndicator, 1) + user("k", "2") +
                             property(P::kContentType, "text") +
                             property(P::kMessageExpiryInterval, 10) +
                             property(P::kResponseTopic, "answer/here") +
                             property(P::kCorrelationData, binary) + user("a", "3");
    world.client5(fields).hang_up();
    world.advance(2'200);
    REQUIRE(watcher.received() ==
            "PUBLISH(will,gone,q1,id1){expiry=10,user=k:1,format=1,user=k:2,type=text,"
            "response=answer/here,correlation=" +
                binary + ",user=a:3}");
    REQUIRE(old.received() == "PUBLISH(will,gone,q1,id1)");
    REQUIRE(world.end() == 0);
}

// The will's own expiry begins when it is published, not when it was handed in.
TEST_CASE("a will's expiry counts from its publication", "[wire][v5][MQTT5-3.3.2-6]") {
    World world;
    auto& watcher = watch(world);
    auto& durable = world.client5({.client_id = "d", .clean = false, .properties = expiry(1'000)});
    durable.send(subscribe(1,
                           {
                               {"will", 1}
    }));
    durable.hang_up();
    Connect fields = with_will(5, 1'000);
    fields.will_qos = 1;
    fields.will_retain = true;
    fields.will_properties += property(P::kMessageExpiryInterval, 10);
    auto& client = world.client5(fields);
    world.advance(60'000);
    client.hang_up();
    world.advance(6'000);
    REQUIRE(watcher.received() == "PUBLISH(will,gone,q1,id1){expiry=10}");
    world.advance(2'000);
    auto& back = world.connection();
    back.speak_v5();
    back.send(connect({.client_id = "d", .clean = false}));
    const std::string words = back.received();
    REQUIRE((words == "CONNACK(0,present) PUBLISH(will,gone,q1,id1){expiry=8}" ||
             words == "CONNACK(0,present) PUBLISH(will,gone,q1,id1){expiry=7}"));
    world.advance(10'000);
    auto& late = world.client5({.client_id = "late"});
    late.send(subscribe(1,
                        {
                            {"will", 1}
    }));
    REQUIRE(late.received() == "SUBACK(1,1)");  // retained, but too old
    REQUIRE(world.end() == 0);
}

// An interval of 0: whoever is there gets it, it waits for nobody.
TEST_CASE("a will that expires at once waits for nobody", "[wire][v5][MQTT5-3.3.2-5]") {
    for (const uint32_t interval : {0u, 1u, kForEver}) {
        World world;
        auto& watcher = watch(world);
        auto& durable =
            world.client5({.client_id = "d", .clean = false, .properties = expiry(1'000)});
        durable.send(subscribe(1,
                               {
                                   {"will", 1}
        }));
        durable.hang_up();
        Connect fields = with_will(0, 0);
        fields.will_qos = 1;
        fields.will_properties = property(P::kMessageExpiryInterval, interval);
        world.client5(fields).hang_up();
        CAPTURE(interval);
        // The clock of deadlines ends in 136 years.
        const std::string told = watcher.received();
        if (interval != kForEver) {
            REQUIRE(told == "PUBLISH(will,gone,q1,id1){expiry=" + std::to_string(interval) + "}");
        } else {
            REQUIRE(told.starts_with("PUBLISH(will,gone,q1,id1){expiry=429"));
        }
        world.advance(1'200);
        auto& back = world.connection();
        back.speak_v5();
        back.send(connect({.client_id = "d", .clean = false}));
        REQUIRE(back.received().starts_with(
            interval != kForEver ? "CONNACK(0,present)" : "CONNACK(0,present) PUBLISH(will,gone"));
        REQUIRE(world.stats().drops[static_cast<uint32_t>(Drop::kExpired)] ==
                (interval != kForEver ? 1 : 0));
        REQUIRE(world.end() == 0);
    }
}

// Whatever part of a second it is: an interval is not told longer than it was, and nothing is
// dropped before it has passed.
TEST_CASE("an expiry interval of one second lasts a second", "[wire][v5][MQTT5-3.3.2-5]") {
    for (const Duration part : {0u, 50u, 500u, 950u}) {
        for (const Duration away : {0u, 300u, 950u, 2'050u}) {
            CAPTURE(part, away);
            World world;
            auto& watcher = watch(world, 1);
            auto& durable =
                world.client5({.client_id = "d", .clean = false, .properties = expiry(1'000)});
            durable.send(subscribe(1,
                                   {
                                       {"will/#", 1}
            }));
            durable.hang_up();
            world.advance(part);
            const std::string one = property(P::kMessageExpiryInterval, 1);
            Connect fields = with_will(0, 0);
            fields.will_qos = 1;
            fields.will_properties = one;
            world.client5(fields).hang_up();
            auto& writer = world.client5({.client_id = "w"});
            writer.send(publish(
                {.topic = "will/x", .payload = "x", .qos = 1, .packet_id = 1, .properties = one}));
            REQUIRE(watcher.received() ==
                    "PUBLISH(will,gone,q1,id1){expiry=1} PUBLISH(will/x,x,q1,id2){expiry=1}");
            world.advance(away);
            auto& back = world.client5({.client_id = "d", .clean = false});
            const std::string words = back.received();
            REQUIRE((words.find("PUBLISH(will,gone") != std::string::npos) == (away < 1'000));
            REQUIRE((words.find("PUBLISH(will/x,x") != std::string::npos) == (away < 1'000));
            REQUIRE(world.end() == 0);
        }
    }
}

TEST_CASE("will QoS and retain hold for a delayed will",
          "[wire][v5][MQTT5-3.1.2-14][MQTT5-3.1.2-15]") {
    for (int qos = 0; qos <= 2; ++qos) {
        for (const bool retain : {false, true}) {
            World world;
            auto& watcher = watch(world, 2 | kRetainAsPublished);
            Connect fields = with_will(2, 60);
            fields.will_qos = qos;
            fields.will_retain = retain;
            world.client5(fields).hang_up();
            auto& early = world.client5({.client_id = "early"});
            early.send(subscribe(1,
                                 {
                                     {"will", 2}
            }));
            REQUIRE(early.received() == "SUBACK(1,2)");  // not kept before it is sent
            world.advance(3'200);
            const std::string id = qos > 0 ? ",id1" : "";
            const std::string head = "PUBLISH(will,gone,q" + std::to_string(qos) + id;
            REQUIRE(watcher.received() == head + (retain ? ",retain)" : ")"));
            REQUIRE(early.received() == head + ")");
            auto& late = world.client5({.client_id = "late"});
            late.send(subscribe(1,
                                {
                                    {"will", 2}
            }));
            REQUIRE(late.received() == "SUBACK(1,2)" + (retain ? " " + head + ",retain)" : ""));
            REQUIRE(world.end() == 0);
        }
    }
}

// An orderly stop sends what still waits, of present and absent sessions, each once.
TEST_CASE("shutdown sends wills that wait for their delay", "[wire][v5][MQTT5-3.1.2-8]") {
    World world;
    auto& watcher = watch(world, 0);
    constexpr int kEach = 1'500;
    for (int i = 0; i < 3 * kEach; ++i) {
        Connect fields = with_will(i % 3 == 0 ? 0 : 1'000, i % 3 == 0 ? 0 : kForEver);
        fields.client_id = "c" + std::to_string(i);
        fields.will_payload = std::to_string(i);
        auto& connection = world.connection();
        connection.push(connect(fields));
        if (i % 3 == 2) connection.hang_up();  // gone, its will waits
    }
    world.settle();
    REQUIRE(world.stats().sessions == 3 * kEach + 1);
    REQUIRE(world.stats().clients_connected == 2 * kEach + 1);
    REQUIRE(watcher.received().empty());
    shut_down(world);
    std::string words = watcher.received();
    const std::string farewell = " DISCONNECT(x8b){why=shutting down}";
    REQUIRE(words.ends_with(farewell));
    words.resize(words.size() - farewell.size());
    std::vector<int> seen(3 * kEach);
    size_t count = 0;
    for (size_t at = 0; (at = words.find("PUBLISH(will,", at)) != std::string::npos; ++count) {
        at += 13;
        ++seen[static_cast<size_t>(std::stoi(words.substr(at)))];
    }
    REQUIRE(count == 3 * kEach);
    REQUIRE(std::count(seen.begin(), seen.end(), 1) == 3 * kEach);
    REQUIRE(world.end() == 0);
}

// Wills that need a job each: their receivers stay until all jobs are done, also when the broker is
// taken apart without an orderly stop.
TEST_CASE("wills that are handed out in slices leave nothing behind", "[wire][v5]") {
    for (const bool orderly : {true, false}) {
        BrokerOptions options = World::test_options();
        options.fanout_slice = 2;
        World world(options);
        std::vector<FakeConnection*> readers;
        for (int i = 0; i < 5; ++i) {
            readers.push_back(&world.client5({.client_id = "r" + std::to_string(i)}));
            readers.back()->send(subscribe(1,
                                           {
                                               {"will", 1}
            }));
            readers.back()->take_output();
        }
        for (int i = 0; i < 200; ++i) {
            Connect fields = with_will(1'000, kForEver);
            fields.client_id = "c" + std::to_string(i);
            fields.will_qos = i % 2;
            world.client5(fields).hang_up();
        }
        if (orderly) {
            shut_down(world);
            for (auto* reader : readers) {
                const std::string words = reader->received();
                size_t count = 0;
                for (size_t at = 0; (at = words.find("PUBLISH", at)) != std::string::npos; ++at)
                    ++count;
                // QoS 1: as many as the window holds, the rest waits in vain.
                REQUIRE(count == 100 + 20);
                REQUIRE(words.ends_with("DISCONNECT(x8b){why=shutting down}"));
            }
        }
        REQUIRE(world.end() == 0);
    }
}

// The table of sessions moves to a larger one step by step; wherever that stands, all are met.
TEST_CASE("a broker that ends leaves no session behind", "[wire][v5]") {
    for (int seed = 0; seed < 400; ++seed) {
        World world(World::test_options(), size_t{8} << 20);
        constexpr int kSessions = 64;  // the first step has just been made
        for (int i = 0; i < kSessions; ++i) {
            Connect fields = with_will(1'000, kForEver);
            fields.client_id = std::to_string(seed) + "." + std::to_string(i);
            world.connection().push(connect(fields));
        }
        world.settle();
        CAPTURE(seed);
        REQUIRE(world.stats().sessions == kSessions);
        REQUIRE(world.end() == 0);
    }
}

// The next will replaces what waited.
TEST_CASE("a returning client brings its own will", "[wire][v5]") {
    World world;
    auto& watcher = watch(world);
    world.client5(with_will(5, 60)).hang_up();
    Connect second = with_will(0, 60, false);
    second.will_payload = "second";
    world.client5(second).hang_up();
    REQUIRE(watcher.received() == "PUBLISH(will,second,q0)");
    world.advance(10'000);
    REQUIRE(watcher.received().empty());
    // Without one it has none.
    world.client5(with_will(5, 60, false)).hang_up();
    world.client5({.client_id = "c", .clean = false}).hang_up();
    world.advance(10'000);
    REQUIRE(watcher.received().empty());
    REQUIRE(world.stats().messages_stored == 0);
    REQUIRE(world.end() == 0);
}
