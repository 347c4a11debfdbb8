// A disk that fails: what would have to be kept is refused or waits; everything else goes on.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

void join(World& world, std::string_view id, const Filters& filters) {
    auto& client = world.client(id, false);
    client.send(subscribe(1, filters));
    client.hang_up();
}

std::string publish5(const std::string& topic, int qos, uint16_t packet_id) {
    packets5::Publish fields{.topic = topic, .payload = "5", .qos = qos, .packet_id = packet_id};
    return packets5::publish(fields);
}

void fail(FakeJournal& journal, bool failing) {
    journal.fail(failing);
    journal.sync_each_turn(!failing);
}

}  // namespace

TEST_CASE("5.0 is told that the disk is full, where something would have to be kept",
          "[wire][durable]") {
    FakeJournal journal;
    World world(journal);
    join(world,
         "stays",
         {
             {"kept", 1}
    });
    auto& live = world.client("live");
    live.send(subscribe(1,
                        {
                            {"live", 2}
    }));
    live.take_output();
    packets5::Connect lasting{.client_id = "lasting"};
    lasting.clean = false;
    lasting.properties = packets5::property(Property::kSessionExpiryInterval, 1'000);
    auto& writer = world.client5(lasting);
    auto& passing = world.client5({.client_id = "passing"});
    fail(journal, true);

    writer.send(publish5("kept", 1, 1));
    CHECK(writer.received().starts_with("PUBACK(1,x97)"));
    writer.send(publish5("live", 2, 2));
    CHECK(writer.received().starts_with("PUBREC(2,x97)"));
    // Nothing of this is kept, and it flows.
    writer.send(publish5("live", 1, 3) + publish5("live", 0, 0));
    CHECK(writer.received() == "PUBACK(3)");
    passing.send(publish5("live", 2, 4) + packets5::ack(PacketType::kPubrel, 4));
    CHECK(passing.received() == "PUBREC(4) PUBCOMP(4)");
    CHECK(live.received() == "PUBLISH(live,5,q1,id1) PUBLISH(live,5,q0) PUBLISH(live,5,q2,id2)");
    CHECK(world.stats().drops[static_cast<uint32_t>(Drop::kDisk)] == 2);
    CHECK(world.stats().queued == 0);

    fail(journal, false);
    writer.send(publish5("kept", 1, 5));
    CHECK(writer.received() == "PUBACK(5)");
    CHECK(world.stats().queued == 1);
}

TEST_CASE("3.x waits for the disk, is closed, comes back and loses nothing", "[wire][durable]") {
    FakeJournal journal;
    BrokerOptions options = World::test_options();
    options.disk_wait_s = 10;
    auto world = std::make_unique<World>(options, size_t{64} << 20, &journal);
    join(*world,
         "stays",
         {
             {"kept", 2}
    });
    auto* writer = &world->client("writer", false);
    auto& before = world->client("before", false);
    journal.sync_each_turn(false);
    before.send(publish({.topic = "kept", .payload = "0", .qos = 1, .packet_id = 9}));
    fail(journal, true);
    CHECK(before.received().empty());  // it had been taken in, and is not safe
    writer->send(publish({.topic = "kept", .payload = "1", .qos = 1, .packet_id = 1}) +
                 publish({.topic = "zero", .payload = "2"}));
    CHECK(writer->stopped() == StopReason::kJournal);
    world->advance(9'000);
    CHECK(writer->open());
    CHECK(before.open());
    world->advance(11'100);
    CHECK_FALSE(writer->open());
    CHECK_FALSE(before.open());
    CHECK(world->stats().disk_closed == 2);

    // It is let in, though nothing can be written, and gets what waits for it.
    auto& reader = world->connection();
    reader.send(connect("stays", false));
    CHECK(reader.received() == "CONNACK(0,present) PUBLISH(kept,0,q1,id1)");
    auto& again = world->connection();
    again.send(connect("writer", false));
    CHECK(again.received() == "CONNACK(0,present)");
    again.send(publish({.topic = "kept", .payload = "1", .qos = 1, .packet_id = 1, .dup = true}));
    CHECK(again.received().empty());
    again.send(publish({.topic = "kept", .payload = "3", .qos = 2, .packet_id = 2}));
    fail(journal, false);
    world->settle();
    CHECK(again.received() == "PUBACK(1) PUBREC(2)");
    CHECK(reader.received() == "PUBLISH(kept,1,q1,id2)");
    world = nullptr;
    journal.cut();
    World next(options, size_t{64} << 20, &journal);
    auto& back = next.connection();
    back.send(connect("stays", false));
    CHECK(back.received() ==
          "CONNACK(0,present) PUBLISH(kept,0,q1,id1,dup) PUBLISH(kept,1,q1,id2,dup)");
    auto& release = next.connection();
    release.send(connect("writer", false) + pubrel(2));
    CHECK(release.received() == "CONNACK(0,present) PUBCOMP(2)");
    CHECK(back.received() == "PUBLISH(kept,3,q2,id3)");
}

TEST_CASE("disk_wait 0 waits for ever", "[wire][durable]") {
    FakeJournal journal;
    BrokerOptions options = World::test_options();
    options.disk_wait_s = 0;
    World world(options, size_t{64} << 20, &journal);
    auto& writer = world.client("writer");
    fail(journal, true);
    writer.send(publish({.topic = "r", .payload = "1", .qos = 1, .packet_id = 1, .retain = true}));
    world.advance(300'000);
    CHECK(writer.open());
    CHECK(writer.stopped() == StopReason::kJournal);
    fail(journal, false);
    world.settle();
    CHECK(writer.received() == "PUBACK(1)");
}

TEST_CASE("on a full and failing disk live messages flow, and what was missed is mended",
          "[wire][durable]") {
    FakeJournal journal(64 * 1024);
    World world(journal);
    join(world,
         "stays",
         {
             {"kept", 1}
    });
    auto& live = world.client("live", false);
    live.send(subscribe(1,
                        {
                            {"live", 1}
    }));
    live.take_output();
    auto& writer = world.client("writer");
    fail(journal, true);
    for (int i = 0; i < 3'000; ++i) {
        // A QoS 0 message that is to be kept: nobody waits for it.
        writer.send(publish({.topic = "r", .payload = std::to_string(i), .retain = true}));
    }
    CHECK(world.stats().journal_missed > 0);
    writer.send(publish({.topic = "live", .payload = "zero"}));
    CHECK(live.received() == "PUBLISH(live,zero,q0)");
    fail(journal, false);
    world.settle();
    world.settle();
    journal.cut();
    World next(journal);
    CHECK(next.restored().retained == 1);
    auto& reader = next.client("reader");
    reader.send(subscribe(1,
                          {
                              {"r", 0}
    }));
    CHECK(reader.received() == "SUBACK(1,0) PUBLISH(r,2999,q0,retain)");
}
