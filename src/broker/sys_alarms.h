#pragma once

// SysAlarms: what an operator should know until it is over, as `$SYS/broker/alarm/<id>`.
//
// An alarm is a retained JSON object; when it is over its topic is cleared by an empty payload.
// The retained message is the state: raising what is raised, or clearing what is not, does nothing,
// so callers need not remember. They may call from anywhere, in the middle of a fan-out too: what
// they say waits in a list (in the arena, bounded) and is published at the end of the turn, in
// order.
//
// The identifier becomes one topic level ('/', '+', '#', '%' and controls as %XX); of a very long
// one only the beginning and a hash. The JSON holds it as it is.

#include "mqttd/bytes.h"

#include "base/arena.h"
#include "base/intrusive_list.h"
#include "base/siphash.h"
#include "broker/sys_text.h"

#include <cstdint>
#include <string_view>

namespace mqttd {

class Log;
class RetainedStore;
class SysTopics;

struct alignas(16) SysAlarmEvent {
    ListHook<SysAlarmEvent> hook;
    uint32_t topic_size = 0;
    uint32_t json_size = 0;  // 0: the alarm is over

    char* text() { return reinterpret_cast<char*>(this + 1); }  // topic, then JSON
};

class SysAlarms {
  public:
    static constexpr uint32_t kWaitingMax = 1'024;
    static constexpr uint32_t kPerTurn = 32;
    static constexpr size_t kIdMax = 512;  // bytes of an escaped identifier
    static constexpr size_t kTopicMax = 640;
    static constexpr size_t kJsonMax = 16 * 1024;

    SysAlarms(Arena& arena, const RetainedStore& retained, const HashKey& key)
        : arena_(arena), retained_(retained), key_(key) {}

    ~SysAlarms() { forget(); }

    SysAlarms(const SysAlarms&) = delete;
    SysAlarms& operator=(const SysAlarms&) = delete;

    // False if it could not be noted (memory, too many at once, no text): say it again later.
    bool raise_alarm(std::string_view id, std::string_view json);
    bool clear_alarm(std::string_view id);

    bool waiting() const { return !events_.empty() && !stuck_; }

    // Publishes what waits, a bounded part of it.
    void run(SysTopics& topics, const Log& log);

    // What memory was refused for is tried again; once per tick.
    void try_again() { stuck_ = false; }

    void forget();

    // {"id","severity":"warning","title","summary","ts"}, as emqttd's.
    static void write(SysText& out,
                      std::string_view id,
                      std::string_view title,
                      std::string_view summary,
                      int64_t wall_s);

    void write_topic(SysText& out, std::string_view id) const;

  private:
    bool note(std::string_view id, std::string_view json);
    bool raised(std::string_view topic) const;

    Arena& arena_;
    const RetainedStore& retained_;
    HashKey key_;
    IntrusiveList<SysAlarmEvent, &SysAlarmEvent::hook> events_;
    bool stuck_ = false;
};

}  // namespace mqttd
