// A backlog larger than memory: its middle lies in the journal, and nothing is lost of it.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

constexpr size_t kMemory = size_t{8} << 20;
constexpr int kSyncs = 32;

// `from`: permille of memory in use from which on queues are paged; 0: at once.
BrokerOptions paging_options(uint32_t from = 625) {
    BrokerOptions options = World::test_options();
    options.max_queued_messages = 0;
    options.max_queued_bytes = 0;
    options.max_inflight_messages = 200;
    options.journal_slack_bytes = 1 << 20;
    options.page_bytes = 16 * 1024;
    options.page_from_permille = from;
    return options;
}

void join(World& world, std::string_view id, std::string_view filter, int qos = 1) {
    auto& client = world.client(id, false);
    client.send(subscribe(1,
                          {
                              {std::string(filter), qos}
    }));
    client.hang_up();
}

// Each message says its number, and is of `size` bytes or a little more.
struct Writer {
    World& world;
    FakeConnection& link;
    std::string topic = "q";
    size_t size = 1'000;
    int first = 0;
    int qos = 1;

    explicit Writer(World& where) : world(where), link(where.client("writer")) {}

    void write(int count) {
        uint16_t id = 0;
        for (int i = 0; i < count; ++i) {
            id = static_cast<uint16_t>(id % 60'000 + 1);
            const std::string payload = std::to_string(first++) + " " + std::string(size, 'x');
            link.push(publish({.topic = topic, .payload = payload, .qos = qos, .packet_id = id}));
            if (i % kSyncs == 0) world.settle();
        }
        world.settle();
        link.take_output();
    }
};

// Takes and acknowledges messages, and knows them by their numbers.
struct Reader {
    World& world;
    FakeConnection& link;
    std::string input;

    Reader(World& where, std::string_view id) : world(where), link(where.connection()) {
        link.send(connect(id, false));
    }

    std::vector<int> take(int most = 1 << 30) {
        std::vector<int> numbers;
        for (int quiet = 0; quiet < 3 && static_cast<int>(numbers.size()) < most;) {
            world.settle();
            input += link.take_output();
            size_t at = 0;
            std::string acks;
            while (static_cast<int>(numbers.size()) < most) {
                const std::string_view rest = std::string_view(input).substr(at);
                const size_t size = packet_size(rest);
                if (size == 0) break;
                at += size;
                if (static_cast<uint8_t>(rest[0]) >> 4 == 3) {
                    numbers.push_back(number_of(rest.substr(0, size), acks));
                }
            }
            quiet = at > 0 ? 0 : quiet + 1;
            input.erase(0, at);
            if (!acks.empty()) link.send(acks);
        }
        return numbers;
    }

    static int number_of(std::string_view packet, std::string& acks) {
        size_t head = 2;
        while ((static_cast<uint8_t>(packet[head - 1]) & 0x80) != 0)
            ++head;
        const std::string_view body = packet.substr(head);
        const size_t topic = static_cast<uint8_t>(body[1]);
        const bool counted = (packet[0] & 6) != 0;
        if (counted) {
            acks += puback(static_cast<uint16_t>(static_cast<uint8_t>(body[topic + 2]) << 8 |
                                                 static_cast<uint8_t>(body[topic + 3])));
        }
        return std::stoi(std::string(body.substr(topic + (counted ? 4 : 2), 12)));
    }
};

std::vector<int> from_to(int from, int to) {
    std::vector<int> numbers;
    for (int i = from; i < to; ++i)
        numbers.push_back(i);
    return numbers;
}

// Where the two differ first; empty: nowhere.
std::string differ(const std::vector<int>& got, const std::vector<int>& wanted) {
    size_t at = 0;
    while (at < got.size() && at < wanted.size() && got[at] == wanted[at])
        ++at;
    if (at == got.size() && at == wanted.size()) return {};
    const std::string found = at < got.size() ? std::to_string(got[at]) : "nothing";
    return std::to_string(got.size()) + " of " + std::to_string(wanted.size()) + ", at " +
           std::to_string(at) + " " + found;
}

uint64_t drops(const World& world, Drop why) {
    return world.stats().drops[static_cast<uint32_t>(why)];
}

uint64_t all_drops(const World& world) {
    uint64_t sum = 0;
    for (const uint64_t count : world.stats().drops)
        sum += count;
    return sum;
}

}  // namespace

