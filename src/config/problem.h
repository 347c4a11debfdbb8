// One thing that is wrong, or worth a word, in a configuration file.
//
// The message is one sentence that names the value and the way out; it does not repeat the place.
// All problems of a file are gathered in one run, so that mending a file takes one round.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mqttd {

enum class Severity : uint8_t {
    kWarning,  // the start goes on
    kError,    // exit code 3
};

struct ConfigProblem {
    Severity severity = Severity::kError;
    std::string file;
    uint32_t line = 0;  // 1-based; 0 = the file as a whole, or the command line
    std::string key;    // as written, cut to a printable length; may be empty
    std::string message;
};

// "mqttd.conf:12: error: max_keepalive 70000 is out of range: ..."
std::string format_problem(const ConfigProblem& problem);

bool has_errors(const std::vector<ConfigProblem>& problems);

}  // namespace mqttd
