// The scribe as it runs: in a process of its own, on a real folder, killed now and then.

#include "store/scribe_process.h"

#include "base/little_endian.h"
#include "catch2/catch.hpp"
#include "io/disk_folder.h"
#include "io/keeper.h"
#include "io/memory.h"
#include "store/log_reader.h"
#include "store/log_writer.h"
#include "support/temp_folder.h"

#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <poll.h>
#include <string>
#include <unistd.h>

using namespace mqttd;

namespace {

constexpr uint64_t kMemory = 1u << 20;
constexpr int kPatience = 10'000;  // ms, for what takes a few

// A loop without a broker: ring, keeper, scribe.
class Loop {
  public:
    explicit Loop(std::string folder, std::string import = {})
        : folder_(std::move(folder)), import_(std::move(import)) {
        memory_ = *share_memory(kMemory);
        job = set_desk(memory_.base, memory_.bytes);
        job.folder = folder_.c_str();
        if (!import_.empty()) job.import_file = import_.c_str();
        job.packet_bytes_max = 2'000'000;
        job.to_scribe = *open_event();
        job.to_loop = *open_event();
        const Keeper::Helper scribe{"mqttd-scribe", run_scribe, &job};
        keeper = std::make_unique<Keeper>(&scribe, 1);
        REQUIRE(keeper->start() == Error::kNone);
        keeper->ask_for(0);
    }

    ~Loop() {
        keeper.reset();
        close(job.to_scribe);
        close(job.to_loop);
        release_memory(memory_);
    }

    // Until `done` holds or patience ends.
    template <class Done>
    bool wait(Done done) {
        for (int waited = 0; !done(); waited += 10) {
            if (waited > kPatience) return false;
            pollfd watched[2] = {
                {job.to_loop,          POLLIN, 0},
                {keeper->descriptor(), POLLIN, 0},
            };
            poll(watched, 2, 10);
            take_event(job.to_loop);
            Keeper::Ended ended;
            while (keeper->take(ended)) {
                ++deaths;
                last_end = ended;
                if (mourn) keeper->ask_for(0);
            }
        }
        return true;
    }

    bool wait_for(ScribeState state) {
        return wait([&] { return job.desk->state.load() == state; });
    }

    // What a start does when the lock is there: reads, and goes on behind it.
    void begin() {
        FolderDisk disk;
        REQUIRE(disk.open_folder(folder_) == Error::kNone);
        LogReader reader(disk);
        JournalShape shape{.file_bytes = 64 * 1024, .id = 99};
        REQUIRE(reader.open(shape) == Error::kNone);
        LogRecord record;
        while (reader.next(record)) {
            if (record.type == RecordType::kFirstOfBroker) {
                last_read = load_le<uint64_t>(record.body.data());
            }
        }
        REQUIRE(reader.report().damaged == 0);
        REQUIRE(reader.secure() == Error::kNone);
        writer.emplace(job.ring, shape, reader.next_begin(), reader.report().end);
        job.desk->journal.store(shape.id);
        job.desk->file_bytes.store(shape.file_bytes);
        wake();
    }

    Position append(uint64_t number) {
        uint8_t body[200] = {};
        store_le<uint64_t>(body, number);
        if (writer->room() < writer->cost(sizeof body)) {
            REQUIRE(wait([&] { return writer->room() > kMemory / 4; }));
        }
        return writer->append(RecordType::kFirstOfBroker, Bytes(body));
    }

    // As at the end of a turn.
    void wake() {
        if (writer->hand_over()) wake_scribe(job);
        tell_event(job.to_scribe);
    }

    ScribeJob job;
    std::unique_ptr<Keeper> keeper;
    std::optional<LogWriter> writer;
    uint64_t last_read = 0;
    uint32_t deaths = 0;
    Keeper::Ended last_end;
    bool mourn = true;  // a dead scribe gets a successor

  private:
    std::string folder_;
    std::string import_;
    Region memory_;
};

int lock_owner(const std::string& path) {
    FolderDisk disk;
    REQUIRE(disk.open_folder(path) == Error::kNone);
    return disk.lock_owner();
}

}  // namespace

