// Answers wait until what they acknowledge is durable, in their order; nothing else waits.

#include "broker/durable_records.h"
#include "support/world.h"

#include <algorithm>
#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

// A client with a session that stays, connected and subscribed.
FakeConnection& stays(World& world, std::string_view id, const Filters& filters = {}) {
    FakeConnection& client = world.client(id, false);
    if (!filters.empty()) client.send(subscribe(1, filters));
    client.take_output();
    return client;
}

}  // namespace

TEST_CASE("PUBACK, PUBREC and PUBCOMP leave when their message is safe", "[wire][durable]") {
    FakeJournal journal;
    World world(journal);
    stays(world,
          "reader",
          {
              {"t", 2}
    })
        .hang_up();
    auto& writer = stays(world, "writer");
    journal.sync_each_turn(false);
    const uint64_t held = world.stats().answers_held;

    writer.send(publish({.topic = "t", .payload = "1", .qos = 1, .packet_id = 7}));
    CHECK(writer.received().empty());
    journal.sync();
    world.settle();
    CHECK(writer.received() == "PUBACK(7)");

    writer.send(publish({.topic = "t", .payload = "2", .qos = 2, .packet_id = 8}));
    CHECK(writer.received().empty());
    journal.sync();
    world.settle();
    CHECK(writer.received() == "PUBREC(8)");
    writer.send(pubrel(8));
    CHECK(writer.received().empty());
    journal.sync();
    world.settle();
    CHECK(writer.received() == "PUBCOMP(8)");
    CHECK(world.stats().answers_held == held + 3);
}

TEST_CASE("answers keep their order, those that wait for nothing behind those that do",
          "[wire][durable]") {
    FakeJournal journal;
    World world(journal);
    stays(world,
          "reader",
          {
              {"t", 1}
    })
        .hang_up();
    auto& writer = stays(world, "writer");
    journal.sync_each_turn(false);
    writer.send(publish({.topic = "nobody", .qos = 1, .packet_id = 1}));
    CHECK(writer.received() == "PUBACK(1)");  // nothing was recorded: nothing is owed
    writer.send(publish({.topic = "t", .qos = 1, .packet_id = 2}) +
                publish({.topic = "nobody", .qos = 1, .packet_id = 3}) + pingreq());
    CHECK(writer.received() == "PINGRESP");
    const uint64_t first = journal.tail();
    writer.send(publish({.topic = "t", .qos = 1, .packet_id = 4}));
    journal.sync_to(first);
    world.settle();
    CHECK(writer.received() == "PUBACK(2) PUBACK(3)");
    journal.sync();
    world.settle();
    CHECK(writer.received() == "PUBACK(4)");
}

TEST_CASE("a publish that touches nothing durable owes no sync", "[wire][durable]") {
    FakeJournal journal;
    World world(journal);
    auto& reader = world.client("reader");
    reader.send(subscribe(1,
                          {
                              {"t", 2}
    }));
    reader.take_output();
    auto& writer = world.client("writer");
    const uint64_t before = journal.appended();
    journal.sync_each_turn(false);
    writer.send(publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}) +
                publish({.topic = "t", .payload = "y", .qos = 2, .packet_id = 2}) + pubrel(2));
    CHECK(writer.received() == "PUBACK(1) PUBREC(2) PUBCOMP(2)");
    CHECK(reader.received() == "PUBLISH(t,x,q1,id1) PUBLISH(t,y,q2,id2)");
    CHECK(journal.appended() == before);
    CHECK(world.stats().answers_held == 0);
}

TEST_CASE("deliveries at QoS 0 and 1 leave at once, at QoS 2 when their identifier is safe",
          "[wire][durable]") {
    FakeJournal journal;
    World world(journal);
    auto& reader = stays(world,
                         "reader",
                         {
                             {"t", 2}
    });
    auto& writer = world.client("writer");
    journal.sync_each_turn(false);
    for (int qos = 0; qos <= 2; ++qos) {
        const auto id = static_cast<uint16_t>(qos);
        writer.send(
            publish({.topic = "t", .payload = std::to_string(qos), .qos = qos, .packet_id = id}));
        if (qos == 2) writer.send(pubrel(2));
    }
    CHECK(reader.received() == "PUBLISH(t,0,q0) PUBLISH(t,1,q1,id1)");
    CHECK(writer.received().empty());
    journal.sync();
    world.settle();
    CHECK(reader.received() == "PUBLISH(t,2,q2,id2)");
    CHECK(writer.received() == "PUBACK(1) PUBREC(2) PUBCOMP(2)");
    reader.send(pubrec(2));
    CHECK(reader.received().empty());
    journal.sync();
    world.settle();
    CHECK(reader.received() == "PUBREL(2)");
}

