// crash: power cuts and kills, by the hundred thousand.
//
//     crash CUTS [SEED]      until so many lives of the journal ended with a power cut
//
// Each world is a journal on a disk in memory that goes through some lives (support/
// journal_world.h), every second one on a disk that fails. Prints the sum, or the world that
// failed; the exit status is 1 then.

#include "support/journal_world.h"

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

using namespace mqttd;

namespace {

constexpr uint32_t kLives = 6;
constexpr uint32_t kSteps = 120;

}  // namespace

int main(int count, char** words) {
    const uint64_t wanted = count > 1 ? std::strtoull(words[1], nullptr, 10) : 100'000;
    uint64_t seed = count > 2 ? std::strtoull(words[2], nullptr, 10) : 1;
    uint64_t cuts = 0;
    uint64_t kills = 0;
    uint64_t worlds = 0;
    uint64_t units = 0;
    uint64_t bytes = 0;
    for (; cuts < wanted; ++seed, ++worlds) {
        JournalWorld world(seed, seed % 2 == 0);
        for (uint32_t life = 0; life < kLives; ++life) {
            const bool power_cut = (seed / 2 + life) % 3 != 0;
            const std::string wrong = world.live(kSteps, power_cut);
            if (!wrong.empty()) {
                std::printf("seed %" PRIu64 ", life %u: %s\n", seed, life, wrong.c_str());
                return 1;
            }
            ++(power_cut ? cuts : kills);
        }
        units += world.units_read;
        bytes += world.bytes_appended;
    }
    std::printf("%" PRIu64 " power cuts and %" PRIu64 " kills in %" PRIu64
                " worlds, half of them on "
                "a failing disk\n%" PRIu64 " units read back, %" PRIu64
                " MB appended\n"
                "durable and missing 0, changed 0, out of order 0, cut off and back again 0\n",
                cuts,
                kills,
                worlds,
                units,
                bytes >> 20);
    return 0;
}
