#include "store/cold_reader.h"

#include "base/prng.h"
#include "catch2/catch.hpp"
#include "store/log_writer.h"
#include "store/scribe.h"
#include "support/fake_disk.h"

#include <vector>

using namespace mqttd;

namespace {

struct Kept {
    Position position = 0;
    std::vector<uint8_t> body;
};

// A journal on a lying disk, written by a scribe, some of whose files fail.
struct Written {
    static constexpr uint64_t kRing = 1u << 20;

    JournalShape shape{.file_bytes = 16 * 1024, .id = 7};
    FakeDisk disk;
    std::vector<Kept> bodies;

    Written(uint64_t seed, bool faults) : disk(seed) {
        Prng dice(seed);
        std::vector<uint8_t> memory(kRing);
        RingHead head;
        const Ring ring{&head, memory.data(), kRing};
        LogWriter writer(ring, shape, 0, 0);
        Scribe scribe(disk, ring, shape);
        for (int i = 0; i < 120; ++i) {
            Kept kept;
            kept.body.resize(1 + dice.below(i % 20 == 0 ? 200'000 : 3'000));
            for (uint8_t& byte : kept.body)
                byte = static_cast<uint8_t>(dice.next());
            kept.position = writer.append(RecordType::kFirstOfBroker, Bytes(kept.body));
            bodies.push_back(std::move(kept));
            if (dice.below(3) != 0) continue;
            writer.hand_over();
            if (faults) disk.faults.sync = 3;
            (void)scribe.step();
            disk.faults = {};
            while (scribe.step() != Error::kNone) {
            }
        }
        writer.hand_over();
        REQUIRE(scribe.step() == Error::kNone);
    }
};

}  // namespace

TEST_CASE("every body is read again from its position and size", "[store]") {
    const bool faults = GENERATE(false, true);
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        Written written(seed, faults);
        ColdReader reader(written.disk, written.shape);
        Prng dice(seed);
        for (int i = 0; i < 300; ++i) {
            const Kept& kept = written.bodies[dice.below(120)];
            std::vector<uint8_t> got(kept.body.size());
            REQUIRE(reader.read(kept.position, got) == Error::kNone);
            REQUIRE(got == kept.body);
        }
        bool parts = false;  // of a file that failed
        for (const std::string& name : written.disk.names())
            parts = parts || parse_name(name).value_or(FileName{}).part > 0;
        CHECK(parts == faults);
    }
}

TEST_CASE("what was damaged, or is gone, is not taken for a body", "[store]") {
    Written written(3, false);
    std::vector<uint8_t> got(written.bodies[0].body.size());  // the large one, in several files
    const Position position = written.bodies[0].position;
    REQUIRE(got.size() > 20'000);
    ColdReader reader(written.disk, written.shape);
    CHECK(reader.read(position + 8, got) == Error::kInvalid);
    CHECK(reader.read(position, std::span(got).first(got.size() - 1)) == Error::kInvalid);
    const std::vector<std::string> names = written.disk.names();
    REQUIRE(names.size() > 3);
    written.disk.damage(names[1], 5'000, 1);
    CHECK(reader.read(position, got) == Error::kInvalid);
    written.disk.damage(names[1], 5'000, 1);
    CHECK(reader.read(position, got) == Error::kNone);
    REQUIRE(written.disk.remove(names[0]) == Error::kNone);
    CHECK(reader.read(position, got) == Error::kNotFound);
    CHECK(written.disk.open_files() == 0);
}

TEST_CASE("a scribe that takes over makes another part of an open file", "[store]") {
    // The reader has the first part open, and what it is asked for next lies in the second.
    constexpr uint64_t kRing = 1u << 20;
    const JournalShape shape{.file_bytes = 16 * 1024, .id = 7};
    FakeDisk disk;
    std::vector<uint8_t> memory(kRing);
    RingHead head;
    const Ring ring{&head, memory.data(), kRing};
    LogWriter writer(ring, shape, 0, 0);
    ColdReader reader(disk, shape);
    const auto body_of = [](uint8_t fill) { return std::vector<uint8_t>(100, fill); };
    for (uint8_t life = 0; life < 4; ++life) {
        Scribe scribe(disk, ring, shape);
        const std::vector<uint8_t> body = body_of(life);
        const Position position = writer.append(RecordType::kFirstOfBroker, Bytes(body));
        CHECK(reader.end_of(position, body.size()) == writer.tail());
        writer.hand_over();
        REQUIRE(scribe.step() == Error::kNone);
        std::vector<uint8_t> got(body.size());
        REQUIRE(reader.read(position, got) == Error::kNone);
        CHECK(got == body);
    }
}
