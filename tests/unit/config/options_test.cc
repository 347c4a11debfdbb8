#include "config/options.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

namespace mqttd {

namespace {

ParsedOptions parse(std::vector<const char*> args) {
    return parse_options(args);
}

}  // namespace

TEST_CASE("no words are no options", "[config]") {
    // mqttd without arguments must start.
    CHECK(parse({}).problems.empty());
    CHECK(parse({}).options == Options{});
}

TEST_CASE("each flag has its short and its long name", "[config]") {
    // Scripts use either.
    const std::vector<std::pair<const char*, bool Options::*>> kFlags = {
        {"-d",             &Options::daemon      },
        {"--daemon",       &Options::daemon      },
        {"-v",             &Options::verbose     },
        {"--verbose",      &Options::verbose     },
        {"-q",             &Options::quiet       },
        {"--quiet",        &Options::quiet       },
        {"-h",             &Options::help        },
        {"--help",         &Options::help        },
        {"--version",      &Options::version     },
        {"--print-config", &Options::print_config},
    };
    for (const auto& [word, field] : kFlags) {
        INFO(word);
        Options expected;
        expected.*field = true;
        const ParsedOptions parsed = parse({word});
        CHECK(parsed.problems.empty());
        CHECK(parsed.options == expected);
    }
    CHECK(parse({"-c", "a.conf"}).options.config_file == "a.conf");
    CHECK(parse({"--config-file", "a.conf"}).options.config_file == "a.conf");
    CHECK(parse({"-t", "-c", "x"}).options.test_config);
    CHECK(parse({"--test-config", "-c", "x"}).options.test_config);
    CHECK(parse({"--port", "1884"}).options.ports == std::vector<uint16_t>{1884});
}

TEST_CASE("the order of flags does not matter", "[config]") {
    // In mosquitto -c reads the file on the spot, so later flags miss it.
    const Options one = parse({"-c", "f", "-d", "-p", "1", "-v"}).options;
    const Options other = parse({"-v", "-p", "1", "-d", "-c", "f"}).options;
    CHECK(one == other);
    CHECK((one.daemon && one.verbose && one.config_file == "f" && one.ports.size() == 1));
}

TEST_CASE("up to ten ports from 1 to 65535", "[config]") {
    // The eleventh, and what is no port, is a usage error.
    std::vector<const char*> args;
    for (int i = 0; i < 10; ++i) {
        args.insert(args.end(), {"-p", "1883"});
    }
    CHECK(parse(args).problems.empty());
    CHECK(parse(args).options.ports.size() == 10);
    args.insert(args.end(), {"-p", "1884"});
    CHECK(parse(args).problems.size() == 1);
    CHECK(parse({"-p", "1"}).problems.empty());
    CHECK(parse({"-p", "65535"}).problems.empty());
    for (const char* port : {"0", "65536", "-1", "x", "", "1883x", "99999999999999999999"}) {
        INFO(port);
        CHECK(parse({"-p", port}).problems.size() == 1);
    }
}

TEST_CASE("short flags may be joined and long ones carry '='", "[config]") {
    // As every getopt program reads them, service files among them.
    const ParsedOptions joined = parse({"-dvc", "a.conf"});
    CHECK(joined.problems.empty());
    CHECK((joined.options.daemon && joined.options.verbose));
    CHECK(joined.options.config_file == "a.conf");
    CHECK(parse({"-dca.conf"}).options.config_file == "a.conf");
    CHECK(parse({"-p1884"}).options.ports == std::vector<uint16_t>{1884});
    CHECK(parse({"--config-file=a.conf"}).options.config_file == "a.conf");
    CHECK(parse({"--config-file=a=b"}).options.config_file == "a=b");
    CHECK(parse({"--port=1884"}).options.ports == std::vector<uint16_t>{1884});
    CHECK(parse({"-dxv"}).problems.at(0).find("unknown option '-x' in '-dxv'") == 0);
    CHECK(parse({"-dxv"}).problems.size() == 1);
    CHECK(parse({"--daemon=1"}).problems.at(0).find("--daemon takes no value") == 0);
    CHECK(parse({"--config-file="}).problems.size() == 1);
    CHECK(parse({"--confg=a"}).problems.at(0).find("unknown option '--confg'") == 0);
    CHECK(parse({"-dc"}).problems.at(0) == "-c needs an argument: give FILE");
}

TEST_CASE("usage errors are sentences that name the word", "[config]") {
    // All of them in one run.
    CHECK(parse({"-x"}).problems.at(0).find("unknown option '-x'") == 0);
    CHECK(parse({"mqttd.conf"}).problems.at(0).find("'-c FILE'") != std::string::npos);
    CHECK(parse({"-c"}).problems.at(0) == "-c needs an argument: give FILE");
    CHECK(parse({"-p"}).problems.at(0) == "-p needs an argument: give PORT");
    CHECK(parse({"-c", ""}).problems.size() == 1);
    CHECK(parse({"-c", "a", "-c", "b"}).problems.size() == 1);
    CHECK(parse({"-t"}).problems.at(0).find("--test-config has no file") == 0);
    CHECK(parse({"--tls-keylog", "f"}).problems.at(0).find("refused") != std::string::npos);
    CHECK(parse({"-x", "-y", "-p", "0"}).problems.size() == 3);
}

TEST_CASE("the usage text shows every flag that is served", "[config]") {
    // It is printed from the table that parses.
    const std::string text = usage_text();
    for (const char* word : {"-c, --config-file FILE",
                             "-d, --daemon",
                             "-p, --port PORT",
                             "-v, --verbose",
                             "-q, --quiet",
                             "-h, --help",
                             "--version",
                             "-t, --test-config",
                             "--print-config"}) {
        INFO(word);
        CHECK(text.find(word) != std::string::npos);
    }
    CHECK(text.find("keylog") == std::string::npos);
}

TEST_CASE("random words never do more than give problems", "[config]") {
    // Arguments come from scripts that expand to anything.
    const unsigned seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const char* kWords[] = {
        "-c", "-p", "-d", "--", "-", "", "\xff\xfe", "1883", "--tls-keylog", "-t", "-h"};
    for (int i = 0; i < 5000; ++i) {
        std::vector<const char*> args(random() % 30);
        for (const char*& word : args) {
            word = kWords[random() % std::size(kWords)];
        }
        REQUIRE(parse(args).options.ports.size() <= kPortOptionsMax);
    }
}

}  // namespace mqttd
