#include "config/options.h"

#include "config/messages.h"
#include "config/values.h"

#include <string_view>

namespace mqttd {

namespace {

enum class Option : uint8_t {
    kConfigFile,
    kDaemon,
    kPort,
    kVerbose,
    kQuiet,
    kTestConfig,
    kPrintConfig,
    kHelp,
    kVersion,
    kTlsKeylog,
};

struct OptionRow {
    Option option;
    std::string_view short_name;  // may be empty
    std::string_view long_name;
    std::string_view argument;  // empty = takes none
    std::string_view help;      // empty = not shown
};

constexpr OptionRow kOptions[] = {
    {Option::kConfigFile,  "-c", "--config-file",  "FILE", "read this configuration file"                    },
    {Option::kDaemon,      "-d", "--daemon",       "",     "run in the background once the ports are open"   },
    {Option::kPort,        "-p", "--port",         "PORT", "without a listener in FILE: serve here, up to 10"},
    {Option::kVerbose,     "-v", "--verbose",      "",     "log everything, whatever FILE says"              },
    {Option::kQuiet,       "-q", "--quiet",        "",     "log nothing, whatever FILE and -v say"           },
    {Option::kTestConfig,  "-t", "--test-config",  "",     "check FILE, exit with 0 or 3; needs -c"          },
    {Option::kPrintConfig, "",   "--print-config", "",     "print every key at its default"                  },
    {Option::kHelp,        "-h", "--help",         "",     "print this text"                                 },
    {Option::kVersion,     "",   "--version",      "",     "print the version"                               },
    {Option::kTlsKeylog,   "",   "--tls-keylog",   "FILE", ""                                                },
};

const OptionRow* find_option(std::string_view word) {
    for (const OptionRow& row : kOptions) {
        if (word == row.long_name || (!row.short_name.empty() && word == row.short_name)) {
            return &row;
        }
    }
    return nullptr;
}

// One option of a word: the flag as one would write it alone, and what is attached to it.
struct GivenOption {
    std::string name;
    bool has_argument = false;
    std::string_view argument = {};
};

// "--long=X" is a flag and its argument; "-dvc" are short flags, and what follows one that takes an
// argument is the argument ("-p1884"). Every other word stands for itself.
std::vector<GivenOption> split_word(std::string_view word) {
    const size_t equals = word.find('=');
    if (word.starts_with("--") && equals != std::string_view::npos) {
        return {
            {std::string(word.substr(0, equals)), true, word.substr(equals + 1)}
        };
    }
    if (!word.starts_with('-') || word.starts_with("--") || word.size() < 3) {
        return {{std::string(word)}};
    }
    std::vector<GivenOption> options;
    for (size_t i = 1; i < word.size(); ++i) {
        options.push_back({std::string("-") + word[i]});
        const OptionRow* row = find_option(options.back().name);
        if (row == nullptr) {
            return options;  // one complaint about the word is enough
        }
        if (!row->argument.empty() && i + 1 < word.size()) {
            options.back().has_argument = true;
            options.back().argument = word.substr(i + 1);
            return options;
        }
    }
    return options;
}

std::string unknown_word(std::string_view name, std::string_view word) {
    if (word.starts_with('-')) {
        return "unknown option '" + printable(name) + '\'' +
               (name == word ? "" : " in '" + printable(word) + '\'') +
               ": 'mqttd --help' lists them all";
    }
    return "'" + printable(word) + "' is not an option: a configuration file is given as '-c FILE'";
}

std::string add_port(Options& options, std::string_view word) {
    const Number port = parse_number(word);
    if (port.error != NumberError::kNone || port.value < 1 || port.value > 65535) {
        return "port '" + printable(word) + "' is no port: give a number from 1 to 65535";
    }
    if (options.ports.size() == kPortOptionsMax) {
        return "-p " + printable(word) + " is one too many: at most 10 ports can be given";
    }
    options.ports.push_back(static_cast<uint16_t>(port.value));
    return {};
}

// Returns the problem, if there is one.
std::string apply(Options& options, Option option, std::string_view argument) {
    switch (option) {
        case Option::kConfigFile:
            if (argument.empty() || !options.config_file.empty()) {
                return "-c '" + printable(argument) +
                       (argument.empty() ? "' names no file: give a path"
                                         : "' is a second configuration file: give one");
            }
            options.config_file = std::string(argument);
            return {};
        case Option::kPort:
            return add_port(options, argument);
        case Option::kTlsKeylog:
            return "--tls-keylog is refused: mqttd never writes TLS keys to a file";
        case Option::kDaemon:
            options.daemon = true;
            return {};
        case Option::kVerbose:
            options.verbose = true;
            return {};
        case Option::kQuiet:
            options.quiet = true;
            return {};
        case Option::kTestConfig:
            options.test_config = true;
            return {};
        case Option::kPrintConfig:
            options.print_config = true;
            return {};
        case Option::kHelp:
            options.help = true;
            return {};
        case Option::kVersion:
            options.version = true;
            return {};
    }
    return {};
}

}  // namespace

ParsedOptions parse_options(std::span<const char* const> args) {
    ParsedOptions parsed;
    const auto problem = [&](std::string text) {
        if (!text.empty()) {
            parsed.problems.push_back(std::move(text));
        }
    };
    for (size_t i = 0; i < args.size(); ++i) {
        for (const GivenOption& given : split_word(args[i])) {
            const OptionRow* row = find_option(given.name);
            if (row == nullptr) {
                problem(unknown_word(given.name, args[i]));
            } else if (row->argument.empty() && given.has_argument) {
                problem(std::string(row->long_name) +
                        " takes no value: remove '=" + printable(given.argument) + '\'');
            } else if (row->argument.empty()) {
                problem(apply(parsed.options, row->option, {}));
            } else if (given.has_argument) {
                problem(apply(parsed.options, row->option, given.argument));
            } else if (i + 1 == args.size()) {
                problem(given.name + " needs an argument: give " + std::string(row->argument));
            } else {
                problem(apply(parsed.options, row->option, args[++i]));
            }
        }
    }
    const bool only_prints = parsed.options.help || parsed.options.version;
    if (parsed.options.test_config && parsed.options.config_file.empty() && !only_prints) {
        problem("--test-config has no file to check: give one with '-c FILE'");
    }
    return parsed;
}

std::string usage_text() {
    constexpr size_t kHelpColumn = 28;
    std::string text =
        "mqttd, an MQTT broker\n\nusage: mqttd [-c FILE] [-d] [-p PORT]... [-v | -q]\n\n";
    for (const OptionRow& row : kOptions) {
        if (row.help.empty()) {
            continue;
        }
        std::string line = "  ";
        line += row.short_name.empty() ? "    " : std::string(row.short_name) + ", ";
        line += row.long_name;
        line += row.argument.empty() ? "" : " " + std::string(row.argument);
        line.resize(line.size() < kHelpColumn ? kHelpColumn : line.size() + 1, ' ');
        text += line;
        text += row.help;
        text += '\n';
    }
    return text +
           "\nWithout a listener in FILE, or without FILE, mqttd serves this machine only, on port "
           "1883\nor the given ones. Exit codes: 0 done, 1 could not start, 3 wrong usage or "
           "configuration.\n";
}

}  // namespace mqttd
