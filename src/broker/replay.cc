// Retained messages to a new subscription: a job that keeps its place in the store.
//
// A replay goes on only while its session can take more: its link is there and not blocked, its
// queue is below the low mark. So a subscription to everything costs neither memory nor anybody
// else's time, and its messages are not counted against the queue's limits.

#include "broker/core.h"
#include "mqttd/topic.h"

namespace mqttd {

// False if the arena refused.
bool Core::start_replay(Session& session, Bytes filter, uint8_t qos) {
    for (Replay* replay = session.replays.get(); replay != nullptr; replay = replay->next.get()) {
        const Segment* text = replay->cursor.filter;
        if (text != nullptr && same_bytes({text->data(), text->used}, filter)) {
            end_replay(*replay);  // it starts again
            break;
        }
    }
    if (retained_.messages() == 0) return true;
    if (!has_wildcard(filter)) {
        const RetainedNode* node = retained_.find(filter);
        if (node == nullptr || !node->message) return true;
    }
    Replay* replay = arena_.make<Replay>(Arena::Use::kNormal);
    if (replay == nullptr) return false;
    if (!retained_.start(replay->cursor, filter, next_retained_sequence_)) {
        arena_.destroy(replay);
        return false;
    }
    replay->qos = qos;
    replay->session = &session;
    replay->next = session.replays;
    session.replays = replay;
    ++session.replay_count;
    replays_.push_back(*replay);
    return true;
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
            end_replay(replay);
            return;
        }
        if (retained_too_old(*node)) continue;
        auto& message = static_cast<Message&>(*node->message);
        send_retained(session, message, std::min(message.qos, replay.qos));
    }
}

void Core::send_retained(Session& session, Message& message, uint8_t qos) {
    if (qos > 0 && !window_open(session)) {
        enqueue(session, message, qos, true, false);
        return;
    }
    const bool sent =
        qos == 0 ? send_qos0(session, message, true) : send_inflight(session, message, qos, true);
    if (!sent) drop(&session, Drop::kMemory, 1);
}

void Core::end_replay(Replay& replay) {
    Session& session = *replay.session;
    retained_.stop(replay.cursor);
    if (replay.hook.in_list) replays_.remove(replay);
    if (session.replays.get() == &replay) {
        session.replays = replay.next;
    } else {
        Replay* before = session.replays.get();
        while (before->next.get() != &replay) before = before->next.get();
        before->next = replay.next;
    }
    --session.replay_count;
    arena_.destroy(&replay);
    // A SUBSCRIBE may have been waiting for this.
    Link* link = session.link.get();
    if (link != nullptr && link->partial && link->stop == StopReason::kDraining) resume(*link);
}

// At the end of a connection: what a durable session wants at QoS 1 or 2 goes on at its next one.
void Core::stop_replays(Session& session) {
    const bool keep = !session.clean && !session.dead;
    for (Replay* replay = session.replays.get(); replay != nullptr;) {
        Replay* next = replay->next.get();
        if (!keep || replay->qos == 0) {
            end_replay(*replay);
        } else if (replay->hook.in_list) {
            replays_.remove(*replay);
        }
        replay = next;
    }
}

}  // namespace mqttd
