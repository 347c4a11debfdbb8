#include "broker/outqueue.h"

#include "base/assert.h"
#include "broker/durable_records.h"

namespace mqttd {

void PageSum::add(const DurablePageEntry& entry) {
    const uint64_t size = entry.message.payload.size();
    const bool limits = entry.delivery.limited;
    const bool watches = limits && !entry.system;
    ++count;
    bytes += size;
    qos0 += entry.delivery.qos == 0;
    limited += limits;
    limited_bytes += limits ? size : 0;
    watched += watches;
    watched_bytes += watches ? size : 0;
    if (first_delivery == 0) first_delivery = entry.delivery.number;
    if (entry.delivery.number != 0) last_delivery = entry.delivery.number;
    priority = entry.message.priority;
    groups = groups || entry.shared != 0;
}

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

QueueChunk* OutQueue::make_chunk(Arena& arena, uint32_t bytes) {
    void* memory = arena.allocate(bytes);
    if (memory == nullptr) return nullptr;
    auto* chunk = new (memory) QueueChunk;
    chunk->room = static_cast<uint16_t>((bytes - sizeof(QueueChunk)) / sizeof(QueueEntry));
    return chunk;
}

void OutQueue::put(QueueChunk& chunk, const Waiting& waiting) {
    auto* entry = new (&chunk.entries()[chunk.end++]) QueueEntry;
    entry->message = waiting.message;
    entry->ids = waiting.ids;
    entry->qos = waiting.qos;
    entry->retain = waiting.retain;
    entry->limited = waiting.limited;
    entry->shared = waiting.shared;
    entry->delivery = waiting.delivery;
}

Waiting OutQueue::waiting_of(const QueueEntry& entry) {
    return {entry.message.get(),
            entry.ids.get(),
            entry.qos,
            entry.retain,
            entry.limited,
            entry.shared,
            entry.delivery};
}

// Between `before` (null: the begin) and what follows it.
void OutQueue::insert(QueueLane& lane, QueueChunk* before, QueueChunk& first, QueueChunk& last) {
    last.next = before != nullptr ? before->next : lane.first;
    (before != nullptr ? before->next : lane.first) = &first;
    if (!last.next) lane.last = &last;
}

bool OutQueue::push(Arena& arena, const Waiting& waiting) {
    QueueLane* lane = lane_of(arena, waiting.message->priority);
    if (lane == nullptr) return false;
    QueueChunk* last = lane->last.get();
    if (last == nullptr || last->end == last->room || last == lane->settled.get()) {
        last = make_chunk(arena, lane->size < 4 ? 64 : lane->size < 64 ? 256 : 1024);
        if (last == nullptr) {
            if (lane->size == 0 && lane != &base_) drop_lane(arena, *lane);
            return false;
        }
        insert(*lane, lane->last.get(), *last, *last);
    }
    put(*last, waiting);
    ++lane->size;
    lane->limited += waiting.limited;
    lane->behind += paged_units(*waiting.message);
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

bool OutQueue::pop_lowest(Arena& arena, Waiting& out) {
    QueueLane& lane = bottom();
    MQTTD_ASSERT(lane.limited > 0);
    Spot spot{nullptr, 0, lane.settled == nullptr};
    QueueChunk* chunk = lane.first.get();
    for (; chunk != nullptr; chunk = chunk->next.get()) {
        uint32_t at = chunk->begin;
        while (at < chunk->end && !chunk->entries()[at].limited)
            ++at;
        if (at < chunk->end) {
            spot.place = static_cast<uint16_t>(at - chunk->begin);
            out = take(arena, lane, spot);
            return true;
        }
        spot.before = chunk;
        spot.behind = spot.behind || chunk == lane.settled.get();
    }
    return false;
}

// Those in front of it in its chunk move up.
Waiting OutQueue::take(Arena& arena, QueueLane& lane, const Spot& spot) {
    MQTTD_ASSERT(lane.size > 0 && size_ > 0);
    QueueChunk* chunk = spot.before != nullptr ? spot.before->next.get() : lane.first.get();
    MQTTD_ASSERT(!is_page(*chunk));
    QueueEntry* entries = chunk->entries();
    uint32_t at = uint32_t{chunk->begin} + spot.place;
    const Waiting waiting = waiting_of(entries[at]);
    for (; at > chunk->begin; --at)
        entries[at] = entries[at - 1];
    if (++chunk->begin == chunk->end) {
        (spot.before != nullptr ? spot.before->next : lane.first) = chunk->next;
        if (lane.last.get() == chunk) lane.last = spot.before;
        if (lane.settled.get() == chunk) lane.settled = spot.before;
        arena.release(chunk);
    }
    if (spot.behind) lane.behind -= paged_units(*waiting.message);
    lane.limited -= waiting.limited;
    count(waiting, false);
    if (--lane.size == 0 && &lane != &base_) drop_lane(arena, lane);
    return waiting;
}

// --- pages
// -----------------------------------------------------------------------------------------

QueueLane* OutQueue::gathered(uint32_t units) {
    for (QueueLane* lane = lanes_.get(); lane != nullptr; lane = lane->next.get())
        if (lane->behind > units) return lane;
    return base_.behind > units ? &base_ : nullptr;
}

bool OutQueue::settle(QueueLane& lane) {
    QueueChunk* next = lane.settled ? lane.settled->next.get() : lane.first.get();
    if (next == nullptr || next == lane.last.get()) return false;
    for (uint32_t i = next->begin; i < next->end; ++i)
        lane.behind -= paged_units(*next->entries()[i].message);
    lane.settled = next;
    return true;
}

Waiting OutQueue::take_gathered(Arena& arena, QueueLane& lane) {
    return take(arena, lane, {lane.settled.get(), 0, true});
}

void OutQueue::put_page(QueueLane& lane, QueuePage& page) {
    insert(lane, lane.settled.get(), page, page);
    lane.settled = &page;
    lane.size += page.sum.count;
    lane.limited += page.sum.limited;
    count(page, true);
}

bool OutQueue::push_page(Arena& arena, QueuePage& page) {
    QueueLane* lane = lane_of(arena, page.sum.priority);
    if (lane == nullptr) return false;
    while (settle(*lane)) {
    }
    if (QueueChunk* last = lane->last.get(); last != nullptr && last != lane->settled.get()) {
        lane->settled = last;
        lane->behind = 0;
    }
    put_page(*lane, page);
    return true;
}

QueuePage* OutQueue::page_ahead(uint32_t chunks) {
    const auto look = [&](const QueueLane& lane) -> QueuePage* {
        QueueChunk* chunk = lane.first.get();
        for (uint32_t n = 0; n < chunks && chunk != nullptr; ++n, chunk = chunk->next.get()) {
            if (!is_page(*chunk)) continue;
            auto* page = static_cast<QueuePage*>(chunk);
            if (!page->coming) return page;
        }
        return nullptr;
    };
    for (QueueLane* lane = lanes_.get(); lane != nullptr; lane = lane->next.get())
        if (QueuePage* page = look(*lane)) return page;
    return look(base_);
}

bool OutQueue::append(Arena& arena, Chain& chain, const Waiting& waiting) {
    if (chain.last == nullptr || chain.last->end == chain.last->room) {
        QueueChunk* chunk = make_chunk(arena, 1024);
        if (chunk == nullptr) return false;
        if (chain.last != nullptr) {
            chain.last->next = chunk;
        } else {
            chain.first = chunk;
        }
        chain.last = chunk;
    }
    put(*chain.last, waiting);
    return true;
}

bool OutQueue::take_first(Arena& arena, Chain& chain, Waiting& out) {
    QueueChunk* chunk = chain.first;
    if (chunk == nullptr) return false;
    out = waiting_of(chunk->entries()[chunk->begin]);
    if (++chunk->begin == chunk->end) {
        chain.first = chunk->next.get();
        if (chain.first == nullptr) chain.last = nullptr;
        arena.release(chunk);
    }
    return true;
}

void OutQueue::replace_page(Arena& arena, QueuePage& page, const Chain& chain) {
    QueueLane* lane = page.sum.priority == 0 ? &base_ : lane_of(arena, page.sum.priority);
    QueueChunk* before = nullptr;
    for (QueueChunk* each = lane->first.get(); each != &page; each = each->next.get())
        before = each;
    (before != nullptr ? before->next : lane->first) = page.next;
    if (lane->last.get() == &page) lane->last = before;
    const bool settled = lane->settled.get() == &page;
    if (chain.first != nullptr) insert(*lane, before, *chain.first, *chain.last);
    if (settled) lane->settled = chain.first != nullptr ? chain.last : before;
    lane->size -= page.sum.count;
    lane->limited -= page.sum.limited;
    count(page, false);
    for (QueueChunk* chunk = chain.first; chunk != nullptr;
         chunk = chunk == chain.last ? nullptr : chunk->next.get()) {
        for (uint32_t i = chunk->begin; i < chunk->end; ++i) {
            const Waiting waiting = waiting_of(chunk->entries()[i]);
            ++lane->size;
            lane->limited += waiting.limited;
            count(waiting, true);
        }
    }
    if (lane->size == 0 && lane != &base_) drop_lane(arena, *lane);
}

void OutQueue::count(const QueuePage& page, bool up) {
    const uint64_t sign = up ? 1 : ~uint64_t{0};
    const auto sign32 = static_cast<uint32_t>(sign);
    size_ += sign32 * page.sum.count;
    qos0_ += sign32 * page.sum.qos0;
    limited_ += sign32 * page.sum.limited;
    watched_ += sign32 * page.sum.watched;
    limited_bytes_ += sign * page.sum.limited_bytes;
    watched_bytes_ += sign * page.sum.watched_bytes;
}

}  // namespace mqttd
