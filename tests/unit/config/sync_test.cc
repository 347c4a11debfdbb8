#include "config/finish.h"
#include "config_fixture.h"

#include <catch2/catch.hpp>
#include <string>

using namespace mqttd;
using namespace mqttd::config_test;

TEST_CASE("sync is always, none, or interval with a time", "[config]") {
    const auto when = [](const std::string& value) {
        const Parsed parsed = parse_and_finish("listener 1883\nsync " + value + "\n");
        INFO(value << ": " << parsed.text());
        REQUIRE(parsed.problems.empty());
        return std::pair{parsed.config.sync_when, parsed.config.sync_interval_ms};
    };
    CHECK(when("always").first == SyncWhen::kAlways);
    CHECK(when("none").first == SyncWhen::kNone);
    CHECK(when("interval 1ms") == std::pair{SyncWhen::kInterval, uint64_t{1}});
    CHECK(when("interval 100ms") == std::pair{SyncWhen::kInterval, uint64_t{100}});
    CHECK(when("interval 2s") == std::pair{SyncWhen::kInterval, uint64_t{2'000}});
    CHECK(when("interval  3600s ").second == 3'600'000);
    for (const char* wrong : {"sometimes",
                              "interval",
                              "interval 0ms",
                              "interval 2",
                              "interval 2m",
                              "interval 3601s",
                              "interval 3600001ms",
                              "interval s",
                              "interval ms",
                              "interval -1s",
                              "interval 1s 2s",
                              "always 1s",
                              "none none",
                              "interval 99999999999999999999s"}) {
        const Parsed parsed = parse_and_finish(std::string("listener 1883\nsync ") + wrong + "\n");
        INFO(wrong << ": " << parsed.text());
        CHECK(parsed.problems.size() == 1);
        CHECK(parsed.says("is none of: always, none, interval TIME"));
    }
}
