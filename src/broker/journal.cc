// What the core does for its journal in every turn.

#include "mqttd/journal.h"

#include "base/mutant.h"
#include "broker/core.h"
#include "broker/paging.h"
#include "broker/recorder.h"
#include "broker/round.h"

namespace mqttd {

namespace {

constexpr Duration kClockPeriod = 60 * kSecond;

// What a thing takes of the journal besides its payload and texts, about.
constexpr uint64_t kMessageBytes = 150;
constexpr uint64_t kDeliveryBytes = 50;
constexpr uint64_t kSessionBytes = 120;
constexpr uint64_t kSubscriptionBytes = 80;

}  // namespace

void Core::tend_journal() {
    if (restoring_) return;
    release_held();
    Journal& journal = recorder_->journal();
    const uint64_t durable = journal.durable();
    const bool fails = journal.failing();
    if (durable != journal_seen_ || (failed_ && !fails)) {
        journal_seen_ = durable;
        for (uint32_t n = journal_waiters_.size(); n > 0 && !journal_waiters_.empty(); --n) {
            if (MQTTD_MUTANT(69)) break;  // a link that waits for the journal is not resumed
            if (journal.room() < journal.capacity() / 2) break;
            spend(1);
            resume(*journal_waiters_.front());
        }
    }
    if (fails != failed_) {
        failed_ = fails;
        const Duration wait = options_.disk_wait_s * kSecond;
        next_overdue_ = fails && wait != 0 ? now_ + wait : kNever;
    }
    if (now_ >= next_overdue_) end_overdue();
    if (now_ >= next_clock_ && recorder_->has_room(0)) {
        next_clock_ = now_ + kClockPeriod;
        recorder_->clock(now_);
    }
    paging_->tend();
    if (!round_->running() && round_is_due()) begin_round();
    if (round_->running()) run_round();
    recorder_->flush();
    stats_.journal_missed = recorder_->missed_count();
}

bool Core::round_is_due() const {
    if (incomplete_) return false;
    const Journal& journal = recorder_->journal();
    if (recorder_->missed()) return journal.room() >= journal.capacity() / 2;
    const uint64_t lives = stats_.paged_bytes + stats_.messages_stored_bytes +
                           kMessageBytes * stats_.messages_stored +
                           kDeliveryBytes * (stats_.queued + stats_.inflight_out) +
                           kSessionBytes * stats_.sessions_persistent +
                           kSubscriptionBytes * subscriptions_.subscriptions();
    return journal.tail() - journal.oldest() > 2 * lives + options_.journal_slack_bytes;
}

bool Core::disk_fails() const {
    return recorder_ != nullptr && recorder_->journal().failing();
}

// Who was waiting when this was looked at last goes: it comes back, maybe elsewhere, and repeats.
void Core::end_overdue() {
    next_overdue_ = now_ + options_.disk_wait_s * kSecond;
    const auto judge = [&](Link& link) {
        spend(1);
        if (!link.overdue) {
            link.overdue = true;
            return;
        }
        ++stats_.disk_closed;
        end_link(link, Error::kServerBusy, true);
    };
    // Who is closed stays in the list until net says that it is gone.
    for (Link* link = journal_waiters_.front(); link != nullptr;) {
        Link* next = journal_waiters_.next(*link);
        if (link->state != LinkState::kClosing) judge(*link);
        link = next;
    }
    for (uint32_t n = held_.size(); n > 0 && !held_.empty(); --n) {
        Held& held = *held_.pop_front();
        held_.push_back(held);
        judge(*held.link);
    }
}

// Nothing is to be done for it before something becomes durable.
bool Core::journal_at_rest() const {
    if (restoring_) return true;
    const Journal& journal = recorder_->journal();
    const bool released = held_.empty() || (released_ == journal.durable() && release_left_ == 0);
    bool waits = journal.room() < journal.capacity() / 2;
    if (round_->phase == Round::Phase::kSyncing) waits = !recorder_->durable(round_->end);
    if (round_->phase == Round::Phase::kPages) waits = waits || paging_->reads();
    const bool quiet = round_->running() ? waits : !round_is_due();
    return released && quiet && paging_->at_rest() &&
           (journal_waiters_.empty() || journal_seen_ == journal.durable());
}

// The next in line may need room in the journal.
bool Core::fanout_may_go_on() const {
    if (recorder_ == nullptr) return true;
    const FanoutJob& job = *fanouts_.front();
    return (job.qos == 0 && !job.upgrade) || recorder_->admits(0);
}

// The core is being taken apart; what it holds stays in the journal.
void Core::stop_recording() {
    if (recorder_ == nullptr) return;
    if (round_->phase == Round::Phase::kRetained) retained_.stop(round_->retained);
    round_->phase = Round::Phase::kNone;
    recorder_->mute(true);
    paging_->stop();
}

// --- start
// -----------------------------------------------------------------------------------------

void Core::begin_restore() {
    restoring_ = true;
    recorder_->mute(true);
}

// What there was no memory for is still in the journal; a round would be its end.
void Core::end_restore(bool complete) {
    incomplete_ = !complete;
    restoring_ = false;
    recorder_->mute(false);
    while (!parked_.empty())
        resume(*parked_.front());
}

}  // namespace mqttd
