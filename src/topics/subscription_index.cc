#include "topics/subscription_index.h"

#include "mqttd/topic.h"

#include "topics/level_hash.h"

namespace mqttd {

SubscriptionIndex::SubscriptionIndex(Arena& arena, const HashKey& key)
    : arena_(arena),
      key_(key),
      filters_(arena),
      subscriptions_(arena),
      edges_(arena),
      groups_(arena),
      cache_(arena) {}

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
    cache_.clear();
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
    }
    const bool shared = is_shared(filter);
    Bytes matched = filter;  // the part that topics are matched against
    if (node == nullptr) {
        if (shared) {
            const Result<SharedFilter> parsed = parse_shared(filter);
            if (!parsed) return parsed.error();
            matched = parsed->filter;
        }
        if (has_wildcard(matched) && level_count(matched) > kLevelsMax) {
            return Error::kTopicFilterInvalid;
        }
    }

    auto* subscription = arena_.make<Subscription>(Arena::Use::kNormal);
    if (subscription == nullptr) return Error::kNoMemory;
    if (node == nullptr) {
        node = shared ? make_group(filter, hash, matched) : make_filter(filter, hash);
    }
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
        drop_if_unwanted(*node);
        arena_.destroy(subscription);
        return Error::kNoMemory;
    }
    subscription->joined = joins_++;
    ++node->count;
    shared_subscriptions_ += node->shared;
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
    --filter.count;
    shared_subscriptions_ -= filter.shared;
    drop_if_unwanted(filter);
}

Subscription* SubscriptionIndex::find(const Subscriber& subscriber, Bytes filter) const {
    FilterNode* node = find_filter(filter, text_hash(filter));
    return node != nullptr ? find_relation(subscriber, *node) : nullptr;
}

void SubscriptionIndex::set_options(Subscription& subscription, uint8_t options) {
    subscription.options = options;
    if (subscription.filter->shared == 0) slot_of(subscription).options = options;
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

FilterNode* SubscriptionIndex::new_filter(Bytes text) {
    void* memory = arena_.allocate(sizeof(FilterNode) + text.size());
    if (memory == nullptr) return nullptr;
    auto* filter = new (memory) FilterNode;
    filter->number = next_filter_number_++;
    filter->text_size = static_cast<uint16_t>(text.size());
    std::memcpy(filter->text(), text.data(), text.size());
    return filter;
}

FilterNode* SubscriptionIndex::make_filter(Bytes text, uint32_t hash) {
    FilterNode* filter = new_filter(text);
    if (filter == nullptr) return nullptr;
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

void SubscriptionIndex::drop_if_unwanted(FilterNode& filter) {
    if (filter.count == 0 && (filter.shared != 0 || !filter.groups)) drop_filter(filter);
}

// Takes a filter that nobody wants out of the index; a pinned one keeps its memory.
void SubscriptionIndex::drop_filter(FilterNode& filter) {
    ++generation_;
    unhang(filter);
    filters_.remove(filter);
    if (filter.shared != 0) groups_.remove(*filter.groups);
    if (filter.pins == 0) {
        free_orphan(filter);
        return;
    }
    filter.hash.next = orphans_;
    if (orphans_ != nullptr) orphans_->prev_orphan = &filter;
    orphans_ = &filter;
}

// Pinned no more: a group leaves the list it hung in.
void SubscriptionIndex::free_orphan(FilterNode& filter) {
    if (filter.shared != 0) {
        free_group(filter);
    } else {
        free_filter(filter);
    }
}

void SubscriptionIndex::free_filter(FilterNode& filter) {
    for (SubscriberChunk* chunk = filter.first.get(); chunk != nullptr;) {
        SubscriberChunk* next = chunk->next.get();
        arena_.destroy(chunk);
        chunk = next;
    }
    if (filter.shared != 0) {
        filter.groups->clear(arena_);
        arena_.destroy(filter.groups.get());
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

}  // namespace mqttd
