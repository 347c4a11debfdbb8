#pragma once

// Levels of a topic and the hash of an edge (parent, level): what both tries of this room share.
//
// Splitting is inline here, unlike next_level of mqttd/topic.h, because a match does nothing else.
// An edge's hash mixes the keyed hash of the level's text with the parent's number, so that a level
// is hashed once however many parents it is looked up under.

#include "mqttd/bytes.h"

#include "base/siphash.h"

#include <cstdint>

namespace mqttd {

// Walks the levels of a topic from the front.
class LevelReader {
  public:
    explicit LevelReader(Bytes topic) : topic_(topic) {}

    bool more() const { return at_ <= topic_.size(); }

    // The next level (may be empty); only if more().
    Bytes take() {
        const size_t begin = at_;
        while (at_ < topic_.size() && topic_[at_] != '/')
            ++at_;
        return topic_.subspan(begin, at_++ - begin);
    }

  private:
    Bytes topic_;
    size_t at_ = 0;  // one past the end when the last level was taken
};

inline bool is_level(Bytes level, char wildcard) {
    return level.size() == 1 && level[0] == wildcard;
}

// A well mixed 32-bit hash of 64 bits that nobody outside can choose.
inline uint32_t mix_hash(uint64_t x) {
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return static_cast<uint32_t>(x >> 32);
}

inline uint32_t edge_hash(uint64_t level_hash, uint32_t parent_number) {
    return mix_hash(level_hash ^ uint64_t{parent_number} * 0x9e3779b97f4a7c15u);
}

}  // namespace mqttd
