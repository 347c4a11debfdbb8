// Sessions: found by client identifier, attached to a link, left behind, taken apart.

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/core.h"
#include "broker/paging.h"
#include "broker/recorder.h"
#include "broker/round.h"

#include <algorithm>

namespace mqttd {

Session* Core::find_session(Bytes client_id) const {
    const auto hash = static_cast<uint32_t>(siphash(key_, client_id));
    return sessions_.find(
        hash, [&](const Session& session) { return same_bytes(session.id->text(), client_id); });
}

// nullptr if the arena refused.
Session* Core::make_session(Bytes client_id, uint32_t expiry_s) {
    auto* id = static_cast<ClientId*>(
        arena_.allocate(std::max(sizeof(ClientId), sizeof(uint16_t) + client_id.size())));
    if (id == nullptr) return nullptr;
    id->size = static_cast<uint16_t>(client_id.size());
    if (!client_id.empty()) std::memcpy(id->room(), client_id.data(), client_id.size());
    Session* session = arena_.make<Session>(Arena::Use::kNormal);
    const auto hash = static_cast<uint32_t>(siphash(key_, client_id));
    if (session == nullptr || !sessions_.insert(*session, hash)) {
        if (session != nullptr) arena_.destroy(session);
        arena_.release(id);
        return nullptr;
    }
    session->id = id;
    session->number = ++next_session_number_;
    session->expiry_s = expiry_s;
    session->timer.kind = kSessionTimer;
    if (recorder_ != nullptr) session->round = recorder_->round();
    stats_.sessions_max = std::max(stats_.sessions_max, ++stats_.sessions);
    if (expiry_s != 0) ++stats_.sessions_persistent;
    return session;
}

void Core::set_expiry(Session& session, uint32_t expiry_s) {
    stats_.sessions_persistent += (expiry_s != 0 ? 1u : 0u);
    stats_.sessions_persistent -= (session.expiry_s != 0 ? 1u : 0u);
    session.expiry_s = expiry_s;
}

// How long the session outlives its connection, in seconds; kNoExpiry: for ever.  The option may be
// younger than what the session was promised.
uint64_t Core::expiry_of(const Session& session) const {
    const uint64_t most = options_.persistent_client_expiration_s;
    if (session.expiry_s == kNoExpiry && most != 0) return most;
    return most != 0 ? std::min<uint64_t>(session.expiry_s, most) : session.expiry_s;
}

void Core::attach(Link& link, Session& session) {
    MQTTD_ASSERT(!session.link && !session.dead && link.state == LinkState::kAwaitConnect);
    link.state = LinkState::kConnected;
    link.session = &session;
    session.link = &link;
    session.outbox = link.outbox;
    session.listener = link.listener;
    session.warned = false;
    if (Outflow* outflow = session.outflow.get()) {
        outflow->resend = 0;
        outflow->resend_end = outflow->window.span();
    }
    if (session.awaiting) session.awaiting->begin_connection();
    stats_.clients_connected_max =
        std::max(stats_.clients_connected_max, ++stats_.clients_connected);
    timers_->disarm(link.timer);
    arm_keep_alive(link);
    update_direct(session);
    arm_session(session);
}

// Whole seconds that a session has been without a link.  Its last second with one is rounded up, so
// that nothing of it ends early.
uint32_t Core::away_s(const Session& session) const {
    return now_s() > session.away_since_s ? now_s() - session.away_since_s : 0;
}

// The link leaves its session: its will is sent, waits or is thrown away, and the session ends or
// waits.  When the connection broke nothing more leaves the outbox.  Else net still writes it: all
// that was sent may arrive, and comes again with DUP.   [MQTT-3.3.1-1]
void Core::detach(Link& link, bool send_will, bool broke) {
    drop_partial(link);
    Session* session = link.session.get();
    if (link.fanout) {
        link.fanout->publisher = nullptr;
        link.fanout = nullptr;
        session->behind_job = true;
    }
    drop_extras(link);
    if (session == nullptr) return;
    if (Outflow* outflow = session->outflow.get()) {
        const uint64_t written = link.outbox->written();
        for (uint32_t i = 0; i < outflow->window.span(); ++i) {
            InflightSlot& slot = outflow->window.at(i);
            slot.left = slot.left || (slot.sent && (!broke || slot.position < written));
            slot.sent = false;
            slot.counted = false;
        }
        outflow->unacknowledged = 0;
    }
    link.session = nullptr;
    session->link = nullptr;
    session->outbox = nullptr;
    session->direct = Direct::kNo;
    session->away_since_s = now_s_up();
    --stats_.clients_connected;
    if (link.slow_hook.in_list) slow_.remove(link);
    const bool had_will = session->will;
    if (session->will && (!send_will || MQTTD_MUTANT(31))) {  // no will is sent
        messages_.drop(*session->will);
        session->will = nullptr;
    }
    if (session->expiry_s == 0) {
        end_session(*session);
        return;
    }
    if (session->durable) record_away(*session, had_will);
    const bool at_once = session->will_delay_s == 0 || MQTTD_MUTANT(30);  // no will waits
    if (session->will && at_once) publish_will(*session);
    arm_session(*session);
}

void Core::drop_extras(Link& link) {
    drop_held(link);
    LinkExtras* extras = link.extras.get();
    if (extras == nullptr) return;
    if (extras->inbound) extras->inbound->release(arena_);
    if (extras->outbound) extras->outbound->release(arena_);
    arena_.destroy(extras);
    link.extras = nullptr;
}

void Core::publish_will(Session& session) {
    Message* will = session.will.get();
    if (will == nullptr) return;
    session.will = nullptr;
    publish_message(*will, &session);
    messages_.drop(*will);
    if (session.durable && !session.dead) recorder_->session(session);  // it has none any more
}

// The client has gone, its session stays.  A will that is not sent has gone with it.
void Core::record_away(Session& session, bool had_will) {
    if (had_will && !session.will) {
        recorder_->session(session);
    } else {
        recorder_->away(session);
    }
}

void Core::end_session(Session& session) {
    MQTTD_ASSERT(!session.link && !session.dead);
    // Before its client can be told so; when it is taken apart that is said once more.
    if (session.durable) {
        recorder_->ended(session.number);
        discarded_at_ = recorder_->journal().tail();
    }
    sessions_.remove(session);
    session.dead = true;
    session.direct = Direct::kNo;
    --stats_.sessions;
    if (session.expiry_s != 0) --stats_.sessions_persistent;
    timers_->disarm(session.timer);
    if (session.job_hook.in_list) (session.starved ? starved_ : pumping_).remove(session);
    session.starved = false;
    teardown_.push_back(session);
    publish_will(session);  // [MQTT5-3.1.3-9]: when the session ends, its delay does not count
}

// What the session had not got when it ended: another member of its group may.
void Core::end_delivery(Message& message, uint16_t shared) {
    const bool expired = message.expired(now_s());  // [MQTT5-3.3.2-5]
    if (expired && !MQTTD_MUTANT(55)) {             // what has expired goes to another member
        drop(nullptr, Drop::kExpired, 1);
        return;
    }
    const bool passed_on = !MQTTD_MUTANT(23);  // an ended member's messages go to nobody
    if (shared != 0 && passed_on && redistribute(message, shared)) return;
    drop(nullptr, Drop::kSessionEnded, 1);
}

// Takes a dead session apart within the turn's units.  True when nothing more is to do here.
bool Core::tear_down(Session& session) {
    while (Replay* replay = session.replays.get()) {
        if (units_ <= 0) return false;
        end_replay(*replay);
        spend(limits::kTeardownUnits);
    }
    if (Outflow* outflow = session.outflow.get()) {
        OutQueue& queue = outflow->queue;
        while (!queue.empty()) {
            if (units_ <= 0) return false;
            if (queue.front_away()) {
                if (!paging_->leave_front(session)) return false;
                continue;
            }
            const Waiting waiting = queue.pop(arena_);
            end_delivery(*waiting.message, waiting.shared);
            forget(session, waiting);
            spend(limits::kTeardownUnits);
        }
        while (outflow->window.span() > 0) {
            if (units_ <= 0) return false;
            InflightSlot& slot = outflow->window.at(0);
            // At QoS 2 what has begun goes to nobody else.   [MQTT5-4.8.2-5]
            const bool exact = !MQTTD_MUTANT(56);  // QoS 2 that has begun goes to another member
            const bool begun = slot.state == FlowState::kAwaitPubrec && slot.left && exact;
            if (slot.message) end_delivery(*slot.message, begun ? uint16_t{0} : slot.shared);
            finish_slot(session, 0);
            spend(limits::kTeardownUnits);
        }
        outflow->window.release(arena_);
        arena_.destroy(outflow);
        session.outflow = nullptr;
    }
    while (Subscription* subscription = session.first_subscription.get()) {
        if (units_ <= 0) return false;
        if (session.durable) round_->leave(*subscription);
        subscriptions_.remove(*subscription);
        spend(limits::kTeardownUnits);
    }
    if (AwaitingRel* awaiting = session.awaiting.get()) {
        for (uint32_t i = 0; i < awaiting->room(); ++i) {
            AwaitingEntry& entry = awaiting->slot(i);
            if (entry.packet_id == 0) continue;
            if (entry.message) messages_.drop(*entry.message);
            --stats_.inflight_in;
        }
        awaiting->release(arena_);
        arena_.destroy(awaiting);
        session.awaiting = nullptr;
    }
    if (!bury(session)) unburied_.push_back(session);
    return true;
}

// The last of a session that was taken apart.  False if the end of its alarm could not be noted.
bool Core::bury(Session& session) {
    MQTTD_ASSERT(session.subscriptions == 0 && !session.replays && !session.will);
    if (session.queue_alarm && !end_queue_alarm(session)) return false;
    if (session.durable) {
        round_->leave(session);
        paging_->leave(session);
        recorder_->ended(session.number);
    }
    arena_.release(session.id.get());
    arena_.destroy(&session);
    return true;
}

void Core::update_direct(Session& session) {
    const Outflow* outflow = session.outflow.get();
    const Link* link = session.link.get();
    session.direct = Direct::kNo;
    if (link == nullptr || session.dead || link->broken) return;
    if (outflow != nullptr && outflow->queue.qos0() != 0) return;
    session.direct = link->extras && link->extras->own_head() ? Direct::kOwnHead
                     : is_v5(link->version)                   ? Direct::k5
                                                              : Direct::k3;
}

}  // namespace mqttd