TEST_CASE("SUBACK and UNSUBACK of a session that stays wait, of another they do not",
          "[wire][durable]") {
    FakeJournal journal;
    World world(journal);
    auto& lasting = stays(world, "lasting");
    auto& passing = world.client("passing");
    journal.sync_each_turn(false);
    passing.send(subscribe(1,
                           {
                               {"a", 1}
    }) +
                 unsubscribe(2, {"a"}));
    CHECK(passing.received() == "SUBACK(1,1) UNSUBACK(2)");
    lasting.send(subscribe(1,
                           {
                               {"a",   1},
                               {"b/#", 2}
    }) +
                 unsubscribe(2, {"a"}));
    CHECK(lasting.received().empty());
    journal.sync();
    world.settle();
    CHECK(lasting.received() == "SUBACK(1,1,2) UNSUBACK(2)");
}

TEST_CASE("until its CONNACK may leave nothing goes to a client", "[wire][durable]") {
    FakeJournal journal;
    World world(journal);
    stays(world,
          "reader",
          {
              {"t", 1}
    })
        .hang_up();
    auto& writer = world.client("writer");
    writer.send(publish({.topic = "t", .payload = "kept", .qos = 1, .packet_id = 1}));
    writer.take_output();
    journal.sync_each_turn(false);

    auto& reader = world.connection();
    reader.send(connect("reader", false) + pingreq() +
                subscribe(2,
                          {
                              {"u", 1}
    }));
    CHECK(reader.received().empty());
    writer.send(publish({.topic = "t", .payload = "more", .qos = 1, .packet_id = 2}));
    writer.send(publish({.topic = "t", .payload = "zero"}));
    CHECK(reader.received().empty());
    journal.sync();
    world.settle();
    const std::string got = reader.received();
    CHECK(got.starts_with("CONNACK(0,present)"));
    CHECK(got.find("PINGRESP") != std::string::npos);
    CHECK(got.find("PUBLISH(t,kept,q1,id1)") < got.find("PUBLISH(t,more,q1,id2)"));
    CHECK(got.find("SUBACK(2,1)") != std::string::npos);

    // One that goes before it was let in leaves nothing behind.
    auto& gone = world.connection();
    gone.send(connect("gone", false) + pingreq());
    gone.hang_up();
    journal.sync();
    world.settle();
    auto& back = world.connection();
    journal.sync_each_turn(true);
    back.send(connect("gone", false));
    CHECK(back.received() == "CONNACK(0,present)");
}

TEST_CASE("with sync interval or none answers leave at once", "[wire][durable]") {
    FakeJournal journal;
    journal.hold_answers(false);
    World world(journal);
    auto& reader = stays(world,
                         "reader",
                         {
                             {"t", 2}
    });
    journal.sync_each_turn(false);
    auto& writer = stays(world, "writer");
    writer.send(publish({.topic = "t", .qos = 2, .packet_id = 1}) + pubrel(1));
    CHECK(writer.received() == "PUBREC(1) PUBCOMP(1)");
    CHECK(reader.received() == "PUBLISH(t,,q2,id1)");
    CHECK(world.stats().answers_held == 0);
    CHECK(journal.room() < journal.capacity());
}

TEST_CASE("a publish to many is acknowledged when all of them are recorded", "[wire][durable]") {
    FakeJournal journal;
    BrokerOptions options = World::test_options();
    options.fanout_slice = 10;
    options.turn_units = 60;
    World world(journal, options);
    for (int i = 0; i < 100; ++i)
        stays(world,
              "r" + std::to_string(i),
              {
                  {"t", 2}
        })
            .hang_up();
    auto& writer = stays(world, "writer");
    for (const int qos : {1, 2}) {
        CAPTURE(qos);
        const uint64_t queued = world.stats().queued;
        writer.push(publish({.topic = "t", .qos = qos, .packet_id = 5}) +
                    (qos == 2 ? pubrel(5) : ""));
        const std::string last = qos == 1 ? "PUBACK(5)" : "PUBCOMP(5)";
        std::string got;
        while (got.find(last) == std::string::npos) {
            CHECK(world.stats().queued - queued <= 100);
            world.turn();
            got += writer.received();
        }
        CHECK(world.stats().queued - queued == 100);
        CHECK(world.stats().fanout_jobs_now == 0);
    }
}