TEST_CASE("a backlog of four times the memory comes in order", "[wire][durable][paging]") {
    FakeJournal journal;
    World world(paging_options(), kMemory, &journal);
    join(world, "away", "q");
    Writer writer(world);
    constexpr int kCount = 32'000;
    writer.write(kCount);
    CHECK(world.stats().queued == kCount);
    CHECK(world.stats().paged_messages > kCount / 2);
    CHECK(world.stats().paged_bytes > world.stats().paged_messages * 1'000);
    CHECK(all_drops(world) == 0);
    CHECK(world.arena().refused() == 0);
    // What is dead in the journal goes, as ever, and what lives in it only does not.
    CHECK(journal.kept_bytes() < 3 * (kCount * uint64_t{1'300}) + (2 << 20));

    Reader reader(world, "away");
    CHECK(differ(reader.take(), from_to(0, kCount)) == "");
    CHECK(world.stats().queued == 0);
    CHECK(world.stats().queued_bytes == 0);
    CHECK(world.stats().paged_messages == 0);
    CHECK(world.stats().paged_bytes == 0);
    CHECK(world.stats().pages_in == world.stats().pages_out);
    CHECK(all_drops(world) == 0);
    CHECK(world.end() == 0);
}

TEST_CASE("queues that grew before memory was short make room for others, too",
          "[wire][durable][paging]") {
    FakeJournal journal;
    World world(paging_options(), kMemory, &journal);
    constexpr int kCount = 300;
    constexpr int kSessions = 8;
    Writer writer(world);
    for (int i = 0; i < kSessions; ++i) {
        const std::string id = "away" + std::to_string(i);
        join(world, id, id);
        writer.topic = id;
        writer.first = 0;
        writer.write(kCount);
    }
    REQUIRE(world.stats().pages_out == 0);  // nothing was short

    // What others keep needs more than is left; nobody's queue grows.
    auto& keeper = world.client("keeper");
    const std::string value(1'000, 'v');
    for (int i = 0; i < 3'000; ++i) {
        keeper.push(
            publish({.topic = "kept/" + std::to_string(i), .payload = value, .retain = true}));
        if (i % kSyncs == 0) world.settle();
    }
    world.advance(1'000);
    CHECK(world.stats().messages_stored + world.stats().paged_messages >=
          3'000 + uint64_t{kSessions} * kCount);
    CHECK(world.stats().paged_messages > kSessions * kCount / 2);
    CHECK(world.arena().refused() == 0);
    CHECK(all_drops(world) == 0);
    const uint64_t turns = world.turns();
    world.settle();
    CHECK(world.turns() < turns + 5);  // and it sleeps again

    for (int i = 0; i < kSessions; ++i) {
        Reader reader(world, "away" + std::to_string(i));
        CHECK(differ(reader.take(), from_to(0, kCount)) == "");
    }
    CHECK(world.end() == 0);
}

TEST_CASE("who reads while it is written gets everything in order", "[wire][durable][paging]") {
    FakeJournal journal;
    World world(paging_options(), kMemory, &journal);
    join(world, "slow", "q");
    Writer writer(world);
    writer.write(8'000);
    Reader reader(world, "slow");
    std::vector<int> got;
    for (int i = 0; i < 40; ++i) {
        writer.write(300);
        for (const int number : reader.take(i % 5 == 0 ? 900 : 200))
            got.push_back(number);
    }
    for (const int number : reader.take())
        got.push_back(number);
    CHECK(differ(got, from_to(0, 20'000)) == "");
    CHECK(world.stats().pages_in == world.stats().pages_out);
    CHECK(all_drops(world) == 0);
}

TEST_CASE("pages are there after a power cut, wherever it comes", "[wire][durable][paging]") {
    FakeJournal journal;
    BrokerOptions options = paging_options();
    auto world = std::make_unique<World>(options, kMemory, &journal);
    join(*world, "away", "q");
    {
        Writer writer(*world);
        writer.write(10'000);
    }
    int next = 0;
    for (int life = 0; next < 10'000; ++life) {
        REQUIRE(life < 40);
        const uint64_t paged = world->stats().paged_messages;
        world = nullptr;
        journal.cut();
        world = std::make_unique<World>(options, kMemory, &journal);
        REQUIRE(world->restored().unreadable == 0);
        REQUIRE(world->restored().lost_messages == 0);
        REQUIRE(world->restored().no_memory == 0);
        CHECK(world->stats().paged_messages == paged);
        Reader reader(*world, "away");
        const std::vector<int> got = reader.take(700);
        REQUIRE(!got.empty());
        REQUIRE(differ(got, from_to(next, next + static_cast<int>(got.size()))) == "");
        next += static_cast<int>(got.size());
    }
    world->settle();
    CHECK(world->stats().queued == 0);
    CHECK(world->stats().paged_messages == 0);
    CHECK(world->end() == 0);
}

TEST_CASE("QoS 0 that lay on pages is gone with the life that queued it",
          "[wire][durable][paging]") {
    FakeJournal journal;
    BrokerOptions options = paging_options();
    options.queue_qos0_messages = true;
    auto world = std::make_unique<World>(options, kMemory, &journal);
    join(*world, "away", "q");
    {
        Writer writer(*world);
        for (const int qos : {1, 0, 1, 0, 1}) {
            writer.qos = qos;
            writer.write(4'000);
        }
        for (int i = 0; i < 2'000; ++i) {  // and on the same pages
            writer.qos = i % 2;
            writer.write(1);
        }
    }
    REQUIRE(world->stats().queued == 22'000);
    REQUIRE(world->stats().paged_messages > 15'000);
    world = nullptr;
    journal.cut();
    world = std::make_unique<World>(options, kMemory, &journal);
    CHECK(world->stats().queued == 13'000);
    std::vector<int> wanted;
    for (const int first : {0, 8'000, 16'000}) {
        for (int i = 0; i < 4'000; ++i)
            wanted.push_back(first + i);
    }
    for (int i = 20'001; i < 22'000; i += 2)
        wanted.push_back(i);
    Reader reader(*world, "away");
    CHECK(differ(reader.take(), wanted) == "");
    CHECK(world->stats().queued == 0);
    CHECK(world->stats().queued_bytes == 0);
    CHECK(all_drops(*world) == 0);
    CHECK(world->end() == 0);
}

// The journal ends at every record behind the first page, one after the other.
TEST_CASE("every record of a page's life is a place for a power cut", "[wire][durable][paging]") {
    FakeJournal journal;
    journal.keep_forgotten();
    BrokerOptions options = paging_options(0);
    options.page_bytes = 1'000;
    constexpr int kCount = 60;
    uint64_t begin = 0;
    std::vector<std::pair<uint64_t, int>> acked;  // tail when so many were
    {
        World world(options, kMemory, &journal);
        join(world, "away", "q");
        Writer writer(world);
        writer.size = 80;
        writer.write(kCount);
        REQUIRE(world.stats().paged_messages > kCount / 2);
        begin = journal.tail();
        Reader reader(world, "away");
        int sum = 0;
        for (std::vector<int> got; sum < kCount; sum += static_cast<int>(got.size())) {
            acked.emplace_back(journal.tail(), sum);
            got = reader.take(7);
            REQUIRE(differ(got, from_to(sum, sum + static_cast<int>(got.size()))) == "");
        }
    }
    int cuts = 0;
    for (const FakeJournal::Record& record : journal.records()) {
        if (record.end < begin) continue;
        ++cuts;
        FakeJournal left = journal;
        left.cut_at(record.end);
        World world(options, kMemory, &left);
        REQUIRE(world.restored().unreadable == 0);
        Reader reader(world, "away");
        const std::vector<int> got = reader.take();
        int least = 0;  // so many had been acknowledged for sure, and one more turn's
        for (const auto& [tail, sum] : acked)
            if (record.end >= tail) least = sum;
        const int from = kCount - static_cast<int>(got.size());
        REQUIRE(from >= least);
        REQUIRE(from <= least + 14);
        REQUIRE(differ(got, from_to(from, kCount)) == "");
        REQUIRE(world.end() == 0);
    }
    CHECK(cuts > 50);
}

TEST_CASE("a page that cannot be read is said and counted, and the rest comes",
          "[wire][durable][paging]") {
    FakeJournal journal;
    BrokerOptions options = paging_options(0);
    World world(options, kMemory, &journal);
    join(world, "away", "q");
    Writer writer(world);
    writer.write(200);
    REQUIRE(world.stats().pages_out > 4);
    uint32_t seen = 0;
    for (const FakeJournal::Record& record : journal.records())
        if (record.type == 32 && ++seen == 2) journal.damage(record.position);
    Reader reader(world, "away");
    const std::vector<int> got = reader.take();
    const uint64_t lost = drops(world, Drop::kDisk);
    CHECK(lost > 5);
    CHECK(got.size() + lost == 200);
    CHECK(std::is_sorted(got.begin(), got.end()));
    CHECK(world.log_text().find("cannot be read from the journal") != std::string::npos);
    CHECK(world.stats().queued == 0);
    CHECK(world.stats().queued_bytes == 0);
    CHECK(world.stats().paged_messages == 0);
    CHECK(world.end() == 0);
}

TEST_CASE("a session that ends takes its pages along", "[wire][durable][paging]") {
    FakeJournal journal;
    BrokerOptions options = paging_options(0);
    World world(options, kMemory, &journal);
    join(world, "away", "q");
    Writer writer(world);
    writer.write(200);
    const bool coming = GENERATE(false, true);
    journal.hold_reads(true);
    if (coming) {  // some are being read just then
        Reader(world, "away").link.hang_up();
        CHECK(journal.reads() > 0);
    }
    auto& fresh = world.client("away", true);
    world.settle();
    CHECK(drops(world, Drop::kSessionEnded) == 200);
    CHECK(world.stats().queued == 0);
    CHECK(world.stats().paged_messages == 0);
    journal.hold_reads(false);
    world.settle();
    CHECK(fresh.open());
    CHECK(world.end() == 0);
}

TEST_CASE("another member gets what lay in the pages of one that ended",
          "[wire][durable][paging]") {
    FakeJournal journal;
    BrokerOptions options = paging_options(0);
    World world(options, kMemory, &journal);
    join(world, "one", "$share/g/q");
    Writer writer(world);
    writer.write(200);
    REQUIRE(world.stats().paged_messages > 100);
    join(world, "two", "$share/g/q");
    world.client("one", true);
    world.settle();
    CHECK(drops(world, Drop::kSessionEnded) == 0);
    Reader reader(world, "two");
    CHECK(differ(reader.take(), from_to(0, 200)) == "");
}

TEST_CASE("large messages go one by one, the largest stay, as do those that many wait for",
          "[wire][durable][paging]") {
    FakeJournal journal;
    BrokerOptions options = paging_options(0);
    options.max_packet_size = 8 << 20;
    World world(options, size_t{64} << 20, &journal);
    Writer writer(world);
    SECTION("one by one") {
        join(world, "away", "q");
        writer.size = 200'000;
        writer.write(80);
        CHECK(world.stats().paged_messages > 60);
        CHECK(differ(Reader(world, "away").take(), from_to(0, 80)) == "");
    }
    SECTION("more than can be read at once") {
        join(world, "away", "q");
        writer.size = static_cast<size_t>(journal.read_most()) + 100;
        writer.write(5);
        CHECK(world.stats().paged_messages == 0);
        CHECK(differ(Reader(world, "away").take(), from_to(0, 5)) == "");
    }
    SECTION("many wait for them") {
        for (int i = 0; i < 5; ++i)
            join(world, "away" + std::to_string(i), "q");
        writer.size = 2'000;
        writer.write(200);
        CHECK(world.stats().paged_messages == 0);
        writer.size = 500;
        writer.write(200);
        CHECK(world.stats().paged_messages > 500);
        for (int i = 0; i < 5; ++i)
            CHECK(differ(Reader(world, "away" + std::to_string(i)).take(), from_to(0, 400)) == "");
    }
    CHECK(world.stats().queued == 0);
    CHECK(all_drops(world) == 0);
    CHECK(world.end() == 0);
}

TEST_CASE("limits and expiry hold for what lies in the journal, too", "[wire][durable][paging]") {
    FakeJournal journal;
    BrokerOptions options = paging_options(0);
    SECTION("a full queue refuses") {
        options.max_queued_messages = 100;
        options.queue_full = QueueFull::kDropNew;
        World world(options, kMemory, &journal);
        join(world, "away", "q");
        Writer writer(world);
        writer.write(101);
        CHECK(world.stats().queued == 100);
        CHECK(drops(world, Drop::kQueueFull) == 1);
        CHECK(differ(Reader(world, "away").take(), from_to(0, 100)) == "");
    }
    SECTION("or drops what is old and in memory") {
        options.max_queued_messages = 100;
        options.queue_full = QueueFull::kDropOld;
        World world(options, kMemory, &journal);
        join(world, "away", "q");
        Writer writer(world);
        writer.write(130);
        CHECK(world.stats().queued == 100);
        CHECK(drops(world, Drop::kQueueFull) == 30);
        const std::vector<int> got = Reader(world, "away").take();
        CHECK(got.size() == 100);
        CHECK(std::is_sorted(got.begin(), got.end()));
        CHECK(got.back() == 129);
        CHECK(world.end() == 0);
    }
    SECTION("what has expired does not come") {
        World world(options, kMemory, &journal);
        join(world, "away", "q");
        auto& writer = world.client5({.client_id = "writer"});
        for (int i = 0; i < 200; ++i) {
            packets5::Publish fields{.topic = "q",
                                     .payload = std::to_string(i) + std::string(1'000, ' '),
                                     .qos = 1,
                                     .packet_id = static_cast<uint16_t>(i + 1)};
            if (i % 2 == 0) {
                fields.properties = packets5::property(Property::kMessageExpiryInterval, 10);
            }
            writer.send(packets5::publish(fields));
        }
        REQUIRE(world.stats().paged_messages > 100);
        world.advance(11'000);
        const std::vector<int> got = Reader(world, "away").take();
        CHECK(got.size() == 100);
        CHECK(got.front() == 1);
        CHECK(drops(world, Drop::kExpired) == 100);
        CHECK(world.end() == 0);
    }
}

TEST_CASE("a round copies pages, even while they come back", "[wire][durable][paging]") {
    FakeJournal journal;
    BrokerOptions options = paging_options(0);
    options.journal_slack_bytes = 10'000;
    World world(options, kMemory, &journal);
    join(world, "away", "q");
    Writer writer(world);
    writer.write(2'000);
    const uint64_t before = world.stats().journal_rounds;
    // What comes and goes makes the journal long, and the pages stay.
    auto& noise = world.client("noise");
    for (int i = 0; world.stats().journal_rounds < before + 3 && i < 50'000; ++i) {
        noise.send(publish({.topic = "r", .payload = std::string(900, 'r'), .retain = true}));
    }
    CHECK(world.stats().journal_rounds >= before + 3);
    CHECK(world.stats().paged_messages > 1'500);
    journal.hold_reads(true);
    for (int i = 0; i < 3'000; ++i)
        noise.send(publish({.topic = "r", .payload = std::string(900, 'r'), .retain = true}));
    Reader reader(world, "away");
    world.settle();
    journal.hold_reads(false);
    CHECK(differ(reader.take(), from_to(0, 2'000)) == "");
    CHECK(all_drops(world) == 0);
    CHECK(world.end() == 0);
}
