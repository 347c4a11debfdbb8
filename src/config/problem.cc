#include "config/problem.h"

#include <algorithm>

namespace mqttd {

std::string format_problem(const ConfigProblem& problem) {
    std::string text = problem.file;
    if (problem.line != 0) {
        text += ':' + std::to_string(problem.line);
    }
    text += text.empty() ? "" : ": ";
    text += problem.severity == Severity::kError ? "error: " : "warning: ";
    return text + problem.message;
}

bool has_errors(const std::vector<ConfigProblem>& problems) {
    return std::any_of(problems.begin(), problems.end(), [](const ConfigProblem& problem) {
        return problem.severity == Severity::kError;
    });
}

}  // namespace mqttd
