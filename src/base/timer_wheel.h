#pragma once

// TimerWheel: deadlines of millions of objects, O(1) to arm, disarm and fire.
//
// Five levels of 64 slots; a tick is 64 ms, so the levels span 4 s, 4 min, 4.6 h, 12 days and 2
// years. A Timer is 16 bytes inside its object. Slots are rings through a sentinel, so a timer
// unlinks without knowing where it lies, and advancing moves a whole slot onto the due ring in
// O(1); empty slots are skipped by a bitmap. The due timers are taken one by one within the
// caller's budget; one whose deadline has not come (it sat in a coarse slot) is put into a finer
// one by `take` itself. So neither a cascade nor a million deadlines in one second stall anything.
//
// A timer fires at or after its deadline, never before, and at most one tick late plus the backlog.
// Deadlines more than two years away fire after two years: the owner arms again.
//
// The wheel lives in the arena, like the objects: the sentinels are ends of Ptr32 links.

#include "mqttd/time.h"

#include "base/assert.h"
#include "base/ptr32.h"

#include <algorithm>
#include <cstdint>

namespace mqttd {

struct alignas(16) Timer {
    Ptr32<Timer> prev;
    Ptr32<Timer> next;
    uint32_t deadline = 0;  // ticks, modulo 2^32
    uint8_t kind = 0;       // the owner's: tells what the timer is a member of
    bool armed = false;
    uint16_t spare = 0;
};

static_assert(sizeof(Timer) == 16);

class alignas(16) TimerWheel {
  public:
    static constexpr uint32_t kTickMs = 64;
    static constexpr uint32_t kLevels = 5;
    static constexpr uint32_t kSlots = 64;

    explicit TimerWheel(Instant now) : tick_(now / kTickMs) {}

    TimerWheel(const TimerWheel&) = delete;
    TimerWheel& operator=(const TimerWheel&) = delete;

    uint64_t armed() const { return armed_; }

    // Arms or re-arms.
    void arm(Timer& timer, Instant deadline) {
        disarm(timer);
        const uint64_t furthest = tick_ + kSpan - 1;
        const uint64_t tick =
            deadline >= kNever - kTickMs ? furthest : (deadline + kTickMs - 1) / kTickMs;
        timer.armed = true;
        ++armed_;
        place(timer, std::min(tick, furthest));
    }

    void disarm(Timer& timer) {
        if (!timer.armed) return;
        unlink(timer);
        timer.armed = false;
        --armed_;
    }

    // Puts what may be due by `now` on the due ring.  O(slots that hold something).
    void advance(Instant now) {
        const uint64_t target = now / kTickMs;
        while (tick_ < target) {
            tick_ = next_stop(target);
            for (uint32_t level = 0; level < kLevels; ++level) {
                if ((tick_ & ((uint64_t{1} << (6 * level)) - 1)) != 0) break;
                collect(level, static_cast<uint32_t>(tick_ >> (6 * level)) & (kSlots - 1));
            }
        }
    }

    // The next timer whose deadline has come, disarmed, or nullptr.  At most `looks` timers are
    // looked at; what was looked at is taken off `looks`.
    Timer* take(uint32_t& looks) {
        while (looks > 0 && due_.next) {
            --looks;
            Timer& timer = *due_.next;
            unlink(timer);
            const auto ahead = static_cast<int32_t>(timer.deadline - static_cast<uint32_t>(tick_));
            if (ahead <= 0) {
                timer.armed = false;
                --armed_;
                return &timer;
            }
            place(timer, tick_ + static_cast<uint32_t>(ahead));
        }
        return nullptr;
    }

    bool due() const { return static_cast<bool>(due_.next); }

    // A time not later than the next deadline (kNever if there is none): how long to sleep.
    Instant next_deadline() const {
        if (due()) return tick_ * kTickMs;
        if (armed_ == 0) return kNever;
        return next_stop(tick_ + kSpan) * kTickMs;
    }

  private:
    static constexpr uint64_t kSpan = uint64_t{1} << (6 * kLevels);

    // A ring of one, the sentinel alone, has null links: nothing can point into its own granule.
    static void link(Timer& before, Timer& after) {
        before.next = &before == &after ? nullptr : &after;
        after.prev = &before == &after ? nullptr : &before;
    }

    static void unlink(Timer& timer) {
        link(*timer.prev, *timer.next);
        timer.prev = nullptr;
        timer.next = nullptr;
    }

    static void push_back(Timer& sentinel, Timer& timer) {
        Timer& last = sentinel.prev ? *sentinel.prev : sentinel;
        link(last, timer);
        link(timer, sentinel);
    }

    void place(Timer& timer, uint64_t tick) {
        timer.deadline = static_cast<uint32_t>(tick);
        if (tick <= tick_) {
            push_back(due_, timer);
            return;
        }
        uint32_t level = 0;
        while ((tick - tick_) >> (6 * (level + 1)) != 0)
            ++level;
        MQTTD_ASSERT(level < kLevels);
        const auto slot = static_cast<uint32_t>(tick >> (6 * level)) & (kSlots - 1);
        push_back(slots_[level][slot], timer);
        occupied_[level] |= uint64_t{1} << slot;
    }

    void collect(uint32_t level, uint32_t slot) {
        Timer& sentinel = slots_[level][slot];
        occupied_[level] &= ~(uint64_t{1} << slot);
        if (!sentinel.next) return;
        Timer& first = *sentinel.next;
        Timer& last = *sentinel.prev;
        link(due_.prev ? *due_.prev : due_, first);
        link(last, due_);
        sentinel.next = nullptr;
        sentinel.prev = nullptr;
    }

    // The next tick, at most `target`, at which a slot has to be collected.
    uint64_t next_stop(uint64_t target) const {
        uint64_t stop = target;
        for (uint32_t level = 0; level < kLevels; ++level) {
            if (occupied_[level] == 0) continue;
            const uint64_t current = tick_ >> (6 * level);
            const auto turn = static_cast<uint32_t>((current + 1) & (kSlots - 1));
            const uint64_t bits = occupied_[level];
            const uint64_t rotated = turn == 0 ? bits : (bits >> turn) | (bits << (kSlots - turn));
            const auto ahead = static_cast<uint64_t>(__builtin_ctzll(rotated)) + 1;
            stop = std::min(stop, (current + ahead) << (6 * level));
        }
        return stop;
    }

    Timer due_;
    Timer slots_[kLevels][kSlots];
    uint64_t occupied_[kLevels] = {};  // may say yes for a slot that has been emptied by disarming
    uint64_t tick_;
    uint64_t armed_ = 0;
};

}  // namespace mqttd
