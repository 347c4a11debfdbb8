// The rules that need the whole file and the command line.
//
//   - No listener anywhere: local-only mode. One listener on both loopback addresses, port 1883, or
//     one for each -p. With a listener in the file -p has no effect and gets a warning.
//   - allow_anonymous, if the file is silent, is true in local-only mode and false otherwise.
//   - A listener's address is numeric or 'localhost' (a static binary has no resolver); a Unix
//     path fits sockaddr_un; no two listeners may want the same address and port.
//   - -v and -q beat log_type. max_inflight_messages 0 becomes 65535.
#pragma once

#include "config/config.h"
#include "config/options.h"
#include "config/problem.h"

#include <string_view>
#include <vector>

namespace mqttd {

inline constexpr size_t kUnixPathMax = 107;  // bytes of sockaddr_un::sun_path without its NUL

// Call once, after the last parse_config (or with a fresh Config if there is no file).
//   file_name   only for the problems
// Call it after a parse with errors too: it adds its own, so that all come in one run, and repeats
// none. With an error from either `config` must not be used.
std::vector<ConfigProblem> finish_config(Config& config,
                                         const Options& options,
                                         std::string_view file_name);

}  // namespace mqttd
