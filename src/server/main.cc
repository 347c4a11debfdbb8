// mqttd: where the program begins.
//
// Reads the command line and the configuration, answers what can be answered without serving
// (--help, --version, --print-config, --test-config), and hands the rest to Server (server.h).
//
// Exit codes (configuration.md §4): 0 fine, 1 could not start, 3 configuration or usage.

#include "mqttd/version.h"

#include "config/conf_writer.h"
#include "config/options.h"
#include "io/file.h"
#include "io/signals.h"
#include "server/load_config.h"
#include "server/startup.h"

#include <span>
#include <string>

namespace {

using namespace mqttd;

constexpr int kFine = 0;
constexpr int kUsage = 3;

int complain(const std::vector<std::string>& problems, const char* hint) {
    for (const std::string& problem : problems)
        print(Stream::kErr, "Error: " + problem + "\n");
    print(Stream::kErr, hint);
    return kUsage;
}

int test_config(const Options& options, const LoadedConfig& loaded) {
    for (const std::string& line : loaded.warnings)
        print(Stream::kErr, line + "\n");
    print(Stream::kOut, "Configuration file " + options.config_file + " is OK.\n");
    return kFine;
}

}  // namespace

int main(int count, char** words) {
    ignore_broken_pipes();
    const size_t given = count > 0 ? static_cast<size_t>(count) - 1 : 0;
    const auto [options, problems] =
        parse_options(std::span<const char* const>(words + (count > 0 ? 1 : 0), given));
    if (!problems.empty()) return complain(problems, "Try 'mqttd --help'.\n");
    if (options.help) {
        print(Stream::kOut, usage_text());
        return kFine;
    }
    if (options.version) {
        print(Stream::kOut, std::string("mqttd version ") + kVersion + "\n");
        return kFine;
    }
    if (options.print_config) {
        print(Stream::kOut, write_default_config());
        return kFine;
    }
    LoadedConfig loaded = load_config(options);
    if (!loaded.ok) {
        for (const std::string& line : loaded.errors)
            print(Stream::kErr, line + "\n");
        for (const std::string& line : loaded.warnings)
            print(Stream::kErr, line + "\n");
        return kUsage;
    }
    if (options.test_config) return test_config(options, loaded);
    return serve(options, loaded);
}
