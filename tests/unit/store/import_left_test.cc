// What of a mosquitto.db is left out, each by its reason; and what only unusual files hold.

#include "unit/store/imported.h"

namespace mqttd {

using namespace test;

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
