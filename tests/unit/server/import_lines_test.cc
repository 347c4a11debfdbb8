#include "server/import_lines.h"

#include <catch2/catch.hpp>

using namespace mqttd;

namespace {

std::vector<std::string> texts(const ImportReport& report) {
    std::vector<std::string> out;
    for (const ImportLine& line : import_lines(report, "m.db", "j")) {
        const bool warns = line.text.starts_with("Warning: ");
        const bool fails = line.text.starts_with("Error: ");
        CHECK((line.kind == LogKind::kWarning) == warns);
        CHECK((line.kind == LogKind::kError) == fails);
        CHECK(line.text.ends_with('.'));
        out.push_back(line.text);
    }
    return out;
}

}  // namespace

TEST_CASE("an import of everything is one line", "[server][import]") {
    ImportReport report;
    report.bytes = report.offset = 1000;
    report.end = MosquittoEnd::kWhole;
    report.sessions = 1;
    report.subscriptions = 2;
    report.retained = 3;
    report.queued = 4;
    report.under_way = 5;
    report.inbound = 6;
    CHECK(texts(report) ==
          std::vector<std::string>{
              "Imported m.db: 1 session, 2 subscriptions, 3 retained messages, 4 queued, 5 under "
              "way and 6 coming in."});
}

TEST_CASE("whatever was left has a line with its count", "[server][import]") {
    ImportReport report;
    report.bytes = 1000;
    report.unreadable = 100;
    report.offset = 850;
    report.end = MosquittoEnd::kCut;
    report.ended = {1, 1, 2};
    report.expired = {2, 0, 1};
    uint64_t count = 11;
    for (uint64_t& left : report.left)
        left = count++;
    report.damaged[static_cast<size_t>(MosquittoChunk::kMessage)] = 7;
    report.damaged[static_cast<size_t>(MosquittoChunk::kClient)] = 1;
    const std::vector<std::string> expected{
        "Imported m.db: 0 sessions, 0 subscriptions, 0 retained messages, 0 queued, 0 under way "
        "and 0 coming in.",
        "Not imported from m.db: 1 session ended with the connection (with 1 subscription and 2 "
        "messages).",
        "Not imported from m.db: 2 sessions expired while away (with 0 subscriptions and 1 "
        "message).",
        "Not imported from m.db: 11 messages that have expired.",
        "Warning: Not imported from m.db: 12 messages larger than max_packet_size.",
        "Not imported from m.db: 13 retained messages below $SYS, which are mosquitto's own.",
        "Warning: Not imported from m.db: 14 messages that it names but does not hold: they had "
        "expired, or are damaged.",
        "Warning: Not imported from m.db: 15 subscriptions and messages of sessions that it does "
        "not hold.",
        "Warning: Not imported from m.db: 16 things that do not fit together: said twice, or in a "
        "state that cannot be.",
        "Warning: m.db is damaged: lost are 7 of its messages, 1 of its clients.",
        "Warning: m.db is damaged: of its last 50 bytes nothing could be read, it was cut off "
        "there.",
        "Error: the disk does not give the last 100 bytes of m.db.",
    };
    CHECK(texts(report) == expected);
    report.end = MosquittoEnd::kLost;
    CHECK(texts(report)[10] ==
          "Warning: m.db is damaged: of its last 50 bytes nothing could be read.");
}

TEST_CASE("a file that cannot be read says what to do", "[server][import]") {
    ImportReport report;
    report.file_error = MosquittoFileError::kOldVersion;
    CHECK(
        texts(report) ==
        std::vector<std::string>{
            "Error: m.db has a format of mosquitto before 1.6: start mosquitto 1.6 or later on it "
            "once, and stop it. Nothing of it is imported. To try again, stop mqttd, remove j and "
            "start it."});
}
