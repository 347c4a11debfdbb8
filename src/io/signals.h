#pragma once

// Signals as a descriptor of the loop.
//
// A handler would run between any two instructions; instead the signals are blocked and read from a
// signalfd like any other input, so that they take effect at one place of a turn. SIGPIPE is
// ignored: a broken pipe is an answer of write. The signals have mosquitto's meaning
// (configuration.md §5); what to do is the server's business.

#include "mqttd/result.h"

#include <cstdint>
#include <span>

namespace mqttd {

enum class SignalEvent : uint8_t {
    kStop,        // INT, TERM
    kReload,      // HUP
    kReopenLogs,  // RTMIN
    kSync,        // USR1
    kDump,        // USR2
};

// From the first line of main: a reader of our output that leaves does not end us.
void ignore_broken_pipes();

// Blocks the signals above for this process and returns the non-blocking descriptor they are read
// from.  Those that came earlier had their default effect.
Result<int> open_signals();

// Takes what has come off the descriptor; returns how many of `out` were filled in.
uint32_t read_signals(int fd, std::span<SignalEvent> out);

}  // namespace mqttd
