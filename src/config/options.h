// The command line → Options, or what is wrong with it.
//
// mosquitto's flags, in any order (mosquitto reads a file the moment it meets -c, so that order
// matters there). Short ones may be joined ("-dv", "-p1884"), a long one may carry its argument
// behind '=' ("--config-file=F"). All wrong words are reported in one run; main prints them
// and exits with 3. Two tables, the flags here and the keys in table.h, are all there is to know;
// `usage_text` is printed from the first, the commented mqttd.conf from the second.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mqttd {

inline constexpr size_t kPortOptionsMax = 10;

struct Options {
    std::string config_file;      // -c; empty = none
    std::vector<uint16_t> ports;  // -p, at most kPortOptionsMax; used if no listener is written
    bool daemon = false;          // -d
    bool verbose = false;         // -v: every log type, beats the file
    bool quiet = false;           // -q: no log, beats -v
    bool help = false;            // -h: print usage_text(), exit 0
    bool version = false;         // --version: print it, exit 0
    bool test_config = false;     // -t: read the file, print its problems, exit 0 or 3
    bool print_config = false;    // --print-config: print write_default_config(), exit 0

    bool operator==(const Options&) const = default;
};

struct ParsedOptions {
    Options options;
    std::vector<std::string> problems;  // one sentence each; not empty = exit 3
};

// The words behind the program's name. Help and version do not hide a problem.
ParsedOptions parse_options(std::span<const char* const> args);

std::string usage_text();

}  // namespace mqttd
