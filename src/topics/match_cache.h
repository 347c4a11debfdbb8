#pragma once

// MatchCache: the topics matched last and their filters, none included.
//
// Direct-mapped, one page of the arena, and valid for one generation of filters: whenever a filter
// comes or goes, everything in it is stale at once. Long topics and those that many filters match
// are not kept. If the arena refuses the page there is no cache.

#include "mqttd/bytes.h"

#include "base/arena.h"
#include "base/ptr32.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

namespace mqttd {

struct FilterNode;

class MatchCache {
  public:
    static constexpr uint32_t kEntries = 512;
    static constexpr uint32_t kFiltersMax = 4;
    static constexpr uint32_t kTextMax = 102;

    explicit MatchCache(Arena& arena) {
        static_assert(sizeof(Entry) * kEntries == Arena::kPageBytes);
        entries_ = static_cast<Entry*>(arena.allocate(sizeof(Entry) * kEntries));
        if (entries_ == nullptr) return;
        for (uint32_t i = 0; i < kEntries; ++i)
            new (&entries_[i]) Entry;
    }

    MatchCache(const MatchCache&) = delete;
    MatchCache& operator=(const MatchCache&) = delete;

    void clear(Arena& arena) {
        if (entries_ != nullptr) arena.release(entries_);
        entries_ = nullptr;
    }

    // True if `name` is known: its filters are in `out`, which has room for so many.
    bool find(Bytes name,
              uint32_t hash,
              uint64_t generation,
              std::span<FilterNode*> out,
              uint32_t& found) {
        if (entries_ == nullptr || name.size() > kTextMax) return false;
        const Entry& entry = entries_[hash % kEntries];
        if (entry.generation != generation || entry.count > out.size()) return false;
        if (!same_bytes({entry.text, entry.text_size}, name)) return false;
        for (uint32_t i = 0; i < entry.count; ++i)
            out[i] = entry.filters[i].get();
        found = entry.count;
        ++hits_;
        return true;
    }

    void keep(Bytes name,
              uint32_t hash,
              uint64_t generation,
              std::span<FilterNode* const> filters) {
        if (entries_ == nullptr || name.size() > kTextMax || filters.size() > kFiltersMax) return;
        Entry& entry = entries_[hash % kEntries];
        entry.generation = generation;
        entry.count = static_cast<uint8_t>(filters.size());
        for (uint32_t i = 0; i < entry.count; ++i)
            entry.filters[i] = filters[i];
        entry.text_size = static_cast<uint8_t>(name.size());
        if (!name.empty()) std::memcpy(entry.text, name.data(), name.size());
    }

    uint64_t hits() const { return hits_; }

  private:
    // Two lines; a topic of up to 38 bytes lies in the first one.
    struct Entry {
        uint64_t generation = 0;  // 0: never filled
        Ptr32<FilterNode> filters[kFiltersMax];
        uint8_t count = 0;
        uint8_t text_size = 0;
        uint8_t text[kTextMax];
    };

    Entry* entries_ = nullptr;
    uint64_t hits_ = 0;
};

}  // namespace mqttd
