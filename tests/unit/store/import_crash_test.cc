// What becomes of an import that is interrupted, of a disk that fails, of a file that is damaged.

#include "store/import.h"
#include "support/fake_disk.h"
#include "support/sanitized.h"
#include "tools/check_findings.h"
#include "unit/store/mosquitto_lines.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace mqttd {
namespace {

using namespace test;

constexpr size_t kStep = kSanitized ? 97 * 7 : 97;  // bytes between places of damage

ImportOptions small_files() {
    ImportOptions options;
    options.shape = {kFileBytesMin, 77};
    options.now_s = 1'000'000;
    options.saved_s = 999'000;
    options.packet_bytes_max = 2'000'000;
    return options;
}

// Does what it is told until call number `last`; from then on everything fails.
class Breaking final : public Disk {
  public:
    Breaking(FakeDisk& disk, uint64_t last) : disk_(disk), left_(last) {}

    bool broke() const { return left_ == 0; }

    Error list(Visit visit, void* context) override {
        return works() ? disk_.list(visit, context) : Error::kIo;
    }

    Result<int> open(std::string_view name, bool create) override {
        if (!works()) return Error::kIo;
        return disk_.open(name, create);
    }

    void close(int file) override { disk_.close(file); }

    Result<size_t> read(int file, uint64_t offset, std::span<uint8_t> into) override {
        if (!works()) return Error::kIo;
        return disk_.read(file, offset, into);
    }

    Error write(int file, uint64_t offset, Bytes bytes) override {
        return works() ? disk_.write(file, offset, bytes) : Error::kIo;
    }

    Error sync(int file) override { return works() ? disk_.sync(file) : Error::kIo; }

    Error rename(std::string_view from, std::string_view to) override {
        return works() ? disk_.rename(from, to) : Error::kIo;
    }

    Error remove(std::string_view name) override {
        return works() ? disk_.remove(name) : Error::kIo;
    }

    Error sync_names() override { return works() ? disk_.sync_names() : Error::kIo; }

  private:
    bool works() {
        if (left_ > 0) --left_;
        return left_ > 0;
    }

    FakeDisk& disk_;
    uint64_t left_;
};

struct Read {
    check::Findings findings;
    check::State state;
};

check::StateTotals totals_of(FakeDisk& disk) {
    Read read;
    REQUIRE(check::examine(disk, {}, read.findings, read.state) == Error::kNone);
    REQUIRE(read.findings.sound());
    return read.findings.totals;
}

check::StateTotals totals_of_whole(Bytes file) {
    FakeDisk disk;
    ImportReport report;
    REQUIRE(import_mosquitto(file, disk, small_files(), report) == Error::kNone);
    return totals_of(disk);
}

bool holds(const FakeDisk& disk, std::string_view name) {
    for (const std::string& one : disk.names()) {
        if (one == name) return true;
    }
    return false;
}

// What a start does.
Error start(Disk& disk, Bytes file) {
    const Result<bool> ready = ready_for_import(disk);
    if (!ready) return ready.error();
    if (!*ready) return Error::kNone;
    ImportReport report;
    return import_mosquitto(file, disk, small_files(), report);
}

}  // namespace

TEST_CASE("an import that a power cut meets anywhere is begun anew", "[store][import]") {
    // Whatever of it survives; also if the power fails again while that is cleared away.
    const auto file = fixture("sessions.db");
    const check::StateTotals whole = totals_of_whole(file);
    uint64_t interrupted = 0;
    uint64_t through = 0;
    bool broke = true;
    for (uint64_t last = 1; broke; ++last) {
        for (uint64_t seed = 1; seed <= 3; ++seed) {
            CAPTURE(last, seed);
            FakeDisk disk(seed * 1000 + last);
            {
                Breaking first(disk, last);
                const Error error = start(first, file);
                broke = first.broke();
                REQUIRE((error == Error::kNone) == !broke);
            }
            disk.power_cut();
            {
                Breaking second(disk, seed == 1 ? ~uint64_t{0} : last / seed + 1);
                (void)start(second, file);
            }
            disk.power_cut();
            const Result<bool> ready = ready_for_import(disk);
            REQUIRE(ready.ok());
            REQUIRE_FALSE(holds(disk, kImporting));
            ++(*ready ? interrupted : through);
            if (*ready) {
                ImportReport report;
                REQUIRE(import_mosquitto(file, disk, small_files(), report) == Error::kNone);
            }
            CHECK(totals_of(disk) == whole);
            CHECK(disk.open_files() == 0);
        }
    }
    CHECK(interrupted > 10);
    CHECK(through > 10);
}

TEST_CASE("an import that is through survives a power cut", "[store][import]") {
    // From then on clients rely on it: it must not be begun anew.
    const auto file = fixture("sessions.db");
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        FakeDisk disk(seed);
        REQUIRE(start(disk, file) == Error::kNone);
        disk.power_cut();
        const Result<bool> ready = ready_for_import(disk);
        REQUIRE(ready.ok());
        REQUIRE_FALSE(*ready);
        CHECK(totals_of(disk) == totals_of_whole(file));
    }
}

