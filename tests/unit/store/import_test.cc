// A mosquitto.db becomes a journal: what is taken, what is left and said, whatever is in the file.

#include "store/import.h"

#include "support/fake_disk.h"
#include "support/world.h"
#include "tools/check_findings.h"
#include "topics/subscription_index.h"
#include "unit/store/mosquitto_lines.h"

#include <catch2/catch.hpp>
#include <memory>

namespace mqttd {
namespace {

using namespace test;
using check::KeptSession;

constexpr int64_t kNow = 1'000'000;  // long before the fixtures were written: nothing has expired
constexpr int64_t kSaved = 999'000;

ImportOptions options_at(int64_t now = kNow) {
    ImportOptions options;
    options.shape = {kFileBytesMin, 77};
    options.now_s = now;
    options.saved_s = kSaved;
    options.packet_bytes_max = 2'000'000;
    return options;
}

// A file's journal, read again by two readers who do not know of each other.
struct Imported {
    explicit Imported(Bytes file, const ImportOptions& options = options_at()) {
        const Result<bool> ready = ready_for_import(disk);
        REQUIRE(ready.ok());
        REQUIRE(*ready);
        const Exact exact(file);
        error = import_mosquitto(Bytes(exact), disk, options, report);
        REQUIRE(check::examine(disk, {}, findings, state) == Error::kNone);
    }

    // The broker agrees with the report, and so does mqttcheck.
    void agrees() {
        REQUIRE(error == Error::kNone);
        REQUIRE(findings.sound());
        REQUIRE(findings.torn == 0);
        REQUIRE(disk.open_files() == 0);
        const check::StateTotals& totals = findings.totals;
        CHECK(totals.sessions == report.sessions);
        CHECK(totals.connected == 0);
        CHECK(totals.subscriptions == report.subscriptions);
        CHECK(totals.retained == report.retained);
        CHECK(totals.queued == report.queued);
        CHECK(totals.under_way == report.under_way);
        CHECK(totals.inbound == report.inbound);

        FakeJournal journal;
        journal.wall_s = kNow;
        LogReader reader(disk);
        JournalShape shape;
        REQUIRE(reader.open(shape) == Error::kNone);
        for (LogRecord record; reader.next(record);) {
            if (record.type < RecordType::kFirstOfBroker) continue;
            journal.put(
                static_cast<uint8_t>(record.type), record.joined, record.position, record.body);
        }
        World world(journal);
        world.settle();
        const RestoreReport& restored = world.restored();
        CHECK(restored.sessions == report.sessions);
        CHECK(restored.subscriptions == report.subscriptions);
        CHECK(restored.retained == report.retained);
        CHECK(restored.queued == report.queued);
        CHECK(restored.under_way == report.under_way);
        CHECK(world.stats().inflight_in == report.inbound);
        CHECK(restored.unreadable == 0);
        CHECK(restored.lost_messages == 0);
        CHECK(restored.no_memory == 0);
    }

    const KeptSession& session(const std::string& id) const {
        for (const auto& [number, session] : state.sessions()) {
            if (session.client_id == id) return session;
        }
        FAIL("no session " + id);
        return state.sessions().begin()->second;
    }

    uint64_t left(ImportLeft why) const { return report.of(why); }

    uint64_t left() const {
        uint64_t sum = 0;
        for (const uint64_t count : report.left)
            sum += count;
        return sum;
    }

