// The journal as a whole: what was durable is there after every end, in order and unchanged.

#include "catch2/catch.hpp"
#include "support/journal_world.h"

using namespace mqttd;

TEST_CASE("what was durable survives kills and power cuts", "[store]") {
    // Sectors that were not synced are kept or lost each by itself; the next life must read a
    // prefix of what was appended that has all that was durable, and nothing of what was cut
    // before.
    uint64_t units = 0;
    for (uint64_t seed = 1; seed <= 150; ++seed) {
        CAPTURE(seed);
        JournalWorld world(seed, false);
        for (uint32_t life = 0; life < 6; ++life) {
            CAPTURE(life);
            const std::string wrong = world.live(120, (seed + life) % 3 != 0);
            if (!wrong.empty()) FAIL(wrong);
        }
        units += world.units_read;
    }
    REQUIRE(units > 4'000);
}

TEST_CASE("a failing disk loses nothing that was durable", "[store]") {
    // Writes, syncs and names fail now and then, the disk is full for a while, the scribe dies; a
    // sync that failed says yes the next time with the bytes gone.
    for (uint64_t seed = 1; seed <= 150; ++seed) {
        CAPTURE(seed);
        JournalWorld world(seed, true);
        for (uint32_t life = 0; life < 6; ++life) {
            CAPTURE(life);
            const std::string wrong = world.live(120, (seed + life) % 3 != 0);
            if (!wrong.empty()) FAIL(wrong);
        }
    }
}

TEST_CASE("a flip of any byte loses what it hit and is reported", "[store]") {
    // Everything else comes back in order and unchanged, and no read goes astray.  The last batch
    // and the zeros behind it cannot be told from a torn tail.
    JournalWorld world(7, false);
    world.shape.file_bytes = kFileBytesMin;
    for (uint32_t life = 0; life < 2; ++life)
        REQUIRE(world.live(40, true).empty());
    Position begin = 0;
    Position end = 0;
    REQUIRE(world.read_all(true, begin, end).empty());
    const uint64_t before = world.units_read;
    REQUIRE(world.read_all(false, begin, end).empty());
    const uint64_t all = world.units_read - before;
    REQUIRE(all > 10);
    const Position whole = end;
    uint64_t reported = 0;
    for (const std::string& name : world.disk.names()) {
        if (!parse_name(name)) continue;
        for (uint64_t at = 0; at < world.disk.content(name).size(); ++at) {
            CAPTURE(name, at);
            const auto flip = static_cast<uint8_t>(1u << at % 8);
            world.disk.damage(name, at, flip);
            const uint64_t read = world.units_read;
            const std::string wrong = world.read_all(false, begin, end);
            if (!wrong.empty()) FAIL(wrong);
            const uint64_t lost = all - (world.units_read - read);
            if (lost > 0 && world.report.damaged == 0) CHECK(world.report.end < whole);
            reported += world.report.damaged;
            world.disk.damage(name, at, flip);
        }
    }
    REQUIRE(reported > 1'000);
}

TEST_CASE("a journal cut off at any byte is read up to there", "[store]") {
    // As a copy that was broken off, or a file system that lost the end.
    JournalWorld world(11, false);
    REQUIRE(world.live(40, true).empty());
    Position begin = 0;
    Position end = 0;
    REQUIRE(world.read_all(true, begin, end).empty());
    REQUIRE(world.log().size() > 5);
    const std::string last = world.disk.names().back();
    std::vector<uint8_t>& content = world.disk.content(last);
    uint64_t read = world.units_read;
    REQUIRE(world.read_all(false, begin, end).empty());
    uint64_t most = world.units_read - read;
    while (!content.empty()) {
        content.pop_back();
        read = world.units_read;
        const std::string wrong = world.read_all(false, begin, end);
        if (!wrong.empty()) FAIL(wrong << " at " << content.size());
        const uint64_t units = world.units_read - read;
        if (units > most) FAIL("more than before at " << content.size());
        most = units;
    }
}

TEST_CASE("the torn begin of a life says nothing of the one before it", "[store]") {
    // The second life wrote and synced nothing; of what it wrote any sectors are left, so maybe its
    // second batch, which says that all before its first file was safe, and not its first record.
    constexpr uint64_t kRing = 256 * 1024;
    uint64_t torn = 0;
    for (uint64_t seed = 1; seed <= 100; ++seed) {
        CAPTURE(seed);
        JournalShape shape{.file_bytes = 32 * 1024, .id = 7};
        FakeDisk disk(seed);
        std::vector<uint8_t> memory(kRing);
        Position begin = 0;
        Position ended = 0;
        for (uint32_t life = 0; life < 2; ++life) {
            RingHead head;
            const Ring ring{&head, memory.data(), kRing};
            LogWriter writer(ring, shape, begin, ended);
            for (uint32_t i = 0; i < 6; ++i) {
                const std::vector<uint8_t> body(300, static_cast<uint8_t>(i));
                writer.append(RecordType::kFirstOfBroker, Bytes(body));
                writer.hand_over();
            }
            Scribe scribe(disk, ring, shape);
            // A new file costs four calls, its content is the fifth, and it dies in the sync.
            if (life == 1) disk.calls_left = 6;
            CHECK((scribe.step() == Error::kNone) == (life == 0));
            CHECK((writer.durable() == writer.tail()) == (life == 0));
            if (life == 0) begin = shape.end_after(ended = writer.tail());
        }
        disk.calls_left = ~uint64_t{0};
        disk.power_cut();
        LogReader reader(disk);
        REQUIRE(reader.open(shape) == Error::kNone);
        LogRecord record;
        uint64_t bodies = 0;
        while (reader.next(record))
            bodies += record.type == RecordType::kFirstOfBroker ? 1 : 0;
        CHECK(bodies >= 6);
        CHECK(reader.report().damaged == 0);
        torn += reader.report().end == ended ? 1 : 0;
    }
    CHECK(torn > 20);
}

TEST_CASE("a file that is not quite full is made safe like any other", "[store]") {
    // A record may end so near to the end of its file that no other one fits behind it.
    uint64_t short_ones = 0;
    for (uint32_t size = 32'500; size < 32'700; size += 4) {
        CAPTURE(size);
        JournalShape shape{.file_bytes = 32 * 1024, .id = 7};
        FakeDisk disk(size);
        std::vector<uint8_t> memory(256 * 1024);
        RingHead head;
        const Ring ring{&head, memory.data(), memory.size()};
        LogWriter writer(ring, shape, 0, 0);
        for (const uint32_t bytes : {size, 100u})
            writer.append(RecordType::kFirstOfBroker, Bytes(std::vector<uint8_t>(bytes, 1)));
        writer.hand_over();
        REQUIRE(Scribe(disk, ring, shape).step() == Error::kNone);
        // As a scribe leaves it that did not fill it with zeros first.
        std::vector<uint8_t>& first = disk.content(name_of(FileName{0, 0}).text);
        while (first.back() == 0)
            first.pop_back();
        short_ones += first.size() < shape.file_bytes ? 1 : 0;
        // Nothing says that the last batch is safe, so it is written once more, and what was
        // written so is read by the next start.
        for (int start = 0; start < 2; ++start) {
            if (start == 1) disk.power_cut();
            LogReader reader(disk);
            REQUIRE(reader.open(shape) == Error::kNone);
            LogRecord record;
            uint64_t bytes = 0;
            while (reader.next(record)) {
                if (record.type == RecordType::kFirstOfBroker) bytes += record.body.size();
            }
            CHECK(bytes == size + 100);
            CHECK(reader.report().damaged == 0);
            REQUIRE(reader.secure() == Error::kNone);
        }
    }
    CHECK(short_ones >= 2);
}

TEST_CASE("a file that goes while it is read costs one look at it", "[store]") {
    // Where the writer has no use for it any more.  Behind it lies more than a search may look at
    // place by place.
    FakeDisk disk(1);
    JournalShape shape{.file_bytes = 4 * 1024 * 1024, .id = 7};
    std::vector<uint8_t> memory(1024 * 1024);
    RingHead head;
    const Ring ring{&head, memory.data(), memory.size()};
    LogWriter writer(ring, shape, 0, 0);
    Scribe scribe(disk, ring, shape);
    for (int i = 0; i < 60; ++i) {
        writer.append(RecordType::kFirstOfBroker, Bytes(std::vector<uint8_t>(200'000, 1)));
        writer.hand_over();
        REQUIRE(scribe.step() == Error::kNone);
    }
    LogReader reader(disk);
    REQUIRE(reader.open(shape) == Error::kNone);
    LogRecord record;
    REQUIRE(reader.next(record));
    const uint64_t opened = disk.opens();
    REQUIRE(disk.remove(name_of(FileName{1, 0}).text) == Error::kNone);
    uint64_t read = 0;
    while (reader.next(record))
        read += record.type == RecordType::kFirstOfBroker ? 1 : 0;
    CHECK(read > 30);
    CHECK(read < 60);
    CHECK(reader.report().damaged > 0);
    CHECK(disk.opens() < opened + 100);
}
