#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

constexpr uint64_t kEndless = ~uint64_t{0};
constexpr size_t kMiB = size_t{1} << 20;

uint64_t drops(const World& world, Drop reason) {
    return world.stats().drops[static_cast<uint32_t>(reason)];
}

// Memory that somebody holds, a kilobyte at a time, until the arena is this near its ceiling.
class Filler {
  public:
    explicit Filler(World& world) : world_(world) {}

    void fill(Arena::Pressure level) {
        while (world_.arena().pressure() < level)
            held_.push_back(world_.arena().allocate(1'000));
        world_.settle();
    }

    void clear() {
        for (void* each : held_)
            world_.arena().release(each);
        held_.clear();
        world_.settle();
    }

  private:
    World& world_;
    std::vector<void*> held_;
};

}  // namespace

// Near the ceiling load is shed in one order: who is not here yet, what may be lost anyway, who
// does not read.  Those who behave are served through all of it.
TEST_CASE("new connections go first, then QoS 0 copies, then the slowest reader",
          "[wire][memory]") {
    for (const size_t size : {3 * kMiB, 4 * kMiB, 16 * kMiB}) {
        CAPTURE(size);
        BrokerOptions options = World::test_options();
        options.queue_qos0_messages = true;
        options.max_queued_messages = 0;
        World world(options, size);
        Filler memory(world);
        auto& filler = world.client("filler");
        auto& good = world.client("good");
        good.send(subscribe(1,
                            {
                                {"t", 0}
        }));
        auto& slow = world.client("slow");
        slow.send(subscribe(1,
                            {
                                {"t", 0}
        }));
        auto& away = world.client("away", false);
        away.send(subscribe(1,
                            {
                                {"t", 1}
        }));
        away.hang_up();
        for (auto* each : {&good, &slow})
            each->take_output();
        slow.set_room(0);
        const std::string message = publish({.topic = "t", .payload = "m"});
        filler.send(message);
        filler.send(message);
        REQUIRE(slow.blocked());
        REQUIRE(world.stats().queued == 3);  // two for who is away, one for the slow one

        // 1: new connections.
        memory.fill(Arena::Pressure::kConnections);
        REQUIRE(world.arena().pressure() == Arena::Pressure::kConnections);
        auto& late = world.connection();
        late.send(connect("late"));
        REQUIRE(late.received() == "CONNACK(3)");
        REQUIRE_FALSE(late.open());
        REQUIRE(world.stats().connects_refused == 1);
        filler.send(message);
        REQUIRE(world.stats().queued == 4);  // the absent one's queue grows no more
        REQUIRE(drops(world, Drop::kMemory) == 1);

        // 2: copies of QoS 0.
        memory.fill(Arena::Pressure::kQos0);
        REQUIRE(world.arena().pressure() == Arena::Pressure::kQos0);
        REQUIRE(world.stats().slow_closed == 0);
        const uint64_t before = drops(world, Drop::kMemory);
        filler.send(message);
        REQUIRE(world.stats().queued == 4);
        REQUIRE(drops(world, Drop::kMemory) == before + 2);
        REQUIRE(slow.open());

        // 3: the slowest reader.
        memory.fill(Arena::Pressure::kSlowReaders);
        world.settle();
        REQUIRE_FALSE(slow.open());
        REQUIRE(slow.close_reason() == Error::kServerBusy);
        REQUIRE(world.stats().slow_closed == 1);

        // Who behaves has noticed nothing.
        filler.send(message);
        REQUIRE(good.take_output() == message + message + message + message + message);
        good.send(pingreq());
        REQUIRE(good.received() == "PINGRESP");
        REQUIRE(filler.open());

        // And back: room returns, everybody may come.
        memory.clear();
        REQUIRE(world.arena().pressure() == Arena::Pressure::kNone);
        auto& again = world.connection();
        again.send(connect("late"));
        REQUIRE(again.received() == "CONNACK(0)");
        REQUIRE(world.end() == 0);
    }
}

// The queue of one who is away may eat all memory: the others go on at QoS 0 and get answers, who
// publishes to it at QoS 1 waits unacknowledged, and when its owner comes (it is let in just
// because it brings memory back) everything that was acknowledged arrives, once and in order.
TEST_CASE("memory full of queued messages loses nothing that was acknowledged", "[wire][memory]") {
    for (const size_t size :
         {size_t{10}, size_t{300}, size_t{900}, size_t{5'000}, size_t{20'000}}) {
        CAPTURE(size);
        BrokerOptions options = World::test_options();
        options.max_queued_messages = 0;
        World world(options, 3 * kMiB);
        auto& owner = world.client("owner", false);
        owner.send(subscribe(1,
                             {
                                 {"q", 1}
        }));
        owner.hang_up();
        auto& good = world.client("good");
        good.send(subscribe(1,
                            {
                                {"t", 0}
        }));
        good.take_output();
        std::deque<FakeConnection*> publishers{&world.client("p0"), &world.client("p1")};
        uint32_t acknowledged[2] = {0, 0};
        uint32_t sent[2] = {0, 0};
        const auto publish_one = [&](uint32_t p) {
            std::string payload = std::to_string(p) + ":" + std::to_string(++sent[p]) + ";";
            payload.resize(size, '.');
            publishers[p]->push(
                publish({.topic = "q",
                         .payload = payload,
                         .qos = 1,
                         .packet_id = static_cast<uint16_t>(sent[p] % 60'000 + 1)}));
        };
        const auto count_acks = [&] {
            for (uint32_t p = 0; p < 2; ++p)
                acknowledged[p] += static_cast<uint32_t>(publishers[p]->take_output().size() / 4);
        };
        const auto stopped = [&](uint32_t p) {
            return publishers[p]->stopped() == StopReason::kMemory;
        };
        for (uint32_t i = 0; i < 200'000 && !(stopped(0) && stopped(1)); ++i) {
            for (uint32_t p = 0; p < 2; ++p) {
                if (!stopped(p)) publish_one(p);
            }
            world.turn();
        }
        REQUIRE(stopped(0));
        REQUIRE(stopped(1));
        count_acks();
        REQUIRE(acknowledged[0] == sent[0] - 1);
        REQUIRE(acknowledged[1] == sent[1] - 1);
        REQUIRE(world.stats().queued == acknowledged[0] + acknowledged[1]);
        REQUIRE(world.stats().queued_bytes == world.stats().queued * size);
        world.advance(500);
        REQUIRE(stopped(0));
        // Life goes on.
        auto& late = world.connection();
        late.send(connect("late"));
        REQUIRE(late.received() == "CONNACK(0)");
        good.send(pingreq() + publish({.topic = "t", .payload = "m"}));
        REQUIRE(good.received() == "PINGRESP PUBLISH(t,m,q0)");
        REQUIRE(world.stats().dropped == 0);
        // The owner comes for it.
        auto& back = world.connection();
        back.send(connect("owner", false));
        std::string rest = back.take_output();
        REQUIRE(describe(rest.substr(0, 4)) == "CONNACK(0,present)");
        rest.erase(0, 4);
        uint32_t last[2] = {0, 0};
        for (uint32_t round = 0; round < 200'000; ++round) {
            std::string acks;
            size_t at = 0;
            while (const size_t packet = packet_size(std::string_view(rest).substr(at))) {
                const std::string_view body =
                    std::string_view(rest).substr(at + packet - size - 5, size + 5);
                REQUIRE((rest[at] & 8) == 0);
                const auto p = static_cast<uint32_t>(body[5] - '0');
                const auto number =
                    static_cast<uint32_t>(std::stoul(std::string(body.substr(7, 8))));
                REQUIRE(number == ++last[p]);
                acks += raw(0x40, body.substr(3, 2));
                at += packet;
            }
            rest.erase(0, at);
            count_acks();
            if (last[0] == sent[0] && last[1] == sent[1]) break;
            back.push(acks);
            world.advance(acks.empty() ? 50 : 0);
            rest += back.take_output();
        }
        REQUIRE(last[0] == sent[0]);
        REQUIRE(last[1] == sent[1]);
        count_acks();
        REQUIRE(acknowledged[0] == sent[0]);
        REQUIRE(acknowledged[1] == sent[1]);
        REQUIRE(world.stats().dropped == 0);
        REQUIRE(world.end() == 0);
    }
}

// What stays for ever must not keep out who comes: a flood of retained topics stops growing before
// new clients are refused, what is there can still be replaced and cleared, and room comes back.
TEST_CASE("retained messages fill memory only so far", "[wire][memory]") {
    World world(World::test_options(), 3 * kMiB);
    auto& flood = world.client("flood");
    uint32_t sent = 0;
    while (drops(world, Drop::kMemory) == 0 && sent < 100'000) {
        flood.send(publish({.topic = "r/" + std::to_string(++sent),
                            .payload = std::string(900, 'r'),
                            .retain = true}));
    }
    REQUIRE(drops(world, Drop::kMemory) == 1);
    REQUIRE(world.arena().pressure() == Arena::Pressure::kGrowth);
    for (int i = 0; i < 100; ++i) {
        flood.send(publish({.topic = "more/" + std::to_string(i), .payload = "m", .retain = true}));
    }
    REQUIRE(drops(world, Drop::kMemory) == 101);
    world.client("late");
    flood.send(publish({.topic = "r/1", .payload = "new", .retain = true}));
    REQUIRE(drops(world, Drop::kMemory) == 101);
    auto& reader = world.client("reader");
    reader.send(subscribe(1,
                          {
                              {"r/1", 0}
    }));
    REQUIRE(reader.received() == "SUBACK(1,0) PUBLISH(r/1,new,q0,retain)");
    for (uint32_t i = 1; i <= sent; ++i)
        flood.push(publish({.topic = "r/" + std::to_string(i), .retain = true}));
    world.settle();
    REQUIRE(world.arena().pressure() == Arena::Pressure::kNone);
    flood.send(publish({.topic = "again", .payload = "m", .retain = true}));
    REQUIRE(drops(world, Drop::kMemory) == 101);
    REQUIRE(world.end() == 0);
}

// A queue for one who is away is the same: its publisher waits, others come in.
TEST_CASE("queues of the absent fill memory only so far", "[wire][memory]") {
    BrokerOptions options = World::test_options();
    options.max_queued_messages = 0;
    World world(options, 3 * kMiB);
    auto& owner = world.client("owner", false);
    owner.send(subscribe(1,
                         {
                             {"q", 1}
    }));
    owner.hang_up();
    auto& publisher = world.client("p");
    for (uint32_t i = 1; i < 60'000 && publisher.stopped() != StopReason::kMemory; ++i) {
        publisher.push(publish({.topic = "q",
                                .payload = std::string(500, 'q'),
                                .qos = 1,
                                .packet_id = static_cast<uint16_t>(i)}));
        world.turn();
    }
    REQUIRE(publisher.stopped() == StopReason::kMemory);
    REQUIRE(world.arena().pressure() == Arena::Pressure::kGrowth);
    for (int i = 0; i < 50; ++i)
        world.client("late" + std::to_string(i));
    REQUIRE(world.stats().dropped == 0);
    REQUIRE(world.end() == 0);
}

// A reader that is blocked when memory ends keeps what was queued for it or is closed as slow:
// never a gap in a stream that goes on.
TEST_CASE("a blocked QoS 1 reader is shed, not robbed", "[wire][memory]") {
    BrokerOptions options = World::test_options();
    options.max_queued_messages = 0;
    World world(options, 3 * kMiB);
    auto& slow = world.client("slow", false);
    slow.send(subscribe(1,
                        {
                            {"q", 1}
    }));
    slow.take_output();
    slow.set_room(0);
    auto& publisher = world.client("p");
    uint32_t sent = 0;
    while (world.stats().slow_closed == 0 && sent < 50'000) {
        ++sent;
        publisher.push(publish({.topic = "q",
                                .payload = std::to_string(sent) + std::string(600, '.'),
                                .qos = 1,
                                .packet_id = static_cast<uint16_t>(sent % 60'000 + 1)}));
        world.turn();
    }
    REQUIRE(world.stats().slow_closed == 1);
    REQUIRE_FALSE(slow.open());
    REQUIRE(publisher.open());
    REQUIRE(world.stats().dropped == 0);
    slow.set_room(kEndless);
    REQUIRE(world.end() == 0);
}
