// Which subscriber expects what: each layout is played with an obvious matcher.

#include "tools/bench_traffic.h"

#include <catch2/catch.hpp>
#include <map>

using namespace mqttd::bench;

namespace {

Options of(Layout layout, uint64_t publishers, uint64_t subscribers) {
    Options options;
    options.prefix = "x";
    options.layout = static_cast<uint64_t>(layout);
    options.publishers = publishers;
    options.subscribers = subscribers;
    return options;
}

}  // namespace

TEST_CASE("pairs: every message has the receivers its route says", "[tools]") {
    for (uint64_t publishers = 1; publishers < 7; ++publishers) {
        for (uint64_t subscribers = 1; subscribers < 7; ++subscribers) {
            const Options options = of(Layout::kPairs, publishers, subscribers);
            const Plan plan = Plan::of(options);
            for (uint32_t p = 0; p < publishers; ++p) {
                uint32_t receivers = 0;
                const std::string topic = plan.topic(options, plan.routes[p].topic);
                for (uint32_t s = 0; s < subscribers; ++s) {
                    if (plan.filters(options, s)[0] != topic) continue;
                    ++receivers;
                    REQUIRE(plan.streams(options, s).size() > plan.routes[p].stream);
                }
                REQUIRE(receivers == plan.routes[p].receivers);
                REQUIRE(receivers > 0);
            }
        }
    }
}

TEST_CASE("wildcard: each subscriber's streams expect exactly what matches it", "[tools]") {
    for (uint64_t publishers = 1; publishers < 8; ++publishers) {
        for (uint64_t subscribers = 1; subscribers < 8; ++subscribers) {
            Options options = of(Layout::kWildcard, publishers, subscribers);
            options.filters = subscribers * 3;
            const Plan plan = Plan::of(options);
            // Filter n is subscriber n mod subscribers'.
            for (uint32_t p = 0; p < publishers; ++p) {
                std::vector<Stream> streams;
                for (uint32_t s = 0; s < subscribers; ++s)
                    streams.push_back(plan.streams(options, s)[plan.routes[p].stream]);
                for (uint64_t k = 0; k < 200; ++k) {
                    const uint64_t filter = (p + k * publishers) % options.filters;
                    REQUIRE(streams[filter % subscribers].see(k) == Verdict::kNext);
                }
            }
        }
    }
}

TEST_CASE("every filter is somebody's, and every topic has its length", "[tools]") {
    Options options = of(Layout::kWildcard, 3, 4);
    options.filters = 10;
    const Plan plan = Plan::of(options);
    std::map<std::string, int> owners;
    for (uint32_t s = 0; s < 4; ++s) {
        for (const std::string& filter : plan.filters(options, s))
            ++owners[filter];
    }
    REQUIRE(owners.size() == 10);
    for (uint32_t n = 0; n < 10; ++n)
        REQUIRE(plan.topic(options, n).size() == plan.topic(options, 0).size());
}

TEST_CASE("a shared group is one receiver", "[tools]") {
    Options options = of(Layout::kGroup, 2, 6);
    options.groups = 3;
    const Plan plan = Plan::of(options);
    REQUIRE(plan.routes[1].receivers == 3);
    REQUIRE(plan.filters(options, 0)[0] == plan.filters(options, 3)[0]);
    REQUIRE(plan.filters(options, 0)[0] != plan.filters(options, 1)[0]);
    REQUIRE(plan.filters(options, 0)[0].starts_with("$share/"));
}

TEST_CASE("without --inflight there is a bound, and it is never nothing", "[tools]") {
    Options options = of(Layout::kShared, 1, 1);
    REQUIRE(Plan::of(options).inflight >= 1000);
    options.payload = 16'000'000;
    REQUIRE(Plan::of(options).inflight == 1);
    options = of(Layout::kShared, 100'000, 1);
    REQUIRE(Plan::of(options).inflight == 1);
    options.inflight = 77;
    REQUIRE(Plan::of(options).inflight == 77);
}