TEST_CASE("a full journal stops the links that need it, and only those", "[wire][durable]") {
    FakeJournal journal(256 * 1024);
    BrokerOptions options = World::test_options();
    options.max_queued_messages = 0;
    World world(journal, options);
    auto& reader = stays(world,
                         "reader",
                         {
                             {"t", 1}
    });
    auto& writer = stays(world, "writer");
    auto& other = world.client("other");
    other.send(subscribe(1,
                         {
                             {"zero", 0}
    }));
    other.take_output();
    journal.sync_each_turn(false);
    const std::string payload(1'000, 'x');
    uint16_t sent = 0;
    while (writer.stopped() == StopReason::kNone && sent < 1'000)
        writer.send(publish({.topic = "t", .payload = payload, .qos = 1, .packet_id = ++sent}));
    REQUIRE(writer.stopped() == StopReason::kJournal);
    CHECK(journal.room() > 0);
    CHECK(writer.received().empty());

    // QoS 0 flows on, pings are answered.
    auto& zero = world.client("zero");
    zero.send(publish({.topic = "zero", .payload = "0"}) + pingreq());
    CHECK(zero.received() == "PINGRESP");
    CHECK(other.received() == "PUBLISH(zero,0,q0)");
    world.advance(60'000);
    CHECK(writer.open());

    journal.sync_each_turn(true);
    world.settle();
    CHECK(writer.stopped() == StopReason::kNone);
    std::string acks;
    for (uint16_t id = 1; id <= sent; ++id)
        acks += (id == 1 ? "PUBACK(" : " PUBACK(") + std::to_string(id) + ")";
    CHECK(writer.received() == acks);
    CHECK(reader.open());
}

// The value that was there may come back with a power cut until its end is safe, whoever ended it.
TEST_CASE("who clears what was cleared a moment ago waits for that", "[wire][durable]") {
    FakeJournal journal;
    World world(journal);
    auto& writer = stays(world, "writer");
    writer.send(publish({.topic = "t", .payload = "old", .retain = true}));
    journal.sync_each_turn(false);
    writer.send(publish({.topic = "t", .payload = "", .retain = true}));
    writer.send(publish({.topic = "t", .payload = "", .qos = 1, .packet_id = 1, .retain = true}));
    CHECK(writer.received().empty());
    journal.sync();
    world.settle();
    CHECK(writer.received() == "PUBACK(1)");
    const uint64_t before = journal.appended();
    writer.send(publish({.topic = "t", .payload = "", .qos = 1, .packet_id = 2, .retain = true}));
    CHECK(writer.received() == "PUBACK(2)");  // it had gone for good
    CHECK(journal.appended() == before);
}

TEST_CASE("a session that ends with its connection is gone before its client is told of the next",
          "[wire][durable]") {
    FakeJournal journal;
    World world(journal);
    stays(world, "c").hang_up();
    journal.sync_each_turn(false);
    // Taken up by a connection with which it is to end, and that was never answered.
    auto& last = world.connection();
    last.send(packets5::connect({.client_id = "c", .clean = false}));
    CHECK(last.received().empty());
    auto& next = world.connection();
    next.send(connect("c", true));
    CHECK(next.received().empty());
    journal.sync();
    world.settle();
    CHECK(next.received() == "CONNACK(0)");
}

// Its publisher tries again every now and then; the answer waits for what was said the first time.
TEST_CASE("a retained message that waits for memory is said once", "[wire][durable]") {
    uint32_t waited = 0;
    for (uint64_t n = 1; n <= 30; ++n) {
        INFO(n);
        FakeJournal journal;
        World world(journal);
        stays(world,
              "reader",
              {
                  {"t", 1}
        })
            .hang_up();
        auto& writer = stays(world, "writer");
        journal.sync_each_turn(false);
        writer.push(
            publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1, .retain = true}));
        world.arena().refuse_nth(n + 1);  // the first is for the input itself
        world.settle();
        world.advance(200);
        world.arena().refuse_nth(n + 1);
        world.advance(200);
        world.arena().refuse_nth(0);
        const bool again = world.stats().refused_memory > 0;
        world.advance(200);
        CHECK(writer.received().empty());
        journal.sync();
        world.settle();
        const auto retained = std::count_if(
            journal.records().begin(), journal.records().end(), [](const auto& record) {
                return record.type == static_cast<uint8_t>(DurableType::kRetained);
            });
        CHECK(writer.received() == "PUBACK(1)");
        const uint64_t dropped = world.stats().drops[static_cast<uint32_t>(Drop::kMemory)];
        CHECK(static_cast<uint64_t>(retained) + dropped == 1);
        waited += again ? 1 : 0;
    }
    CHECK(waited >= 3);
}
