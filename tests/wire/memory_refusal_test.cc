#include "support/world.h"

#include <catch2/catch.hpp>
#include <map>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

// The signs by which a refusal must be seen.
uint64_t signs(World& world) {
    const Stats& stats = world.stats();
    return stats.refused_memory + stats.drops[static_cast<uint32_t>(Drop::kMemory)] +
           world.arena().refused();
}

struct SmallWorld {
    explicit SmallWorld(const BrokerOptions& options) : world(options, size_t{16} << 20) {}

    FakeConnection* open(const std::string& name, bool clean, bool will = false) {
        FakeConnection& connection = world.connection();
        Connect fields;
        fields.client_id = name;
        fields.clean = clean;
        if (will) {
            fields.will_topic = "will/" + name;
            fields.will_payload = "gone";
            fields.will_qos = 1;
            fields.will_retain = true;
        }
        all[name] = &connection;
        connection.send(connect(fields));
        return &connection;
    }

    void send(const std::string& name, const std::string& bytes) { all[name]->send(bytes); }

    // Everything a client may do, twice over so that the second round finds things in place.
    void run() {
        for (const std::string name : {"a", "b", "c"}) {
            open(name, name != "c", true);
            send(name,
                 subscribe(1,
                           {
                               {"t/" + name,        2},
                               {"t/+",              1},
                               {"all",              2},
                               {"x/" + name + "/#", 0}
            }));
        }
        open("durable", false);
        send("durable",
             subscribe(1,
                       {
                           {"all", 1},
                           {"q/#", 2}
        }));
        open("p", true);
        for (uint16_t i = 1; i <= 2; ++i) {
            send("p",
                 publish({.topic = "all", .payload = "0"}) +
                     publish({.topic = "all", .payload = "00"}));
            send("p", publish({.topic = "all", .payload = "1", .qos = 1, .packet_id = i}));
            send("p",
                 publish({.topic = "all", .payload = "2", .qos = 2, .packet_id = i}) + pubrel(i));
            send("p",
                 publish({.topic = "all",
                          .payload = std::string(3'000, 'l'),
                          .qos = 1,
                          .packet_id = i}));
            send("p", publish({.topic = "all", .payload = std::string(40'000, 'm')}));
            send("p",
                 publish({.topic = "all",
                          .payload = std::string(40'000, 'n'),
                          .qos = 2,
                          .packet_id = i}) +
                     pubrel(i));
            for (const std::string name : {"a", "b", "c", "durable"}) {
                send(name,
                     puback(1) + pubrec(2) + pubcomp(2) + puback(2) + puback(3) + pubrec(3) +
                         pubcomp(3));
            }
            send("p", publish({.topic = "r/1", .payload = "set", .retain = true}));
            send("p",
                 publish({.topic = "r/1",
                          .payload = "replaced",
                          .qos = 1,
                          .packet_id = 9,
                          .retain = true}));
            send("p",
                 publish({.topic = "r/2/3", .payload = std::string(5'000, 'r'), .retain = true}));
            send("a",
                 subscribe(2,
                           {
                               {"r/#", 1}
            }));
            send("b",
                 subscribe(2,
                           {
                               {"r/1", 2}
            }));
            all["durable"]->hang_up(Error::kReset);
            for (int k = 0; k < 10; ++k) {
                send("p", publish({.topic = "q/x", .payload = "queued", .qos = 1, .packet_id = 5}));
            }
            open("c", false);  // takes over; the will is published
            all["a"]->set_room(3);
            send("p",
                 publish({.topic = "all", .payload = std::string(700, 'b')}) +
                     publish({.topic = "all", .payload = "1", .qos = 1, .packet_id = i}));
            world.advance(1'500);  // $SYS
            all["a"]->set_room(~uint64_t{0});
            open("durable", false);
            send("durable", puback(1) + puback(2) + pubrec(3) + pubcomp(3));
            send("a", unsubscribe(3, {"t/+", "r/#"}));
            send("p", publish({.topic = "r/1", .retain = true}));
        }
        send("b", disconnect());
        send("c", disconnect());
        all["a"]->hang_up();
        world.settle();
    }

    World world;
    std::map<std::string, FakeConnection*> all;
};

BrokerOptions with_sys() {
    BrokerOptions options = World::test_options();
    options.sys_interval_s = 1;
    options.max_inflight_messages = 4;
    return options;
}

}  // namespace

// Every allocation can be refused.  Whichever one it is: the broker goes on, a counter tells,
// nothing leaks, and a bystander who asked for nothing in that moment is served as ever.
TEST_CASE("any one allocation of a small world may be refused", "[wire][memory]") {
    for (const uint32_t slice : {4'096u, 2u}) {
        BrokerOptions options = with_sys();
        options.fanout_slice = slice;
        uint64_t count = 0;
        {
            SmallWorld small(options);
            auto& bystander = small.world.client("bystander");
            bystander.send(subscribe(1,
                                     {
                                         {"nobody/but/me", 0}
            }));
            const uint64_t before = small.world.arena().allocations();
            small.run();
            count = small.world.arena().allocations() - before;
            REQUIRE(signs(small.world) == 0);
            REQUIRE(small.world.end() == 0);
        }
        REQUIRE(count > 300);
        for (uint64_t n = 1; n <= count; ++n) {
            CAPTURE(slice, n, count);
            SmallWorld small(options);
            auto& bystander = small.world.client("bystander");
            bystander.send(subscribe(1,
                                     {
                                         {"nobody/but/me", 0}
            }));
            bystander.take_output();
            small.world.arena().refuse_nth(n);
            small.run();
            if (small.world.arena().refused() != 1)
                continue;  // took another way before it came to n
            small.world.arena().refuse_nth(0);
            REQUIRE(signs(small.world) >= 1);
            REQUIRE(bystander.open());
            bystander.send(pingreq() + publish({.topic = "nobody/but/me", .payload = "still"}));
            REQUIRE(bystander.received() == "PINGRESP PUBLISH(nobody/but/me,still,q0)");
            // The publisher's own request may have been the refused one; a fresh client gets in.
            auto& fresh = small.world.client("fresh");
            fresh.send(subscribe(1,
                                 {
                                     {"all", 1}
            }));
            REQUIRE(fresh.received() == "SUBACK(1,1)");
            fresh.send(publish({.topic = "all", .payload = "end", .qos = 1, .packet_id = 1}));
            const std::string got = fresh.received();
            REQUIRE(got.find("PUBLISH(all,end,q1,id1)") != std::string::npos);
            REQUIRE(got.find("PUBACK(1)") != std::string::npos);
            REQUIRE(small.world.end() == 0);
        }
    }
}

// The same with everything refused from the n-th on for a while is the work of a small arena: see
// memory_ceiling_test.cc.
TEST_CASE("a refused allocation disturbs only whose request it was", "[wire][memory]") {
    // What each of the three receivers gets of ten QoS 1 messages, whichever allocation is refused:
    // the others get all ten, the books say who did not.
    uint64_t count = 0;
    for (uint64_t n = 0; n <= count; ++n) {
        World world(World::test_options(), size_t{8} << 20);
        std::deque<FakeConnection*> receivers;
        for (int i = 0; i < 3; ++i) {
            receivers.push_back(&world.client("s" + std::to_string(i)));
            receivers.back()->send(subscribe(1,
                                             {
                                                 {"t", 1}
            }));
            receivers.back()->take_output();
        }
        auto& publisher = world.client("p");
        const uint64_t before = world.arena().allocations();
        if (n > 0) world.arena().refuse_nth(n);
        std::string acks;
        for (uint16_t i = 1; i <= 10 && publisher.open(); ++i) {
            publisher.send(publish({.topic = "t", .payload = "m", .qos = 1, .packet_id = i}));
            world.advance(200);  // who waits for memory tries again
            acks += publisher.received() + " ";
        }
        if (n == 0) count = world.arena().allocations() - before;
        CAPTURE(n, count, acks);
        const uint64_t lost = world.stats().drops[static_cast<uint32_t>(Drop::kMemory)];
        uint64_t got = 0;
        uint64_t open = 0;
        for (auto* each : receivers) {
            const std::string words = each->received();
            for (size_t at = 0; (at = words.find("PUBLISH", at)) != std::string::npos; ++at)
                ++got;
            open += each->open();
        }
        if (open == 3 && publisher.open()) {
            REQUIRE(acks.find("PUBACK(10)") != std::string::npos);
            REQUIRE(got + lost == 30);
            REQUIRE(lost == 0);
        }
        REQUIRE(open >= 2);
        REQUIRE(world.end() == 0);
    }
}

// With upgrade_outgoing_qos a QoS 0 message may have to be kept for its receivers; its publisher
// cannot wait.  Whatever is refused: they get it, or it is dropped by name.
TEST_CASE("a QoS 0 message to be upgraded is dropped if it cannot be kept", "[wire][memory]") {
    uint64_t refused = 0;
    for (const bool retain : {false, true}) {
        for (uint64_t n = 0; n < 12; ++n) {
            CAPTURE(n, retain);
            BrokerOptions options = World::test_options();
            options.upgrade_outgoing_qos = true;
            World world(options);
            auto& receiver = world.client("r");
            receiver.send(subscribe(1,
                                    {
                                        {"t", 1}
            }));
            receiver.take_output();
            auto& publisher = world.client("w");
            publisher.push(publish({.topic = "t", .payload = "x", .retain = retain}));
            if (n > 0) world.arena().refuse_nth(n + 1);  // the first is for the input itself
            world.settle();
            world.advance(200);
            world.arena().refuse_nth(0);
            const uint64_t lost = world.stats().drops[static_cast<uint32_t>(Drop::kMemory)];
            const std::string got = receiver.received();
            CHECK(got == (lost > 0 && got.empty() ? "" : "PUBLISH(t,x,q1,id1)"));
            if (lost > 0) ++refused;
            publisher.send(publish({.topic = "t", .payload = "y"}));
            CHECK(receiver.received().starts_with("PUBLISH(t,y,q1,"));
            CHECK(world.end() == 0);
        }
    }
    CHECK(refused >= 2);
}

// The same where the receivers' windows are full, so that it has to wait in their queues: who
// cannot take it goes without by name, the others get it.
TEST_CASE("a QoS 0 message to be upgraded that cannot be queued is dropped by name",
          "[wire][memory]") {
    uint64_t refused = 0;
    for (uint64_t n = 0; n < 12; ++n) {
        CAPTURE(n);
        BrokerOptions options = World::test_options();
        options.upgrade_outgoing_qos = true;
        options.max_inflight_messages = 1;
        World world(options);
        const std::string wanted = subscribe(1,
                                             {
                                                 {"t", 1}
        });
        auto& first = world.client("a");
        auto& second = world.client("b");
        first.send(wanted);
        second.send(wanted);
        auto& publisher = world.client("w");
        publisher.send(publish({.topic = "t", .payload = "x"}));
        first.take_output();
        second.take_output();
        publisher.push(publish({.topic = "t", .payload = "y"}));
        if (n > 0) world.arena().refuse_nth(n + 1);  // the first is for the input itself
        world.settle();
        world.advance(200);
        world.arena().refuse_nth(0);
        first.send(puback(1));
        second.send(puback(1));
        const uint64_t lost = world.stats().drops[static_cast<uint32_t>(Drop::kMemory)];
        uint64_t got = 0;
        for (auto* receiver : {&first, &second})
            got += receiver->received() == "PUBLISH(t,y,q1,id2)";
        CHECK(got + lost >= (got == 0 ? 1 : 2));  // or none for all of them
        if (lost > 0) ++refused;
        CHECK(world.end() == 0);
    }
    CHECK(refused >= 3);
}
