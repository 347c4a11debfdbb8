#pragma once

// The configuration file and the command line → a Config the server can start with.
//
// Reads the file (io), parses and completes it (config). The same for the start, --test-config and
// SIGHUP; what is wrong comes back as lines ready to print.

#include "config/config.h"
#include "config/options.h"

#include <string>
#include <vector>

namespace mqttd {

struct LoadedConfig {
    bool ok = false;  // without it `config` must not be used
    Config config;
    std::vector<std::string> errors;
    std::vector<std::string> warnings;
};

LoadedConfig load_config(const Options& options);

}  // namespace mqttd
