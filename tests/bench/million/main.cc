// million [--clients N]: a million clients on quiet sockets: what they cost, in bytes and in time,
// against the targets; exit status 1 if one is missed.
//
// million --list, million PATH...: the instructions of one publish among so many clients, in the
// manner of tests/bench/paths, for scripts/instructions.
//
// Seconds are of the processor, not of the clock, so that a busy machine spoils little. The fake
// kernel's own share is in them (a few per cent), its memory is not in the bytes.

#include "bench/million/census.h"
#include "bench/million/crowd.h"
#include "bench/paths/paths.h"
#include "broker/link.h"
#include "broker/session.h"
#include "net/connection.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <vector>

namespace mqttd::bench {

namespace {

constexpr uint32_t kMillion = 1'000'000;
constexpr double kBytesMost = 512;    // of a client: DESIGN §1, a million in half a gigabyte
constexpr double kTickShareMost = 1;  // per cent of a core
constexpr double kSlowerMost = 3;     // times: one of a million against one of ten; cache misses

double cpu_us() {
    timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

template <class Step>
double timed(Step&& step) {
    const double before = cpu_us();
    step();
    return cpu_us() - before;
}

class Verdicts {
  public:
    void judge(bool fact, const char* words) {
        std::printf("%s: %s\n", fact ? "ok    " : "MISSED", words);
        if (!fact) missed_ = true;
    }

    int status() const { return missed_ ? 1 : 0; }

  private:
    bool missed_ = false;
};

// ---- Bytes
// -------------------------------------------------------------------------------------------

void come(Crowd& crowd, Verdicts& verdicts) {
    const uint32_t clients = crowd.size();
    Census census(crowd.engine.arena());
    std::printf("bytes a client, of the broker's own memory:\n");
    const double table = 8;
    std::printf("  %-34s%9.1f\n", "place in the table of descriptors", table);

    const double arrived = timed([&] { crowd.arrive(); });
    const Census::Kind of_arrival[] = {
        {"connection", sizeof(Connection)},
        {"link",       sizeof(Link)      },
    };
    double sum = table + census.report(of_arrival, clients);

    const double greeted = timed([&] { crowd.greet(); });
    const Census::Kind of_connect[] = {
        {"session",    sizeof(Session)      },
        {"identifier", sizeof(uint16_t) + 28},
    };
    sum += census.report(of_connect, clients);

    const double subscribed = timed([&] { crowd.subscribe_own(); });
    const Census::Kind of_subscribe[] = {
        {"subscription",           sizeof(Subscription)   },
        {"topic: filter and text", sizeof(FilterNode) + 16},
    };
    sum += census.report(of_subscribe, clients);
    std::printf("  %-34s%9.1f\n", "together", sum);
    std::printf("  %-34s%9.1f\n",
                "pages of the arena, gaps included",
                table + static_cast<double>(census.page_bytes()) / clients);
    std::printf("  (two timers of 16 bytes are in link and session)\n\n");

    const double all = arrived + greeted + subscribed;
    std::printf(
        "us of the processor a client: accepted %.2f, CONNECT %.2f, SUBSCRIBE %.2f; "
        "all of them in %.1f s\n\n",
        arrived / clients,
        greeted / clients,
        subscribed / clients,
        all / 1e6);
    verdicts.judge(sum <= kBytesMost,
                   "link, session, subscription, identifier and topic in 512 bytes");
    verdicts.judge(crowd.engine.stats().clients_connected == clients + 1, "everybody is in");
}

// ---- Time
// -------------------------------------------------------------------------------------------

// A keep-alive interval goes by in which everybody pings, then the ticks of 15 s are timed while
// the pings go on in turns of their own.
void tick(Crowd& crowd, Verdicts& verdicts) {
    constexpr Duration kTick = 64;
    const uint32_t pings =
        static_cast<uint32_t>(uint64_t{crowd.size()} * kTick / (Crowd::kKeepAlive_s * kSecond)) + 1;
    std::vector<double> ticks;
    const auto rounds = static_cast<uint32_t>((Crowd::kKeepAlive_s + 15) * kSecond / kTick);
    for (uint32_t i = 0; i < rounds; ++i) {
        crowd.ping(pings);
        ticks.push_back(timed([&] { crowd.engine.turn(kTick); }));
    }
    ticks.erase(ticks.begin(), ticks.end() - static_cast<std::ptrdiff_t>(15 * kSecond / kTick));
    double sum = 0;
    for (const double each : ticks)
        sum += each;
    std::sort(ticks.begin(), ticks.end());
    const double mean = sum / static_cast<double>(ticks.size());
    const double share = mean / (kTick * 1e3) * 100;
    std::printf(
        "\na tick of 64 ms, %u keep-alives armed: %.0f us, the longest %.0f us; %.2f %% of "
        "a core\n",
        crowd.size(),
        mean,
        ticks.back(),
        share);
    verdicts.judge(share <= kTickShareMost, "idle keep-alives take less than 1 % of a core");
    verdicts.judge(crowd.engine.stats().keep_alive_timeouts == 0, "nobody was taken for silent");
}

// Microseconds of one publish to one client, each time another one.
double publish_to_one(Crowd& crowd, bool same) {
    constexpr uint32_t kTimes = 20'000;
    std::vector<std::string> topics;
    for (uint32_t i = 0; i < kTimes; ++i) {
        const auto who = static_cast<uint32_t>(uint64_t{i} * 7'919 % crowd.size());
        topics.push_back(Crowd::topic_of(same ? 0 : who));
    }
    for (uint32_t i = 0; i < 100; ++i)
        crowd.publish(topics[i]);
    return timed([&] {
               for (const std::string& topic : topics)
                   crowd.publish(topic);
           }) /
           kTimes;
}

struct ToAll {
    double us_each = 0;     // receiver
    double longest_us = 0;  // turn
};

ToAll publish_to_all(Crowd& crowd) {
    constexpr uint32_t kTimes = 3;
    const uint64_t before = crowd.engine.stats().publish_sent;
    ToAll figures;
    const double began = cpu_us();
    for (uint32_t i = 0; i < kTimes; ++i) {
        double last = cpu_us();
        const auto look = [&] {
            const double now = cpu_us();
            figures.longest_us = std::max(figures.longest_us, now - last);
            last = now;
        };
        crowd.publish("all", look);
        look();
    }
    const uint64_t sent = crowd.engine.stats().publish_sent - before;
    if (sent != uint64_t{kTimes} * crowd.size()) std::abort();
    figures.us_each = (cpu_us() - began) / static_cast<double>(sent);
    return figures;
}

void publish(Crowd& crowd, Verdicts& verdicts) {
    Crowd ten(10);
    ten.arrive();
    ten.greet();
    ten.subscribe_own();
    const double same_of_ten = publish_to_one(ten, true);
    const double same = publish_to_one(crowd, true);
    const double other_of_ten = publish_to_one(ten, false);
    const double other = publish_to_one(crowd, false);
    ten.subscribe_all();
    std::printf("\nus of one publish with its turns          of ten   of %u\n", crowd.size());
    std::printf("  to the same one again and again   %12.2f %12.2f\n", same_of_ten, same);
    std::printf("  to another one each time          %12.2f %12.2f\n", other_of_ten, other);
    Census census(crowd.engine.arena());
    crowd.subscribe_all();
    const ToAll all_of_ten = publish_to_all(ten);
    const ToAll all = publish_to_all(crowd);
    std::printf(
        "  to all, for each receiver         %12.2f %12.2f\n", all_of_ten.us_each, all.us_each);
    std::printf("  the longest turn of that          %12.0f %12.0f\n",
                all_of_ten.longest_us,
                all.longest_us);
    std::printf("\nbytes of one more subscription to a filter that all have:\n");
    const Census::Kind kinds[] = {
        {"subscription", sizeof(Subscription)}
    };
    const double sum = census.report(kinds, crowd.size());
    std::printf("  %-34s%9.1f\n\n", "together", sum);
    verdicts.judge(same < kSlowerMost * same_of_ten, "one of them is found as among ten");
}

// ---- The end
// -------------------------------------------------------------------------------------------

struct Before {
    explicit Before(const Arena& arena) : live(arena.live()), bytes(arena.bytes_used()) {}

    uint64_t live;
    uint64_t bytes;
};

void go(Crowd& crowd, const Before& before, Verdicts& verdicts) {
    const Arena& arena = crowd.engine.arena();
    const uint32_t clients = crowd.size();
    const double left = timed([&] { crowd.leave(); });
    std::printf("\nus of the processor a client: gone %.2f\n", left / clients);
    std::printf("bytes of the session of one who is away, with its two subscriptions: %.1f\n",
                static_cast<double>(arena.bytes_used() - before.bytes) / clients);
    verdicts.judge(crowd.engine.stats().sessions == clients + 1,
                   "every session outlives its client");
    const double expired = timed([&] { crowd.expire(); });
    std::printf("us of the processor a session: ended %.2f\n", expired / clients);
    verdicts.judge(crowd.engine.stats().sessions_expired == clients, "all have expired");
    verdicts.judge(arena.live() == before.live, "every pool is as it was before");
}

int tell(uint32_t clients) {
    Verdicts verdicts;
    Crowd crowd(clients);
    const Before before(crowd.engine.arena());
    come(crowd, verdicts);
    tick(crowd, verdicts);
    publish(crowd, verdicts);
    go(crowd, before, verdicts);
    return verdicts.status();
}

// ---- Instructions
// -------------------------------------------------------------------------------------------

void count_one(Meter& meter, uint32_t clients, bool same) {
    Crowd crowd(clients);
    crowd.arrive();
    crowd.greet();
    crowd.subscribe_own();
    uint64_t i = 0;
    meter.count(100, 1'000, 1, [&] {
        crowd.publish(Crowd::topic_of(same ? 0 : static_cast<uint32_t>(i++ * 7'919 % clients)));
    });
}

constexpr Path kPaths[] = {
    {"same_of_10",      [](Meter& meter) { count_one(meter, 10, true); }       },
    {"same_of_1000000", [](Meter& meter) { count_one(meter, kMillion, true); } },
    {"one_of_10",       [](Meter& meter) { count_one(meter, 10, false); }      },
    {"one_of_1000000",  [](Meter& meter) { count_one(meter, kMillion, false); }},
};

int run(int argc, char** argv) {
    if (argc == 1) return tell(kMillion);
    if (argc == 3 && std::strcmp(argv[1], "--clients") == 0)
        return tell(static_cast<uint32_t>(std::max(1L, std::strtol(argv[2], nullptr, 10))));
    for (const Path& path : kPaths) {
        if (std::strcmp(argv[1], "--list") == 0) std::puts(path.name);
        for (int i = 1; i < argc; ++i) {
            if (std::strcmp(argv[i], path.name) != 0) continue;
            Meter meter(path.name);
            path.play(meter);
        }
    }
    return 0;
}

}  // namespace

}  // namespace mqttd::bench

int main(int argc, char** argv) {
    return mqttd::bench::run(argc, argv);
}
