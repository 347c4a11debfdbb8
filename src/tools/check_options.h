#pragma once

// The command line of mqttcheck → Options, or what is wrong with it; all wrong words in one run.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd::check {

enum class Mode : uint8_t {
    kVerify,
    kStats,
    kJson,
    kState,
    kRepair,
};

struct Options {
    Mode mode = Mode::kVerify;
    std::string folder;
    std::string out;             // kRepair
    uint64_t payload_most = 64;  // kJson, kState
    bool help = false;
    bool version = false;
};

struct ParsedOptions {
    Options options;
    std::vector<std::string> problems;  // one sentence each; not empty = exit 2
};

// The words behind the program's name.  Help and version do not hide a problem.
ParsedOptions parse_options(std::span<const char* const> words);

std::string_view usage_text();

}  // namespace mqttd::check
