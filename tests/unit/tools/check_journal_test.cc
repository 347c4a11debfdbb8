// mqttcheck on whole journals: sound ones, and ones with any byte wrong or any end missing.

#include "base/crc32c.h"
#include "catch2/catch.hpp"
#include "support/sanitized.h"
#include "tools/check_repair.h"
#include "unit/tools/check_fixture.h"

#include <algorithm>
#include <set>

using namespace mqttd;
using namespace mqttd::check;

namespace {

constexpr uint64_t kStep = kSanitized ? 7 : 1;  // bytes

uint64_t position_in(const std::string& line) {
    return std::stoull(line.substr(line.find(':') + 1));
}

// What must hold of any reading of a damaged `disk` that held `whole` before.
void holds_no_more(FakeDisk& disk, const Told& whole, uint64_t& unsound) {
    const auto now = examined(disk);
    REQUIRE(now->error == Error::kNone);
    // Nothing is made up: each record is one that was there.
    const std::set<std::string> there(whole.records.begin(), whole.records.end());
    const std::set<std::string> read(now->records.begin(), now->records.end());
    REQUIRE(read.size() == now->records.size());
    CHECK(std::includes(there.begin(), there.end(), read.begin(), read.end()));
    // Sound is what has all that was durable, as far as what is left knows.
    bool lost = false;
    for (const std::string& line : whole.records)
        lost = lost || (!read.contains(line) && position_in(line) < now->safe);
    if (lost) CHECK_FALSE(now->findings.sound());
    if (read.size() == there.size()) CHECK(now->findings.sound());
    unsound += now->findings.sound() ? 0 : 1;
    CHECK(now->findings.places.size() == now->findings.damages.size());
}

// A copy that is clean and comes to the same.  Returns how many deliveries were ended in it.
uint64_t mends(FakeDisk& disk) {
    const auto before = examined(disk);
    FakeDisk out;
    Repair job;
    job.id = 99;
    job.largest_unit = before->findings.largest_unit;
    REQUIRE(repair(disk, out, job) == Error::kNone);
    const auto after = examined(out);
    REQUIRE(after->error == Error::kNone);
    CHECK(after->findings.sound());
    CHECK(after->findings.torn == 0);
    CHECK(after->lines == before->lines);
    CHECK(job.ended == before->findings.totals.lost);
    CHECK(out.open_files() == 0);
    // Names given from now on are not among those that are there.
    CHECK(after->findings.oldest >= before->findings.end);
    return job.ended;
}

}  // namespace

TEST_CASE("a journal is told as it was written", "[tools][check]") {
    SmallJournal journal;
    journal.fill();
    const auto told = examined(journal.disk);
    REQUIRE(told->error == Error::kNone);
    CHECK(told->findings.sound());
    CHECK(told->findings.files == 3);
    CHECK(told->findings.lives == 2);
    CHECK(told->findings.torn == 0);
    const StateTotals& totals = told->findings.totals;
    CHECK(totals.sessions == 2);
    CHECK(totals.connected == 0);
    CHECK(totals.subscriptions == 2);
    CHECK(totals.retained == 2);
    CHECK(totals.queued == 3);
    CHECK(totals.under_way == 1);
    CHECK(totals.inbound == 1);
    CHECK(totals.lost == 0);
    CHECK(told->findings.types[static_cast<size_t>(DurableType::kSession)].count == 3);
    const std::string summary = told->findings.summary("j");
    CHECK(summary.starts_with("Journal j: sound.\n"));
    CHECK(summary.find("2: 0 connected at the end, 2 away") != std::string::npos);
    const std::string stats = told->findings.statistics(told->state);
    CHECK(stats.find("\"one\", away") != std::string::npos);
}