TEST_CASE("what the scribe calls durable is in the folder", "[store][process]") {
    const TempFolder folder;
    uint64_t number = 0;
    for (int life = 0; life < 3; ++life) {
        Loop loop(folder.path());
        REQUIRE(loop.wait_for(ScribeState::kServing));
        loop.begin();
        CHECK(loop.last_read == number);
        for (int turn = 0; turn < 50; ++turn) {
            for (int i = 0; i < 20; ++i)
                loop.append(++number);
            if (loop.writer->hand_over()) wake_scribe(loop.job);
        }
        REQUIRE(loop.wait([&] { return loop.writer->durable() == loop.writer->tail(); }));
        CHECK(loop.deaths == 0);
        const RingHead& ring = loop.job.desk->ring;
        CHECK(ring.syncs.load() <= 60);  // those of a turn together, and what gathered meanwhile
        uint64_t timed = 0;
        for (const auto& count : loop.job.desk->sync_times)
            timed += count.load();
        CHECK(timed >= ring.syncs.load());  // files are synced when they end, too
    }
}

TEST_CASE("the scribe reads what is asked for, and so does its successor", "[store][process]") {
    const TempFolder folder;
    Loop loop(folder.path());
    REQUIRE(loop.wait_for(ScribeState::kServing));
    loop.begin();
    const auto ask = [&](uint32_t place, Position position, uint64_t size) {
        ColdRead& read = loop.job.desk->reads[place];
        read.position = position;
        read.size = size;
        read.state.store(ColdRead::kAsked);
        wake_scribe(loop.job);
    };
    const auto state = [&](uint32_t place) { return loop.job.desk->reads[place].state.load(); };
    const auto first_of = [&](uint32_t place) {
        return load_le<uint64_t>(loop.job.read_room + place * loop.job.read_bytes);
    };
    const Position first = loop.append(1);
    for (uint64_t i = 2; i <= 200; ++i)
        loop.append(i);
    loop.wake();
    REQUIRE(loop.wait([&] { return loop.writer->durable() == loop.writer->tail(); }));
    ask(0, first, 200);
    REQUIRE(loop.wait([&] { return state(0) != ColdRead::kAsked; }));
    CHECK(state(0) == ColdRead::kHere);
    CHECK(first_of(0) == 1);

    ask(1, first + 8, 200);  // nothing begins there
    ask(2, first, loop.job.read_bytes + 1);
    REQUIRE(
        loop.wait([&] { return state(1) != ColdRead::kAsked && state(2) != ColdRead::kAsked; }));
    CHECK(state(1) == ColdRead::kLost);
    CHECK(state(2) == ColdRead::kLost);

    // What has not been handed over is read when it is.
    const Position next = loop.append(777);
    ask(3, next, 200);
    ask(0, first, 200);
    REQUIRE(loop.wait([&] { return state(0) != ColdRead::kAsked; }));
    CHECK(state(3) == ColdRead::kAsked);
    loop.wake();
    REQUIRE(loop.wait([&] { return state(3) != ColdRead::kAsked; }));
    CHECK(state(3) == ColdRead::kHere);
    CHECK(first_of(3) == 777);

    REQUIRE(kill(lock_owner(folder.path()), SIGSTOP) == 0);
    ask(0, first, 200);
    REQUIRE(kill(lock_owner(folder.path()), SIGKILL) == 0);
    REQUIRE(loop.wait([&] { return state(0) != ColdRead::kAsked; }));
    CHECK(loop.deaths == 1);
    CHECK(state(0) == ColdRead::kHere);
    CHECK(first_of(0) == 1);
}

TEST_CASE("a killed scribe's successor goes on where it was", "[store][process]") {
    const TempFolder folder;
    Loop loop(folder.path());
    REQUIRE(loop.wait_for(ScribeState::kServing));
    loop.begin();
    uint64_t number = 0;
    for (uint32_t kills = 0; kills < 10; ++kills) {
        for (int turn = 0; turn < 20; ++turn) {
            for (int i = 0; i < 20; ++i)
                loop.append(++number);
            if (loop.writer->hand_over()) wake_scribe(loop.job);
            if (turn == 10) {
                const int scribe = lock_owner(folder.path());
                REQUIRE(scribe > 0);
                REQUIRE(kill(scribe, SIGKILL) == 0);
            }
        }
        REQUIRE(loop.wait([&] { return loop.deaths == kills + 1; }));
        CHECK(loop.last_end.killed);
        CHECK(loop.last_end.status == SIGKILL);
        REQUIRE(loop.wait([&] { return loop.writer->durable() == loop.writer->tail(); }));
    }
    FolderDisk disk;
    REQUIRE(disk.open_folder(folder.path()) == Error::kNone);
    LogReader reader(disk);
    JournalShape shape;
    REQUIRE(reader.open(shape) == Error::kNone);
    uint64_t expected = 0;
    LogRecord record;
    while (reader.next(record)) {
        if (record.type != RecordType::kFirstOfBroker) continue;
        REQUIRE(load_le<uint64_t>(record.body.data()) == ++expected);
    }
    CHECK(expected == number);
    CHECK(reader.report().damaged == 0);
}

