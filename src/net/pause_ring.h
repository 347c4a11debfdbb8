#pragma once

// PauseRing: who is read again when.
//
// Pauses are a second at most, so one ring of 256 slots of 4 ms holds them all: arming, disarming
// and firing are O(1), the next deadline is found by a bitmap. A meter fires at or after its time,
// at most 4 ms late plus what the caller's bounds leave for the next turn: `at_` stands at the slot
// that is being fired and waits there.

#include "mqttd/time.h"

#include "base/intrusive_list.h"
#include "net/meter.h"

#include <algorithm>
#include <cstdint>

namespace mqttd {

class PauseRing {
  public:
    static constexpr Duration kTickMs = 4;
    static constexpr uint32_t kSlots = 256;

    // A longer pause ends early, after about this.
    static constexpr Duration kLongest = (kSlots - 1) * kTickMs;

    void add(Meter& meter, Instant now, Duration pause) {
        if (size_ == 0) at_ = std::max(at_, now_);
        const Instant deadline = now + std::min(pause, kLongest);
        const uint64_t tick =
            std::clamp((deadline + kTickMs - 1) / kTickMs, at_, at_ + (kSlots - 1));
        meter.slot = static_cast<uint16_t>(tick % kSlots);
        slots_[meter.slot].push_back(meter);
        occupied_[meter.slot / 64] |= uint64_t{1} << (meter.slot % 64);
        ++size_;
    }

    void remove(Meter& meter) {
        List& slot = slots_[meter.slot];
        slot.remove(meter);
        if (slot.empty()) occupied_[meter.slot / 64] &= ~(uint64_t{1} << (meter.slot % 64));
        --size_;
    }

    // Time goes on.  What is more than a whole ring late is due all the same.
    void advance(Instant now) {
        now_ = std::max(now_, now / kTickMs);
        at_ = std::max(at_, now_ - std::min<uint64_t>(now_, kSlots - 1));
    }

    // The next one whose time has come, taken out, or nullptr.
    Meter* take() {
        for (; size_ > 0 && at_ <= now_; ++at_) {
            Meter* meter = slots_[at_ % kSlots].front();
            if (meter == nullptr) continue;
            remove(*meter);
            return meter;
        }
        return nullptr;
    }

    uint32_t size() const { return size_; }

    // kNever if nobody waits.
    Instant next_deadline() const {
        if (size_ == 0) return kNever;
        for (uint64_t tick = at_; tick < at_ + kSlots;) {
            const uint64_t bit = tick % 64;
            const uint64_t word = occupied_[tick % kSlots / 64] >> bit;
            if (word != 0) return (tick + static_cast<uint64_t>(__builtin_ctzll(word))) * kTickMs;
            tick += 64 - bit;
        }
        return kNever;
    }

  private:
    using List = IntrusiveList<Meter, &Meter::hook>;

    List slots_[kSlots];
    uint64_t occupied_[kSlots / 64] = {};
    uint64_t now_ = 0;  // ticks
    uint64_t at_ = 0;   // nothing waits in an earlier tick
    uint32_t size_ = 0;
};

}  // namespace mqttd
