#include "topics/subscription_index.h"

#include "mqttd/topic.h"

#include "topics/level_hash.h"

#include <algorithm>

namespace mqttd {

// One recently matched topic and its filters, none included.  Two lines; a topic of up to 38 bytes
// lies in the first one.
struct SubscriptionIndex::CacheEntry {
    static constexpr uint32_t kEntries = 512;  // together one page of the arena
    static constexpr uint32_t kFiltersMax = 4;
    static constexpr uint32_t kTextMax = 102;

    uint64_t generation = 0;  // 0: never filled
    Ptr32<FilterNode> filters[kFiltersMax];
    uint8_t count = 0;
    uint8_t text_size = 0;
    uint8_t text[kTextMax];

    bool holds(Bytes name, uint64_t now) const {
        return generation == now && same_bytes({text, text_size}, name);
    }
};

// Where a match collects: fills `out` as far as it reaches, counts them all.
struct SubscriptionIndex::Found {
    std::span<FilterNode*> out;
    uint32_t count = 0;

    void add(FilterNode* filter) {
        if (filter == nullptr) return;
        if (count < out.size()) out[count] = filter;
        ++count;
    }
};

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

}  // namespace

SubscriptionIndex::SubscriptionIndex(Arena& arena, const HashKey& key)
    : arena_(arena), key_(key), filters_(arena), subscriptions_(arena), edges_(arena) {
    static_assert(sizeof(CacheEntry) * CacheEntry::kEntries == Arena::kPageBytes);
    void* memory = arena_.allocate(sizeof(CacheEntry) * CacheEntry::kEntries);
    if (memory == nullptr) return;
    cache_ = static_cast<CacheEntry*>(memory);
    for (uint32_t i = 0; i < CacheEntry::kEntries; ++i)
        new (&cache_[i]) CacheEntry;
}

SubscriptionIndex::~SubscriptionIndex() {
    // The subscribers may be gone already: nothing is unlinked from them.
    uint64_t bucket = 0;
    while (subscriptions_.visit_bucket(bucket, [&](Subscription& it) { arena_.destroy(&it); })) {
    }
    bucket = 0;
    while (edges_.visit_bucket(bucket, [&](TrieNode& it) { arena_.destroy(&it); })) {
    }
    if (root_ != nullptr) arena_.destroy(root_);
    bucket = 0;
    while (filters_.visit_bucket(bucket, [&](FilterNode& it) { free_filter(it); })) {
    }
    while (orphans_ != nullptr) {
        FilterNode& filter = *orphans_;
        orphans_ = filter.hash.next.get();
        free_filter(filter);
    }
    if (cache_ != nullptr) arena_.release(cache_);
}

// --- subscribe and unsubscribe -------------------------------------------------------------------

Result<SubscriptionIndex::Added> SubscriptionIndex::subscribe(Subscriber& subscriber,
                                                              Bytes filter,
                                                              uint8_t options,
                                                              uint32_t identifier) {
    MQTTD_ASSERT(!filter.empty() && filter.size() <= 65535);
    const uint32_t hash = text_hash(filter);
    FilterNode* node = find_filter(filter, hash);
    if (node != nullptr) {
        Subscription* known = find_relation(subscriber, *node);
        if (known != nullptr) {
            set_options(*known, options);
            known->identifier = identifier;
            return Added{known, true};
        }
    } else if (has_wildcard(filter) && level_count(filter) > kLevelsMax) {
        return Error::kTopicFilterInvalid;
    }

    auto* subscription = arena_.make<Subscription>(Arena::Use::kNormal);
    if (subscription == nullptr) return Error::kNoMemory;
    if (node == nullptr) node = make_filter(filter, hash);
    if (node == nullptr) {
        arena_.destroy(subscription);
        return Error::kNoMemory;
    }
    subscription->subscriber = &subscriber;
    subscription->filter = node;
    subscription->options = options;
    subscription->identifier = identifier;
    bool done = subscriptions_.insert(*subscription, relation_hash(subscriber, *node));
    if (done && !place(*subscription)) {
        subscriptions_.remove(*subscription);
        done = false;
    }
    if (!done) {
        if (node->count == 0) drop_filter(*node);
        arena_.destroy(subscription);
        return Error::kNoMemory;
    }
    subscription->joined = joins_++;
    ++node->count;
    ++subscriber.subscriptions;
    subscription->next = subscriber.first_subscription;
    if (subscription->next) subscription->next->prev = subscription;
    subscriber.first_subscription = subscription;
    return Added{subscription, false};
}

