#include "tools/bench_options.h"

#include <catch2/catch.hpp>
#include <initializer_list>
#include <vector>

using namespace mqttd::bench;

namespace {

ParsedOptions parse(std::initializer_list<const char*> words) {
    const std::vector<const char*> list(words);
    return parse_options(list);
}

Options good(std::initializer_list<const char*> words) {
    const ParsedOptions parsed = parse(words);
    for (const std::string& problem : parsed.problems)
        UNSCOPED_INFO(problem);
    REQUIRE(parsed.problems.empty());
    return parsed.options;
}

// The one problem these words have.
std::string bad(std::initializer_list<const char*> words) {
    const ParsedOptions parsed = parse(words);
    for (const std::string& problem : parsed.problems)
        UNSCOPED_INFO(problem);
    REQUIRE(parsed.problems.size() == 1);
    return parsed.problems[0];
}

}  // namespace

TEST_CASE("mqttbench without a word measures throughput 1:1", "[tools]") {
    const Options options = good({});
    REQUIRE(options.mode == Mode::kThroughput);
    REQUIRE(options.publishers == 1);
    REQUIRE(options.subscribers == 1);
    REQUIRE(options.qos == 0);
    REQUIRE(options.speech() == Protocol::k311);
}

TEST_CASE("a value may follow its option, be joined to it, or come behind '='", "[tools]") {
    REQUIRE(good({"-p", "1884"}).port == 1884);
    REQUIRE(good({"-p1884"}).port == 1884);
    REQUIRE(good({"--port", "1884"}).port == 1884);
    REQUIRE(good({"--port=1884"}).port == 1884);
}

TEST_CASE("counts take k and m", "[tools]") {
    REQUIRE(good({"-n", "20k"}).messages == 20'000);
    REQUIRE(good({"-n", "3m"}).messages == 3'000'000);
    bad({"-n", "k"});
    bad({"-n", "3g"});
    bad({"-n", "-3"});
    bad({"-n", "1.5k"});
    bad({"-n", ""});
}

TEST_CASE("every mode and layout has its name", "[tools]") {
    for (const Mode mode : {Mode::kThroughput,
                            Mode::kLatency,
                            Mode::kGrowth,
                            Mode::kConnect,
                            Mode::kReconnect,
                            Mode::kIdle,
                            Mode::kBacklog,
                            Mode::kRetained}) {
        const std::string name(mode_name(mode));
        REQUIRE(good({name.c_str()}).mode == mode);
        REQUIRE(usage_text().find("  " + name + " ") != std::string::npos);
    }
    REQUIRE(good({"-l", "shared"}).shape() == Layout::kShared);
    REQUIRE(good({"-l", "pairs"}).shape() == Layout::kPairs);
    REQUIRE(good({"-l", "wildcard"}).shape() == Layout::kWildcard);
    REQUIRE(good({"-l", "group"}).shape() == Layout::kGroup);
    REQUIRE(good({"-V", "3.1"}).speech() == Protocol::k31);
    REQUIRE(good({"-V", "3.1.1"}).speech() == Protocol::k311);
    REQUIRE(good({"-V", "5.0"}).speech() == Protocol::k50);
    REQUIRE(good({"-V", "5"}).speech() == Protocol::k50);
}

TEST_CASE("every bound holds at itself and not one beyond", "[tools]") {
    REQUIRE(good({"-p", "1"}).port == 1);
    REQUIRE(good({"-p", "65535"}).port == 65535);
    bad({"-p", "0"});
    bad({"-p", "65536"});
    REQUIRE(good({"-q", "2"}).qos == 2);
    bad({"-q", "3"});
    REQUIRE(good({"-s", "8"}).payload == 8);
    bad({"-s", "7"});
    REQUIRE(good({"-w", "65535"}).window == 65535);
    bad({"-w", "65536"});
    bad({"-w", "0"});
    REQUIRE(good({"latency", "-s", "16"}).payload == 16);
    bad({"latency", "-s", "15"});
    REQUIRE(good({"-l", "wildcard", "-S", "10", "--filters", "10"}).filters == 10);
    bad({"-l", "wildcard", "-S", "11", "--filters", "10"});
    REQUIRE(good({"-P", "20k", "-S", "1000"}).publishers == 20'000);
    bad({"-P", "20k", "-S", "1001"});
    REQUIRE(good({"-P", "20k", "-S", "20k", "-l", "pairs"}).publishers == 20'000);
    REQUIRE(good({"-l", "group", "-S", "4", "--groups", "4"}).groups == 4);
    bad({"-l", "group", "-S", "4", "--groups", "5"});
}

TEST_CASE("every wrong word gets a sentence that names it", "[tools]") {
    REQUIRE(bad({"--no-such"}).find("'--no-such'") != std::string::npos);
    REQUIRE(bad({"-z"}).find("'-z'") != std::string::npos);
    REQUIRE(bad({"fast"}).find("'fast' is no mode") != std::string::npos);
    REQUIRE(bad({"idle", "connect"}).find("second mode") != std::string::npos);
    REQUIRE(bad({"-p"}).find("needs an argument: give PORT") != std::string::npos);
    REQUIRE(bad({"--json=1"}).find("takes no value") != std::string::npos);
    REQUIRE(bad({"-V", "4"}).find("3.1.1") != std::string::npos);
    REQUIRE(bad({"-l", "ring"}).find("'ring'") != std::string::npos);
    REQUIRE(bad({"-t", "0"}).find("measures nothing") != std::string::npos);
    REQUIRE(bad({"--host="}).find("1 to 255") != std::string::npos);
    REQUIRE(bad({"-p", "1\n2"}).find('\n') == std::string::npos);
}

TEST_CASE("all wrong words are reported in one run", "[tools]") {
    REQUIRE(parse({"-p", "0", "-q", "9", "--no-such"}).problems.size() == 3);
    REQUIRE(parse({"--help", "-p", "0"}).problems.size() == 1);
}

TEST_CASE("an option that the mode would ignore is refused", "[tools]") {
    REQUIRE(bad({"idle", "-q", "1"}).find("says nothing in mode idle") != std::string::npos);
    REQUIRE(bad({"--rate", "5"}).find("it is for latency") != std::string::npos);
    bad({"retained", "-S", "2"});
    bad({"connect", "-N", "2"});
    bad({"backlog", "-t", "2"});
}

TEST_CASE("modes bring their own defaults and conditions", "[tools]") {
    REQUIRE(good({"backlog"}).qos == 1);
    REQUIRE(good({"backlog"}).messages == 100'000);
    REQUIRE(bad({"backlog", "-q", "0"}).find("1 or 2") != std::string::npos);
    REQUIRE(good({"retained"}).qos == 0);
    REQUIRE(good({"growth"}).bystanders == 1000);
    REQUIRE(good({"growth", "--other-filters", "5"}).bystanders == 0);
    REQUIRE(good({"-t", "0", "-n", "5"}).messages == 5);
}

TEST_CASE("the help names every option and stays within a line", "[tools]") {
    const std::string text = usage_text();
    for (const char* name :
         {"--host",     "--port",       "--protocol", "--publishers", "--subscribers",
          "--layout",   "--qos",        "--payload",  "--window",     "--inflight",
          "--rate",     "--seconds",    "--messages", "--warmup",     "--clients",
          "--parallel", "--broker-pid", "--json",     "--help",       "--version"}) {
        INFO(name);
        REQUIRE(text.find(name) != std::string::npos);
    }
    size_t line = 0;
    for (const char c : text) {
        line = c == '\n' ? 0 : line + 1;
        REQUIRE(line <= 100);
    }
}
