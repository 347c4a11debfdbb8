// What a power cut leaves: sessions, subscriptions, retained messages, queues, flows of QoS 1
// and 2.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

std::unique_ptr<World> begin(FakeJournal& journal,
                             const BrokerOptions& options = World::test_options()) {
    return std::make_unique<World>(options, size_t{64} << 20, &journal);
}

// The power fails and comes back.
void restart(std::unique_ptr<World>& world,
             FakeJournal& journal,
             const BrokerOptions& options = World::test_options()) {
    world = nullptr;
    journal.cut();
    world = begin(journal, options);
}

std::string comes_back(World& world, std::string_view id) {
    auto& client = world.connection();
    client.send(connect(id, false));
    return client.received();
}

void join(World& world, std::string_view id, const Filters& filters) {
    auto& client = world.client(id, false);
    client.send(subscribe(1, filters));
    client.hang_up();
}

}  // namespace

TEST_CASE("retained messages outlive a power cut as they were last", "[wire][durable]") {
    FakeJournal journal;
    auto world = begin(journal);
    auto& writer = world->client("writer");
    for (const char* topic : {"a", "b", "c", "d"}) {
        writer.send(publish({.topic = topic, .payload = "old", .qos = 0, .retain = true}));
    }
    writer.send(
        publish({.topic = "b", .payload = "new", .qos = 1, .packet_id = 1, .retain = true}));
    writer.send(publish({.topic = "c", .payload = "", .retain = true}));
    writer.take_output();
    restart(world, journal);
    CHECK(world->restored().retained == 3);
    auto& reader = world->client("reader");
    reader.send(subscribe(1,
                          {
                              {"#", 1}
    }));
    const std::string got = reader.received();
    CHECK(got.find("PUBLISH(a,old,q0,retain)") != std::string::npos);
    CHECK(got.find("PUBLISH(b,new,q1,id1,retain)") != std::string::npos);
    CHECK(got.find("PUBLISH(c,") == std::string::npos);
    CHECK(got.find("PUBLISH(d,old,q0,retain)") != std::string::npos);
}

TEST_CASE("a session outlives a power cut with its subscriptions and its queue",
          "[wire][durable]") {
    FakeJournal journal;
    auto world = begin(journal);
    join(*world,
         "reader",
         {
             {"a/+", 1},
             {"b",   2},
             {"c",   1}
    });
    auto& passing = world->client("passing");
    passing.send(subscribe(1,
                           {
                               {"a/+", 1}
    }));
    restart(world, journal);
    CHECK(world->restored().sessions == 1);
    CHECK(world->restored().subscriptions == 3);
    auto& again = world->client("writer");
    for (int i = 1; i <= 30; ++i) {
        again.send(publish({.topic = "a/x",
                            .payload = std::to_string(i),
                            .qos = 1,
                            .packet_id = static_cast<uint16_t>(i)}));
    }
    again.send(publish({.topic = "b", .payload = "two", .qos = 2, .packet_id = 50}) + pubrel(50));
    again.take_output();
    restart(world, journal);
    CHECK(world->restored().queued == 31);
    std::string expected = "CONNACK(0,present)";
    for (int i = 1; i <= 20; ++i)
        expected += " PUBLISH(a/x," + std::to_string(i) + ",q1,id" + std::to_string(i) + ")";
    auto& reader = world->connection();
    reader.send(connect("reader", false));
    CHECK(reader.received() == expected);
    // Sent and not acknowledged: they come again with DUP and the same identifiers, then the rest.
    for (int id = 1; id <= 5; ++id)
        reader.send(puback(static_cast<uint16_t>(id)));
    reader.take_output();
    restart(world, journal);
    CHECK(world->restored().under_way == 20);
    CHECK(world->restored().queued == 6);
    auto& back = world->connection();
    back.send(connect("reader", false));
    expected = "CONNACK(0,present)";
    for (int i = 6; i <= 25; ++i)
        expected += " PUBLISH(a/x," + std::to_string(i) + ",q1,id" + std::to_string(i) + ",dup)";
    CHECK(back.received() == expected);
    for (int id = 6; id <= 30; ++id)
        back.send(puback(static_cast<uint16_t>(id)));
    const std::string rest = back.received();
    CHECK(rest.ends_with("PUBLISH(b,two,q2,id31)"));
    back.send(pubrec(31));
    CHECK(back.received() == "PUBREL(31)");
    restart(world, journal);
    CHECK(comes_back(*world, "reader") == "CONNACK(0,present) PUBREL(31)");
    world->advance(10);
}

