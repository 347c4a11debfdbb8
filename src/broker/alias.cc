#include "broker/alias.h"

#include "base/assert.h"
#include "base/mutant.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace mqttd {

AliasText* AliasText::make(Arena& arena, Bytes text) {
    void* memory = arena.allocate(std::max(sizeof(AliasText), sizeof(uint16_t) + text.size()));
    if (memory == nullptr) return nullptr;
    auto* made = new (memory) AliasText;
    made->size = static_cast<uint16_t>(text.size());
    std::memcpy(reinterpret_cast<uint8_t*>(made) + sizeof(uint16_t), text.data(), text.size());
    return made;
}

// --- inbound -----------------------------------------------------------------------------------

InboundAliases* InboundAliases::make(Arena& arena, uint16_t room) {
    void* memory = arena.allocate(sizeof(InboundAliases) + room * sizeof(Ptr32<AliasText>));
    if (memory == nullptr) return nullptr;
    auto* aliases = new (memory) InboundAliases(room);
    for (uint32_t i = 0; i < room; ++i)
        new (&aliases->texts()[i]) Ptr32<AliasText>;
    return aliases;
}

void InboundAliases::release(Arena& arena) {
    for (uint32_t i = 0; i < room_; ++i) {
        if (texts()[i]) arena.release(texts()[i].get());
    }
    arena.release(this);
}

bool InboundAliases::set(Arena& arena, uint16_t alias, Bytes topic) {
    MQTTD_ASSERT(alias >= 1 && alias <= room_);
    Ptr32<AliasText>& place = texts()[alias - 1];
    if (place && same_bytes(place->text(), topic)) return true;
    AliasText* text = AliasText::make(arena, topic);
    if (text == nullptr) return false;
    if (place) arena.release(place.get());
    place = text;
    return true;
}

Bytes InboundAliases::find(uint16_t alias) const {
    MQTTD_ASSERT(alias >= 1 && alias <= room_);
    const Ptr32<AliasText>& place = texts()[alias - 1];
    return place ? place->text() : Bytes{};
}

// --- outbound ----------------------------------------------------------------------------------

OutboundAliases* OutboundAliases::make(Arena& arena, uint16_t room) {
    uint32_t buckets = 1;
    while (buckets < room)
        buckets *= 2;
    void* memory =
        arena.allocate(sizeof(OutboundAliases) + room * sizeof(Entry) + buckets * sizeof(uint16_t));
    if (memory == nullptr) return nullptr;
    auto* aliases = new (memory) OutboundAliases(room, buckets);
    for (uint32_t i = 0; i < room; ++i)
        new (&aliases->entries()[i]) Entry;
    std::fill_n(aliases->buckets(), buckets, kNone);
    return aliases;
}

void OutboundAliases::release(Arena& arena) {
    for (uint32_t i = 0; i < given_; ++i) {
        if (entries()[i].text) arena.release(entries()[i].text.get());
    }
    arena.release(this);
}

OutboundAliases::Choice OutboundAliases::choose(Arena& arena, Bytes topic, uint32_t hash) {
    uint16_t& bucket = buckets()[hash & (bucket_count_ - 1)];
    for (uint16_t i = bucket; i != kNone; i = entries()[i].chain) {
        const Entry& entry = entries()[i];
        if (entry.hash != hash || !same_bytes(entry.text->text(), topic)) continue;
        leave_order(i);
        make_newest(i);
        return {static_cast<uint16_t>(i + 1), true};
    }
    AliasText* text = AliasText::make(arena, topic);
    if (text == nullptr) return {};
    const uint16_t i = given_ < room_ ? given_++ : oldest_;
    Entry& entry = entries()[i];
    if (entry.text) {
        unchain(i);
        arena.release(entry.text.get());
    }
    if (newest_ == i || entry.newer != kNone || entry.older != kNone) leave_order(i);
    entry.text = text;
    entry.hash = hash;
    entry.chain = bucket;
    bucket = i;
    make_newest(i);
    return {static_cast<uint16_t>(i + 1), MQTTD_MUTANT(10)};  // an alias nobody was told of
}

// The entry keeps its place in the order; nothing finds it until it is given away again.
void OutboundAliases::forget(Arena& arena, uint16_t alias) {
    const auto i = static_cast<uint16_t>(alias - 1);
    Entry& entry = entries()[i];
    if (!entry.text) return;
    unchain(i);
    arena.release(entry.text.get());
    entry.text = nullptr;
    // The first to be given away again.
    leave_order(i);
    entry.newer = oldest_;
    entry.older = kNone;
    if (oldest_ != kNone) {
        entries()[oldest_].older = i;
    } else {
        newest_ = i;
    }
    oldest_ = i;
}

void OutboundAliases::unchain(uint16_t i) {
    uint16_t* at = &buckets()[entries()[i].hash & (bucket_count_ - 1)];
    while (*at != i)
        at = &entries()[*at].chain;
    *at = entries()[i].chain;
    entries()[i].chain = kNone;
}

void OutboundAliases::leave_order(uint16_t i) {
    Entry& entry = entries()[i];
    (entry.newer != kNone ? entries()[entry.newer].older : newest_) = entry.older;
    (entry.older != kNone ? entries()[entry.older].newer : oldest_) = entry.newer;
    entry.newer = entry.older = kNone;
}

void OutboundAliases::make_newest(uint16_t i) {
    Entry& entry = entries()[i];
    entry.older = newest_;
    if (newest_ != kNone) {
        entries()[newest_].newer = i;
    } else {
        oldest_ = i;
    }
    newest_ = i;
}

}  // namespace mqttd