TEST_CASE("a start has next to nothing of an import to make safe", "[store][import]") {
    // It writes once more what no later batch says to be safe, and that is one small record.
    FakeDisk disk;
    REQUIRE(start(disk, fixture("sessions.db")) == Error::kNone);
    const auto before = disk.names();
    LogReader reader(disk);
    JournalShape shape;
    REQUIRE(reader.open(shape) == Error::kNone);
    for (LogRecord record; reader.next(record);) {
    }
    REQUIRE(reader.report().end % kFileBytesMin > 1'000);  // the last file holds more than that
    REQUIRE(reader.secure() == Error::kNone);
    uint64_t parts = 0;
    for (const std::string& name : disk.names()) {
        if (std::count(before.begin(), before.end(), name) > 0) continue;
        const auto head = decode_file_head(Bytes(disk.content(name)));
        REQUIRE(head.ok());
        CHECK(head->from > reader.report().end - 100);
        ++parts;
    }
    CHECK(parts == 1);
}

TEST_CASE("an import is done once", "[store][import]") {
    FakeDisk disk;
    REQUIRE(start(disk, fixture("retained.db")) == Error::kNone);
    const auto before = totals_of(disk);
    REQUIRE(start(disk, fixture("sessions.db")) == Error::kNone);
    CHECK(totals_of(disk) == before);
}

TEST_CASE("what an interrupted import left goes even if there is no file any more",
          "[store][import]") {
    FakeDisk disk;
    Breaking breaking(disk, 12);
    REQUIRE(start(breaking, fixture("sessions.db")) != Error::kNone);
    REQUIRE(holds(disk, kImporting));
    REQUIRE(disk.names().size() > 1);
    REQUIRE(*ready_for_import(disk));
    CHECK(disk.names().empty());
}

TEST_CASE("a full disk stops an import, which is begun anew", "[store][import]") {
    const auto file = fixture("sessions.db");
    FakeDisk disk;
    disk.room = 1'000;
    CHECK(start(disk, file) == Error::kNoSpace);
    CHECK(holds(disk, kImporting));
    disk.room = ~uint64_t{0};
    REQUIRE(start(disk, file) == Error::kNone);
    CHECK(totals_of(disk) == totals_of_whole(file));
}

TEST_CASE("an import stops when nobody wants it any more", "[store][import]") {
    struct Asked {
        int until_yes;

        static bool ask(void* context) { return static_cast<Asked*>(context)->until_yes-- == 0; }
    };

    const auto file = fixture("sessions.db");
    for (int questions = 0; questions < 3; ++questions) {
        Asked asked{questions};
        ImportOptions options = small_files();
        options.stop = Asked::ask;
        options.context = &asked;
        FakeDisk disk;
        ImportReport report;
        CHECK(import_mosquitto(file, disk, options, report) == Error::kTimedOut);
        CHECK(holds(disk, kImporting));
        REQUIRE(start(disk, file) == Error::kNone);
        CHECK(totals_of(disk) == totals_of_whole(file));
    }
}

TEST_CASE("what is no mosquitto.db leaves no trace", "[store][import]") {
    for (const std::string_view text : {"", "mosquitto", "[store]\nno such thing\n"}) {
        FakeDisk disk;
        ImportReport report;
        CHECK(import_mosquitto(as_bytes(text), disk, small_files(), report) == Error::kInvalid);
        CHECK(report.file_error != MosquittoFileError::kNone);
        CHECK(disk.names().empty());
    }
}

TEST_CASE("of a file that is cut everything in front of the cut is taken", "[store][import]") {
    uint64_t imported = 0;
    for (const std::string& name : fixture_names()) {
        const auto file = fixture(name);
        for (size_t size = 0; size < file.size(); size += kStep) {
            CAPTURE(name, size);
            const Exact exact(Bytes(file).first(size));
            const Walk read = walk(Bytes(exact));
            FakeDisk disk;
            ImportReport report;
            const Error error = import_mosquitto(Bytes(exact), disk, small_files(), report);
            REQUIRE((error == Error::kNone) == (read.error == MosquittoFileError::kNone));
            if (error != Error::kNone) continue;
            ++imported;
            const check::StateTotals totals = totals_of(disk);
            CHECK(totals.sessions == report.sessions);
            CHECK(totals.queued == report.queued);
            CHECK(totals.under_way == report.under_way);
            const auto taken = [&](MosquittoChunk kind) { return read.report.of(kind).taken; };
            CHECK(report.sessions + report.ended.sessions == taken(MosquittoChunk::kClient));
            CHECK(report.subscriptions + report.ended.subscriptions ==
                  taken(MosquittoChunk::kSubscription));
            CHECK(report.queued + report.under_way + report.inbound ==
                  taken(MosquittoChunk::kClientMessage));
            CHECK(report.retained == taken(MosquittoChunk::kRetained));
            CHECK(report.offset == read.report.offset);
        }
    }
    CHECK(imported > (kSanitized ? 5 : 20));
}

TEST_CASE("a file with any byte wrong is taken as far as it goes", "[store][import]") {
    for (const std::string& name : fixture_names()) {
        auto file = fixture(name);
        for (size_t at = 0; at < file.size(); at += kStep / 5) {
            for (const uint8_t flip : {uint8_t{0x01}, uint8_t{0x80}, uint8_t{0xff}}) {
                CAPTURE(name, at, int{flip});
                file[at] ^= flip;
                const Exact exact{Bytes(file)};
                FakeDisk disk;
                ImportReport report;
                const Error error = import_mosquitto(Bytes(exact), disk, small_files(), report);
                file[at] ^= flip;
                REQUIRE((error == Error::kNone || error == Error::kInvalid));
                if (error != Error::kNone) continue;
                const check::StateTotals totals = totals_of(disk);
                CHECK(totals.sessions == report.sessions);
                CHECK(totals.queued == report.queued);
                CHECK(totals.under_way == report.under_way);
                CHECK(totals.inbound == report.inbound);
            }
        }
    }
}

}  // namespace mqttd
