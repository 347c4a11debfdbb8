#pragma once

// SysTopics: the broker's own values below `$SYS/broker`, as retained messages.
//
// Everything is published once before the first client comes and then, at each tick of
// `sys_interval`, what has changed. A tick reads all numbers together (sys_table.h), so that they
// fit each other, and publishes them over some turns: a turn gives away kPerTurn of them at most.
// Ticks fall on multiples of the interval of the wall clock, as mosquitto's do, so that the curves
// of several brokers line up; uptime and loads count the time that really passed.
//
//     values    one number each        sys_table.cc
//     loads     mosquitto's averages   sys_loads.h
//     pools, listeners                 one group of numbers for each
//     texts     uptime, version, lists as JSON
//     alarms    when they happen       sys_alarms.h
//
// What is published here is in no message counter, retained or live; only its bytes count. A value
// that could not be stored is published again at the next tick, one that a receiver could not take
// is replayed to him (Core::replay_missed). When the interval becomes 0 while running, all topics
// are taken away again, in slices and without a word to those who watch.

#include "mqttd/broker.h"

#include "base/arena.h"
#include "broker/sys_alarms.h"
#include "broker/sys_loads.h"
#include "broker/sys_table.h"
#include "broker/sys_text.h"
#include "topics/retained_store.h"

#include <cstdint>
#include <string_view>

namespace mqttd {

class Core;

class alignas(16) SysTopics {
  public:
    static constexpr uint32_t kPerTurn = 32;    // values published in one turn …
    static constexpr uint32_t kPerTurnMin = 4;  // … also when its units are used up
    static constexpr uint32_t kPublishUnits = 8;
    static constexpr uint32_t kPoolValues = Arena::kClassCount * kSysPoolRows;
    static constexpr size_t kTextMax = 16 * 1024;
    static constexpr size_t kTopicMax = 640;

    explicit SysTopics(Core& core);
    ~SysTopics();
    SysTopics(const SysTopics&) = delete;
    SysTopics& operator=(const SysTopics&) = delete;

    // Publishes everything, at once; before there are clients.
    void publish_all();

    // Goes on with a tick that is under way, or starts one that is due.
    void run();

    // The broker's sys_interval_s is new; 0 begins the end.
    void interval_changed();

    // It has ended and nothing of it is left.
    bool over() const { return over_; }

    bool busy() const { return busy_ || (ending_ && next_tick_ == kNever) || alarms_.waiting(); }

    Instant next_tick() const { return next_tick_; }

    // Retained by us; left out of what is said about messages, and of their limit.
    uint64_t own_messages() const { return own_messages_; }

    // Null while it ends.
    SysAlarms* alarms() { return ending_ ? nullptr : &alarms_; }

    // Publishes and retains one topic; an empty payload ends it.  False if that was refused.
    bool publish(std::string_view topic, std::string_view payload);

  private:
    struct Published {
        uint64_t value = 0;
        bool known = false;
    };

    struct TextRow {
        const char* name;
        void (SysTopics::*write)(SysText&) const;
    };

    static const TextRow kTexts[];
    static const uint32_t kTextRows;

    void begin_tick();
    void plan_next(bool after_tick);
    void forget_published();
    void take_away();
    void judge_alarms();
    void judge_alarm(
        std::string_view id, std::string_view what, uint64_t used, uint64_t most, uint32_t percent);
    SysView look() const;
    void make_room_for_listeners();

    // Each says whether it published something.
    bool publish_row(uint32_t row);
    bool publish_text(const TextRow& row);
    bool publish_value(uint32_t row);
    bool publish_load(uint32_t load, uint32_t span);
    bool publish_pool(uint32_t pool, uint32_t row);
    bool publish_listener(uint32_t listener, uint32_t row);
    bool publish_number(std::string_view topic, uint64_t value, Published& last);

    void write_uptime(SysText& out) const;
    void write_version(SysText& out) const;
    void write_histogram(SysText& out) const;
    void write_slow(SysText& out) const;
    void write_persist(SysText& out) const;
    void write_last_save(SysText& out) const;
    void write_last_reload(SysText& out) const;
    void write_last_error(SysText& out) const;

    Core& core_;
    HostStats host_;
    Instant next_tick_;
    Instant last_tick_;
    uint32_t row_ = 0;  // the next one of a tick under way
    bool busy_ = false;
    bool begun_ = false;  // there was a tick: loads and drift have a past
    bool ending_ = false;
    bool over_ = false;
    RetainedCursor away_;        // while ending
    uint64_t drift_ms_ = 0;      // of the last tick
    uint64_t own_messages_ = 0;  // retained by us
    uint64_t own_bytes_ = 0;
    uint64_t now_[kSysRowsMax] = {};  // read at the tick under way
    Published values_[kSysRowsMax];
    Published pools_[kPoolValues];
    Published* listeners_ = nullptr;  // kSysListenerRows for each
    uint32_t listener_room_ = 0;
    SysLoads loads_;
    double loads_sent_[SysLoads::kLoads][SysLoads::kSpans] = {};
    bool loads_known_[SysLoads::kLoads][SysLoads::kSpans] = {};
    SysAlarms alarms_;
};

}  // namespace mqttd
