// The simulator's runner: plays seeds, each in a world of its own.
//
//     sim --seed N            one seed; a failing one is made smaller and told step by step
//     sim --seeds A B         A ≤ seed < B, on all cores
//     sim --list FILE         those at the beginning of the file's lines
//     sim --minutes M         from a seed that the clock chooses, for so long, on all cores; every
//                             second one a durable world
//     sim --speed             messages a second, with and without the model
//     --keep FILE             where failing seeds are appended
//     --first                 the first that fails ends it
//     --whole --loud          with --seed: as it is, not made smaller; step by step
//
// Each core plays its share in a process of its own, so that an assertion of the broker ends one
// world and not the hunt. The last line counts; the exit status is 0 if nothing failed.

#include "sim/plan.h"
#include "sim/shrink.h"
#include "sim/world.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace mqttd;
using namespace mqttd::sim;

constexpr size_t kWordsOfKind = 12;  // letters of a failure that say what it is

double seconds_now() {
    using Clock = std::chrono::steady_clock;
    return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

Outcome play(const Plan& plan, bool loud = false) {
    World world(plan);
    world.loud = loud;
    return world.run();
}

// So many seconds of this process's own processor time: whatever else the machine does.
void limit(long seconds) {
    itimerval timer{};
    timer.it_value.tv_sec = seconds;
    setitimer(ITIMER_VIRTUAL, &timer, nullptr);
}

// In a process of its own: 0 if it holds, else what kind of failure it is, by its first words or by
// the signal of an assertion.
int failure_apart(const Plan& plan) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(2);
        limit(60);
        const std::string failure = play(plan).failure;
        const size_t kind = std::hash<std::string>()(failure.substr(0, kWordsOfKind));
        _exit(failure.empty() ? 0 : static_cast<int>(1 + kind % 200));
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1'000 + status;
}

int play_one(uint64_t seed, bool loud, bool whole) {
    const Plan plan = make_plan(seed);
    std::fputs(plan.describe().c_str(), stdout);
    const int kind = whole ? 0 : failure_apart(plan);
    if (kind == 0) {
        std::setvbuf(stdout, nullptr, _IOLBF, 0);
        const Outcome outcome = play(plan, loud);
        if (!outcome.failure.empty()) {
            std::printf("%s\n", outcome.failure.c_str());
            return 1;
        }
        std::printf(
            "fine: %llu publications, %llu messages read, %llu turns, %.1f s of virtual time\n",
            static_cast<unsigned long long>(outcome.applied),
            static_cast<unsigned long long>(outcome.read),
            static_cast<unsigned long long>(outcome.turns),
            static_cast<double>(outcome.time) / 1000);
        return 0;
    }
    std::printf("fails; making it smaller …\n");
    const auto same = [&](const Plan& smaller) { return failure_apart(smaller) == kind; };
    const Plan smaller = shrink(plan, same);
    std::fputs(smaller.describe().c_str(), stdout);
    std::fflush(stdout);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    const Outcome outcome = play(smaller, true);
    std::printf("%s\n", outcome.failure.c_str());
    return 1;
}

// What the players tell the one who waits; shared memory.
struct Tally {
    std::atomic<uint64_t> next;  // seed to be played
    std::atomic<uint64_t> end;
    std::atomic<bool> mixed;  // every second one is a durable world
    std::atomic<uint64_t> played;
    std::atomic<uint64_t> failed;
    std::atomic<uint64_t> applied;
    std::atomic<uint64_t> read;
    std::atomic<uint64_t> client_seconds;  // virtual, summed over clients
    std::atomic<uint64_t> cuts;
    std::atomic<uint64_t> kills;
    std::atomic<uint64_t> current[64];
};

void report(uint64_t seed, const std::string& failure, const char* keep) {
    std::printf(
        "make sim SEED=%llu   %s\n", static_cast<unsigned long long>(seed), failure.c_str());
    std::fflush(stdout);
    if (keep == nullptr) return;
    if (std::FILE* file = std::fopen(keep, "a")) {
        std::fprintf(file, "%llu\t%s\n", static_cast<unsigned long long>(seed), failure.c_str());
        std::fclose(file);
    }
}

void play_share(Tally& tally, uint32_t core, double until, const char* keep, bool first) {
    while (seconds_now() < until) {
        uint64_t seed = tally.next++;
        if (seed >= tally.end) break;
        if (tally.mixed && seed % 2 == 0) seed += kDurableSeeds;
        tally.current[core] = seed;
        limit(120);  // a world that never ends
        const Plan plan = make_plan(seed);
        const Outcome outcome = play(plan);
        limit(0);
        ++tally.played;
        tally.applied += outcome.applied;
        tally.read += outcome.read;
        tally.cuts += outcome.cuts;
        tally.kills += outcome.kills;
        tally.client_seconds += outcome.clients * (outcome.time / 1000);
        if (outcome.failure.empty()) continue;
        ++tally.failed;
        report(seed, outcome.failure, keep);
        if (first) tally.end = 0;
    }
    tally.current[core] = ~uint64_t{0};
}