TEST_CASE("an unsubscribed filter and an ended session do not come back", "[wire][durable]") {
    FakeJournal journal;
    auto world = begin(journal);
    join(*world,
         "one",
         {
             {"a", 1},
             {"b", 1}
    });
    join(*world,
         "two",
         {
             {"a", 1}
    });
    auto& one = world->client("one", false);
    one.send(unsubscribe(2, {"a"}));
    world->client("two", true);
    restart(world, journal);
    CHECK(world->restored().sessions == 1);
    CHECK(world->restored().subscriptions == 1);
    CHECK(comes_back(*world, "one") == "CONNACK(0,present)");
    CHECK(comes_back(*world, "two") == "CONNACK(0)");
}

TEST_CASE("an inbound message of QoS 2 is passed on once, whenever the power fails",
          "[wire][durable]") {
    for (const int moment : {0, 1, 2, 3}) {
        CAPTURE(moment);
        FakeJournal journal;
        auto world = begin(journal);
        join(*world,
             "reader",
             {
                 {"t", 2}
        });
        auto& writer = world->client("writer", false);
        journal.sync_each_turn(false);
        writer.send(publish({.topic = "t", .payload = "x", .qos = 2, .packet_id = 9}));
        if (moment >= 1) {
            journal.sync();
            world->settle();
            CHECK(writer.received() == "PUBREC(9)");
        }
        if (moment >= 2) writer.send(pubrel(9));
        if (moment >= 3) {
            journal.sync();
            world->settle();
            CHECK(writer.received() == "PUBCOMP(9)");
        }
        journal.sync_each_turn(true);
        restart(world, journal);
        auto& back = world->connection();
        back.send(connect("writer", false));
        CHECK(back.received() == "CONNACK(0,present)");
        if (moment < 1) {
            back.send(
                publish({.topic = "t", .payload = "x", .qos = 2, .packet_id = 9, .dup = true}));
            CHECK(back.received() == "PUBREC(9)");
        }
        back.send(pubrel(9));
        CHECK(back.received() == "PUBCOMP(9)");
        CHECK(comes_back(*world, "reader") == "CONNACK(0,present) PUBLISH(t,x,q2,id1)");
    }
}