TEST_CASE("a flip of any byte is told for what it is", "[tools][check]") {
    // Nothing is made up, and what was durable is not missed in silence. Every few bytes a copy is
    // made of what is left, and reads clean.
    SmallJournal journal;
    journal.fill();
    const auto whole = examined(journal.disk);
    uint64_t unsound = 0;
    uint64_t ended = 0;
    for (const std::string& name : journal.disk.names()) {
        const std::vector<uint8_t> content = journal.disk.content(name);
        for (uint64_t at = 0; at < content.size(); at += kStep) {
            // Zeros behind the last record are all alike.
            if (content[at] == 0 && at > 2500 && at % 16 != 0) continue;
            CAPTURE(name, at);
            const auto flip = static_cast<uint8_t>(1u << at % 8);
            journal.disk.damage(name, at, flip);
            holds_no_more(journal.disk, *whole, unsound);
            if (at % 13 == 0) ended += mends(journal.disk);
            journal.disk.damage(name, at, flip);
        }
    }
    CHECK(unsound > 1'000 / kStep);
    CHECK(ended > 50 / kStep);
    mends(journal.disk);
}

TEST_CASE("a journal cut off anywhere is told for what it is", "[tools][check]") {
    SmallJournal journal;
    journal.fill();
    const auto whole = examined(journal.disk);
    uint64_t unsound = 0;
    for (const std::string& name : journal.disk.names()) {
        std::vector<uint8_t>& content = journal.disk.content(name);
        const std::vector<uint8_t> all = content;
        for (uint64_t size = 0; size < all.size(); size += size < 2500 ? kStep : 61) {
            CAPTURE(name, size);
            content.resize(size);
            holds_no_more(journal.disk, *whole, unsound);
            if (size % 29 == 0) mends(journal.disk);
            content = all;
        }
    }
    CHECK(unsound > 100 / kStep);
}

TEST_CASE("a torn tail is no damage, a hole is", "[tools][check]") {
    SmallJournal journal;
    journal.begin();
    journal.append(DurableType::kSession, session_of(1, "one"));
    journal.sync();
    const Position last = journal.append(DurableType::kSession, session_of(2, "two"));
    journal.sync();
    journal.end();
    const std::string name = journal.disk.names().front();
    journal.disk.damage(name, last + kRecordHeadBytes, 1);
    CHECK(examined(journal.disk)->findings.sound());
    CHECK(examined(journal.disk)->findings.totals.sessions == 1);
    journal.begin();
    journal.append(DurableType::kSession, session_of(3, "three"));
    journal.sync();
    journal.end();
    CHECK(examined(journal.disk)->findings.sound());
    CHECK(examined(journal.disk)->findings.totals.sessions == 2);
    journal.disk.damage(name, kFileHeadBytes + 24 + kRecordHeadBytes, 1);  // the first session
    const auto told = examined(journal.disk);
    CHECK_FALSE(told->findings.sound());
    REQUIRE(told->findings.damages.size() == 1);
    CHECK(told->findings.damages[0].from == kFileHeadBytes + 24);
    CHECK(told->findings.places[0] == name + "+88");
    CHECK(told->findings.summary("j").find("at position 88 (" + name + "+88)") !=
          std::string::npos);
}

TEST_CASE("a unit torn in the middle is left out of the copy", "[tools][check]") {
    SmallJournal journal;
    journal.begin();
    journal.append(DurableType::kSession, session_of(1, "one"));
    journal.sync();
    journal.append(DurableType::kSession, session_of(2, "two"), true);
    const Position last = journal.append(DurableType::kClock, DurableClock{1, 1});
    journal.sync();
    journal.end();
    journal.disk.damage(journal.disk.names().front(), last, 1);
    const auto told = examined(journal.disk);
    CHECK(told->findings.sound());
    CHECK(told->findings.torn == 1);
    CHECK(told->findings.totals.sessions == 1);
    mends(journal.disk);
}

TEST_CASE("what cannot be read is said, not guessed", "[tools][check]") {
    SmallJournal journal;
    journal.begin();
    journal.append(DurableType::kSession, std::vector<uint8_t>{1, 2, 3});
    journal.append(static_cast<DurableType>(200), std::vector<uint8_t>{1});
    journal.sync();
    journal.end();
    const auto told = examined(journal.disk);
    CHECK_FALSE(told->findings.sound());
    CHECK(told->findings.unreadable == 2);
    CHECK(told->records[1].find("\"unreadable\":true") != std::string::npos);
    CHECK(told->records[2].find("\"type\":\"unknown\",\"type_number\":200") != std::string::npos);
}

TEST_CASE("a file of another journal or version is refused", "[tools][check]") {
    SmallJournal journal;
    journal.fill();
    const std::string name = journal.disk.names().back();
    std::vector<uint8_t>& content = journal.disk.content(name);
    const std::vector<uint8_t> all = content;
    FileHead head = *decode_file_head(Bytes(content));
    head.shape.id = 78;
    encode_file_head(content.data(), head);
    CHECK(examined(journal.disk)->error == Error::kInvalid);
    content = all;
    store_le<uint32_t>(content.data() + 8, kJournalVersion + 1);
    store_le<uint32_t>(content.data() + 60, crc32c(0, Bytes(content).first(60)));
    CHECK(examined(journal.disk)->error == Error::kUnsupportedVersion);
}

TEST_CASE("what a running broker writes behind the end is not looked at", "[tools][check]") {
    // It could be half written when it is read.
    SmallJournal journal;
    journal.begin();
    journal.append(DurableType::kSession, session_of(1, "one"));
    journal.sync();
    const Position end = end_now(journal.disk);
    CHECK(end == journal.tail());
    journal.append(DurableType::kSession, session_of(2, "two"), true);
    journal.append(DurableType::kClock, DurableClock{1, 1});
    journal.sync();
    Walk walk(journal.disk);
    REQUIRE(walk.open() == Error::kNone);
    walk.stop_at(end);
    LogRecord record;
    uint64_t records = 0;
    while (walk.next(record))
        ++records;
    CHECK(records == 2);
    CHECK(walk.report().end == end);
    CHECK_FALSE(walk.next(record));
}
