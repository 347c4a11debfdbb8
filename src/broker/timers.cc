// What happens by itself: CONNECT overdue, keep-alive, retry and PUBREL timeouts, session expiry.
//
// A link's timer is armed once and looks at the time of the last input when it fires; input re-arms
// nothing. Before a silent link is judged it is read once more: its PINGREQ may lie in the
// socket behind a turn that took long.

#include "base/mutant.h"
#include "broker/core.h"
#include "broker/recorder.h"

#include <algorithm>

namespace mqttd {

namespace {

constexpr Duration kProbeTime = 100;  // ms that a silent link gets for its last read

Duration keep_alive_limit(uint16_t keep_alive_s) {
    if (MQTTD_MUTANT(28)) return keep_alive_s * kSecond;  // cut after one keep-alive
    return keep_alive_s * kSecond * 3 / 2;
}

}  // namespace

void Core::arm_connect_timer(Link& link) {
    const uint32_t seconds = listener_of(link).connect_timeout_s;
    if (seconds != 0) timers_->arm(link.timer, now_ + seconds * kSecond);
}

void Core::arm_keep_alive(Link& link) {
    if (link.keep_alive_s != 0)
        timers_->arm(link.timer, now_ + keep_alive_limit(link.keep_alive_s));
}

void Core::link_timer(Link& link) {
    if (link.state == LinkState::kClosing) return;
    if (link.state != LinkState::kConnected && link.stop == StopReason::kParked) {
        resume(link);  // it is told that we are not ready yet
        link.state = LinkState::kRefused;
        return;
    }
    if (link.state != LinkState::kConnected) {
        ++stats_.connect_timeouts;
        end_link(link, Error::kConnectTimeout, false);
        return;
    }
    const Duration silent = static_cast<uint32_t>(now_ms() - link.last_input_ms);
    const Duration limit = keep_alive_limit(link.keep_alive_s);
    if (silent < limit) {
        timers_->arm(link.timer, now_ + limit - silent);
        return;
    }
    if (link.stop == StopReason::kDraining) {
        // It does not read its answers: some of them must have left since it was looked at.
        const auto written = static_cast<uint32_t>(link.outbox->written());
        if (!link.probed || written != link.written_at_probe) {
            link.probed = true;
            link.written_at_probe = written;
            timers_->arm(link.timer, now_ + limit);
            return;
        }
    } else if (link.stop != StopReason::kNone) {
        timers_->arm(link.timer, now_ + kProbeTime);  // stopped by us: not silent by its own choice
        return;
    } else if (!link.probed || transport_.input_waiting(*link.outbox)) {
        link.probed = true;
        transport_.resume(*link.outbox);
        timers_->arm(link.timer, now_ + kProbeTime);
        return;
    }
    if (MQTTD_MUTANT(29)) return;  // silence is never punished
    ++stats_.keep_alive_timeouts;
    end_link(link, Error::kKeepAliveTimeout, true);
}

// What time has done to a session without a link: its will is sent, it ends.  False if it is gone.
bool Core::outlives(Session& session) {
    const uint64_t away = away_s(session);
    const uint64_t expiry = expiry_of(session);
    if (expiry != kNoExpiry && away >= expiry && !MQTTD_MUTANT(13)) {  // no session expires
        ++stats_.sessions_expired;
        log_.write(LogKind::kNotice,
                   "Expiring client %s due to inactivity.",
                   Clean(session.id->text()).c_str());
        end_session(session);
        return false;
    }
    if (session.will && away >= session.will_delay_s) publish_will(session);
    return true;
}

void Core::session_timer(Session& session) {
    if (!session.link && !outlives(session)) return;
    drop_unreleased(session);
    drop_uncompleted(session);
    retry_unacknowledged(session);
    if (session.dead) return;  // an answer was refused memory: link and session have ended
    arm_session(session);
}

// persistent_client_expiration has changed: the timers of those who are away, a slice a turn.
void Core::rearm_sessions() {
    const auto visit = [&](Session& session) {
        spend(1);
        if (!session.link) arm_session(session);
    };
    for (uint32_t n = 0; rearming_ && n < limits::kPumpSlice; ++n) {
        spend(1);
        rearming_ = sessions_.visit_bucket(rearm_bucket_, visit);
    }
}

void Core::arm_session_by(Session& session, Instant deadline) {
    const auto tick =
        static_cast<uint32_t>((deadline + TimerWheel::kTickMs - 1) / TimerWheel::kTickMs);
    if (session.timer.armed && static_cast<int32_t>(tick - session.timer.deadline) >= 0) return;
    timers_->arm(session.timer, deadline);
}

// A packet of this flow was sent just now: 3.x repeats it in a while, or lets go of it.
void Core::arm_flow(Session& session, const InflightSlot& slot) {
    if (is_v5(session.link->version)) return;
    const bool released = slot.state == FlowState::kAwaitPubcomp;
    for (const uint32_t seconds :
         {options_.unack_retry_interval_s, released ? options_.await_rel_timeout_s : 0}) {
        if (seconds != 0) arm_session_by(session, now_ + seconds * kSecond);
    }
}

// Arms the session's timer for whatever comes first; O(what it has under way).
void Core::arm_session(Session& session) {
    Instant first = kNever;
    if (!session.link) {
        const uint64_t expiry = expiry_of(session);
        if (expiry != kNoExpiry) first = (uint64_t{session.away_since_s} + expiry) * kSecond;
        if (session.will) {
            const Instant due = (uint64_t{session.away_since_s} + session.will_delay_s) * kSecond;
            first = std::min(first, due);
        }
    }
    AwaitingRel* awaiting = session.awaiting.get();
    if (awaiting != nullptr && awaiting->size() > 0 && options_.await_rel_timeout_s != 0) {
        for (uint32_t i = 0; i < awaiting->room(); ++i) {
            const AwaitingEntry& entry = awaiting->slot(i);
            if (entry.packet_id == 0) continue;
            first =
                std::min(first, (Instant{entry.since_s} + options_.await_rel_timeout_s) * kSecond);
        }
    }
    Outflow* outflow = session.outflow.get();
    const uint32_t spans = session.link && outflow != nullptr ? outflow->window.span() : 0;
    for (uint32_t i = 0; i < spans; ++i) {
        const InflightSlot& slot = outflow->window.at(i);
        const Duration age = static_cast<uint32_t>(now_ms() - slot.sent_ms);
        const auto after = [&](uint32_t seconds) {
            const Duration interval = seconds * kSecond;
            if (seconds != 0)
                first = std::min(first, now_ + (age < interval ? interval - age : kSecond));
        };
        if (slot.state == FlowState::kHole || !slot.sent) continue;
        if (is_v5(session.link->version)) break;
        after(options_.unack_retry_interval_s);
        if (slot.state == FlowState::kAwaitPubcomp) {
            const uint32_t before = slot.repeats * options_.unack_retry_interval_s;
            const uint32_t most = options_.await_rel_timeout_s;
            if (most != 0) after(most > before ? most - before : 1);
        }
    }
    timers_->disarm(session.timer);
    if (first != kNever) timers_->arm(session.timer, first);
}

// 3.x: repeats what has been unacknowledged for unack_retry_interval, but nothing that is still in
// our own outbox.
void Core::retry_unacknowledged(Session& session) {
    Link* link = session.link.get();
    Outflow* outflow = session.outflow.get();
    if (options_.unack_retry_interval_s == 0 || link == nullptr || outflow == nullptr) return;
    if (is_v5(link->version)) return;  // [MQTT5-4.4.0-1]
    const Duration interval = options_.unack_retry_interval_s * kSecond;
    for (uint32_t i = 0; i < outflow->window.span(); ++i) {
        InflightSlot& slot = outflow->window.at(i);
        Outbox& outbox = *link->outbox;
        if (outbox.blocked() || link->broken || outbox.pending() >= limits::kPumpBytes) return;
        if (slot.state == FlowState::kHole || !slot.sent || slot.position >= outbox.written()) {
            continue;
        }
        if (static_cast<uint32_t>(now_ms() - slot.sent_ms) < interval) continue;
        const uint16_t packet_id = outflow->window.id_at(i);
        const uint64_t position = outbox.appended();
        if (slot.state == FlowState::kAwaitPubcomp) {
            if (!answer(*link, PacketType::kPubrel, packet_id)) return;
            if (slot.repeats < UINT8_MAX) ++slot.repeats;
        } else {
            Delivery delivery;
            delivery.qos = slot.state == FlowState::kAwaitPuback ? 1 : 2;
            delivery.retain = slot.retain;
            delivery.ids = encoded_ids(slot.ids.get());
            if (append_publish(*link, parts_of(*slot.message), delivery, true, packet_id) !=
                Appended::kYes) {
                return;
            }
        }
        slot.left = true;
        slot.position = position;
        slot.sent_ms = now_ms();
        ++stats_.retries;
        spend(1);
    }
}

// 3.x: outbound QoS 2 flows whose PUBCOMP did not come: the receiver has the message, its
// identifier and the place in the window are free again.  To a 5.0 client the place is free when it
// says so: else it would get more than its Receive Maximum.   [MQTT5-3.3.4-9], [MQTT5-4.3.3-5]
void Core::drop_uncompleted(Session& session) {
    Outflow* outflow = session.outflow.get();
    if (options_.await_rel_timeout_s == 0 || !session.link || outflow == nullptr) return;
    if (is_v5(session.link->version)) return;
    const Duration timeout = options_.await_rel_timeout_s * kSecond;
    bool any = false;
    for (uint32_t n = outflow->window.span(); n > 0; --n) {
        const uint32_t i = n - 1;  // from the back: finishing the oldest moves the others
        if (i >= outflow->window.span()) continue;
        const InflightSlot& slot = outflow->window.at(i);
        if (slot.state != FlowState::kAwaitPubcomp || !slot.sent) continue;
        const Duration before = slot.repeats * options_.unack_retry_interval_s * kSecond;
        if (before + static_cast<uint32_t>(now_ms() - slot.sent_ms) < timeout) continue;
        finish_slot(session, i);
        drop(nullptr, Drop::kRelTimeout, 1);
        spend(1);
        any = true;
    }
    if (any) pump_later(session);
}

// Inbound QoS 2 flows whose PUBREL did not come: nothing was delivered, the identifier is free.
void Core::drop_unreleased(Session& session) {
    AwaitingRel* awaiting = session.awaiting.get();
    if (awaiting == nullptr || options_.await_rel_timeout_s == 0) return;
    for (uint32_t i = 0; i < awaiting->room();) {
        AwaitingEntry& entry = awaiting->slot(i);
        if (entry.packet_id == 0 ||
            now_s() < uint64_t{entry.since_s} + options_.await_rel_timeout_s) {
            ++i;
            continue;
        }
        if (entry.message) messages_.drop(*entry.message);
        if (session.durable) recorder_->released(session.number, entry.packet_id);
        awaiting->erase(entry);  // another entry may have moved into this place: look again
        --stats_.inflight_in;
        drop(nullptr, Drop::kRelTimeout, 1);
        spend(1);
    }
}

}  // namespace mqttd
