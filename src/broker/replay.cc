// Retained messages to a new subscription: a job that keeps its place in the store.
//
// A replay goes on only while its session can take more: its link is there and not blocked, its
// queue is below the low mark. So a subscription to everything costs neither memory nor anybody
// else's time, and its messages are not counted against the queue's limits. A durable session goes
// on with its replays at the next connection.

#include "mqttd/topic.h"

#include "base/mutant.h"
#include "broker/core.h"
#include "broker/window.h"

namespace mqttd {

// Puts a replay behind the session's others; the first few run, the rest wait and pin nothing.  One
// that is pending already is as good as a new one, one that runs starts over.  False if the arena
// refused.
bool Core::start_replay(Session& session, Subscription& subscription) {
    if (retained_.messages() == 0) return true;
    const Bytes filter = subscription.filter->filter();
    if (!has_wildcard(filter)) {
        const RetainedNode* node = retained_.find(filter);
        if (node == nullptr || !node->message) return true;
    }
    if (subscription.replay) {
        if (!subscription.replay->running) return true;
        end_replay(*subscription.replay);
    }
    Replay* replay = arena_.make<Replay>(Arena::Use::kNormal);
    if (replay == nullptr) return false;
    const uint64_t newer = MQTTD_MUTANT(49) ? 1'000'000 : 0;  // what is newer is replayed, too
    if (!retained_.start(replay->cursor, filter, next_retained_sequence_ + newer)) {
        arena_.destroy(replay);
        return false;
    }
    subscription.replay = replay;
    replay->subscription = &subscription;
    replay->session = &session;
    replay->prev = session.last_replay;
    if (session.last_replay) {
        session.last_replay->next = replay;
    } else {
        session.replays = replay;
    }
    session.last_replay = replay;
    run_more_replays(session, *replay);
    return true;
}

void Core::run_more_replays(Session& session, Replay& replay) {
    if (session.running_replays >= limits::kReplaysPerSession) return;
    ++session.running_replays;
    replay.running = true;
    replays_.push_back(replay);
}

bool Core::replay_may_go_on(Session& session) const {
    const Link* link = session.link.get();
    if (link == nullptr || link->broken || link->state != LinkState::kConnected) return false;
    if (session.outbox->blocked()) return false;
    const Outflow* outflow = session.outflow.get();
    return outflow == nullptr || (outflow->resend == outflow->resend_end &&
                                  outflow->queue.size() < limits::kReplayLowMark);
}

// A slice.  A replay that cannot go on leaves the list; `pump` puts it back.
void Core::run_replay(Replay& replay) {
    Session& session = *replay.session;
    const uint8_t wanted = replay.subscription->options & suboption::kQosMask;
    const uint32_t identifier = replay.subscription->identifier;
    uint32_t steps = limits::kPumpSlice;
    while (replay_may_go_on(session)) {
        if (steps == 0 || session.outbox->pending() >= limits::kPumpBytes) {
            replays_.push_back(replay);
            return;
        }
        const uint32_t before = steps;
        RetainedNode* node = retained_.next(replay.cursor, steps);
        spend(before - steps);
        if (node == nullptr) {
            if (!replay.cursor.done) continue;
            if (replay.again) {
                replay.again = false;
                replay.after = replay.again_after;
                const Bytes filter = replay.subscription->filter->filter();
                if (retained_.start(replay.cursor, filter, next_retained_sequence_)) continue;
            }
            end_replay(replay);
            return;
        }
        if (node->sequence < replay.after) continue;
        if (retained_too_old(*node)) continue;
        auto& message = static_cast<Message&>(*node->message);
        const Bytes filter = replay.subscription->filter->filter();
        if (hidden(session, filter, message.topic())) continue;
        Delivery delivery;
        const bool higher = options_.upgrade_outgoing_qos || MQTTD_MUTANT(18);  // a replay above it
        delivery.qos = higher ? wanted : std::min(message.qos, wanted);
        delivery.retain = !MQTTD_MUTANT(44);  // a replay without the flag
        delivery.ids = add_id({}, identifier);
        delivery.limited = false;
        send_retained(session, message, delivery);
    }
}

void Core::send_retained(Session& session, Message& message, const Delivery& delivery) {
    if (delivery.qos == 0) {
        if (!send_qos0(session, message, delivery)) drop(&session, Drop::kMemory, 1);
        return;
    }
    if (window_open(session, message.payload_size)) {
        if (send_inflight(session, message, delivery)) return;
        starve(session);
    }
    if (enqueue(session, message, delivery) != Queued::kYes) drop(&session, Drop::kMemory, 1);
}

// One of our own values did not reach a receiver that is connected but cannot take it now.  It may
// not change again for hours, so what he missed comes as a replay once he can.  The end of a
// retained value leaves nothing to replay: that one waits in his queue.
void Core::replay_missed(Session& session, Publication& publication, const Delivery& delivery) {
    const Link* link = session.link.get();
    if (link == nullptr || link->broken || publication.filter == nullptr) return;
    Subscription* subscription = subscriptions_.find(session, publication.filter->filter());
    if (subscription == nullptr) return;
    const RetainedNode* node = retained_.find(publication.topic);
    if (node == nullptr || !node->message) {
        deliver_later(session, publication, delivery);
        return;
    }
    Replay* replay = subscription->replay.get();
    if (replay == nullptr) {
        if (!start_replay(session, *subscription)) return;
        if (subscription->replay) subscription->replay->after = node->sequence;
    } else if (!replay->again) {
        replay->again = true;
        replay->again_after = node->sequence;
    }
}

void Core::end_replay(Replay& replay) {
    Session& session = *replay.session;
    Replay* before = replay.prev.get();
    Replay* after = replay.next.get();
    (before != nullptr ? before->next : session.replays) = after;
    (after != nullptr ? after->prev : session.last_replay) = before;
    replay.subscription->replay = nullptr;
    retained_.stop(replay.cursor);
    if (replay.hook.in_list) replays_.remove(replay);
    const bool was_running = replay.running;
    arena_.destroy(&replay);
    if (!was_running) return;
    --session.running_replays;
    // Those that run are the first of the chain: the next one is right behind them.
    Replay* waiting = session.replays.get();
    while (waiting != nullptr && waiting->running)
        waiting = waiting->next.get();
    if (waiting != nullptr) run_more_replays(session, *waiting);
}

}  // namespace mqttd