bool SubscriptionIndex::unsubscribe(Subscriber& subscriber, Bytes filter) {
    Subscription* subscription = find(subscriber, filter);
    if (subscription == nullptr) return false;
    remove(*subscription);
    return true;
}

void SubscriptionIndex::remove(Subscription& subscription) {
    Subscriber& subscriber = *subscription.subscriber;
    FilterNode& filter = *subscription.filter;
    MQTTD_ASSERT(subscriber.subscriptions > 0 && filter.count > 0);
    if (subscription.next) subscription.next->prev = subscription.prev;
    if (subscription.prev) {
        subscription.prev->next = subscription.next;
    } else {
        subscriber.first_subscription = subscription.next;
    }
    --subscriber.subscriptions;
    subscriptions_.remove(subscription);
    vacate(subscription);
    arena_.destroy(&subscription);
    if (--filter.count == 0) drop_filter(filter);
}

Subscription* SubscriptionIndex::find(const Subscriber& subscriber, Bytes filter) const {
    FilterNode* node = find_filter(filter, text_hash(filter));
    return node != nullptr ? find_relation(subscriber, *node) : nullptr;
}

void SubscriptionIndex::set_options(Subscription& subscription, uint8_t options) {
    subscription.options = options;
    slot_of(subscription).options = options;
}

FilterNode* SubscriptionIndex::find_filter(Bytes text, uint32_t hash) const {
    return filters_.find(hash, [&](const FilterNode& it) { return same_bytes(it.filter(), text); });
}

Subscription* SubscriptionIndex::find_relation(const Subscriber& subscriber,
                                               const FilterNode& filter) const {
    return subscriptions_.find(relation_hash(subscriber, filter), [&](const Subscription& it) {
        return it.subscriber.get() == &subscriber && it.filter.get() == &filter;
    });
}

uint32_t SubscriptionIndex::relation_hash(const Subscriber& subscriber,
                                          const FilterNode& filter) const {
    return mix_hash((uint64_t{subscriber.number} << 32 | filter.number) + key_.k0);
}

// --- filters and the trie ------------------------------------------------------------------------

FilterNode* SubscriptionIndex::make_filter(Bytes text, uint32_t hash) {
    void* memory = arena_.allocate(sizeof(FilterNode) + text.size());
    if (memory == nullptr) return nullptr;
    auto* filter = new (memory) FilterNode;
    filter->number = next_filter_number_++;
    filter->text_size = static_cast<uint16_t>(text.size());
    std::memcpy(filter->text(), text.data(), text.size());
    if (has_wildcard(text) && !hang(*filter)) {
        arena_.destroy(filter);
        return nullptr;
    }
    if (!filters_.insert(*filter, hash)) {
        unhang(*filter);
        arena_.destroy(filter);
        return nullptr;
    }
    ++generation_;
    return filter;
}

// Takes a filter without subscribers out of the index; a pinned one keeps its memory.
void SubscriptionIndex::drop_filter(FilterNode& filter) {
    MQTTD_ASSERT(filter.count == 0);
    ++generation_;
    unhang(filter);
    filters_.remove(filter);
    if (filter.pins == 0) {
        free_filter(filter);
        return;
    }
    filter.hash.next = orphans_;
    orphans_ = &filter;
}

void SubscriptionIndex::free_filter(FilterNode& filter) {
    for (SubscriberChunk* chunk = filter.first.get(); chunk != nullptr;) {
        SubscriberChunk* next = chunk->next.get();
        arena_.destroy(chunk);
        chunk = next;
    }
    arena_.destroy(&filter);
}

bool SubscriptionIndex::hang(FilterNode& filter) {
    if (root_ == nullptr) root_ = make_trie_node(nullptr, {});
    if (root_ == nullptr) return false;
    TrieNode* node = root_;
    bool hash_ends = false;
    for (LevelReader levels(filter.filter()); levels.more();) {
        const Bytes level = levels.take();
        if (is_level(level, '#')) {
            hash_ends = true;
            break;
        }
        const uint64_t level_hash = siphash(key_, level);
        TrieNode* child = find_child(*node, level, level_hash);
        if (child == nullptr) child = add_child(*node, level, level_hash);
        if (child == nullptr) {
            prune(node);
            return false;
        }
        node = child;
    }
    Ptr32<FilterNode>& end = hash_ends ? node->hash_ends : node->ends;
    MQTTD_ASSERT(!end);
    end = &filter;
    filter.trie = node;
    ++wildcard_filters_;
    return true;
}

