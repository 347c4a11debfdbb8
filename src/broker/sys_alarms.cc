#include "broker/sys_alarms.h"

#include "base/log.h"
#include "broker/sys_topics.h"
#include "topics/retained_store.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace mqttd {

bool SysAlarms::raise_alarm(std::string_view id, std::string_view json) {
    return !json.empty() && json.size() <= kJsonMax && note(id, json);
}

bool SysAlarms::clear_alarm(std::string_view id) {
    return note(id, {});
}

bool SysAlarms::raised(std::string_view topic) const {
    const RetainedNode* node = retained_.find(as_bytes(topic));
    return node != nullptr && node->message;
}

bool SysAlarms::note(std::string_view id, std::string_view json) {
    if (id.empty()) return false;
    SysTextOf<kTopicMax> topic;
    write_topic(topic, id);
    if (events_.empty() && raised(topic.text()) == !json.empty()) return true;
    if (events_.size() >= kWaitingMax) return false;
    void* memory = arena_.allocate(sizeof(SysAlarmEvent) + topic.size() + json.size());
    if (memory == nullptr) return false;
    auto* event = new (memory) SysAlarmEvent;
    event->topic_size = static_cast<uint32_t>(topic.size());
    event->json_size = static_cast<uint32_t>(json.size());
    std::memcpy(event->text(), topic.text().data(), topic.size());
    if (!json.empty()) std::memcpy(event->text() + topic.size(), json.data(), json.size());
    events_.push_back(*event);
    return true;
}

void SysAlarms::run(SysTopics& topics, const Log& log) {
    for (uint32_t n = std::min(events_.size(), kPerTurn); n > 0; --n) {
        SysAlarmEvent& event = *events_.front();
        const std::string_view topic{event.text(), event.topic_size};
        const std::string_view json{event.text() + event.topic_size, event.json_size};
        if (raised(topic) == json.empty()) {
            stuck_ = !topics.publish(topic, json);
            if (stuck_) return;  // no memory: it stays the first
            const Clean id(topic.substr(topic.rfind('/') + 1));
            if (json.empty()) {
                log.write(LogKind::kNotice, "Alarm %s is over.", id.c_str());
            } else {
                log.write(LogKind::kWarning, "Alarm %s: %s", id.c_str(), Clean(json).c_str());
            }
        }
        events_.pop_front();
        arena_.destroy(&event);
    }
}

void SysAlarms::forget() {
    while (SysAlarmEvent* event = events_.pop_front())
        arena_.destroy(event);
}

void SysAlarms::write(SysText& out,
                      std::string_view id,
                      std::string_view title,
                      std::string_view summary,
                      int64_t wall_s) {
    out.add("{\"id\":").json(id);
    out.add(",\"severity\":\"warning\",\"title\":").json(title);
    out.add(",\"summary\":").json(summary);
    out.add(",\"ts\":").number(static_cast<uint64_t>(std::max<int64_t>(wall_s, 0))).add("}");
}

void SysAlarms::write_topic(SysText& out, std::string_view id) const {
    out.add("$SYS/broker/alarm/");
    char room[kIdMax];
    SysText level(room, sizeof room);
    level.level(id);
    if (level.whole()) {
        out.add(level.text());
        return;
    }
    // The first bytes of a character may be escaped or not, but never cut in two.
    std::string_view part = id.substr(0, kIdMax / 4);
    while (!part.empty() && (static_cast<unsigned char>(id[part.size()]) & 0xc0) == 0x80)
        part.remove_suffix(1);
    out.level(part).add("~");
    uint64_t hash = siphash(key_, as_bytes(id));
    for (int digit = 0; digit < 16; ++digit, hash <<= 4) {
        const char hex = "0123456789abcdef"[hash >> 60];
        out.add({&hex, 1});
    }
}

}  // namespace mqttd
