#include "broker/outqueue.h"

#include "base/assert.h"

namespace mqttd {

bool OutQueue::push(Arena& arena, const QueueEntry& entry) {
    if (!last_ || last_->end == last_->room) {
        const uint32_t bytes = size_ < 6 ? 64 : size_ < 64 ? 256 : 1024;
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
    new (&last_->entries()[last_->end++]) QueueEntry(entry);
    ++size_;
    qos0_ += entry.qos == 0;
    bytes_ += entry.message->payload_size();
    return true;
}

QueueEntry OutQueue::pop(Arena& arena) {
    MQTTD_ASSERT(size_ > 0);
    const QueueEntry entry = first_->entries()[first_->begin++];
    if (first_->begin == first_->end) {
        QueueChunk* chunk = first_.get();
        first_ = chunk->next;
        if (!first_) last_ = nullptr;
        arena.release(chunk);
    }
    --size_;
    qos0_ -= entry.qos == 0;
    bytes_ -= entry.message->payload_size();
    return entry;
}

}  // namespace mqttd