int play_many(
    uint64_t first, uint64_t end, double seconds, const char* keep, bool stop, bool mixed) {
    void* shared =
        mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    auto& tally = *new (shared) Tally{};
    tally.next = first;
    tally.end = end;
    tally.mixed = mixed;
    const double began = seconds_now();
    const auto cores =
        static_cast<uint32_t>(std::clamp<long>(sysconf(_SC_NPROCESSORS_ONLN), 1, 64));
    std::vector<pid_t> players(cores);
    const auto start = [&](uint32_t core) {
        std::fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            play_share(tally, core, began + seconds, keep, stop);
            std::fflush(stdout);
            _exit(0);
        }
        players[core] = child;
    };
    for (uint32_t core = 0; core < cores; ++core)
        start(core);
    for (uint32_t left = cores; left > 0;) {
        int status = 0;
        const pid_t ended = waitpid(-1, &status, 0);
        if (ended < 0) break;
        const auto core = static_cast<uint32_t>(std::find(players.begin(), players.end(), ended) -
                                                players.begin());
        if (core >= cores) continue;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            --left;
            continue;
        }
        ++tally.played;
        ++tally.failed;
        report(tally.current[core],
               WIFSIGNALED(status) ? "ended by signal " + std::to_string(WTERMSIG(status))
                                   : "ended by itself",
               keep);
        if (stop) tally.end = 0;
        start(core);
    }
    const double took = seconds_now() - began;
    std::string ends;
    if (tally.cuts + tally.kills > 0) {
        ends = ", " + std::to_string(tally.cuts) + " power cuts, " + std::to_string(tally.kills) +
               " kills";
    }
    std::printf(
        "sim: %llu seeds from %llu, %.0f s, %llu publications, %llu messages read, "
        "%.1f simulated client-hours%s\n%llu passed, %llu failed\n",
        static_cast<unsigned long long>(tally.played),
        static_cast<unsigned long long>(first),
        took,
        static_cast<unsigned long long>(tally.applied),
        static_cast<unsigned long long>(tally.read),
        static_cast<double>(tally.client_seconds) / 3600,
        ends.c_str(),
        static_cast<unsigned long long>(tally.played - tally.failed),
        static_cast<unsigned long long>(tally.failed));
    return tally.failed == 0 ? 0 : 1;
}

// Worlds that once failed, one after the other.
int play_list(const char* path) {
    std::FILE* file = std::fopen(path, "r");
    if (file == nullptr) {
        std::fprintf(stderr, "%s cannot be read\n", path);
        return 2;
    }
    uint64_t played = 0;
    uint64_t failed = 0;
    char line[256];
    while (std::fgets(line, sizeof line, file) != nullptr) {
        char* end = nullptr;
        const uint64_t seed = std::strtoull(line, &end, 10);
        if (end == line) continue;  // a comment
        ++played;
        if (failure_apart(make_plan(seed)) == 0) continue;
        ++failed;
        report(seed, "fails again", nullptr);
    }
    std::fclose(file);
    std::printf("sim: %llu passed, %llu failed\n",
                static_cast<unsigned long long>(played - failed),
                static_cast<unsigned long long>(failed));
    return failed == 0 && played > 0 ? 0 : 1;
}

int measure_speed() {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    for (const bool with_model : {false, true}) {
        const Plan plan = make_bulk_plan(1, with_model);
        const double began = seconds_now();
        const Outcome outcome = play(plan);
        const double took = seconds_now() - began;
        std::printf("%s the model: %llu messages in %.2f s, %.0f a second%s%s\n",
                    with_model ? "with" : "without",
                    static_cast<unsigned long long>(outcome.applied + outcome.read),
                    took,
                    static_cast<double>(outcome.applied + outcome.read) / took,
                    outcome.failure.empty() ? "" : ": ",
                    outcome.failure.c_str());
    }
    return 0;
}

}  // namespace

int main(int count, char** words) {
    const auto value = [&](const char* name, int place) -> const char* {
        for (int i = 1; i + place < count; ++i) {
            if (std::strcmp(words[i], name) == 0) return words[i + place];
        }
        return nullptr;
    };
    const auto flag = [&](const char* name) { return value(name, 0) != nullptr; };
    const auto number = [](const char* text) { return std::strtoull(text, nullptr, 10); };
    const char* keep = value("--keep", 1);
    if (const char* seed = value("--seed", 1)) {
        return play_one(number(seed), flag("--loud"), flag("--whole"));
    }
    if (const char* first = value("--seeds", 1)) {
        const char* end = value("--seeds", 2);
        if (end != nullptr)
            return play_many(number(first), number(end), 1e9, keep, flag("--first"), false);
    }
    if (const char* minutes = value("--minutes", 1)) {
        const uint64_t first =
            static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) /
            1'000'000 % 9'000 * 100'000;
        const double seconds = 60.0 * static_cast<double>(number(minutes));
        return play_many(first, ~uint64_t{0}, seconds, keep, false, true);
    }
    if (const char* list = value("--list", 1)) return play_list(list);
    if (flag("--speed")) return measure_speed();
    std::fputs(
        "usage: sim --seed N | --seeds A B | --list FILE | --minutes M | --speed   [--keep FILE]\n",
        stderr);
    return 2;
}
