// A mosquitto.db becomes a journal: what is taken, and as what.

#include "unit/store/imported.h"

namespace mqttd {
namespace {

using namespace test;

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

}  // namespace mqttd
