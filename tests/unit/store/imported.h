#pragma once

// A mosquitto.db that was imported, as two readers see it who do not know of each other; and the
// parts of files made by hand.

#include "catch2/catch.hpp"
#include "store/import.h"
#include "store/log_reader.h"
#include "support/fake_disk.h"
#include "support/world.h"
#include "tools/check_findings.h"
#include "topics/subscription_index.h"
#include "unit/store/mosquitto_lines.h"

#include <memory>
#include <string>

namespace mqttd::test {

using check::KeptSession;

constexpr int64_t kNow = 1'000'000;  // long before the fixtures were written: nothing has expired
constexpr int64_t kSaved = 999'000;

inline ImportOptions options_at(int64_t now = kNow) {
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

inline std::unique_ptr<Imported> imported(Bytes file, const ImportOptions& options = options_at()) {
    auto made = std::make_unique<Imported>(file, options);
    made->agrees();
    return made;
}

inline Wire file_of(std::initializer_list<Wire> chunks) {
    Wire file = file_header(6).raw(config_chunk());
    for (const Wire& chunk : chunks)
        file.raw(chunk);
    return file;
}

inline Wire message_of(uint64_t id,
                       std::string_view topic = "a/b",
                       std::string_view payload = "payload") {
    MessageBytes bytes;
    bytes.store_id = id;
    bytes.topic = topic;
    bytes.payload = payload;
    return bytes.chunk();
}

// One of a client's messages, in full.
inline Wire waits(uint64_t id,
                  unsigned packet_id,
                  unsigned qos,
                  unsigned state,
                  unsigned dup = 0,
                  unsigned outgoing = 1,
                  std::string_view client = "client") {
    Wire body = u64(id).u16(packet_id).u16(size_of(client)).byte(qos).byte(state);
    return chunk(3, body.byte(dup).byte(outgoing).raw(client));
}

}  // namespace mqttd::test
