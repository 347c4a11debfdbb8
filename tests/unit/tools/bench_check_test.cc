#include "tools/bench_check.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <set>
#include <vector>

using namespace mqttd::bench;

namespace {

// What a run of sequence numbers is reported as.
Faults judge(const std::vector<uint64_t>& arrived, uint64_t sent, uint32_t step = 1) {
    Stream stream(step);
    Faults faults;
    uint64_t unique = 0;
    for (const uint64_t sequence : arrived) {
        const Verdict verdict = stream.see(sequence);
        faults.duplicates += verdict == Verdict::kDuplicate;
        faults.disordered += verdict == Verdict::kLate;
        unique += verdict != Verdict::kDuplicate;
    }
    faults.lost = sent - unique;
    return faults;
}

}  // namespace

TEST_CASE("a stream in order has no fault", "[tools]") {
    const Faults faults = judge({0, 1, 2, 3, 4}, 5);
    REQUIRE(!faults.any());
}

TEST_CASE("a duplicate is told, at once and later", "[tools]") {
    REQUIRE(judge({0, 1, 1, 2}, 3).duplicates == 1);
    REQUIRE(judge({0, 1, 2, 3, 0}, 4).duplicates == 1);
    REQUIRE(judge({0, 1, 1, 2}, 3).lost == 0);
    REQUIRE(judge({0, 1, 1, 2}, 3).disordered == 0);
}

TEST_CASE("a gap is told with its size", "[tools]") {
    Stream stream(1);
    REQUIRE(stream.see(0) == Verdict::kNext);
    REQUIRE(stream.see(4) == Verdict::kGap);
    REQUIRE(stream.gap() == 3);
    REQUIRE(stream.see(5) == Verdict::kNext);
    REQUIRE(judge({0, 4, 5}, 6).lost == 3);
}

TEST_CASE("a loss at the end is told by counting", "[tools]") {
    REQUIRE(judge({0, 1}, 3).lost == 1);
    REQUIRE(judge({}, 3).lost == 3);
}

TEST_CASE("a swap is disorder, neither loss nor duplicate", "[tools]") {
    const Faults faults = judge({0, 2, 1, 3}, 4);
    REQUIRE(faults.disordered == 1);
    REQUIRE(faults.lost == 0);
    REQUIRE(faults.duplicates == 0);
}

TEST_CASE("what came late and then again is late once and a duplicate once", "[tools]") {
    const Faults faults = judge({0, 2, 1, 1, 3}, 4);
    REQUIRE(faults.disordered == 1);
    REQUIRE(faults.duplicates == 1);
}

TEST_CASE("a latecomer is told from a copy up to 64 numbers back", "[tools]") {
    // 0 is left out, then `ahead` others come, then 0.
    for (uint64_t ahead = 1; ahead < 130; ++ahead) {
        Stream stream(1);
        REQUIRE(stream.see(1) == Verdict::kGap);
        for (uint64_t i = 2; i <= ahead; ++i)
            REQUIRE(stream.see(i) == Verdict::kNext);
        INFO(ahead);
        REQUIRE(stream.see(0) == (ahead < 64 ? Verdict::kLate : Verdict::kDuplicate));
    }
}

TEST_CASE("a stream with a step expects every step-th number", "[tools]") {
    Stream stream(10, 3);
    REQUIRE(stream.see(3) == Verdict::kNext);
    REQUIRE(stream.see(13) == Verdict::kNext);
    REQUIRE(stream.see(43) == Verdict::kGap);
    REQUIRE(stream.gap() == 2);
    REQUIRE(stream.see(33) == Verdict::kLate);
    REQUIRE(stream.see(33) == Verdict::kDuplicate);
    REQUIRE(stream.see(53) == Verdict::kNext);
}

TEST_CASE("without a step numbers only have to rise", "[tools]") {
    Stream stream(0);
    REQUIRE(stream.see(7) == Verdict::kNext);
    REQUIRE(stream.see(900) == Verdict::kNext);
    REQUIRE(stream.see(899) == Verdict::kLate);
    REQUIRE(stream.see(900) == Verdict::kDuplicate);
}

TEST_CASE("any order of a short stream is judged as a set would", "[tools]") {
    // Against the obvious: what is in the set is a duplicate, what is below the largest is late.
    const uint32_t seed = GENERATE(1u, 2u, 3u, 4u, 5u);
    INFO("seed " << seed);
    std::mt19937 random(seed);
    for (int round = 0; round < 500; ++round) {
        Stream stream(1);
        std::set<uint64_t> seen;
        uint64_t due = 0;
        for (int i = 0; i < 60; ++i) {
            const uint64_t sequence = random() % 60;
            const bool again = seen.count(sequence) != 0;
            Verdict wanted = again            ? Verdict::kDuplicate
                             : sequence < due ? Verdict::kLate
                             : sequence > due ? Verdict::kGap
                                              : Verdict::kNext;
            REQUIRE(stream.see(sequence) == wanted);
            seen.insert(sequence);
            due = std::max(due, sequence + 1);
        }
    }
}

TEST_CASE("a mark keeps publisher and sequence apart", "[tools]") {
    for (const uint32_t publisher : {0u, 1u, 99'999u, Mark::kPublishersMax - 1}) {
        for (const uint64_t sequence : {uint64_t{0}, uint64_t{1}, Mark::kSequenceMask}) {
            const uint64_t word = Mark::pack(publisher, sequence);
            REQUIRE(Mark::publisher(word) == publisher);
            REQUIRE(Mark::sequence(word) == sequence);
        }
    }
}
