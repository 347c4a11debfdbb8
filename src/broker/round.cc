#include "broker/round.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/core.h"
#include "broker/paging.h"
#include "broker/recorder.h"

namespace mqttd {

// A slice.
void Core::run_round() {
    Journal& journal = recorder_->journal();
    round_->until = journal.tail() + Round::kSliceBytes;
    const auto more = [&] { return slice_goes_on(); };
    if (round_->phase == Round::Phase::kSyncing) {
        const bool early = MQTTD_MUTANT(65);  // files go before what was told again is safe
        if (early || recorder_->durable(round_->end)) end_round();
        return;
    }
    while (more()) {
        switch (round_->phase) {
            case Round::Phase::kSessions:
                if (say_sessions()) continue;
                // From here on a body counts as said only if it is said behind all sessions.
                recorder_->begin_round();
                recorder_->flush();
                paging_->begin_round(journal.tail());
                retained_.start_all(round_->retained);
                round_->phase = Round::Phase::kRetained;
                break;
            case Round::Phase::kRetained:
                if (say_retained()) continue;
                retained_.stop(round_->retained);
                for (FanoutJob* job = fanouts_.front(); job != nullptr; job = fanouts_.next(*job)) {
                    if (job->message && job->message->recorded) recorder_->name_of(*job->message);
                }
                round_->bucket = 0;
                round_->phase = Round::Phase::kFlows;
                break;
            case Round::Phase::kFlows:
                if (say_flows()) continue;
                round_->phase = Round::Phase::kPages;
                break;
            case Round::Phase::kPages:
                if (paging_->say_more()) return;
                recorder_->clock(now_);
                recorder_->flush();
                round_->end = recorder_->journal().tail();
                round_->phase = Round::Phase::kSyncing;
                return;
            default:
                return;
        }
    }
}

bool Core::slice_goes_on() const {
    const Journal& journal = recorder_->journal();
    return units_ > 0 && journal.tail() < round_->until && journal.room() >= journal.capacity() / 2;
}

void Core::begin_round() {
    recorder_->flush();
    round_->begin = recorder_->journal().tail();
    round_->missed = recorder_->missed_count();
    round_->bucket = 0;
    round_->phase = Round::Phase::kSessions;
    ++stats_.journal_rounds;
}

void Core::end_round() {
    recorder_->journal().forget_before(round_->begin);
    round_->phase = Round::Phase::kNone;
    if (!recorder_->missed()) return;
    recorder_->mended(round_->missed);
    if (recorder_->missed()) return;
    for (uint32_t n = held_.size(); n > 0; --n) {
        Held& held = *held_.pop_front();
        held_.push_back(held);
        settle_held(*held.link, Recorder::kAfterRound, round_->end);
    }
}

// One bucket of the table; false when it is through.
bool Core::say_sessions() {
    spend(1);
    return sessions_.visit_bucket(round_->bucket, [&](Session& session) {
        if (session.durable) recorder_->session(session);
        spend(1);
    });
}

// Some of them; false when all are said.
bool Core::say_retained() {
    uint32_t steps = limits::kPumpSlice;
    for (uint32_t n = 0; n < limits::kFanoutStep; ++n) {
        const uint32_t before = steps;
        RetainedNode* node = retained_.next(round_->retained, steps);
        spend(before - steps);
        if (node == nullptr) return !round_->retained.done;
        auto& message = static_cast<Message&>(*node->message);
        if (!message.named) continue;
        recorder_->retained(message, node->stored_at_s);
        if (message.payload_size >= Round::kSliceBytes / limits::kFanoutStep) return true;
    }
    return true;
}

// The sessions of one bucket, or a part of one; false when all are said.
bool Core::say_flows() {
    spend(1);
    bool whole = true;
    uint64_t next = round_->bucket;
    const bool more = sessions_.visit_bucket(next, [&](Session& session) {
        if (!whole || !session.durable || session.round == recorder_->round()) return;
        whole = say_all_of(session);
    });
    if (whole) round_->bucket = next;
    return more;
}

// False if some of it is left.
bool Core::say_all_of(Session& session) {
    if (round_->session != &session) {
        round_->session = &session;
        round_->part = Round::Part::kUnderWay;
    }
    switch (round_->part) {
        case Round::Part::kUnderWay:
            say_window(session);
            say_inbound(session);
            round_->subscription = session.first_subscription.get();
            round_->part = Round::Part::kSubscriptions;
            return false;
        case Round::Part::kSubscriptions:
            if (say_subscriptions(session)) return false;
            round_->place = {};
            round_->part = Round::Part::kQueue;
            [[fallthrough]];
        default:
            if (say_queue(session)) return false;
    }
    session.round = recorder_->round();
    round_->session = nullptr;
    return true;
}

void Core::say_window(Session& session) {
    Outflow* outflow = session.outflow.get();
    const uint32_t span = outflow != nullptr ? outflow->window.span() : 0;
    for (uint32_t i = 0; i < span; ++i) {
        InflightSlot& slot = outflow->window.at(i);
        spend(1);
        const uint16_t packet_id = outflow->window.id_at(i);
        if (slot.state == FlowState::kAwaitPubcomp) {
            recorder_->progress(session.number, packet_id, DurableState::kReleased);
        } else if (slot.state != FlowState::kHole && slot.message->named) {
            const uint8_t qos = slot.state == FlowState::kAwaitPuback ? 1 : 2;
            recorder_->delivery(session.number,
                                *slot.message,
                                {packet_id, true, qos, slot.retain, true},
                                encoded_ids(slot.ids.get()));
        }
    }
}

void Core::say_inbound(Session& session) {
    if (MQTTD_MUTANT(67)) return;  // a round forgets what waits for PUBREL
    AwaitingRel* awaiting = session.awaiting.get();
    const uint32_t room = awaiting != nullptr ? awaiting->room() : 0;
    for (uint32_t i = 0; i < room; ++i) {
        AwaitingEntry& entry = awaiting->slot(i);
        if (entry.packet_id == 0) continue;
        spend(1);
        recorder_->inbound(session.number, entry.packet_id, entry.message.get());
    }
}

// Some of them; true if there are more.
bool Core::say_subscriptions(Session& session) {
    for (uint32_t n = 0; n < limits::kFanoutStep && round_->subscription != nullptr; ++n) {
        recorder_->subscribed(session.number, *round_->subscription);
        round_->subscription = round_->subscription->next.get();
        spend(1);
    }
    return round_->subscription != nullptr;
}

bool Core::say_queue(Session& session) {
    Outflow* outflow = session.outflow.get();
    if (outflow == nullptr) return false;
    if (MQTTD_MUTANT(66)) return false;  // a round forgets what is queued
    // It is found again from its begin, so as much as may be is said at once.
    return outflow->queue.visit_behind(round_->place, [&](const QueueEntry& entry) {
        recorder_->delivery(session.number,
                            *entry.message,
                            {entry.delivery, false, entry.qos, entry.retain, entry.limited},
                            encoded_ids(entry.ids.get()));
        spend(1);
        return slice_goes_on();
    });
}

}  // namespace mqttd
