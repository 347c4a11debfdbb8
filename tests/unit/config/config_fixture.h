// Short hands of the config tests: parse a text, look at what came out.
#pragma once

#include "config/finish.h"
#include "config/parser.h"

#include <string>
#include <string_view>
#include <vector>

namespace mqttd::config_test {

struct Parsed {
    Config config;
    std::vector<ConfigProblem> problems;

    bool ok() const { return !has_errors(problems); }

    // All problems as one would see them, for INFO and for searching.
    std::string text() const {
        std::string out;
        for (const ConfigProblem& problem : problems) {
            out += format_problem(problem) + '\n';
        }
        return out;
    }

    bool says(std::string_view part) const { return text().find(part) != std::string::npos; }
};

inline Parsed parse(std::string_view text) {
    Parsed parsed;
    parsed.problems = parse_config(text, "test.conf", parsed.config);
    return parsed;
}

inline Parsed parse_and_finish(std::string_view text, const Options& options = {}) {
    Parsed parsed = parse(text);
    for (ConfigProblem& problem : finish_config(parsed.config, options, "test.conf")) {
        parsed.problems.push_back(std::move(problem));
    }
    return parsed;
}

}  // namespace mqttd::config_test
