#pragma once

// The start, in the order that lets each failure be reported where it can be mended
// (configuration.md §4):
//
//     log → memory → descriptors → listeners bound → into the background → pid file → root given up
//         → $SYS published → loop → the parent is told
//
// Listeners come before everything that cannot be taken back, so "address in use" is the answer of
// the command that was typed; root is given up after them, so that ports below 1024 work.

#include "config/options.h"
#include "server/load_config.h"

namespace mqttd {

// Starts, serves until told to stop, and returns the exit code: 0, or 1 if it could not start.
int serve(const Options& options, const LoadedConfig& loaded);

}  // namespace mqttd
