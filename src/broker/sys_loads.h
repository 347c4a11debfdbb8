#pragma once

// SysLoads: mosquitto's load averages over 1, 5 and 15 minutes.
//
// At every tick   new = x + exp(-dt / T) · (old - x),   with x the events since the last tick
// scaled to one minute and dt the time that really passed, so that a late tick is no error.

#include <cstdint>
#include <span>

namespace mqttd {

class SysLoads {
  public:
    static constexpr uint32_t kLoads = 9;
    static constexpr uint32_t kSpans = 3;
    static constexpr uint32_t kSpansS[kSpans] = {60, 300, 900};
    static constexpr double kStep = 0.01;  // what moved less is not published

    // Counts from here on.
    void begin(std::span<const uint64_t, kLoads> counters);

    // `seconds` have passed, the counters stand here now.
    void step(std::span<const uint64_t, kLoads> counters, double seconds);

    double average(uint32_t load, uint32_t span) const { return average_[load][span]; }

  private:
    uint64_t before_[kLoads] = {};
    double average_[kLoads][kSpans] = {};
};

}  // namespace mqttd
