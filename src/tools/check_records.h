#pragma once

// The records of a journal by name, and each as a line of JSON as it lies there.

#include "store/log_reader.h"
#include "tools/check_json.h"
#include "tools/check_state.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace mqttd::check {

// "session", "deliveries", …; "start" and "batch" are the journal's own. "unknown" for the rest.
std::string_view type_name(uint8_t type);

// One line. What the body says is decoded; "unreadable" is true where that cannot be done. At most
// `payload_most` bytes of a payload are shown.
std::string record_line(const LogRecord& record, uint64_t payload_most);

// The lines of one session and what it has, and of one retained message.
void session_lines(const KeptSession& session, std::string& out);
std::string retained_line(const KeptMessage& message);

// The state, a line for each thing: sessions, each followed by what it has, then retained messages.
template <class Visit>
void each_state_line(const State& state, Visit visit) {
    for (const auto& [number, session] : state.sessions()) {
        std::string lines;
        session_lines(session, lines);
        visit(lines);
    }
    for (const auto& [topic, message] : state.retained())
        visit(retained_line(*message));
}

}  // namespace mqttd::check
