#include "broker/outqueue.h"

#include "base/assert.h"

namespace mqttd {

const QueueLane& OutQueue::bottom() const {
    const QueueLane* lowest = &base_;
    if (base_.limited > 0) return *lowest;
    for (const QueueLane* lane = lanes_.get(); lane != nullptr; lane = lane->next.get())
        if (lane->limited > 0) lowest = lane;
    return *lowest;
}

// The lane for a message about to be pushed, or nullptr if the arena refused.
QueueLane* OutQueue::lane_of(Arena& arena, uint8_t priority) {
    if (priority == 0) return &base_;
    QueueLane* before = nullptr;
    QueueLane* lane = lanes_.get();
    while (lane != nullptr && lane->priority > priority) {
        before = lane;
        lane = lane->next.get();
    }
    if (lane != nullptr && lane->priority == priority) return lane;
    QueueLane* fresh = arena.make<QueueLane>(Arena::Use::kNormal);
    if (fresh == nullptr) return nullptr;
    fresh->priority = priority;
    fresh->next = lane;
    if (before != nullptr) {
        before->next = fresh;
    } else {
        lanes_ = fresh;
    }
    return fresh;
}

void OutQueue::drop_lane(Arena& arena, QueueLane& lane) {
    QueueLane* before = nullptr;
    for (QueueLane* each = lanes_.get(); each != &lane; each = each->next.get())
        before = each;
    if (before != nullptr) {
        before->next = lane.next.get();
    } else {
        lanes_ = lane.next.get();
    }
    arena.destroy(&lane);
}

bool OutQueue::push(Arena& arena, const Waiting& waiting) {
    QueueLane* lane = lane_of(arena, waiting.message->priority);
    if (lane == nullptr) return false;
    if (!lane->last || lane->last->end == lane->last->room) {
        const uint32_t bytes = lane->size < 4 ? 64 : lane->size < 64 ? 256 : 1024;
        void* memory = arena.allocate(bytes);
        if (memory == nullptr) {
            if (lane->size == 0 && lane != &base_) drop_lane(arena, *lane);
            return false;
        }
        auto* chunk = new (memory) QueueChunk;
        chunk->room = static_cast<uint16_t>((bytes - sizeof(QueueChunk)) / sizeof(QueueEntry));
        if (lane->last) {
            lane->last->next = chunk;
        } else {
            lane->first = chunk;
        }
        lane->last = chunk;
    }
    auto* entry = new (&lane->last->entries()[lane->last->end++]) QueueEntry;
    entry->message = waiting.message;
    entry->ids = waiting.ids;
    entry->qos = waiting.qos;
    entry->retain = waiting.retain;
    entry->limited = waiting.limited;
    entry->shared = waiting.shared;
    entry->delivery = waiting.delivery;
    ++lane->size;
    lane->limited += waiting.limited;
    count(waiting, true);
    return true;
}

void OutQueue::count(const Waiting& waiting, bool up) {
    const uint32_t one = up ? 1 : ~uint32_t{0};
    const uint64_t bytes =
        up ? waiting.message->payload_size : ~uint64_t{waiting.message->payload_size} + 1;
    size_ += one;
    if (waiting.qos == 0) qos0_ += one;
    if (!waiting.limited) return;
    limited_ += one;
    limited_bytes_ += bytes;
    if (waiting.message->system) return;
    watched_ += one;
    watched_bytes_ += bytes;
}

Waiting OutQueue::pop_lowest(Arena& arena) {
    QueueLane& lane = bottom();
    MQTTD_ASSERT(lane.limited > 0);
    QueueChunk* before = nullptr;
    QueueChunk* chunk = lane.first.get();
    uint32_t place = chunk->begin;
    while (!chunk->entries()[place].limited) {
        if (++place < chunk->end) continue;
        before = chunk;
        chunk = chunk->next.get();
        place = chunk->begin;
    }
    return take(arena, lane, before, static_cast<uint16_t>(place - chunk->begin));
}

// Takes the entry at `place` of the chunk behind `before`, or of the first one; those in front of
// it in its chunk move up.
Waiting OutQueue::take(Arena& arena, QueueLane& lane, QueueChunk* before, uint16_t place) {
    MQTTD_ASSERT(lane.size > 0 && size_ > 0);
    QueueChunk* chunk = before != nullptr ? before->next.get() : lane.first.get();
    QueueEntry* entries = chunk->entries();
    uint32_t at = uint32_t{chunk->begin} + place;
    const QueueEntry& entry = entries[at];
    const Waiting waiting{entry.message.get(),
                          entry.ids.get(),
                          entry.qos,
                          entry.retain,
                          entry.limited,
                          entry.shared,
                          entry.delivery};
    for (; at > chunk->begin; --at)
        entries[at] = entries[at - 1];
    if (++chunk->begin == chunk->end) {
        (before != nullptr ? before->next : lane.first) = chunk->next;
        if (lane.last.get() == chunk) lane.last = before;
        arena.release(chunk);
    }
    lane.limited -= waiting.limited;
    if (--lane.size == 0 && &lane != &base_) drop_lane(arena, lane);
    count(waiting, false);
    return waiting;
}

}  // namespace mqttd
