// Memory and MQTT 5.0: every allocation may be refused, and a steady exchange makes none.

#include "support/alloc_guard.h"
#include "support/bare_loop.h"
#include "support/packets5.h"
#include "support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <vector>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

// The signs by which a refusal must be seen.
uint64_t signs(World& world) {
    const Stats& stats = world.stats();
    return stats.refused_memory + stats.drops[static_cast<uint32_t>(Drop::kMemory)];
}

// Everything that 5.0 adds and that needs memory: aliases both ways, wills with delay and
// properties, subscription identifiers, expiry, windows, reconnects with messages in flight.
struct SmallWorld {
    explicit SmallWorld(const BrokerOptions& options) : world(options, size_t{16} << 20) {}

    void open(const std::string& name, bool clean, bool will = true) {
        Connect fields{.client_id = name, .clean = clean};
        fields.properties = property(P::kSessionExpiryInterval, 20) +
                            property(P::kReceiveMaximum, 3) + property(P::kTopicAliasMaximum, 2) +
                            property(P::kMaximumPacketSize, 50'000);
        if (will) {
            fields.will_topic = "will/" + name;
            fields.will_payload = "gone";
            fields.will_qos = 1;
            fields.will_retain = true;
            fields.will_properties = user("a", "1") + property(P::kWillDelayInterval, 2) +
                                     property(P::kMessageExpiryInterval, 30) + user("b", "2");
        }
        FakeConnection& connection = world.connection();
        connection.speak_v5();
        all[name] = &connection;
        ever.push_back(&connection);
        connection.send(connect(fields));
    }

    void send(const std::string& name, const std::string& bytes) { all[name]->send(bytes); }

    void acknowledge(const std::string& name) {
        for (uint16_t id = 1; id <= 6; ++id) {
            if (!all[name]->open()) return;
            // Of the right kind or not: an error ends the link, that is part of the game.
            send(name, id % 2 == 1 ? ack(PacketType::kPuback, id) : ack(PacketType::kPubrec, id));
            if (id % 2 == 0) send(name, ack(PacketType::kPubcomp, id));
        }
    }

    // Twice over, so that the second round finds things in place.
    void run() {
        const std::string properties = user("k", "v") + property(P::kMessageExpiryInterval, 60) +
                                       property(P::kContentType, "text");
        for (uint16_t round = 1; round <= 2; ++round) {
            for (const char* name : {"a", "b"}) {
                open(name, round == 1);
                send(name,
                     subscribe(1,
                               {
                                   {"t/+",    2},
                                   {"t/1",    1},
                                   {"will/#", 1}
                },
                               property(P::kSubscriptionIdentifier, round * 200u)));
            }
            open("p", true, false);
            const auto alias = [](uint32_t n) { return property(P::kTopicAlias, n); };
            send("p", publish({.topic = "t/1", .payload = "0", .properties = alias(1)}));
            send("p", publish({.topic = "", .payload = "00", .properties = alias(1) + properties}));
            for (const char* topic : {"t/1", "t/2", "t/3"}) {
                send("p",
                     publish({.topic = topic,
                              .payload = "1",
                              .qos = 1,
                              .packet_id = 1,
                              .properties = properties + alias(2)}));
                send("p",
                     publish({.topic = topic,
                              .payload = std::string(3'000, '2'),
                              .qos = 2,
                              .packet_id = 2,
                              .properties = user("x", "y") + alias(3) + user("x", "z")}) +
                         ack(PacketType::kPubrel, 2));
            }
            send("p",
                 publish({.topic = "t/4",
                          .payload = std::string(40'000, 'l'),
                          .qos = 1,
                          .packet_id = 3,
                          .properties = properties,
                          .retain = true}));
            send("p", publish({.topic = "t/5", .payload = std::string(60'000, 'x')}));
            acknowledge("a");
            all["b"]->hang_up(Error::kReset);
            send("p", publish({.topic = "t/6", .payload = "q", .qos = 1, .packet_id = 4}));
            world.advance(1'500);
            open("b", false);  // in time
            acknowledge("b");
            all["a"]->hang_up();
            world.advance(3'500);  // too late
            open("a", false);
            send("a",
                 subscribe(2,
                           {
                               {"#", 1}
            },
                           property(P::kSubscriptionIdentifier, 5)));
            send("b", unsubscribe(3, {"t/+", "none"}));
            open("b", false);  // takes over
        }
        send("a", disconnect(4, property(P::kSessionExpiryInterval, 1)));
        send("b", disconnect());
        world.advance(4'000);
    }

    // The refused one was the world's own: there was no room for what a connection had to read.
    bool unread() const {
        return std::any_of(ever.begin(), ever.end(), [](const FakeConnection* each) {
            return each->close_reason() == Error::kNoMemory;
        });
    }

    World world;
    std::map<std::string, FakeConnection*> all;
    std::vector<FakeConnection*> ever;
};

BrokerOptions small_options(uint32_t slice, const char* mount) {
    BrokerOptions options = World::test_options();
    options.max_inflight_messages = 4;
    options.fanout_slice = slice;
    options.listener.mount_point = mount;
    return options;
}

// Runs `step` so often that everything has its size, then under guard.
template <class Step>
void check_steady(BareLoop& loop, uint32_t warm, uint32_t steps, Step step) {
    for (uint32_t i = 0; i < warm; ++i)
        step(i);
    const uint64_t pages = loop.arena().pages_high();
    const uint64_t live = loop.arena().live();
    const AllocGuard guard;
    for (uint32_t i = 0; i < steps; ++i)
        step(warm + i);
    const uint64_t system = guard.allocations();
    REQUIRE(loop.complete());
    CHECK(system == 0);
    CHECK(loop.arena().pages_high() == pages);
    CHECK(loop.arena().live() == live);
}

void put_id(std::string& packet, size_t at, uint32_t n) {
    const uint32_t id = n % 65'535 + 1;
    packet[at] = static_cast<char>(id >> 8);
    packet[at + 1] = static_cast<char>(id & 255);
}

// A writer (link 0), and readers of "t" of each kind: plain, with aliases, with an identifier and a
// maximum packet size.
void meet(BareLoop& loop, int qos) {
    const std::string kinds[] = {
        "", "", property(P::kTopicAliasMaximum, 5), property(P::kMaximumPacketSize, 10'000)};
    for (uint32_t i = 0; i < 4; ++i) {
        loop.open(i);
        loop.feed(i, connect({.client_id = "c" + std::to_string(i), .properties = kinds[i]}));
        if (i > 0) {
            loop.feed(i,
                      subscribe(1,
                                {
                                    {"t", qos}
            },
                                i == 3 ? property(P::kSubscriptionIdentifier, 9) : ""));
        }
        loop.turn();
    }
}

}  // namespace

// Whichever allocation is refused: the broker goes on, a counter tells, nothing leaks, and who
// asked for nothing in that moment is served as ever.
TEST_CASE("any one allocation of a small 5.0 world may be refused", "[wire][v5][memory]") {
    struct Kind {
        uint32_t slice;
        const char* mount;
    };

    for (const Kind& kind : {
             Kind{4'096, ""      },
             Kind{1,     ""      },
             Kind{4'096, "mount/"}
    }) {
        const BrokerOptions options = small_options(kind.slice, kind.mount);
        uint64_t count = 0;
        for (uint64_t n = 0; n <= count; ++n) {
            CAPTURE(kind.slice, kind.mount, n, count);
            SmallWorld small(options);
            World& world = small.world;
            auto& bystander = world.client5(
                {.client_id = "bystander", .properties = property(P::kTopicAliasMaximum, 3)});
            bystander.send(subscribe(1,
                                     {
                                         {"nobody/but/me", 0}
            }));
            bystander.take_output();
            const uint64_t before = world.arena().allocations();
            if (n > 0) world.arena().refuse_nth(n);
            small.run();
            if (n == 0) {
                count = world.arena().allocations() - before;
                REQUIRE(count > 200);
                REQUIRE(signs(world) == 0);
                REQUIRE(world.stats().sessions == 3);  // bystander, p, b
                REQUIRE(world.end() == 0);
                continue;
            }
            if (world.arena().refused() != 1) continue;  // took another way before it came to n
            world.arena().refuse_nth(0);
            world.advance(500);  // who waits for memory tries again
            REQUIRE(bystander.open());
            bystander.send(packets::pingreq() +
                           publish({.topic = "nobody/but/me", .payload = "still"}));
            REQUIRE(bystander.received() == "PINGRESP PUBLISH(nobody/but/me,still,q0){alias=1}");
            auto& fresh = world.client5({.client_id = "fresh"});
            fresh.send(subscribe(1,
                                 {
                                     {"t/1", 1}
            }) +
                       publish({.topic = "t/1", .payload = "end", .qos = 1, .packet_id = 1}));
            REQUIRE(fresh.received().starts_with("SUBACK(1,1)"));
            fresh.send(packets::pingreq());
            REQUIRE(world.stats().sessions <= 6);
            REQUIRE(world.end() == 0);
        }
    }
}

// A refusal is always seen in a counter, or was of no consequence to anybody: the alias that a
// topic did not get.
TEST_CASE("a refused allocation of 5.0 is seen or does no harm", "[wire][v5][memory]") {
    const BrokerOptions options = small_options(4'096, "");
    uint64_t count = 0;
    std::map<std::string, std::string> wanted;
    uint64_t silent = 0;
    for (uint64_t n = 0; n <= count; ++n) {
        CAPTURE(n, count);
        SmallWorld small(options);
        World& world = small.world;
        const uint64_t before = world.arena().allocations();
        if (n > 0) world.arena().refuse_nth(n);
        small.run();
        if (n == 0) {
            count = world.arena().allocations() - before;
            REQUIRE(signs(world) == 0);
        } else if (world.arena().refused() == 1 && signs(world) == 0 && !small.unread()) {
            ++silent;
            // Everything went its way: as many messages as without the refusal.
            CHECK(world.stats().drops[static_cast<uint32_t>(Drop::kMemory)] == 0);
            CHECK(world.stats().connects_refused == 0);
            CHECK(std::to_string(world.stats().publish_sent) == wanted["sent"]);
            CHECK(std::to_string(world.stats().publish_received) == wanted["received"]);
        }
        if (n == 0) {
            wanted["sent"] = std::to_string(world.stats().publish_sent);
            wanted["received"] = std::to_string(world.stats().publish_received);
        }
        REQUIRE(world.end() == 0);
    }
    CAPTURE(silent);
    REQUIRE(silent * 4 < count);
}

TEST_CASE("steady 5.0 traffic at QoS 0 allocates nothing", "[wire][v5][memory]") {
    for (const size_t size : {size_t{64}, size_t{3'000}}) {
        for (const std::string& properties :
             {std::string(),
              user("k", "v"),
              property(P::kMessageExpiryInterval, 100) + user("k", "v"),
              property(P::kTopicAlias, 3)}) {
            CAPTURE(size, properties.size());
            BareLoop loop(World::test_options(), size_t{64} << 20, 4);
            meet(loop, 0);
            std::string run;
            for (int i = 0; i < 4; ++i) {
                run += publish(
                    {.topic = "t", .payload = std::string(size, 'p'), .properties = properties});
            }
            check_steady(loop, 100, 2'000, [&](uint32_t) {
                loop.feed(0, run);
                loop.turn();
            });
            REQUIRE(loop.stats().publish_sent == 3 * 4 * 2'100);
        }
    }
}

// Many topics behind few aliases: each packet gives one a new meaning.
TEST_CASE("aliases that change all the time allocate nothing more", "[wire][v5][memory]") {
    BareLoop loop(World::test_options(), size_t{64} << 20, 2);
    for (uint32_t i = 0; i < 2; ++i) {
        loop.open(i);
        loop.feed(i,
                  connect({.client_id = "c" + std::to_string(i),
                           .properties = property(P::kTopicAliasMaximum, 4)}));
    }
    loop.feed(1,
              subscribe(1,
                        {
                            {"#", 0}
    }));
    std::string packet = publish({.topic = "topic/00", .properties = property(P::kTopicAlias, 1)});
    const size_t at = packet.find("00");
    check_steady(loop, 1'000, 50'000, [&](uint32_t n) {
        packet[at] = static_cast<char>('a' + n % 23);
        packet[at + 1] = static_cast<char>('a' + n % 7);
        packet.back() = static_cast<char>(n % 10 + 1);
        loop.feed(0, packet);
        loop.turn();
    });
    REQUIRE(loop.stats().publish_sent == 51'000);
}

TEST_CASE("steady 5.0 traffic at QoS 1 and 2 allocates nothing", "[wire][v5][memory]") {
    for (const int qos : {1, 2}) {
        for (const std::string& properties :
             {std::string(), property(P::kMessageExpiryInterval, 100) + user("k", "v")}) {
            CAPTURE(qos, properties.size());
            BareLoop loop(World::test_options(), size_t{64} << 20, 4);
            meet(loop, qos);
            std::string packet = publish({.topic = "t",
                                          .payload = std::string(64, 'p'),
                                          .qos = qos,
                                          .packet_id = 1,
                                          .properties = properties});
            std::string rel = ack(PacketType::kPubrel, 1);
            std::string acks[] = {ack(qos == 1 ? PacketType::kPuback : PacketType::kPubrec, 1),
                                  ack(PacketType::kPubcomp, 1)};
            check_steady(loop, 1'000, 70'000, [&](uint32_t n) {
                put_id(packet, 5, n);
                loop.feed(0, packet);
                if (qos == 2) {
                    put_id(rel, 2, n);
                    loop.feed(0, rel);
                }
                loop.turn();
                for (int k = 0; k < qos; ++k) {
                    put_id(acks[k], 2, n);
                    for (uint32_t i = 1; i <= 3; ++i)
                        loop.feed(i, acks[k]);
                    loop.turn();
                }
            });
            REQUIRE(loop.stats().publish_sent == 3 * 71'000);
            REQUIRE(loop.stats().inflight_out + loop.stats().inflight_in == 0);
        }
    }
}
