#include "broker/message.h"

#include "base/assert.h"

namespace mqttd {

namespace {

// Whether the parts lie in a block that is nobody else's: then it is kept instead of copied.
bool adoptable(const MessageParts& parts) {
    const Segment* segment = parts.tail.segment;
    if (parts.tail.size() <= MessagePool::kAdoptBytes || segment == nullptr || segment->shared) {
        return false;
    }
    return parts.topic.data() >= segment->data() &&
           parts.topic.data() + parts.topic.size() <= segment->data() + segment->used;
}

}  // namespace

Message* MessagePool::make(const MessageParts& parts) {
    const bool adopt = adoptable(parts);
    const auto topic_size = static_cast<uint32_t>(parts.topic.size());
    const size_t text = adopt ? 0 : topic_size + size_t{parts.tail.size()};
    void* memory = arena_.allocate(sizeof(Message) + text);
    if (memory == nullptr) return nullptr;
    auto* message = new (memory) Message;
    message->capacity = static_cast<uint32_t>(arena_.room(memory) - sizeof(Segment));
    message->topic_size = static_cast<uint16_t>(topic_size);
    message->tail_size = parts.tail.size();
    message->properties_size = parts.properties_size;
    message->qos = parts.qos;
    message->retain = parts.retain;
    message->version = parts.version;
    message->system = parts.system;
    if (adopt) {
        Segment* body = parts.tail.segment;
        body->hold();
        message->body = body;
        message->topic_begin = static_cast<uint32_t>(parts.topic.data() - body->data());
        message->tail_begin = parts.tail.begin;
    } else {
        constexpr uint32_t kText = sizeof(Message) - sizeof(Segment);
        message->topic_begin = kText;
        message->tail_begin = kText + topic_size;
        message->used = static_cast<uint32_t>(kText + text);
        uint8_t* at = message->data() + kText;
        std::memcpy(at, parts.topic.data(), topic_size);
        if (parts.tail.size() > 0) {
            const Bytes tail = bytes_of(parts.tail);
            std::memcpy(at + topic_size, tail.data(), tail.size());
        }
    }
    count(*message, true);
    ++stats_.message_holders;
    ++stats_.copies;
    return message;
}

void MessagePool::drop(Message& message) {
    MQTTD_ASSERT(message.holders > 0);
    --stats_.message_holders;
    if (--message.holders > 0) return;
    count(message, false);
    if (message.body) {
        message.body->drop(arena_);
        message.body = nullptr;
    }
    message.Segment::drop(arena_);
}

void MessagePool::count(const Message& message, bool up) {
    const uint32_t bytes = message.payload_size();
    stats_.messages_stored += up ? 1 : uint64_t(-1);
    stats_.messages_stored_bytes += up ? bytes : -uint64_t{bytes};
}

}  // namespace mqttd