TEST_CASE("5.0: identifiers, options, expiry and properties outlive a power cut",
          "[wire][durable]") {
    FakeJournal journal;
    auto world = begin(journal);
    packets5::Connect fields{.client_id = "reader"};
    fields.clean = false;
    fields.properties = packets5::property(Property::kSessionExpiryInterval, 1'000);
    auto& reader = world->client5(fields);
    reader.send(packets5::subscribe(1,
                                    {
                                        {"t", 1 | 8}
    },
                                    packets5::property(Property::kSubscriptionIdentifier, 300)));
    reader.send(packets5::subscribe(2,
                                    {
                                        {"+", 1 | 4}
    },
                                    packets5::property(Property::kSubscriptionIdentifier, 7)));
    reader.hang_up();
    auto& writer = world->client5({.client_id = "writer"});
    packets5::Publish message{.topic = "t", .payload = "p", .qos = 1, .packet_id = 1};
    message.retain = true;
    message.properties = packets5::property(Property::kMessageExpiryInterval, 100) +
                         packets5::property(Property::kContentType, "c");
    writer.send(packets5::publish(message));
    CHECK(writer.received().starts_with("PUBACK(1"));
    restart(world, journal);
    CHECK(world->restored().queued == 2);
    world->advance(40'000);
    auto& back = world->connection();
    back.speak_v5();
    back.send(packets5::connect(fields));
    const std::string got = back.received();
    CAPTURE(got);
    CHECK(got.find("300") != std::string::npos);
    CHECK(got.find("retain") != std::string::npos);
    const bool counted_down =
        got.find("60") != std::string::npos || got.find("59") != std::string::npos;
    CHECK(counted_down);
    back.hang_up();
    world->advance(990'000);
    restart(world, journal);
    CHECK(world->restored().sessions == 1);
    world->advance(20'000);  // with what was before the cut it has been away for too long
    CHECK(world->stats().sessions == 0);
}

TEST_CASE("who was connected when the power failed has been away since then", "[wire][durable]") {
    FakeJournal journal;
    auto world = begin(journal);
    packets5::Connect fields{.client_id = "c"};
    fields.clean = false;
    fields.properties = packets5::property(Property::kSessionExpiryInterval, 100);
    world->client5(fields);
    world->advance(61'000);  // a clock record was written
    world = nullptr;
    journal.cut();
    for (const bool late : {false, true}) {
        FakeJournal copy = journal;
        World next(copy);
        CHECK(next.restored().sessions == 1);
        next.advance(late ? 300'000 : 1'000);
        CHECK(next.stats().sessions == (late ? 0u : 1u));
    }
    // Starts that follow each other do not make it stay longer.
    for (const uint64_t sessions : {1u, 1u, 0u}) {
        world = begin(journal);
        world->advance(40'000);
        CHECK(world->stats().sessions == sessions);
        world = nullptr;
        journal.cut();
    }
}

TEST_CASE("the will of who was connected is sent after a power cut, of who left it is not",
          "[wire][durable]") {
    FakeJournal journal;
    auto world = begin(journal);
    join(*world,
         "reader",
         {
             {"will/#", 1}
    });
    for (const char* id : {"dies", "leaves"}) {
        packets::Connect fields;
        fields.client_id = id;
        fields.clean = false;
        fields.will_topic = std::string("will/") + id;
        fields.will_payload = "gone";
        fields.will_qos = 1;
        auto& client = world->client(fields);
        if (fields.client_id == "leaves") client.send(disconnect());
    }
    world->advance(10);
    restart(world, journal);
    world->advance(100);
    CHECK(comes_back(*world, "reader") == "CONNACK(0,present) PUBLISH(will/dies,gone,q1,id1)");
    restart(world, journal);
    world->advance(100);  // not a second time
    CHECK(world->stats().queued == 0);
}

TEST_CASE("CONNECTs wait for the journal, and are told when that takes long", "[wire][durable]") {
    FakeJournal journal;
    World world(journal);
    world.broker().begin_restore();
    auto& early = world.connection();
    early.send(connect("early", false));
    CHECK(early.received().empty());
    CHECK(early.stopped() == StopReason::kParked);
    world.advance(10'100);  // connect_timeout
    CHECK(early.received() == "CONNACK(3)");
    CHECK_FALSE(early.open());
    auto& late = world.connection();
    late.send(connect("late", false) + pingreq());
    CHECK(late.received().empty());
    (void)world.broker().end_restore();
    world.settle();
    CHECK(late.received() == "CONNACK(0) PINGRESP");
}

TEST_CASE("a clean start while the journal is read ends what is read only then",
          "[wire][durable]") {
    FakeJournal journal;
    auto world = begin(journal);
    join(*world,
         "returns",
         {
             {"t", 1}
    });
    world->client("writer").send(publish({.topic = "t", .payload = "1", .qos = 1, .packet_id = 1}));
    const FakeJournal before = journal;

    // The next life: its client is there before the session is.
    FakeJournal fresh;
    const auto next = std::make_unique<World>(fresh);
    next->broker().begin_restore();
    auto& early = next->connection();
    early.send(connect("returns", true));
    CHECK(early.stopped() == StopReason::kParked);
    before.visit([&](uint8_t type, uint64_t position, Bytes body) {
        next->broker().restore(type, position, body);
    });
    CHECK(early.received().empty());
    CHECK(next->broker().end_restore().queued == 1);
    next->settle();
    CHECK(early.received() == "CONNACK(0)");
    CHECK(next->stats().queued == 0);
    early.hang_up();
    CHECK(comes_back(*next, "returns") == "CONNACK(0)");  // no session
}

TEST_CASE("a will that an orderly end has sent is not sent again", "[wire][durable]") {
    FakeJournal journal;
    auto world = begin(journal);
    join(*world,
         "reader",
         {
             {"will", 1}
    });
    packets::Connect fields;
    fields.client_id = "willing";
    fields.clean = false;
    fields.will_topic = "will";
    fields.will_qos = 1;
    world->client(fields);
    while (!world->broker().shut_down())
        world->turn();
    world->settle();
    restart(world, journal);
    world->advance(100);
    CHECK(world->stats().queued == 1);
}

TEST_CASE("what memory has no room for stays in the journal", "[wire][durable]") {
    FakeJournal journal;
    BrokerOptions options = World::test_options();
    options.journal_slack_bytes = 10'000;
    auto world = begin(journal, options);
    auto& writer = world->client("writer");
    const std::string payload(30'000, 'x');
    for (int i = 0; i < 300; ++i)
        writer.send(publish({.topic = std::to_string(i), .payload = payload, .retain = true}));
    world = nullptr;
    journal.cut();
    {
        World small(options, size_t{6} << 20, &journal);
        CHECK(small.restored().no_memory > 0);
        small.advance(1'000);
        CHECK(small.stats().journal_rounds == 0);
    }
    journal.cut();
    World large(options, size_t{64} << 20, &journal);
    CHECK(large.restored().retained == 300);
}

// Whatever was acknowledged is there at every place where the power may fail, in order and once.
TEST_CASE("nothing acknowledged is lost, wherever the journal is cut", "[wire][durable]") {
    struct Acked {
        uint64_t durable;  // when the answer left
        int number;
    };

    FakeJournal journal;
    std::vector<Acked> acked;
    {
        World world(journal);
        join(world,
             "reader",
             {
                 {"t", 2}
        });
        auto& writer = world.client("writer", false);
        for (int i = 1; i <= 40; ++i) {
            journal.sync_each_turn(i % 3 != 0);
            const auto id = static_cast<uint16_t>(i);
            const int qos = 1 + i % 2;
            writer.send(
                publish({.topic = "t", .payload = std::to_string(i), .qos = qos, .packet_id = id}));
            if (qos == 2) writer.send(pubrel(id));
            journal.sync_each_turn(true);
            world.settle();
            const std::string got = writer.received();
            REQUIRE(got.find(qos == 1 ? "PUBACK" : "PUBCOMP") != std::string::npos);
            acked.push_back({journal.durable(), i});
        }
    }
    const uint64_t end = journal.tail();
    for (uint64_t at = acked.front().durable; at <= end; at += 8) {
        FakeJournal rest = journal;
        rest.cut_at(at);
        BrokerOptions options = World::test_options();
        options.max_inflight_messages = 100;
        World world(options, size_t{8} << 20, &rest);
        auto& reader = world.connection();
        reader.send(connect("reader", false));
        const std::string got = reader.received();
        int last = 0;
        for (const Acked& each : acked) {
            if (each.durable > at) break;
            last = each.number;
        }
        // In their order at either QoS, from the first to the last that was acknowledged, maybe
        // some more.
        size_t behind[2] = {0, 0};
        for (int i = 1; i <= last; ++i) {
            size_t& from = behind[i % 2];
            CAPTURE(i, at, got);
            const size_t found = got.find("PUBLISH(t," + std::to_string(i) + ",q", from);
            REQUIRE(found != std::string::npos);
            from = found + 1;
            REQUIRE(got.find("PUBLISH(t," + std::to_string(i) + ",q", from) == std::string::npos);
        }
    }
}

// It is not as old as the broker's life, but as it is.
TEST_CASE("retain_max_age counts on through a restart and rounds", "[wire][durable]") {
    BrokerOptions options = World::test_options();
    options.retain_max_age_s = 100;
    options.journal_slack_bytes = 200;
    FakeJournal journal;
    auto world = begin(journal, options);
    const auto keep = [&](const char* topic) {
        auto& writer = world->client("writer");
        writer.send(publish({.topic = topic, .payload = "x", .retain = true}));
        writer.hang_up();
    };
    const auto kept = [&] {
        auto& reader = world->client("reader");
        reader.send(subscribe(1,
                              {
                                  {"#", 1}
        }));
        std::string got = reader.received();
        reader.hang_up();
        return got.substr(got.find(' ') == std::string::npos ? got.size() : got.find(' ') + 1);
    };
    keep("a");
    world->advance(60'000);
    keep("b");
    const uint64_t rounds = world->stats().journal_rounds;
    for (int i = 0; i < 50; ++i)
        keep("c");
    CHECK(world->stats().journal_rounds > rounds);
    restart(world, journal, options);
    CHECK(world->restored().retained == 3);
    world->advance(39'000);
    CHECK(kept() == "PUBLISH(a,x,q0,retain) PUBLISH(b,x,q0,retain) PUBLISH(c,x,q0,retain)");
    world->advance(2'000);
    CHECK(kept() == "PUBLISH(b,x,q0,retain) PUBLISH(c,x,q0,retain)");
    restart(world, journal, options);
    world->advance(60'000);
    CHECK(kept().empty());
}
