#pragma once

// What the tests of this room share: random topics over a small alphabet, and subscribers that live
// in the arena as sessions do.

#include "mqttd/bytes.h"

#include "base/arena.h"
#include "base/prng.h"
#include "base/siphash.h"
#include "support/arena_memory.h"
#include "topics/subscription_index.h"

#include <cstdlib>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd {

inline HashKey test_key(uint64_t seed) {
    return {seed * 0x9e3779b97f4a7c15u + 1, seed ^ 0x5bd1e995u};
}

inline std::string text_of(Bytes bytes) {
    return std::string(as_text(bytes));
}

// Few levels to choose from, so that names and filters meet; empty ones and `$` among them.
class TopicMaker {
  public:
    explicit TopicMaker(uint64_t seed) : prng_(seed) {}

    uint32_t below(uint32_t bound) { return prng_.below(bound); }

    std::string name() {
        for (;;) {
            const std::string text = topic(false);
            if (!text.empty()) return text;
        }
    }

    std::string filter() {
        for (;;) {
            const std::string text = topic(true);
            if (!text.empty()) return text;
        }
    }

  private:
    std::string topic(bool wildcards) {
        static const char* const kLevels[] = {"a", "b", "", "aa", "$", "$SYS", "level"};
        // Mostly short; now and then deep.
        const uint32_t levels = below(16) == 0 ? 20 + below(20) : 1 + below(4);
        std::string text;
        for (uint32_t i = 0; i < levels; ++i) {
            if (i > 0) text += '/';
            if (wildcards && i + 1 == levels && below(4) == 0) {
                text += '#';
            } else if (wildcards && below(4) == 0) {
                text += '+';
            } else {
                text += kLevels[levels > 10 ? below(2) : below(7)];
            }
        }
        return text;
    }

    Prng prng_;
};

// Subscribers numbered from 1, in the arena.
class Subscribers {
  public:
    explicit Subscribers(Arena& arena, uint32_t count = 0) : arena_(arena) {
        while (all_.size() < count)
            add();
    }

    ~Subscribers() {
        for (Subscriber* it : all_)
            arena_.destroy(it);
    }

    Subscribers(const Subscribers&) = delete;
    Subscribers& operator=(const Subscribers&) = delete;

    Subscriber& add() {
        all_.push_back(arena_.make<Subscriber>(Arena::Use::kNormal));
        all_.back()->number = static_cast<uint32_t>(all_.size());
        return *all_.back();
    }

    Subscriber& operator[](size_t index) const { return *all_[index]; }

    uint32_t size() const { return static_cast<uint32_t>(all_.size()); }

  private:
    Arena& arena_;
    std::vector<Subscriber*> all_;
};

// The numbers of the subscribers in a set, each as often as it was seen.
inline std::multiset<uint32_t> members(FilterNode& filter) {
    std::multiset<uint32_t> seen;
    SetCursor cursor;
    SubscriptionIndex::visit(
        filter, cursor, ~0u, [&](SubscriberSlot& slot) { seen.insert(slot.subscriber->number); });
    return seen;
}

// How many filters one call of match puts into `out`; nothing may be left.
inline uint32_t match_now(SubscriptionIndex& index,
                          std::string_view name,
                          std::span<FilterNode*> out) {
    const Result<Match> match = index.match(as_bytes(name), out);
    if (!match.ok() || match->rest != nullptr) std::abort();
    return match->found;
}

// The filters that match, as text, each as often as it was returned.
inline std::multiset<std::string> matching(SubscriptionIndex& index, const std::string& name) {
    std::vector<FilterNode*> out(4096);
    const uint32_t count = match_now(index, name, out);
    std::multiset<std::string> texts;
    for (uint32_t i = 0; i < count; ++i)
        texts.insert(text_of(out[i]->filter()));
    return texts;
}

}  // namespace mqttd
