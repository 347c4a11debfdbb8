#include "broker/awaiting_rel.h"

#include "base/assert.h"

namespace mqttd {

AwaitingEntry* AwaitingRel::find(uint16_t packet_id) {
    if (size_ == 0) return nullptr;
    for (uint32_t i = home(packet_id);; i = (i + 1) & (room_ - 1)) {
        if (entries_[i].packet_id == packet_id) return &entries_[i];
        if (entries_[i].packet_id == 0) return nullptr;
    }
}

bool AwaitingRel::insert(Arena& arena, uint16_t packet_id, uint32_t since_s, Message* message) {
    MQTTD_ASSERT(packet_id != 0);
    if ((size_ + 1) * 4 > room_ * 3) {
        const uint32_t room = room_ == 0 ? 8 : room_ * 2;
        void* memory = arena.allocate(room * sizeof(AwaitingEntry));
        if (memory == nullptr) return false;
        auto* entries = static_cast<AwaitingEntry*>(memory);
        for (uint32_t i = 0; i < room; ++i)
            new (&entries[i]) AwaitingEntry;
        AwaitingEntry* old = entries_.get();
        const uint32_t old_room = room_;
        entries_ = entries;
        room_ = room;
        shift_ = 32u - static_cast<uint32_t>(__builtin_ctz(room));
        for (uint32_t i = 0; i < old_room; ++i) {
            if (old[i].packet_id == 0) continue;
            uint32_t to = home(old[i].packet_id);
            while (entries_[to].packet_id != 0)
                to = (to + 1) & (room_ - 1);
            entries_[to] = old[i];
        }
        if (old != nullptr) arena.release(old);
    }
    uint32_t i = home(packet_id);
    while (entries_[i].packet_id != 0)
        i = (i + 1) & (room_ - 1);
    entries_[i].packet_id = packet_id;
    entries_[i].since_s = since_s;
    entries_[i].message = message;
    entries_[i].connection = connection_;
    ++size_;
    ++on_connection_;
    return true;
}

// Backward shift: entries that had been pushed past this place move up, so no tombstones are left.
void AwaitingRel::erase(AwaitingEntry& entry) {
    MQTTD_ASSERT(entry.packet_id != 0 && size_ > 0);
    if (entry.connection == connection_ && on_connection_ > 0) --on_connection_;
    auto hole = static_cast<uint32_t>(&entry - entries_.get());
    for (uint32_t i = (hole + 1) & (room_ - 1); entries_[i].packet_id != 0;
         i = (i + 1) & (room_ - 1)) {
        const uint32_t wanted = home(entries_[i].packet_id);
        if (((i - wanted) & (room_ - 1)) < ((i - hole) & (room_ - 1))) continue;
        entries_[hole] = entries_[i];
        hole = i;
    }
    entries_[hole].packet_id = 0;
    entries_[hole].message = nullptr;
    --size_;
}

void AwaitingRel::release(Arena& arena) {
    if (entries_) arena.release(entries_.get());
    entries_ = nullptr;
    room_ = size_ = on_connection_ = 0;
}

}  // namespace mqttd
