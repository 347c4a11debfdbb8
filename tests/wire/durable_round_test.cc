// Rounds: everything that lives is said once more, and the begin of the journal goes.

#include "base/prng.h"
#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

BrokerOptions small_slack() {
    BrokerOptions options = World::test_options();
    options.journal_slack_bytes = 20'000;
    options.max_queued_messages = 0;
    options.max_inflight_messages = 500;
    return options;
}

// What a client that comes back is told, and what is retained.
std::string state_of(World& world, const std::vector<std::string>& ids) {
    std::string all;
    for (const std::string& id : ids) {
        auto& client = world.connection();
        client.send(connect(id, false));
        all += id + ": " + client.received() + "\n";
    }
    auto& reader = world.client("state reader");
    reader.send(subscribe(1,
                          {
                              {"#", 0}
    }));
    all += reader.received();
    return all;
}

}  // namespace

TEST_CASE("the journal stays as small as what lives, and loses nothing", "[wire][durable]") {
    FakeJournal journal;
    auto world = std::make_unique<World>(small_slack(), size_t{64} << 20, &journal);
    std::vector<std::string> ids;
    for (int i = 0; i < 8; ++i) {
        ids.push_back("s" + std::to_string(i));
        auto& client = world->client(ids.back(), false);
        client.send(subscribe(1,
                              {
                                  {"q/" + ids.back(), 1 + i % 2},
                                  {"all",             1        }
        }));
        if (i % 4 != 0) client.hang_up();
        client.take_output();
    }
    auto& writer = world->client("writer", false);
    Prng dice(7);
    const std::string payload(200, 'p');
    uint16_t id = 0;
    uint64_t largest = 0;
    uint64_t lives = 0;
    for (int i = 0; i < 4'000; ++i) {
        id = static_cast<uint16_t>(id % 60'000 + 1);
        const std::string& who = ids[dice.below(8)];
        switch (dice.below(12)) {
            case 0:
                writer.send(
                    publish({.topic = "r/" + who, .payload = std::to_string(i), .retain = true}));
                break;
            case 1: {  // comes, takes what is there, goes
                auto& client = world->connection();
                client.send(connect(who, false));
                client.send(subscribe(3,
                                      {
                                          {"more/" + std::to_string(i % 20), 1}
                }));
                if (i % 3 == 0) client.send(unsubscribe(4, {"more/" + std::to_string(i % 20)}));
                for (uint16_t ack = 1; ack < 400; ++ack)
                    client.send(puback(ack));
                for (uint16_t ack = 1; ack < 400; ++ack)
                    client.push(pubrec(ack) + pubcomp(ack));
                world->settle();
                client.hang_up();
                break;
            }
            default:
                writer.send(publish({.topic = "q/" + who,
                                     .payload = payload + std::to_string(i),
                                     .qos = 1,
                                     .packet_id = id}));
        }
        largest = std::max(largest, journal.kept_bytes());
        // As README says it; what a message takes besides its text, generously.
        const Stats& stats = world->stats();
        lives = std::max(lives, stats.messages_stored_bytes + 300 * stats.messages_stored + 4'000);
    }
    writer.take_output();
    CHECK(world->stats().journal_rounds > 5);
    CHECK(largest < 3 * lives + small_slack().journal_slack_bytes);
    CHECK(journal.appended() * 100 > 4 * largest);  // it would have grown past that without rounds
    const uint64_t rounds = world->stats().journal_rounds;
    const uint64_t queued = world->stats().queued + world->stats().inflight_out;
    CAPTURE(largest, rounds, queued);
    world = nullptr;
    journal.cut();
    FakeJournal copy = journal;
    World first(small_slack(), size_t{64} << 20, &journal);
    CHECK(first.restored().unreadable == 0);
    CHECK(first.restored().lost_messages == 0);
    CHECK(first.restored().queued + first.restored().under_way == queued);

    // From the next life on, after a round of its own, it is the same again.
    World second(small_slack(), size_t{64} << 20, &copy);
    auto& again = second.client("writer", false);
    const uint64_t before = second.stats().journal_rounds;
    for (int i = 0; second.stats().journal_rounds < before + 2 && i < 2'000; ++i)
        again.send(publish({.topic = "r/x", .payload = payload, .retain = true}));
    REQUIRE(second.stats().journal_rounds >= before + 2);
    second.settle();
    copy.cut();
    FakeJournal third_journal = copy;
    World third(small_slack(), size_t{64} << 20, &third_journal);
    CHECK(third.restored().queued + third.restored().under_way == queued);
    auto& clear = first.client("clear");
    clear.send(publish({.topic = "r/x", .payload = payload, .retain = true}));
    CHECK(state_of(first, ids) == state_of(third, ids));
}

// Every record of a round is a place where it may be broken off.
TEST_CASE("a round that is broken off has only repeated", "[wire][durable]") {
    const std::vector<std::string> ids{"a", "b"};
    FakeJournal journal;
    journal.keep_forgotten();
    uint64_t begin = 0;
    {
        World world(small_slack(), size_t{64} << 20, &journal);
        for (const std::string& id : ids) {
            auto& client = world.client(id, false);
            client.send(subscribe(1,
                                  {
                                      {"q/#",     2},
                                      {"x/" + id, 1}
            }));
            client.hang_up();
        }
        auto& writer = world.client("writer", false);
        const auto queue = [&](uint16_t id, int qos) {
            return publish({.topic = "q/" + std::to_string(id % 4),
                            .payload = std::to_string(id),
                            .qos = qos,
                            .packet_id = id}) +
                   (qos == 2 ? pubrel(id) : std::string());
        };
        for (uint16_t i = 1; i <= 12; ++i)
            writer.send(queue(i, 1));
        auto& reader = world.client("b", false);
        reader.send(puback(3) + puback(1));
        reader.hang_up();
        for (uint16_t i = 13; i <= 40; ++i)
            writer.send(queue(i, 1 + i % 2));
        writer.send(publish({.topic = "q/2", .payload = "waits", .qos = 2, .packet_id = 99}));
        REQUIRE(world.stats().journal_rounds == 0);
        const std::string payload(500, 'p');
        while (world.stats().journal_rounds == 0) {
            writer.send(publish({.topic = "r", .payload = payload, .retain = true}));
            if (world.stats().journal_rounds == 0) begin = journal.tail();
        }
        REQUIRE(journal.oldest() >= begin);
    }
    const auto state_at = [&](uint64_t cut) {
        FakeJournal rest = journal;
        rest.cut_at(cut);
        World world(small_slack(), size_t{8} << 20, &rest);
        CHECK(world.restored().unreadable == 0);
        std::string state = state_of(world, ids);
        auto& writer = world.connection();
        writer.send(connect("writer", false) + pubrel(99));
        return state + writer.received();
    };
    const std::string whole = state_at(journal.oldest());
    CHECK(whole.find("PUBLISH(q/0,40,q1,id40)") != std::string::npos);
    CHECK(whole.find("PUBLISH(q/2,2,q1,id2,dup) PUBLISH(q/0,4,q1,id4,dup)") != std::string::npos);
    uint32_t cuts = 0;
    for (const FakeJournal::Record& record : journal.records()) {
        if (record.end <= journal.oldest()) continue;
        CAPTURE(record.position, record.type);
        REQUIRE(state_at(record.end) == whole);
        ++cuts;
    }
    CHECK(cuts > 100);
    // And when it is through, what lies before it is not needed.
    FakeJournal rest;
    for (const FakeJournal::Record& record : journal.records()) {
        const Bytes body(record.body);
        if (record.position >= journal.oldest())
            rest.append(record.type, {&body, 1}, record.joined);
    }
    World world(small_slack(), size_t{8} << 20, &rest);
    CHECK(world.restored().lost_messages == 0);
    std::string state = state_of(world, ids);
    auto& writer = world.connection();
    writer.send(connect("writer", false) + pubrel(99));
    CHECK(state + writer.received() == whole);
}

// What cannot be told because there is no room at all is told by the next round; until then no
// answer leaves that may depend on it.
TEST_CASE("what could not be said is mended by a round", "[wire][durable]") {
    FakeJournal journal(64 * 1024);
    BrokerOptions options = World::test_options();
    options.max_queued_messages = 0;
    auto world = std::make_unique<World>(options, size_t{64} << 20, &journal);
    for (int i = 0; i < 3'000; ++i) {
        packets::Connect fields;
        fields.client_id = "c" + std::to_string(i);
        fields.clean = false;
        world->client(fields);
    }
    auto& writer = world->client("writer", false);
    journal.sync_each_turn(false);
    world->hang_up_all_but(writer);  // each is to be told: that is more than fits
    REQUIRE(world->stats().journal_missed > 0);
    writer.send(publish({.topic = "t", .payload = "x", .qos = 1, .packet_id = 1, .retain = true}));
    CHECK(writer.received().empty());
    journal.sync_each_turn(true);
    world->settle();
    CHECK(writer.received() == "PUBACK(1)");
    CHECK(world->stats().journal_rounds > 0);
    world = nullptr;
    journal.cut();
    World again(options, size_t{64} << 20, &journal);
    CHECK(again.restored().sessions == 3'001);
    CHECK(again.restored().retained == 1);
}

TEST_CASE("rounds come to an end where many wait for the same messages", "[wire][durable]") {
    FakeJournal journal;
    World world(small_slack(), size_t{64} << 20, &journal);
    for (int i = 0; i < 300; ++i) {
        auto& client = world.client("away" + std::to_string(i), false);
        client.send(subscribe(1,
                              {
                                  {"all", 1}
        }));
        client.hang_up();
    }
    auto& writer = world.client("writer");
    for (uint16_t i = 1; i <= 100; ++i)
        writer.send(publish({.topic = "all", .payload = "news", .qos = 1, .packet_id = i}));
    REQUIRE(world.stats().queued == 30'000);
    world.settle();
    const uint64_t rounds = world.stats().journal_rounds;
    const uint64_t kept = journal.kept_bytes();
    world.advance(10'000);
    for (int i = 0; i < 200; ++i)
        world.turn();
    CHECK(world.stats().journal_rounds == rounds);
    CHECK(journal.kept_bytes() < kept + 1'000);
    // And a round comes when what was said is of no use any more.
    auto& reader = world.connection();
    reader.send(connect("away7", false));
    for (int i = 0; i < 10'000; ++i)
        writer.send(publish({.topic = "kept", .payload = std::string(1'000, 'x'), .retain = true}));
    CHECK(world.stats().journal_rounds > rounds);
    CHECK(journal.kept_bytes() < 8 * kept);
}
