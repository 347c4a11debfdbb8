#include "broker/outqueue.h"

#include "base/assert.h"

namespace mqttd {

bool OutQueue::push(Arena& arena, const Waiting& waiting) {
    if (!last_ || last_->end == last_->room) {
        const uint32_t bytes = size_ < 4 ? 64 : size_ < 64 ? 256 : 1024;
        void* memory = arena.allocate(bytes);
        if (memory == nullptr) return false;
        auto* chunk = new (memory) QueueChunk;
        chunk->room = static_cast<uint16_t>((bytes - sizeof(QueueChunk)) / sizeof(QueueEntry));
        if (last_) {
            last_->next = chunk;
        } else {
            first_ = chunk;
        }
        last_ = chunk;
    }
    auto* entry = new (&last_->entries()[last_->end++]) QueueEntry;
    entry->message = waiting.message;
    entry->ids = waiting.ids;
    entry->qos = waiting.qos;
    entry->retain = waiting.retain;
    ++size_;
    qos0_ += waiting.qos == 0;
    entry->limited = waiting.limited;
    limited_ += waiting.limited;
    if (waiting.limited) limited_bytes_ += waiting.message->payload_size;
    return true;
}

Waiting OutQueue::pop(Arena& arena) {
    MQTTD_ASSERT(size_ > 0);
    const QueueEntry& entry = first_->entries()[first_->begin++];
    const Waiting waiting{
        entry.message.get(), entry.ids.get(), entry.qos, entry.retain, entry.limited};
    if (first_->begin == first_->end) {
        QueueChunk* chunk = first_.get();
        first_ = chunk->next;
        if (!first_) last_ = nullptr;
        arena.release(chunk);
    }
    --size_;
    qos0_ -= waiting.qos == 0;
    limited_ -= waiting.limited;
    if (waiting.limited) limited_bytes_ -= waiting.message->payload_size;
    return waiting;
}

}  // namespace mqttd
