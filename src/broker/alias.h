#pragma once

// Topic aliases of MQTT 5.0: a number instead of a topic name, for one connection and direction.
//
// *Inbound*: the client says which number stands for which topic; a table by number, made when the
// first one comes.
//
// *Outbound*: we choose. Every topic sent gets a number; when all are given away the one used
// longest ago is given a new meaning. Entry n - 1 is alias n; a chain of buckets finds a topic by
// its hash, a list orders the entries by use:
//
//     buckets ─▶ entry ─▶ entry (chain)          newest ⇄ … ⇄ oldest
//
// Both tables end with their connection. A refused allocation only means that the topic travels in
// full.   MQTT 5.0 §3.3.2.3.4

#include "mqttd/bytes.h"

#include "base/arena.h"
#include "base/ptr32.h"

#include <cstdint>

namespace mqttd {

// A counted-by-size piece of text, `size` bytes behind the struct.
struct alignas(16) AliasText {
    uint16_t size = 0;

    static AliasText* make(Arena& arena, Bytes text);

    Bytes text() const { return {reinterpret_cast<const uint8_t*>(this) + sizeof(uint16_t), size}; }
};

class alignas(16) InboundAliases {
  public:
    explicit InboundAliases(uint16_t room) : room_(room) {}

    // A table for aliases 1 … `room`, or nullptr.
    static InboundAliases* make(Arena& arena, uint16_t room);
    void release(Arena& arena);

    uint16_t room() const { return room_; }

    // `alias` is 1 … room.  False if the arena refused: the old meaning stays.
    bool set(Arena& arena, uint16_t alias, Bytes topic);

    // What `alias` stands for; empty if nothing yet.
    Bytes find(uint16_t alias) const;

  private:
    const Ptr32<AliasText>* texts() const {
        return reinterpret_cast<const Ptr32<AliasText>*>(this + 1);
    }

    Ptr32<AliasText>* texts() { return reinterpret_cast<Ptr32<AliasText>*>(this + 1); }

    uint16_t room_;
};

class alignas(16) OutboundAliases {
  public:
    // A table for aliases 1 … `room`, or nullptr.
    static OutboundAliases* make(Arena& arena, uint16_t room);
    void release(Arena& arena);

    struct Choice {
        uint16_t alias = 0;  // 0: none, the topic travels as it is
        bool known = false;  // the receiver knows it: the topic need not travel
    };

    // The alias for `topic`, whose hash is `hash`; gives one away if it has none.
    Choice choose(Arena& arena, Bytes topic, uint32_t hash);

    // The packet that should have told the receiver about `alias` was not sent.
    void forget(Arena& arena, uint16_t alias);

  private:
    static constexpr uint16_t kNone = 0xffff;

    struct Entry {
        Ptr32<AliasText> text;  // null: not given away
        uint32_t hash = 0;
        uint16_t chain = kNone;  // the next one in its bucket
        uint16_t newer = kNone;
        uint16_t older = kNone;
    };

    OutboundAliases(uint16_t room, uint32_t buckets) : room_(room), bucket_count_(buckets) {}

    Entry* entries() { return reinterpret_cast<Entry*>(this + 1); }

    uint16_t* buckets() { return reinterpret_cast<uint16_t*>(entries() + room_); }

    void unchain(uint16_t i);
    void leave_order(uint16_t i);
    void make_newest(uint16_t i);

    uint16_t room_;
    uint16_t given_ = 0;  // entries 0 … given_ - 1 have been given away at least once
    uint16_t newest_ = kNone;
    uint16_t oldest_ = kNone;
    uint32_t bucket_count_;  // a power of two
};

}  // namespace mqttd
