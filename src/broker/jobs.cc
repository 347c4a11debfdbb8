// Whatever is O(n) in somebody else's n, in slices: one round over all kinds of jobs per tick,
// until the turn's units are used up or nothing is left that can go on.

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/core.h"
#include "broker/paging.h"
#include "broker/recorder.h"
#include "broker/sys_topics.h"

#include <algorithm>

namespace mqttd {

namespace {

constexpr uint32_t kTimerLooks = 1'024;  // timers looked at per turn
constexpr Duration kMemoryRetry = 100;   // ms between tries of what waits for memory

}  // namespace

void Core::tick() {
    timers_->advance(now_);
    uint32_t looks = kTimerLooks;
    while (units_ > 0 || looks > kTimerLooks - limits::kTimersMin) {
        Timer* timer = timers_->take(looks);
        if (timer == nullptr) break;
        spend(1);
        if (timer->kind == kLinkTimer) {
            link_timer(*reinterpret_cast<Link*>(timer));
        } else {
            auto* bytes = reinterpret_cast<uint8_t*>(timer) - kSessionTimerOffset;
            session_timer(*reinterpret_cast<Session*>(bytes));
        }
    }
    if (recorder_ != nullptr) tend_journal();
    shed();
    end_slow_consumers();
    run_jobs();
}

// Input may use up a turn's units; jobs get their share all the same. The kinds take turns in being
// first, each list is served once over, and a job that has more to do goes behind the others. What
// one of them does may take others off its list: the count is how many at most.
void Core::run_jobs() {
    if (restoring_) return run_sys();  // what comes later may undo what is there so far
    units_ = std::max<int64_t>(units_, options_.turn_units / limits::kJobShareDivisor + 1);
    constexpr uint32_t kKinds = 4;
    if (rearming_) rearm_sessions();
    ++job_turn_;
    for (uint32_t kind = 0; kind < kKinds; ++kind) {
        switch ((job_turn_ + kind) % kKinds) {
            case 0:
                // One after the other: a later message must not overtake an earlier one.
                while (!fanouts_.empty() && units_ > 0 && fanout_may_go_on()) {
                    FanoutJob* first = fanouts_.front();
                    run_fanout_job(*first);
                    if (fanouts_.front() == first) break;  // a slice a turn
                }
                break;
            case 1:
                for (uint32_t n = pumping_.size(); n > 0 && !pumping_.empty() && units_ > 0; --n) {
                    pump(*pumping_.pop_front());
                }
                break;
            case 2:
                for (uint32_t n = replays_.size(); n > 0 && !replays_.empty() && units_ > 0; --n) {
                    run_replay(*replays_.pop_front());
                }
                break;
            default:
                while (!teardown_.empty() && units_ > 0) {
                    Session& session = *teardown_.pop_front();
                    if (tear_down(session)) continue;
                    teardown_.push_front(session);  // no units left, or it waits for a page
                    break;
                }
        }
    }
    bury_more();
    resume_memory_waiters();
    run_sys();
    if (options_.retain_max_age_s != 0 || retained_expire_ || sweeping_) sweep_retained();
}

// Dead sessions whose alarm could not be ended.  Nothing is done for it but in turns that there are
// anyway: as long as alarms wait there are, and afterwards each tick of $SYS is one.
void Core::bury_more() {
    for (uint32_t n = SysAlarms::kPerTurn; n > 0 && !unburied_.empty(); --n) {
        Session& session = *unburied_.pop_front();
        spend(limits::kTeardownUnits);
        if (bury(session)) continue;
        unburied_.push_front(session);
        return;
    }
}

bool Core::idle() const {
    const bool replayed = replays_.empty() || MQTTD_MUTANT(50);  // asleep over a replay
    const bool handed_out = fanouts_.empty() || !fanout_may_go_on();
    const bool journal = recorder_ == nullptr || journal_at_rest();
    return handed_out && journal && pumping_.empty() && replayed && teardown_.empty() &&
           !timers_->due() && !sweeping_ && !rearming_ && (sys_ == nullptr || !sys_->busy());
}

Instant Core::next_deadline() const {
    Instant next = timers_->next_deadline();
    if (sys_ != nullptr) next = std::min(next, sys_->next_tick());
    const bool waiting = !memory_waiters_.empty() || !starved_.empty() || !paused_.empty() ||
                         held_stuck_ || (paging_ != nullptr && paging_->stuck());
    if (recorder_ != nullptr) next = std::min({next, next_clock_, next_overdue_});
    if (waiting) next = std::min(next, next_memory_try_);
    if (options_.slow_consumer == SlowConsumer::kDisconnect && !slow_.empty()) {
        const uint32_t blocked = now_ms() - slow_.front()->slow_since_ms;
        const uint32_t most = options_.slow_consumer_ms;
        next = std::min(next, now_ + (most > blocked ? most - blocked : 0));
    }
    if (options_.retain_max_age_s != 0 || retained_expire_) next = std::min(next, next_sweep_);
    return next;
}

// Links that wait for memory try again now and then; so many at a time that there is some hope.
void Core::resume_memory_waiters() {
    const bool none = memory_waiters_.empty() && starved_.empty() && paused_.empty() &&
                      !held_stuck_ && (paging_ == nullptr || !paging_->stuck());
    if (none || now_ < next_memory_try_) return;
    next_memory_try_ = now_ + kMemoryRetry;
    constexpr uint32_t kAtOnce = 64;
    for (uint32_t n = std::min(starved_.size(), kAtOnce); n > 0 && !starved_.empty(); --n)
        pump(*starved_.front());
    uint32_t waiters = std::min(memory_waiters_.size(), kAtOnce);
    for (; waiters > 0 && !memory_waiters_.empty(); --waiters)
        resume(*memory_waiters_.front());
    resume_paused(kAtOnce);  // a receiver may have gone, or come
}

void Core::resume_paused(uint32_t most) {
    for (uint32_t n = std::min(paused_.size(), most); n > 0 && !paused_.empty(); --n)
        resume(*paused_.front());
}

// Near the ceiling the slowest reader goes, one a turn: what its link and queue hold comes free.
void Core::shed() {
    if (slow_.empty() || arena_.pressure() < Arena::Pressure::kSlowReaders) return;
    ++stats_.slow_closed;
    end_link(*slow_.front(), Error::kServerBusy, true);
}

// slow_consumer disconnect: who has been blocked for too long goes.  The list is in the order of
// time.
void Core::end_slow_consumers() {
    if (options_.slow_consumer != SlowConsumer::kDisconnect) return;
    while (!slow_.empty() && units_ > 0) {
        Link& link = *slow_.front();
        if (now_ms() - link.slow_since_ms < options_.slow_consumer_ms) return;
        ++stats_.slow_closed;
        end_link(link, Error::kQuotaExceeded, true);
        spend(limits::kCloseUnits);
    }
}

// By its own interval, or by ours; our own values are as old as they are.
bool Core::retained_too_old(const RetainedNode& node) const {
    const auto& message = static_cast<const Message&>(*node.message);
    if (message.expired(now_s())) return true;
    if (options_.retain_max_age_s == 0 || now_s() - node.stored_at_s < options_.retain_max_age_s) {
        return false;
    }
    return !as_text(message.topic()).starts_with("$SYS/");
}

void Core::sweep_retained() {
    if (!sweeping_) {
        if (now_ < next_sweep_) return;
        next_sweep_ = now_ + options_.retain_sweep_period_s * kSecond;
        retained_.start_all(sweep_);
        sweeping_ = true;
    }
    uint32_t steps = limits::kPumpSlice;
    while (RetainedNode* node = retained_.next(sweep_, steps)) {
        spend(1);
        if (!retained_too_old(*node)) continue;
        forget_retained(*node);
        ++stats_.retained_expired;
    }
    if (!sweep_.done) return;
    retained_.stop(sweep_);
    sweeping_ = false;
}

}  // namespace mqttd