void SubscriptionIndex::unhang(FilterNode& filter) {
    TrieNode* node = filter.trie.get();
    if (node == nullptr) return;
    Ptr32<FilterNode>& end = node->ends.get() == &filter ? node->ends : node->hash_ends;
    MQTTD_ASSERT(end.get() == &filter);
    end = nullptr;
    filter.trie = nullptr;
    --wildcard_filters_;
    prune(node);
}

TrieNode* SubscriptionIndex::make_trie_node(TrieNode* parent, Bytes level) {
    void* memory = arena_.allocate(sizeof(TrieNode) + level.size());
    if (memory == nullptr) return nullptr;
    auto* node = new (memory) TrieNode;
    node->parent = parent;
    node->number = next_trie_number_++;
    node->text_size = static_cast<uint16_t>(level.size());
    if (!level.empty()) std::memcpy(node->text(), level.data(), level.size());
    return node;
}

TrieNode* SubscriptionIndex::add_child(TrieNode& parent, Bytes level, uint64_t level_hash) {
    TrieNode* child = make_trie_node(&parent, level);
    if (child == nullptr) return nullptr;
    if (!edges_.insert(*child, edge_hash(level_hash, parent.number))) {
        arena_.destroy(child);
        return nullptr;
    }
    if (is_level(level, '+')) parent.plus = child;
    ++parent.children;
    return child;
}

TrieNode* SubscriptionIndex::find_child(const TrieNode& parent,
                                        Bytes level,
                                        uint64_t level_hash) const {
    return edges_.find(edge_hash(level_hash, parent.number), [&](const TrieNode& it) {
        return it.parent.get() == &parent && same_bytes(it.level(), level);
    });
}

// Removes `node` if it is empty, and whatever that leaves empty above it.
void SubscriptionIndex::prune(TrieNode* node) {
    while (node != nullptr && node->empty()) {
        TrieNode* parent = node->parent.get();
        if (parent == nullptr) {
            root_ = nullptr;
        } else {
            edges_.remove(*node);
            if (parent->plus.get() == node) parent->plus = nullptr;
            --parent->children;
        }
        arena_.destroy(node);
        node = parent;
    }
}

// --- match ---------------------------------------------------------------------------------------

uint32_t SubscriptionIndex::match(Bytes name, std::span<FilterNode*> out) {
    const uint32_t hash = text_hash(name);
    last_steps_ = 1;
    CacheEntry* entry = nullptr;
    if (cache_ != nullptr && name.size() <= CacheEntry::kTextMax) {
        entry = &cache_[hash % CacheEntry::kEntries];
        if (entry->holds(name, generation_)) {
            ++cache_hits_;
            const uint32_t filled =
                std::min<uint32_t>(entry->count, static_cast<uint32_t>(out.size()));
            for (uint32_t i = 0; i < filled; ++i)
                out[i] = entry->filters[i].get();
            return entry->count;
        }
    }

    Found found{out};
    found.add(find_filter(name, hash));
    if (root_ != nullptr) walk(name, found);

    if (entry != nullptr && found.count <= std::min<size_t>(out.size(), CacheEntry::kFiltersMax)) {
        entry->generation = generation_;
        entry->count = static_cast<uint8_t>(found.count);
        for (uint32_t i = 0; i < found.count; ++i)
            entry->filters[i] = out[i];
        entry->text_size = static_cast<uint8_t>(name.size());
        if (!name.empty()) std::memcpy(entry->text, name.data(), name.size());
    }
    return found.count;
}

// Depth first: follows the exact child at once and leaves the `+` child for later.  The branches
// left lie at ever deeper levels, so there are never more of them than levels.
void SubscriptionIndex::walk(Bytes name, Found& found) {
    struct Branch {
        TrieNode* node;
        uint32_t level;
    };

    Branch left[kLevelsMax + 1];
    uint32_t branches = 0;
    NameLevels levels(key_, name);
    const bool dollar = !name.empty() && name[0] == '$';
    left[branches++] = {root_, 0};
    while (branches > 0) {
        auto [node, level] = left[--branches];
        for (; node != nullptr; ++level) {
            ++last_steps_;
            const bool wildcards = level > 0 || !dollar;
            if (wildcards) found.add(node->hash_ends.get());
            if (!levels.has(level)) {
                found.add(node->ends.get());
                break;
            }
            TrieNode* plus = node->plus.get();
            if (plus != nullptr && wildcards) left[branches++] = {plus, level + 1};
            if (node->children == (plus != nullptr ? 1u : 0u)) break;
            node = find_child(*node, levels.text(level), levels.hash(level));
        }
    }
}

}  // namespace mqttd
