// The sets of SubscriptionIndex: where a subscriber's slot is, and who may see it.

#include "topics/subscription_index.h"

namespace mqttd {

namespace {

// A fresh slot this much older than the node's clock is not hidden from anybody any more.  Half of
// what the comparison of two clocks can tell, so that there is time to notice.
constexpr int16_t kSettledAge = 0x3fff;

int16_t age(uint16_t now, uint16_t then) {
    return static_cast<int16_t>(now - then);
}

uint64_t all_slots(const SubscriberChunk& chunk) {
    return ~uint64_t{0} >> (SubscriberChunk::kSlotsMax - chunk.room);
}

uint64_t bit(uint32_t slot) {
    return uint64_t{1} << slot;
}

// --- the ring of chunks with free slots: empty ones at its front, so that the last unpin finds
// them

void unlink_hole(FilterNode& filter, SubscriberChunk& chunk) {
    if (!chunk.in_holes) return;
    chunk.in_holes = false;
    if (chunk.next_hole.get() == &chunk) {
        filter.holes = nullptr;
        return;
    }
    chunk.prev_hole->next_hole = chunk.next_hole;
    chunk.next_hole->prev_hole = chunk.prev_hole;
    if (filter.holes.get() == &chunk) filter.holes = chunk.next_hole;
}

void push_hole_back(FilterNode& filter, SubscriberChunk& chunk) {
    MQTTD_ASSERT(!chunk.in_holes);
    chunk.in_holes = true;
    SubscriberChunk* front = filter.holes.get();
    if (front == nullptr) {
        filter.holes = chunk.next_hole = chunk.prev_hole = &chunk;
        return;
    }
    SubscriberChunk* back = front->prev_hole.get();
    chunk.next_hole = front;
    chunk.prev_hole = back;
    front->prev_hole = &chunk;
    back->next_hole = &chunk;
}

void push_hole_front(FilterNode& filter, SubscriberChunk& chunk) {
    push_hole_back(filter, chunk);
    filter.holes = &chunk;
}

// Hides the slot from the cursors under way.  Looks after the older marks of the chunk on the way,
// so that none outlives the scale of the clock.
void mark_fresh(FilterNode& filter, SubscriberChunk& chunk, uint32_t slot) {
    for (uint64_t left = chunk.fresh; left != 0; left &= left - 1) {
        const auto i = static_cast<uint32_t>(__builtin_ctzll(left));
        if (age(filter.clock, chunk.slots()[i].since) > kSettledAge) chunk.fresh &= ~bit(i);
    }
    filter.clock |= 1;
    chunk.slots()[slot].since = chunk.newest = filter.clock;
    chunk.fresh |= bit(slot);
}

}  // namespace

SubscriberSlot& SubscriptionIndex::slot_of(Subscription& subscription) {
    SubscriberChunk* chunk = subscription.chunk.get();
    return chunk != nullptr ? chunk->slots()[subscription.slot] : subscription.filter->only;
}

// Gives the subscription a slot; false if the arena refused a chunk for it.
bool SubscriptionIndex::place(Subscription& subscription) {
    FilterNode& filter = *subscription.filter;
    if (filter.shared != 0) {
        const uint32_t member = filter.groups->join(arena_, subscription);
        if (member == SharedGroup::kNobody) return false;
        subscription.member = member;
        return true;
    }
    if (filter.only.subscriber || filter.pins > 0) {
        SubscriberChunk* chunk = chunk_with_room(filter);
        if (chunk == nullptr) return false;
        const auto slot = static_cast<uint32_t>(__builtin_ctzll(~chunk->used));
        MQTTD_ASSERT(slot < chunk->room);
        chunk->used |= bit(slot);
        if (chunk->used == all_slots(*chunk)) unlink_hole(filter, *chunk);
        if (filter.pins > 0) {
            mark_fresh(filter, *chunk, slot);
        } else {
            chunk->fresh = 0;
        }
        subscription.chunk = chunk;
        subscription.slot = static_cast<uint8_t>(slot);
    }
    SubscriberSlot& slot = slot_of(subscription);
    slot.subscriber = subscription.subscriber;
    slot.options = subscription.options;
    return true;
}

void SubscriptionIndex::vacate(Subscription& subscription) {
    FilterNode& filter = *subscription.filter;
    if (filter.shared != 0) {
        Subscription* moved = filter.groups->leave(arena_, subscription.member);
        if (moved != nullptr) moved->member = subscription.member;
        return;
    }
    SubscriberSlot& slot = slot_of(subscription);
    MQTTD_ASSERT(slot.subscriber == subscription.subscriber);
    slot = SubscriberSlot{};
    SubscriberChunk* chunk = subscription.chunk.get();
    if (chunk == nullptr) return;
    chunk->used &= ~bit(subscription.slot);
    chunk->fresh &= ~bit(subscription.slot);
    if (chunk->used != 0) {
        if (!chunk->in_holes) push_hole_back(filter, *chunk);
    } else if (filter.pins == 0) {
        free_chunk(filter, *chunk);
    } else {
        unlink_hole(filter, *chunk);
        push_hole_front(filter, *chunk);
    }
}

// From the back of the ring: an empty chunk is used only when there is no other.
SubscriberChunk* SubscriptionIndex::chunk_with_room(FilterNode& filter) {
    if (filter.holes) return filter.holes->prev_hole.get();
    const bool one = filter.first && !filter.first->next;
    const bool small = one && filter.first->room < SubscriberChunk::kSlotsMax;
    return small && filter.pins == 0 ? regrow_chunk(filter) : append_chunk(filter);
}

SubscriberChunk* SubscriptionIndex::make_chunk(uint32_t room) {
    void* memory = arena_.allocate(sizeof(SubscriberChunk) + room * sizeof(SubscriberSlot));
    if (memory == nullptr) return nullptr;
    auto* chunk = new (memory) SubscriberChunk;
    chunk->room = static_cast<uint8_t>(room);
    for (uint32_t i = 0; i < room; ++i)
        new (&chunk->slots()[i]) SubscriberSlot;
    return chunk;
}

SubscriberChunk* SubscriptionIndex::append_chunk(FilterNode& filter) {
    const uint32_t room = filter.count < 4    ? 4
                          : filter.count < 16 ? 16
                                              : SubscriberChunk::kSlotsMax;
    SubscriberChunk* chunk = make_chunk(room);
    if (chunk == nullptr) return nullptr;
    if (filter.first) {
        SubscriberChunk& last = *filter.first->prev;
        last.next = chunk;
        chunk->prev = &last;
    } else {
        filter.first = chunk;
    }
    filter.first->prev = chunk;
    push_hole_back(filter, *chunk);
    return chunk;
}

// Replaces the only chunk, which is full, by one with four times the room.
SubscriberChunk* SubscriptionIndex::regrow_chunk(FilterNode& filter) {
    SubscriberChunk& old = *filter.first;
    MQTTD_ASSERT(filter.pins == 0 && old.used == all_slots(old) && !old.in_holes);
    SubscriberChunk* larger = make_chunk(old.room * 4u);
    if (larger == nullptr) return nullptr;
    larger->used = old.used;
    for (uint32_t slot = 0; slot < old.room; ++slot) {
        larger->slots()[slot] = old.slots()[slot];
        Subscription* moved = find_relation(*old.slots()[slot].subscriber, filter);
        MQTTD_ASSERT(moved != nullptr && moved->slot == slot);
        moved->chunk = larger;
    }
    filter.first = larger;
    larger->prev = larger;
    arena_.destroy(&old);
    push_hole_back(filter, *larger);
    return larger;
}

void SubscriptionIndex::free_chunk(FilterNode& filter, SubscriberChunk& chunk) {
    MQTTD_ASSERT(chunk.used == 0);
    unlink_hole(filter, chunk);
    if (chunk.next) {
        chunk.next->prev = chunk.prev;
    } else {
        filter.first->prev = chunk.prev;
    }
    if (filter.first.get() == &chunk) {
        filter.first = chunk.next;
    } else {
        chunk.prev->next = chunk.next;
    }
    arena_.destroy(&chunk);
}

void SubscriptionIndex::pin(FilterNode& filter) {
    ++filter.pins;
}

void SubscriptionIndex::unpin(FilterNode& filter) {
    MQTTD_ASSERT(filter.pins > 0);
    if (--filter.pins > 0) return;
    if (filter.count > 0 || (filter.shared == 0 && filter.groups)) {
        while (filter.holes && filter.holes->used == 0)
            free_chunk(filter, *filter.holes);
        return;
    }
    // Out of the index since its last subscriber left.
    if (filter.hash.next) filter.hash.next->prev_orphan = filter.prev_orphan;
    if (filter.prev_orphan) {
        filter.prev_orphan->hash.next = filter.hash.next;
    } else {
        orphans_ = filter.hash.next.get();
    }
    free_orphan(filter);
}

// The slots of a chunk with fresh ones that were in use before this cursor started.
uint64_t SubscriptionIndex::visible(FilterNode& filter,
                                    const SetCursor& cursor,
                                    SubscriberChunk& chunk) {
    if (filter.pins == 0) chunk.fresh = 0;  // nobody but this cursor is under way
    const int16_t youngest = age(cursor.clock, chunk.newest);
    if (chunk.fresh == 0 || youngest > 0) {
        if (youngest > kSettledAge) chunk.fresh = 0;
        return chunk.used;
    }
    uint64_t hidden = 0;
    for (uint64_t left = chunk.fresh; left != 0; left &= left - 1) {
        const auto slot = static_cast<uint32_t>(__builtin_ctzll(left));
        if (age(cursor.clock, chunk.slots()[slot].since) <= 0) hidden |= bit(slot);
    }
    return chunk.used & ~hidden;
}

}  // namespace mqttd
