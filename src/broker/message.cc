#include "broker/message.h"

#include "base/assert.h"
#include "broker/recorder.h"

#include <algorithm>

namespace mqttd {

namespace {

// Whether the payload lies in a block that is nobody else's: then it is kept instead of copied.
bool adoptable(const Range& payload) {
    return payload.size() > MessagePool::kAdoptBytes && payload.segment != nullptr &&
           !payload.segment->shared;
}

uint8_t* put(uint8_t* at, Bytes bytes) {
    if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
    return at + bytes.size();
}

}  // namespace

Message* MessagePool::make(const MessageParts& parts) {
    const bool adopt = adoptable(parts.payload);
    const size_t text = parts.topic.size() + parts.properties.size();
    const size_t size = text + (adopt ? sizeof(uint32_t) : parts.payload.size());
    const size_t name = recorder_ != nullptr && !parts.system ? sizeof(uint64_t) : 0;
    void* memory = arena_.allocate(std::max<size_t>(sizeof(Message), Message::kHead + size + name));
    if (memory == nullptr) return nullptr;
    auto* message = new (memory) Message;
    message->capacity = static_cast<uint32_t>(arena_.room(memory) - sizeof(Segment));
    message->used = static_cast<uint32_t>(Message::kTextAt + size);
    message->topic_size = static_cast<uint16_t>(parts.topic.size());
    message->properties_size = static_cast<uint32_t>(parts.properties.size());
    message->payload_size = parts.payload.size();
    message->expires_s = parts.expires_s & kNeverExpires;
    message->qos = parts.qos & 3;
    message->retain = parts.retain;
    message->priority = parts.priority;
    message->system = parts.system;
    message->named = name != 0;
    MQTTD_DCHECK(message->text() == reinterpret_cast<uint8_t*>(&message->properties_size + 1));
    uint8_t* at = put(message->text(), parts.topic);
    at = put(at, parts.properties);
    if (adopt) {
        Segment* body = parts.payload.segment;
        body->hold();
        message->body = body;
        std::memcpy(at, &parts.payload.begin, sizeof parts.payload.begin);
    } else if (parts.payload.size() > 0) {
        put(at, bytes_of(parts.payload));
    }
    count(*message, true);
    ++stats_.message_holders;
    ++stats_.copies;
    return message;
}

void MessagePool::let_go(Message& message) {
    count(message, false);
    if (message.recorded && recorder_ != nullptr) recorder_->gone(message.name());
    if (message.body) {
        message.body->drop(arena_);
        message.body = nullptr;
    }
    message.Segment::drop(arena_);
}

void MessagePool::count(const Message& message, bool up) {
    const uint32_t bytes = message.payload_size;
    stats_.messages_stored += up ? 1 : uint64_t(-1);
    stats_.messages_stored_bytes += up ? bytes : -uint64_t{bytes};
}

}  // namespace mqttd
