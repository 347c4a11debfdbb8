// Two readers of one journal: what mqttcheck makes of it is what the broker finds at its start.

#include "base/prng.h"
#include "support/world.h"
#include "tools/check_state.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

// Every other seed pages its queues from the first message on.
BrokerOptions small_slack(uint64_t seed) {
    BrokerOptions options = World::test_options();
    options.journal_slack_bytes = 2'000;
    options.max_inflight_messages = 5;
    options.max_queued_messages = 30;
    if (seed % 2 == 0) options.page_from_permille = 0;
    options.page_bytes = 600;
    return options;
}

const std::vector<std::string> kTopics = {"a", "a/b", "b", "c/d/e"};
const std::vector<std::string> kFilters = {"a", "#", "a/+", "b", "c/d/+", "c/#", "$share/g/b"};

// One thing that a client does.
void act(World& world, Prng& dice, FakeConnection& client, uint16_t& id) {
    id = static_cast<uint16_t>(id % 300 + 1);
    const auto pick = [&](const std::vector<std::string>& from) {
        return from[dice.below(static_cast<uint32_t>(from.size()))];
    };
    const auto acked = static_cast<uint16_t>(1 + dice.below(40));
    switch (dice.below(10)) {
        case 0:
            return client.send(
                subscribe(id,
                          {
                              {pick(kFilters), static_cast<uint8_t>(dice.below(3))}
            }));
        case 1:
            return client.send(unsubscribe(id, {pick(kFilters)}));
        case 2:
            return client.send(puback(acked) + pubrec(acked));
        case 3:
            return client.send(pubcomp(acked));
        case 4:
            return client.send(pubrel(id));
        case 5:
            return client.hang_up();
        default: {
            Publish fields;
            fields.topic = pick(kTopics);
            fields.payload = std::string(dice.below(200), 'p');
            fields.qos = static_cast<uint8_t>(dice.below(3));
            fields.packet_id = id;
            fields.retain = dice.below(4) == 0;
            client.send(publish(fields));
            world.settle();
        }
    }
}

void compare(FakeJournal& journal, uint64_t seed) {
    check::State state;
    uint64_t unreadable = 0;
    journal.visit([&](uint8_t type, uint64_t position, Bytes body) {
        if (!state.apply(type, position, body)) ++unreadable;
    });
    World world(journal, small_slack(seed));
    world.settle();  // ended sessions are taken apart
    const RestoreReport& restored = world.restored();
    const check::StateTotals totals = state.totals();
    CHECK(totals.sessions == restored.sessions);
    CHECK(totals.subscriptions == restored.subscriptions);
    CHECK(totals.retained == restored.retained);
    CHECK(totals.queued == restored.queued);
    CHECK(totals.under_way == restored.under_way);
    CHECK(totals.inbound == world.stats().inflight_in);
    CHECK(unreadable == restored.unreadable);
    CHECK(totals.lost == 0);
}

}  // namespace

TEST_CASE("mqttcheck and the broker agree about any journal", "[tools][check][durable]") {
    // Lives with rounds, cut anywhere at their end.
    uint64_t rounds = 0;
    uint64_t pages = 0;
    for (uint64_t seed = 1; seed <= 40; ++seed) {
        CAPTURE(seed);
        Prng dice(seed);
        FakeJournal journal;
        for (int life = 0; life < 4; ++life) {
            CAPTURE(life);
            {
                World world(journal, small_slack(seed));
                std::vector<FakeConnection*> clients(4, nullptr);
                uint16_t id = 0;
                for (int step = 0; step < 500; ++step) {
                    const uint32_t who = dice.below(4);
                    if (clients[who] == nullptr || !clients[who]->open()) {
                        clients[who] = &world.connection();
                        clients[who]->send(connect("c" + std::to_string(who), dice.below(12) == 0));
                    } else {
                        act(world, dice, *clients[who], id);
                    }
                }
                rounds += world.stats().journal_rounds;
                pages += world.stats().pages_in;
                FakeJournal left = journal;
                left.cut();
                compare(left, seed);
            }
            const uint64_t kept = journal.tail() - journal.oldest();
            if (dice.below(2) == 0 && kept > 1000) journal.cut_at(journal.tail() - dice.below(500));
            FakeJournal copy = journal;
            compare(copy, seed);
        }
    }
    CHECK(rounds > 100);
    CHECK(pages > 100);
}
