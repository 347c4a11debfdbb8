// From a topic name to its filters: the cache, the hash, and the walk through the trie.

#include "mqttd/topic.h"

#include "base/mutant.h"
#include "topics/level_hash.h"
#include "topics/subscription_index.h"

#include <algorithm>

namespace mqttd {

namespace {

// The levels of a name, split and hashed when the walk first comes to them.
class NameLevels {
  public:
    NameLevels(const HashKey& key, Bytes name) : key_(key), reader_(name) {}

    // Whether there is a level `index`; called for 0, 1, ... in this order, then for any of those.
    bool has(uint32_t index) {
        if (index < count_) return true;
        if (!reader_.more()) return false;
        MQTTD_DCHECK(index == count_ && count_ <= SubscriptionIndex::kLevelsMax);
        const Bytes text = reader_.take();
        levels_[count_++] = {text.data(), static_cast<uint32_t>(text.size()), siphash(key_, text)};
        return true;
    }

    Bytes text(uint32_t index) const { return {levels_[index].text, levels_[index].size}; }

    uint64_t hash(uint32_t index) const { return levels_[index].hash; }

  private:
    struct Level {
        const uint8_t* text;
        uint32_t size;
        uint64_t hash;
    };

    const HashKey& key_;
    LevelReader reader_;
    uint32_t count_ = 0;
    Level levels_[SubscriptionIndex::kLevelsMax + 1];  // left uninitialised
};

// Every level leaves one branch at most; the node that a cut left is one more.
uint32_t branches_max(Bytes name) {
    return std::min(level_count(name), SubscriptionIndex::kLevelsMax) + 1;
}

}  // namespace

struct SubscriptionIndex::Walk {
    NameLevels levels;
    const bool dollar;
    TrieBranch* const left;
    uint32_t branches;
    uint32_t pinned;  // the first so many branches are from an earlier call
    const std::span<FilterNode*> out;
    uint32_t found = 0;

    // A constructor, so that the arrays stay uninitialised.
    Walk(const HashKey& key, Bytes name, TrieBranch* branch, std::span<FilterNode*> room)
        : levels(key, name),
          dollar(!name.empty() && name[0] == '$' && !MQTTD_MUTANT(42)),  // `#` matches `$…`
          left(branch),
          branches(0),
          pinned(0),
          out(room) {}

    void add(FilterNode* filter) {
        if (filter != nullptr) out[found++] = filter;
    }
};

// Depth first: follows the exact child at once and leaves the `+` child for later.  The branches
// left lie at ever deeper levels, so there are never more of them than levels.
[[gnu::always_inline]] inline void SubscriptionIndex::go_on(Walk& walk, const uint32_t steps) {
    NameLevels& levels = walk.levels;
    uint32_t taken = 0;
    while (walk.branches > 0) {
        auto [node, level] = walk.left[--walk.branches];
        if (walk.branches < walk.pinned) {
            walk.pinned = walk.branches;
            --node->pins;
            if (node->empty()) {
                prune(node);
                continue;
            }
        }
        for (; node != nullptr; ++level) {
            if (taken == steps || walk.out.size() - walk.found < kMatchRoom) {
                walk.left[walk.branches++] = {node, level};
                last_steps_ += taken;
                return;
            }
            ++taken;
            const bool wildcards = level > 0 || !walk.dollar;
            if (wildcards) walk.add(node->hash_ends.get());
            if (!levels.has(level)) {
                walk.add(node->ends.get());
                break;
            }
            TrieNode* plus = node->plus.get();
            if (plus != nullptr && wildcards) walk.left[walk.branches++] = {plus, level + 1};
            if (node->children == (plus != nullptr ? 1u : 0u)) break;
            node = find_child(*node, levels.text(level), levels.hash(level));
        }
    }
    last_steps_ += taken;
}

Result<Match> SubscriptionIndex::match(Bytes name, std::span<FilterNode*> out, uint32_t steps) {
    MQTTD_ASSERT(out.size() >= kMatchRoom);
    const uint32_t hash = text_hash(name);
    last_steps_ = 1;
    Match match;
    if (cache_.find(name, hash, generation_, out, match.found)) return match;
    FilterNode* exact = find_filter(name, hash);
    if (exact != nullptr && exact->shared == 0) out[match.found++] = exact;
    if (root_ != nullptr) {
        TrieBranch left[kLevelsMax + 1];
        Walk walk(key_, name, left, out);
        walk.found = match.found;
        left[walk.branches++] = {root_, 0};
        go_on(walk, steps);
        match.found = walk.found;
        if (walk.branches > 0) {
            match.rest = keep(walk, name);
            if (match.rest == nullptr) return Error::kNoMemory;
            return match;
        }
    }
    cache_.keep(name, hash, generation_, out.first(match.found));
    return match;
}

// What is left of a walk, for later; nullptr if the arena refused.
MatchCursor* SubscriptionIndex::keep(Walk& walk, Bytes name) {
    const uint32_t before_name =
        static_cast<uint32_t>(sizeof(MatchCursor) + branches_max(name) * sizeof(TrieBranch));
    void* memory = arena_.allocate(before_name + name.size());
    if (memory == nullptr) return nullptr;
    auto* cursor = new (memory) MatchCursor;
    cursor->branches = walk.branches;
    cursor->name_offset = before_name;
    cursor->name_size = static_cast<uint32_t>(name.size());
    if (!name.empty()) {
        std::memcpy(static_cast<uint8_t*>(memory) + before_name, name.data(), name.size());
    }
    for (uint32_t i = 0; i < walk.branches; ++i) {
        cursor->left()[i] = walk.left[i];
        ++walk.left[i].node->pins;
    }
    return cursor;
}

uint32_t SubscriptionIndex::match_on(MatchCursor& cursor,
                                     std::span<FilterNode*> out,
                                     uint32_t steps) {
    MQTTD_ASSERT(out.size() >= kMatchRoom);
    last_steps_ = 0;
    if (cursor.done()) return 0;
    const Bytes name = cursor.name();
    Walk walk(key_, name, cursor.left(), out);
    walk.branches = walk.pinned = cursor.branches;
    for (uint32_t level = 0; level < cursor.left()[cursor.branches - 1].level; ++level)
        walk.levels.has(level);
    go_on(walk, std::max(steps, 1u));
    cursor.branches = walk.branches;
    for (uint32_t i = walk.pinned; i < walk.branches; ++i)
        ++cursor.left()[i].node->pins;
    return walk.found;
}

void SubscriptionIndex::end_match(MatchCursor* cursor) {
    if (cursor == nullptr) return;
    while (cursor->branches > 0) {
        TrieNode* node = cursor->left()[--cursor->branches].node;
        --node->pins;
        prune(node);
    }
    arena_.destroy(cursor);
}

}  // namespace mqttd
