#pragma once

// MatchCache: the topics matched last and their filters, none included.
//
// A topic has two places and pushes out whichever was used less lately. Everything is valid for one
// generation of filters: whenever a filter comes or goes, all of it is stale at once. Long topics
// and those that many filters match are not kept.
//
// It begins with one page of the arena and grows to kEntriesMax where topics that come again push
// each other out: whether they do is seen from a sample of those that were not there, so a flood of
// fresh topics grows nothing. If there are so many that even this does not help, it is used as if
// it were small again for a while: then it costs little. It never takes more than a part in kShare
// of the arena; if that refuses there is no cache, or a smaller one.

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
    static constexpr uint32_t kEntriesMin = 512;  // a power of two, as all its sizes
    static constexpr uint32_t kEntriesMax = 32 * 1024;
    static constexpr uint32_t kGrowth = 8;
    static constexpr uint32_t kShare = 64;
    static constexpr uint32_t kFiltersMax = 4;
    static constexpr uint32_t kTextMax = 102;  // at most 127

    explicit MatchCache(Arena& arena) : arena_(arena) {
        static_assert(sizeof(Entry) * kEntriesMin == Arena::kPageBytes);
        resize(kEntriesMin);
    }

    MatchCache(const MatchCache&) = delete;
    MatchCache& operator=(const MatchCache&) = delete;

    void clear() {
        if (entries_ != nullptr) arena_.release(entries_);
        entries_ = nullptr;
    }

    // True if `name` is known: its filters are in `out`, which has room for so many.
    bool find(Bytes name,
              uint32_t hash,
              uint64_t generation,
              std::span<FilterNode*> out,
              uint32_t& found) {
        if (entries_ == nullptr || name.size() > kTextMax) return false;
        Entry* pair = pair_of(hash);
        for (uint32_t place = 0; place < 2; ++place) {
            Entry& entry = pair[place];
            if (entry.generation != generation || entry.count > out.size()) continue;
            if (!same_bytes({entry.text, entry.text_size}, name)) continue;
            for (uint32_t i = 0; i < entry.count; ++i)
                out[i] = entry.filters[i].get();
            found = entry.count;
            pair->second_is_older = place == 0;
            ++hits_;
            ++hits_of_late_;
            return true;
        }
        return false;
    }

    void keep(Bytes name,
              uint32_t hash,
              uint64_t generation,
              std::span<FilterNode* const> filters) {
        if (entries_ == nullptr || name.size() > kTextMax || filters.size() > kFiltersMax) return;
        Entry* pair = pair_of(hash);
        sample(hash);
        bool second = pair->second_is_older;
        if (pair[0].generation != generation) {
            second = false;
        } else if (pair[1].generation != generation) {
            second = true;
        } else if (++pushed_out_ > mask_) {
            adapt();
            return;
        }
        Entry& entry = pair[second ? 1 : 0];
        pair->second_is_older = !second;
        entry.generation = generation;
        entry.count = static_cast<uint8_t>(filters.size());
        for (uint32_t i = 0; i < entry.count; ++i)
            entry.filters[i] = filters[i];
        entry.text_size = static_cast<uint8_t>(name.size()) & 0x7f;
        if (!name.empty()) std::memcpy(entry.text, name.data(), name.size());
    }

    uint64_t hits() const { return hits_; }

    uint32_t entries() const { return mask_ + 1; }

  private:
    // Two lines; a topic of up to 38 bytes lies in the first one.
    struct Entry {
        uint64_t generation = 0;  // 0: never filled
        Ptr32<FilterNode> filters[kFiltersMax];
        uint8_t count = 0;
        uint8_t text_size : 7 = 0;
        uint8_t second_is_older : 1 = 0;  // of the pair; in its first entry
        uint8_t text[kTextMax];
    };

    Entry* pair_of(uint32_t hash) { return &entries_[hash & mask_ & ~1u]; }

    // One topic in 64, always the same ones: was it here before?
    void sample(uint32_t hash) {
        if (hash >> 26 != 0) return;
        uint32_t& last = samples_[hash % kSamples];
        ++sampled_;
        seen_again_ += last == hash;
        last = hash;
    }

    // As many topics have pushed another one out as there is room for.
    void adapt() {
        const bool helps = hits_of_late_ >= pushed_out_ / 2;
        pushed_out_ = 0;
        hits_of_late_ = 0;
        if (mask_ + 1 < room_) {
            if (++small_rounds_ < kSmallRounds) return;
            mask_ = room_ - 1;  // another try
        } else if (may_grow()) {
            if (sampled_ < kSampledLeast) return;
            if (seen_again_ >= sampled_ / 4) resize(std::min(room_ * kGrowth, kEntriesMax));
            sampled_ = seen_again_ = 0;
        } else if (!helps) {
            mask_ = kEntriesMin - 1;
        }
        small_rounds_ = 0;
    }

    bool may_grow() const {
        const uint64_t share = arena_.pages_total() * Arena::kPageBytes / kShare;
        return room_ < kEntriesMax && arena_.pressure() == Arena::Pressure::kNone &&
               sizeof(Entry) * std::min(room_ * kGrowth, kEntriesMax) <= share;
    }

    // Empty afterwards; as it was if the arena refuses.
    void resize(uint32_t entries) {
        void* memory = arena_.allocate(sizeof(Entry) * entries);
        if (memory == nullptr) return;
        clear();
        entries_ = static_cast<Entry*>(memory);
        for (uint32_t i = 0; i < entries; ++i)
            new (&entries_[i]) Entry;
        room_ = entries;
        mask_ = entries - 1;
    }

    static constexpr uint32_t kSamples = 512;
    static constexpr uint32_t kSampledLeast = 256;
    static constexpr uint32_t kSmallRounds = 1'000;  // of kEntriesMin topics pushed out

    Arena& arena_;
    Entry* entries_ = nullptr;
    uint32_t room_ = 0;
    uint32_t mask_ = 0;  // entries in use - 1
    uint32_t pushed_out_ = 0;
    uint32_t hits_of_late_ = 0;
    uint32_t small_rounds_ = 0;
    uint32_t sampled_ = 0;
    uint32_t seen_again_ = 0;
    uint32_t samples_[kSamples] = {};  // their hashes
    uint64_t hits_ = 0;
};

}  // namespace mqttd