    FakeDisk disk;
    ImportReport report;
    Error error = Error::kNone;
    check::Findings findings;
    check::State state;
};

std::unique_ptr<Imported> imported(Bytes file, const ImportOptions& options = options_at()) {
    auto made = std::make_unique<Imported>(file, options);
    made->agrees();
    return made;
}

Wire file_of(std::initializer_list<Wire> chunks) {
    Wire file = file_header(6).raw(config_chunk());
    for (const Wire& chunk : chunks)
        file.raw(chunk);
    return file;
}

Wire message_of(uint64_t id, std::string_view topic = "a/b", std::string_view payload = "payload") {
    MessageBytes bytes;
    bytes.store_id = id;
    bytes.topic = topic;
    bytes.payload = payload;
    return bytes.chunk();
}

// One of a client's messages, in full.
Wire waits(uint64_t id,
           unsigned packet_id,
           unsigned qos,
           unsigned state,
           unsigned dup = 0,
           unsigned outgoing = 1,
           std::string_view client = "client") {
    Wire body = u64(id).u16(packet_id).u16(size_of(client)).byte(qos).byte(state);
    return chunk(3, body.byte(dup).byte(outgoing).raw(client));
}

std::vector<uint32_t> keys_of(const std::map<uint16_t, check::KeptFlow>& flows) {
    std::vector<uint32_t> keys;
    for (const auto& [key, flow] : flows)
        keys.push_back(key);
    return keys;
}

}  // namespace

TEST_CASE("every file of a real mosquitto becomes a sound journal", "[store][import]") {
    for (const std::string& name : fixture_names()) {
        CAPTURE(name);
        const auto made = imported(fixture(name));
        CHECK(made->report.end == MosquittoEnd::kWhole);
        CHECK(made->report.damaged_chunks() == 0);
        CHECK(made->left() == 0);
    }
}

TEST_CASE("sessions, options and queues are those of mosquitto", "[store][import]") {
    const auto made = imported(fixture("sessions.db"));
    CHECK(made->report.sessions == 4);
    CHECK(made->report.subscriptions == 9);
    CHECK(made->report.retained == 1);
    CHECK(made->report.queued == 9);

    const KeptSession& plain = made->session("plain");
    CHECK(plain.level == 4);
    CHECK(plain.expiry_s == MosquittoClient::kNever);
    CHECK(plain.away_since == static_cast<uint64_t>(kSaved));
    CHECK(plain.subscriptions.at("queue/#").options == 1);
    CHECK(plain.subscriptions.at("queue/+").options == 2);
    REQUIRE(plain.queued.size() == 3);
    CHECK(plain.queued.at(1).message->topic == "queue/1");
    CHECK(plain.queued.at(1).message->properties_bytes == 57);
    CHECK(plain.queued.at(1).message->expires_at > 1'700'000'000);
    CHECK(plain.queued.at(2).message->topic == "queue/2");
    CHECK(plain.queued.at(2).qos == 2);
    CHECK(plain.queued.at(3).message->payload_bytes == 5);

    const KeptSession& five = made->session("five");
    CHECK(five.level == 5);
    CHECK(five.expiry_s == 1'000'000);
    CHECK(five.subscriptions.at("queue/1").identifier == 7);
    CHECK(five.subscriptions.at("own/#").options == (2 | suboption::kNoLocal));
    CHECK(five.subscriptions.at("own/#").identifier == 268'435'455);
    CHECK(five.subscriptions.at("kept/#").options == (1 | suboption::kRetainAsPublished));
    REQUIRE(five.queued.size() == 4);
    CHECK(five.queued.at(1).identifiers == std::vector<uint32_t>{7});
    CHECK(five.queued.at(3).identifiers.empty());
    CHECK(made->state.retained().at("queue/1")->retain);
}

TEST_CASE("what is under way keeps its identifiers and its order", "[store][import]") {
    const auto made = imported(fixture("inflight.db"));
    CHECK(made->report.ended.sessions == 1);
    CHECK(made->report.under_way == 6);
    CHECK(made->report.inbound == 1);
    const KeptSession& one = made->session("one");
    CHECK(keys_of(one.under_way) == std::vector<uint32_t>{1, 2});
    CHECK(one.queued.size() == 1);
    const KeptSession& two = made->session("two");
    REQUIRE(keys_of(two.under_way) == std::vector<uint32_t>{1, 2});
    CHECK(two.under_way.at(1).message == nullptr);  // PUBREC has come
    CHECK(two.under_way.at(2).qos == 2);
    CHECK(two.queued.size() == 1);
    CHECK(keys_of(made->session("again").under_way) == std::vector<uint32_t>{1, 2});
    const KeptSession& in = made->session("in");
    REQUIRE(in.inbound.contains(0x0105));
    CHECK(in.inbound.at(0x0105)->topic == "in/2");
}

TEST_CASE("each state of what goes out has its place", "[store][import]") {
    // Sent is what waits for an answer, or was sent once and is to be sent again; a packet
    // identifier alone says nothing.
    struct Row {
        unsigned qos, state, dup;
        char place;  // q queue, u under way, r released, - odd
    };

    // clang-format off
    const Row rows[] = {
        {0, 1, 0, 'q'}, {0, 11, 0, 'q'}, {1, 2, 0, 'q'}, {1, 2, 1, 'u'}, {1, 3, 0, 'u'}, {1, 3, 1, 'u'},
        {1, 5, 0, 'q'}, {1, 11, 0, 'q'}, {1, 11, 1, 'q'}, {1, 6, 0, '-'}, {1, 9, 0, '-'},
        {2, 4, 0, 'q'}, {2, 4, 1, 'u'}, {2, 5, 0, 'u'}, {2, 5, 1, 'u'}, {2, 3, 0, 'q'}, {2, 11, 0, 'q'},
        {2, 6, 0, 'r'}, {2, 9, 0, 'r'}, {2, 7, 0, '-'}, {2, 8, 0, '-'}, {2, 10, 0, '-'},
    };
    // clang-format on
    for (const Row& row : rows) {
        CAPTURE(row.qos, row.state, row.dup);
        const auto made = imported(file_of(
            {message_of(7), ClientBytes{}.chunk(), waits(7, 9, row.qos, row.state, row.dup)}));
        const KeptSession& session = made->session("client");
        CHECK(session.queued.size() == (row.place == 'q' ? 1 : 0));
        CHECK(session.under_way.size() == (row.place == 'u' || row.place == 'r' ? 1 : 0));
        if (row.place == 'u') CHECK(session.under_way.at(9).message != nullptr);
        if (row.place == 'r') CHECK(session.under_way.at(9).message == nullptr);
        CHECK(made->left(ImportLeft::kOdd) == (row.place == '-' ? 1 : 0));
        CHECK(made->left() == made->left(ImportLeft::kOdd));
    }
}

TEST_CASE("each state of what comes in has its place", "[store][import]") {
    for (unsigned state = 1; state <= 11; ++state) {
        CAPTURE(state);
        const auto made =
            imported(file_of({message_of(7), ClientBytes{}.chunk(), waits(7, 9, 2, state, 0, 0)}));
        CHECK(made->report.inbound == (state == 8 ? 0 : 1));
        CHECK(made->left(ImportLeft::kOdd) == (state == 8 ? 1 : 0));
    }
    for (const auto& [qos, id] : {
             std::pair{1u, 9u},
             {0u, 9u},
             {2u, 0u}
    }) {
        const auto made =
            imported(file_of({message_of(7), ClientBytes{}.chunk(), waits(7, id, qos, 7, 0, 0)}));
        CHECK(made->report.inbound == 0);
        CHECK(made->left(ImportLeft::kOdd) == 1);
    }
}

TEST_CASE("a message may be retained, waited for, and come in", "[store][import]") {
    // However many speak of it, it is written twice at most.
    const auto made = imported(file_of({message_of(7),
                                        ClientBytes{}.chunk(),
                                        waits(7, 1, 2, 7, 0, 0),
                                        waits(7, 2, 2, 7, 0, 0),
                                        waits(7, 1, 1, 3),
                                        waits(7, 2, 1, 11),
                                        waits(7, 3, 1, 11),
                                        retained_chunk(7),
                                        retained_chunk(7)}));
    CHECK(made->report.inbound == 1);
    CHECK(made->report.under_way == 1);
    CHECK(made->report.queued == 2);
    CHECK(made->report.retained == 1);
    CHECK(made->left(ImportLeft::kOdd) == 2);
}

TEST_CASE("packet identifiers that a window cannot hold are given anew", "[store][import]") {
    // Once each, not 0, and none further from the oldest than a window spans; across 65535 they
    // go on with 1.
    const auto made = imported(file_of({message_of(7),
                                        ClientBytes{}.chunk(),
                                        waits(7, 65530, 1, 3),
                                        waits(7, 3, 2, 9),
                                        waits(7, 65530, 1, 3),
                                        waits(7, 0, 1, 3),
                                        waits(7, 32762, 1, 3),
                                        waits(7, 32763, 1, 3),
                                        waits(7, 65529, 1, 3),
                                        waits(7, 65529, 2, 9)}));
    const KeptSession& session = made->session("client");
    CHECK(keys_of(session.under_way) == std::vector<uint32_t>{3, 32762, 65530});
    CHECK(session.queued.size() == 4);
    CHECK(made->left(ImportLeft::kOdd) == 1);  // a PUBREL without an identifier is nothing
}

TEST_CASE("the same packet identifier of two sessions is two", "[store][import]") {
    ClientBytes other;
    other.client = "other";
    const auto made = imported(file_of({message_of(7),
                                        ClientBytes{}.chunk(),
                                        waits(7, 5, 1, 3),
                                        waits(7, 6, 2, 7, 0, 0),
                                        other.chunk(),
                                        waits(7, 5, 1, 3, 0, 1, "other"),
                                        message_of(8),
                                        waits(8, 6, 2, 7, 0, 0, "other")}));
    CHECK(made->report.under_way == 2);
    CHECK(made->report.inbound == 2);
    CHECK(made->left() == 0);
}

TEST_CASE("what has expired is left and counted", "[store][import]") {
    for (const int64_t ahead : {-1, 0, 1}) {
        CAPTURE(ahead);
        MessageBytes bytes;
        bytes.expires_s = static_cast<uint64_t>(kNow + ahead);
        const auto made = imported(file_of({bytes.chunk(),
                                            ClientBytes{}.chunk(),
                                            waits(7, 1, 1, 3),
                                            waits(7, 2, 1, 11),
                                            waits(7, 3, 2, 7, 0, 0),
                                            retained_chunk(7)}));
        CHECK(made->left(ImportLeft::kExpired) == (ahead > 0 ? 0 : 4));
        CHECK(made->report.queued == (ahead > 0 ? 1 : 0));
        if (ahead > 0) {
            CHECK(made->state.retained().at("a/b")->expires_at == static_cast<uint64_t>(kNow + 1));
        }
    }
}

TEST_CASE("a session's time away goes on", "[store][import]") {
    // Away: since when it says itself.  Connected: since the file was written.
    struct Row {
        int64_t expires;
        uint32_t interval;
        uint64_t away_since;  // 0: expired; 1: ended
    };

    constexpr auto kOld = static_cast<uint32_t>(kNow - kSaved);
    constexpr uint32_t kStays = MosquittoClient::kNever;
    const Row rows[] = {
        {kNow + 1, 3600,     kNow + 1 - 3600},
        {kNow,     3600,     0              },
        {kNow - 1, 3600,     0              },
        {0,        kOld,     0              },
        {0,        kOld + 1, kSaved         },
        {0,        kStays,   kSaved         },
        {kNow,     kStays,   0              },
        {kNow + 1, kStays,   kSaved         },
        {0,        0,        1              },
        {kNow - 1, 0,        1              },
    };
    for (const Row& row : rows) {
        CAPTURE(row.expires, row.interval);
        ClientBytes bytes;
        bytes.expires_s = static_cast<uint64_t>(row.expires);
        bytes.interval_s = row.interval;
        const auto made = imported(file_of({message_of(7),
                                            bytes.chunk(),
                                            waits(7, 1, 1, 3),
                                            waits(7, 2, 1, 11),
                                            SubscriptionBytes{}.chunk()}));
        const ImportGone& gone = row.away_since == 0 ? made->report.expired : made->report.ended;
        CHECK(made->left() == 0);
        if (row.away_since > 1) {
            CHECK(made->session("client").away_since == row.away_since);
            CHECK(made->session("client").expiry_s == row.interval);
            CHECK(made->report.under_way == 1);
        } else {
            CHECK(made->report.sessions == 0);
            CHECK(gone.sessions == 1);
            CHECK(gone.subscriptions == 1);
            CHECK(gone.messages == 2);
        }
    }
}

TEST_CASE("a message of max_packet_size is taken, one larger is not", "[store][import]") {
    for (const unsigned qos : {0u, 1u}) {
        for (const uint32_t over : {0u, 1u, 2u}) {
            const std::string payload(200, 'x');
            MessageBytes bytes;
            bytes.qos = qos;
            bytes.payload = payload;
            ImportOptions options = options_at();
            const uint32_t size = 1 + 2 + 2 + 3 + (qos > 0 ? 2 : 0) + 200;  // of the packet
            options.packet_bytes_max = size + 1 - over;
            const auto made = imported(file_of({bytes.chunk(),
                                                ClientBytes{}.chunk(),
                                                waits(7, 1, 1, 11),
                                                waits(7, 2, 2, 7, 0, 0),
                                                retained_chunk(7)}),
                                       options);
            CHECK(made->left(ImportLeft::kTooLarge) == (over == 2 ? 3 : 0));
            CHECK(made->report.retained == (over == 2 ? 0 : 1));
        }
    }
}

TEST_CASE("mosquitto's own status is not retained here, but what waits is kept",
          "[store][import]") {
    const auto made = imported(file_of({message_of(1, "$SYS/broker/uptime"),
                                        message_of(2, "$SYSTEM"),
                                        message_of(3, "$SYS"),
                                        message_of(4, "empty", ""),
                                        ClientBytes{}.chunk(),
                                        waits(1, 1, 1, 11),
                                        waits(4, 1, 1, 11),
                                        retained_chunk(1),
                                        retained_chunk(2),
                                        retained_chunk(3),
                                        retained_chunk(4)}));
    CHECK(made->left(ImportLeft::kStatus) == 2);
    CHECK(made->left(ImportLeft::kOdd) == 1);  // nothing cannot be retained
    CHECK(made->report.retained == 1);
    CHECK(made->report.queued == 2);
}

TEST_CASE("what leads nowhere is counted, each by its reason", "[store][import]") {
    SubscriptionBytes nobody;
    nobody.client = "nobody";
    const auto made = imported(file_of({message_of(7),
                                        message_of(7, "said/twice"),
                                        message_of(8, "for/nobody"),
                                        ClientBytes{}.chunk(),
                                        ClientBytes{}.chunk(),
                                        waits(99, 1, 1, 11),
                                        waits(99, 2, 2, 7, 0, 0),
                                        waits(7, 1, 1, 11, 0, 1, "nobody"),
                                        waits(7, 1, 2, 7, 0, 0, "nobody"),
                                        waits(7, 3, 1, 11),
                                        nobody.chunk(),
                                        retained_chunk(99)}));
    CHECK(made->left(ImportLeft::kNoMessage) == 3);
    CHECK(made->left(ImportLeft::kNoSession) == 3);
    CHECK(made->left(ImportLeft::kOdd) == 2);
    CHECK(made->left() == 8);
    CHECK(made->report.queued == 1);
    CHECK(made->session("client").queued.at(1).message->topic == "a/b");
}

TEST_CASE("properties that are not passed on stay behind", "[store][import]") {
    MessageBytes bytes;
    bytes.block = Wire().block(
        Wire().byte(2).u32(60).byte(1).byte(1).byte(0x23).u16(5).byte(3).text("text/plain"));
    const auto made = imported(file_of({bytes.chunk(), retained_chunk(7)}));
    CHECK(made->state.retained().at("a/b")->properties_bytes == 2 + 13);
}

TEST_CASE("shared subscriptions that the index would refuse are left", "[store][import]") {
    std::string deep = "#";
    for (int i = 0; i < 1024; ++i)
        deep.insert(0, "a/");
    for (const auto& [filter, taken] : {
             std::pair<std::string, bool>{"$share/group/a/#",    true },
             {"$share/group",        false},
             {"$share//a",           false},
             {"$share/g/$share/h/a", false},
             {deep,                  false},
             {deep.substr(2),        true }
    }) {
        CAPTURE(filter.substr(0, 30));
        SubscriptionBytes bytes;
        bytes.filter = filter;
        bytes.options = 4;  // no local
        const auto made = imported(file_of({ClientBytes{}.chunk(), bytes.chunk()}));
        CHECK(made->report.subscriptions == (taken ? 1 : 0));
        CHECK(made->left(ImportLeft::kOdd) == (taken ? 0 : 1));
        if (!taken) continue;
        const bool shared = filter[0] == '$';
        CHECK(made->session("client").subscriptions.at(filter).options == (shared ? 1 : 5));
    }
}

TEST_CASE("more than 255 subscription identifiers are cut there", "[store][import]") {
    Wire ids;
    for (unsigned i = 1; i <= 300; ++i)
        ids.byte(0x0b).byte(i % 100 + 1);
    Wire length;
    length.byte((ids.size() & 127) | 128).byte(static_cast<unsigned>(ids.size() >> 7));
    ClientMessageBytes bytes;
    bytes.block = length.raw(ids);
    const auto made = imported(file_of({message_of(7), ClientBytes{}.chunk(), bytes.chunk()}));
    CHECK(made->report.under_way == 1);
    CHECK(made->session("client").under_way.begin()->second.identifiers.size() == 255);
    CHECK(made->session("client").level == 5);
}

TEST_CASE("a file of version 5, and one longer than the ring", "[store][import]") {
    ClientBytes old;
    old.version = 5;
    Wire file = file_header(5).raw(config_chunk()).raw(message_of(7)).raw(old.chunk());
    CHECK(imported(file.raw(waits(7, 1, 1, 11)))->report.queued == 1);

    // The newest first, as mosquitto has them; every tenth is larger than a part of a record.
    Wire large = file_header(6).raw(config_chunk());
    constexpr unsigned kMessages = 200;
    for (unsigned id = kMessages; id > 0; --id)
        large.raw(message_of(id, "a/b", std::string(id % 10 == 0 ? 700'000 : 1'000, 'x')));
    large.raw(ClientBytes{}.chunk());
    for (unsigned id = 1; id <= kMessages; ++id)
        large.raw(waits(id, id, 1, 11));
    ImportOptions options = options_at();
    options.shape.file_bytes = 1u << 20;
    ImportReport report;
    FakeDisk disk;
    REQUIRE(import_mosquitto(large, disk, options, report) == Error::kNone);
    check::Findings findings;
    check::State state;
    REQUIRE(check::examine(disk, {}, findings, state) == Error::kNone);
    CHECK(findings.sound());
    CHECK(report.queued == kMessages);
    const auto& queue = state.sessions().begin()->second.queued;
    for (unsigned id = 1; id <= kMessages; ++id)
        REQUIRE(queue.at(id).message->payload_bytes == (id % 10 == 0 ? 700'000 : 1'000));
}

}  // namespace mqttd
