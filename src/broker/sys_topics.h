#pragma once

// SysTopics: the broker's own values below `$SYS/broker`, as retained messages.
//
// One table row per value: its topic, what it counts, how it is read (sys_topics.cc). A value is
// published once before the first client comes and then whenever it has changed at a tick of
// `sys_interval`, some rows per turn. Names and formats of mosquitto's are mosquitto's, so that
// existing dashboards work; loops, calls, pools and drops are our own. What is published here is in
// no message counter.
//
// Loads are mosquitto's exponential averages over 1, 5 and 15 minutes: every tick
// new = x + exp(-dt / T) · (old - x), with x the events since the last tick scaled to one minute.

#include "mqttd/broker.h"

#include "base/arena.h"

#include <cstdint>

namespace mqttd {

class Core;

class alignas(16) SysTopics {
  public:
    static constexpr uint32_t kValuesMax = 128;
    static constexpr uint32_t kLoads = 9;
    static constexpr uint32_t kPoolValues = Arena::kClassCount * 3;

    SysTopics(Core& core, Instant now);

    // Publishes everything, at once; before there are clients.
    void publish_all();

    // Goes on with a tick that is under way, or starts one that is due.
    void run();

    bool busy() const { return busy_; }

    Instant next_tick() const { return next_tick_; }

    // Retained by us; left out of what is said about messages, and of their limit.
    uint64_t own_messages() const { return own_messages_; }

  private:
    struct Published {
        uint64_t value = 0;
        bool known = false;
    };

    void sample();
    void step_loads();
    void publish_value(uint32_t row);
    void publish_load(uint32_t load, uint32_t span);
    void publish_pool(uint32_t row);
    void publish_text(const char* name, const char* payload);

    Core& core_;
    HostStats host_;
    Instant next_tick_;
    Instant last_tick_;
    uint32_t row_ = 0;  // the next one of a tick under way
    bool busy_ = false;
    uint64_t own_messages_ = 0;  // retained by us, left out of the message counts
    uint64_t own_bytes_ = 0;
    Published values_[kValuesMax];
    Published pools_[kPoolValues];
    uint64_t load_before_[kLoads] = {};
    double loads_[kLoads][3] = {};
    double loads_sent_[kLoads][3] = {};
    bool loads_known_ = false;
};

}  // namespace mqttd