TEST_CASE("when the loop is gone the scribe writes what is left, and ends", "[store][process]") {
    // And a second broker on the folder waits for it, and is told by whom it is held up.
    const TempFolder folder;
    uint64_t number = 0;
    {
        Loop loop(folder.path());
        REQUIRE(loop.wait_for(ScribeState::kServing));
        loop.begin();
        Loop second(folder.path());
        REQUIRE(second.wait_for(ScribeState::kWaiting));
        CHECK(second.job.desk->lock_owner.load() == lock_owner(folder.path()));
        while (number < 1'000)
            loop.append(++number);
        loop.writer->hand_over();  // and nobody wakes the scribe
    }
    Loop third(folder.path());
    REQUIRE(third.wait_for(ScribeState::kServing));
    third.begin();
    CHECK(third.last_read == number);
}

TEST_CASE("a folder that is not there is said, and asked for no more", "[store][process]") {
    const TempFolder folder;
    Loop loop(folder.path() + "/none");
    loop.mourn = false;
    REQUIRE(loop.wait_for(ScribeState::kRefused));
    CHECK(static_cast<Error>(loop.job.desk->error.load()) == Error::kNotFound);
    REQUIRE(loop.wait([&] { return loop.deaths == 1; }));
    CHECK_FALSE(loop.last_end.killed);
    CHECK(loop.last_end.status == 1);
}

TEST_CASE("where there is no journal yet the scribe imports one, once",
          "[store][process][import]") {
    // It takes the lock first, and serves when all is safe; its successors have nothing to import.
    const TempFolder folder;
    const std::string file = "tests/unit/store/fixtures/inflight.db";
    {
        Loop loop(folder.path(), file);
        REQUIRE(loop.wait_for(ScribeState::kServing));
        const ImportReport& report = loop.job.desk->import;
        CHECK(report.ran);
        CHECK(report.bytes == std::filesystem::file_size(file));
        CHECK(report.offset == report.bytes);
        CHECK(report.sessions == 4);
        CHECK(report.under_way == 6);
        loop.begin();
        loop.job.desk->import = {};
        const int scribe = lock_owner(folder.path());
        REQUIRE(kill(scribe, SIGKILL) == 0);
        REQUIRE(loop.wait([&] { return loop.deaths == 1; }));
        REQUIRE(loop.wait([&] { return lock_owner(folder.path()) > 0; }));
        REQUIRE(loop.wait_for(ScribeState::kServing));
        CHECK_FALSE(loop.job.desk->import.ran);
    }
    Loop again(folder.path(), file);
    REQUIRE(again.wait_for(ScribeState::kServing));
    CHECK_FALSE(again.job.desk->import.ran);
}

TEST_CASE("a file to import that is not there is none, one that is none is said",
          "[store][process][import]") {
    const TempFolder folder;
    {
        Loop loop(folder.path(), folder.file("none"));
        REQUIRE(loop.wait_for(ScribeState::kServing));
        CHECK_FALSE(loop.job.desk->import.ran);
    }
    Loop loop(folder.path(), folder.path());
    loop.mourn = false;
    REQUIRE(loop.wait_for(ScribeState::kFileRefused));
    CHECK(static_cast<Error>(loop.job.desk->error.load()) == Error::kInvalid);
    REQUIRE(loop.wait([&] { return loop.deaths == 1; }));
    CHECK(loop.last_end.status == 1);
}

TEST_CASE("signals to the group are not the scribe's", "[store][process]") {
    const TempFolder folder;
    Loop loop(folder.path());
    REQUIRE(loop.wait_for(ScribeState::kServing));
    loop.begin();
    REQUIRE(loop.wait([&] { return loop.writer->durable() == loop.writer->tail(); }));
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2})
        REQUIRE(kill(lock_owner(folder.path()), signal) == 0);
    loop.append(1);
    if (loop.writer->hand_over()) wake_scribe(loop.job);
    REQUIRE(loop.wait([&] { return loop.writer->durable() == loop.writer->tail(); }));
    CHECK(loop.deaths == 0);
}
