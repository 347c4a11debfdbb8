#pragma once

// Whether the window of a session has room, asked once for each message of QoS 1 or 2: inline.

#include "base/mutant.h"
#include "broker/core.h"

#include <algorithm>

namespace mqttd {

// How many PUBLISH packets the client lets us have under way.
inline uint32_t Core::window_of(const Session& session) const {
    const LinkExtras* extras = session.link ? session.link->extras.get() : nullptr;
    const uint32_t theirs = extras != nullptr ? extras->receive_maximum : InflightWindow::kIds;
    if (MQTTD_MUTANT(32)) return options_.max_inflight_messages;  // Receive Maximum ignored
    return std::min(options_.max_inflight_messages, theirs);
}

// Whether a QoS 1 or 2 message may go out right now, ahead of nothing.
inline bool Core::window_open(Session& session, uint32_t bytes) {
    const Outflow* outflow = session.outflow.get();
    if (outflow == nullptr) return true;
    const bool waits = outflow->queue.size() != outflow->queue.qos0();
    if (waits && !MQTTD_MUTANT(22)) return false;  // past what is queued
    return outflow->resend == outflow->resend_end && window_has_room(session, bytes);
}

// One message may always be under way, however large.
inline bool Core::window_has_room(const Session& session, uint32_t bytes) const {
    const Outflow& outflow = *session.outflow;
    if (outflow.window.span_full() || outflow.window.live() >= options_.max_inflight_messages ||
        outflow.unacknowledged >= window_of(session) + MQTTD_MUTANT(2)) {  // a window off by one
        return false;
    }
    return options_.max_inflight_bytes == 0 || outflow.bytes == 0 ||
           outflow.bytes + bytes <= options_.max_inflight_bytes;
}

}  // namespace mqttd
