#include "topics/retained_store.h"

#include "base/assert.h"
#include "topics/level_hash.h"

#include <algorithm>

namespace mqttd {

namespace {

constexpr uint64_t kSequenceMask = (uint64_t{1} << 48) - 1;

bool is_empty(const RetainedNode& node) {
    return !node.message && !node.first_child && node.pins == 0;
}

// The filter of a walk.  A sweep has no text: everything below the root is its.
Bytes filter_of(const RetainedCursor& cursor) {
    if (cursor.filter == nullptr) return {};
    return {cursor.filter->data(), cursor.filter->used};
}

// The level of `filter` that begins at `at`.
Bytes level_at(Bytes filter, uint32_t at) {
    return LevelReader(filter.subspan(at)).take();
}

// Where the level before the one that begins at `at` begins.
uint32_t level_before(Bytes filter, uint32_t at) {
    MQTTD_DCHECK(at > 0);
    uint32_t begin = at - 1;  // the slash, or the end of the filter
    while (begin > 0 && filter[begin - 1] != '/')
        --begin;
    return begin;
}

// `$` topics are invisible to a wildcard in the first level.
bool hidden(const RetainedCursor& cursor, const RetainedNode& node) {
    if (cursor.depth != 1 || cursor.dollar) return false;
    if (node.text_size == 0 || node.level()[0] != '$') return false;
    const Bytes first = level_at(filter_of(cursor), 0);
    return is_level(first, '+') || is_level(first, '#');
}

}  // namespace

RetainedStore::RetainedStore(Arena& arena, const HashKey& key)
    : arena_(arena), key_(key), edges_(arena) {}

RetainedStore::~RetainedStore() {
    uint64_t bucket = 0;
    while (edges_.visit_bucket(bucket, [&](RetainedNode& node) {
        if (node.message) node.message->drop(arena_);
        arena_.destroy(&node);
    })) {
    }
    if (root_ != nullptr) arena_.destroy(root_);
}

// --- messages ------------------------------------------------------------------------------------

RetainedStore::Sought RetainedStore::seek(Bytes name) const {
    Sought sought;
    sought.name = name;
    sought.node = root_;
    if (root_ == nullptr) return sought;
    if (trail_.node != nullptr && name.size() >= trail_.size &&
        std::memcmp(name.data(), trail_.text, trail_.size) == 0) {
        sought.node = trail_.node;
        sought.rest = trail_.size;
    }
    for (LevelReader levels(name.subspan(sought.rest)); levels.more();) {
        const Bytes level = levels.take();
        sought.above = sought.node;
        sought.last = sought.rest;
        sought.hash = siphash(key_, level);
        if (!levels.more()) {
            sought.edge = edge_hash(sought.hash, sought.node->number);
            sought.open = true;
            edges_.fetch(sought.edge);
            break;
        }
        RetainedNode* child = find_child(*sought.node, level, sought.hash);
        if (child == nullptr) break;
        sought.node = child;
        sought.rest += level.size() + 1;
    }
    return sought;
}

RetainedStore::Place RetainedStore::look(const Sought& sought) const {
    Place place{sought.name, sought.node, sought.rest, sought.hash};
    if (place.node == nullptr) return place;
    if (sought.open) {
        const Bytes level = sought.name.subspan(sought.rest);
        RetainedNode* child = find_child(*sought.node, level, sought.hash);
        if (child != nullptr) {
            place.node = child;
            place.rest += level.size() + 1;
        }
    }
    remember(place, sought.above, sought.last);
    return place;
}

// `above`: the last node that was looked below, for the level that begins at `last`.
void RetainedStore::remember(const Place& place, RetainedNode* above, size_t last) const {
    const Bytes name = place.name;
    if (last == 0 || last > sizeof trail_.text || trail_.node == above) return;
    const auto level = name.subspan(last);
    if (std::find(level.begin(), level.end(), '/') != level.end()) return;  // not the parent
    trail_.node = above;
    trail_.size = static_cast<uint32_t>(last);
    std::memcpy(trail_.text, name.data(), last);
}

Result<bool> RetainedStore::set(const Place& place,
                                Segment* message,
                                uint64_t sequence,
                                uint32_t now_s) {
    RetainedNode* node = place.node;
    if (node == nullptr) node = root_ = make_node(nullptr, {});
    if (place.rest <= place.name.size()) {
        LevelReader levels(place.name.subspan(place.rest));
        while (node != nullptr && levels.more()) {
            const Bytes level = levels.take();
            const bool hashed = node == place.node;
            RetainedNode* child =
                add_child(*node, level, hashed ? place.rest_hash : siphash(key_, level));
            if (child == nullptr) prune(node);
            node = child;
        }
    }
    if (node == nullptr) {
        message->drop(arena_);
        return Error::kNoMemory;
    }
    if (node->message) {
        node->message->drop(arena_);
    } else {
        ++messages_;
    }
    node->message = message;
    node->sequence = sequence & kSequenceMask;
    node->stored_at_s = now_s;
    return true;
}

bool RetainedStore::clear(Bytes name) {
    RetainedNode* node = find(name);
    if (node == nullptr) return false;
    clear(*node);
    return true;
}

void RetainedStore::clear(RetainedNode& node) {
    if (!node.message) return;
    node.message->drop(arena_);
    node.message = nullptr;
    --messages_;
    prune(&node);
}

RetainedNode* RetainedStore::find(Bytes name) const {
    return look(name).found();
}

// --- the trie ------------------------------------------------------------------------------------

RetainedNode* RetainedStore::find_child(const RetainedNode& parent,
                                        Bytes level,
                                        uint64_t level_hash) const {
    return edges_.find(edge_hash(level_hash, parent.number), [&](const RetainedNode& it) {
        return it.parent.get() == &parent && same_bytes(it.level(), level);
    });
}

RetainedNode* RetainedStore::make_node(RetainedNode* parent, Bytes level) {
    void* memory =
        arena_.allocate(std::max(sizeof(RetainedNode), RetainedNode::kHead + level.size()));
    if (memory == nullptr) return nullptr;
    auto* node = new (memory) RetainedNode;
    node->parent = parent;
    node->number = next_number_++;
    node->text_size = static_cast<uint16_t>(level.size());
    if (!level.empty()) std::memcpy(node->text(), level.data(), level.size());
    return node;
}

RetainedNode* RetainedStore::add_child(RetainedNode& parent, Bytes level, uint64_t level_hash) {
    RetainedNode* child = make_node(&parent, level);
    if (child == nullptr) return nullptr;
    if (!edges_.insert(*child, edge_hash(level_hash, parent.number))) {
        arena_.destroy(child);
        return nullptr;
    }
    child->prev = parent.last_child;
    if (parent.last_child) {
        parent.last_child->next = child;
    } else {
        parent.first_child = child;
    }
    parent.last_child = child;
    return child;
}

// Frees `node` if nothing keeps it, and whatever that leaves empty above it; never the root.
void RetainedStore::prune(RetainedNode* node) {
    while (node != root_ && is_empty(*node)) {
        RetainedNode* parent = node->parent.get();
        unlink(*node);
        arena_.destroy(node);
        node = parent;
    }
}

void RetainedStore::unlink(RetainedNode& node) {
    if (trail_.node == &node) trail_.node = nullptr;
    edges_.remove(node);
    RetainedNode& parent = *node.parent;
    if (node.prev) {
        node.prev->next = node.next;
    } else {
        parent.first_child = node.next;
    }
    if (node.next) {
        node.next->prev = node.prev;
    } else {
        parent.last_child = node.prev;
    }
}

// --- walks ---------------------------------------------------------------------------------------

Result<bool> RetainedStore::start(RetainedCursor& cursor, Bytes filter, uint64_t before) {
    stop(cursor);
    Segment* copy = copy_to_segment(arena_, filter);
    if (copy == nullptr) return Error::kNoMemory;
    cursor = RetainedCursor{};
    cursor.filter = copy;
    cursor.before = before;
    uint32_t depth = 0;
    for (LevelReader levels(filter); levels.more(); ++depth) {
        if (is_level(levels.take(), '#')) cursor.hash_depth = depth;
    }
    return true;
}

void RetainedStore::start_all(RetainedCursor& cursor) {
    stop(cursor);
    cursor = RetainedCursor{};
    cursor.before = ~uint64_t{0};
    cursor.hash_depth = 0;
    cursor.dollar = true;
}

RetainedNode* RetainedStore::next(RetainedCursor& cursor, uint32_t& steps) {
    if (cursor.done) return nullptr;
    RetainedNode* const stood = cursor.node;
    RetainedNode* node = stood != nullptr ? stood : root_;
    bool found = false;
    // Going up looks for the level's begin: a filter of very long levels costs more a step.
    const uint32_t cost = 1 + (cursor.filter != nullptr ? cursor.filter->used / 2'048 : 0);
    while (node != nullptr && !found && steps > 0) {
        steps -= std::min(steps, cost);
        node = advance(cursor, *node);
        found = node != nullptr && matches(cursor, *node);
    }
    if (node == nullptr) {
        stop(cursor);
        return nullptr;
    }
    // The root needs no pin.  The new place is pinned before the old one may go.
    if (node != stood && node != root_) {
        ++node->pins;
        cursor.node = node;
        if (stood != nullptr) {
            --stood->pins;
            prune(stood);
        }
    }
    return found ? node : nullptr;
}

void RetainedStore::stop(RetainedCursor& cursor) {
    cursor.done = true;
    if (cursor.node != nullptr) {
        MQTTD_ASSERT(cursor.node->pins > 0);
        --cursor.node->pins;
        prune(cursor.node);
        cursor.node = nullptr;
    }
    if (cursor.filter != nullptr) {
        cursor.filter->drop(arena_);
        cursor.filter = nullptr;
    }
}

// Whether the node the cursor stands on is one to hand out.
bool RetainedStore::matches(const RetainedCursor& cursor, const RetainedNode& node) {
    if (!node.message || node.sequence >= cursor.before || hidden(cursor, node)) return false;
    // The filter's text is used up, or only `#` is left, which matches the parent level too.
    return cursor.depth >= cursor.hash_depth || cursor.at > filter_of(cursor).size();
}

// One step of the walk, parents before children: down if the filter goes on, else along the
// siblings, else up until there is one.  nullptr at the end.
RetainedNode* RetainedStore::advance(RetainedCursor& cursor, RetainedNode& from) const {
    RetainedNode* down = descend(cursor, from);
    if (down != nullptr) return down;
    const Bytes filter = filter_of(cursor);
    for (RetainedNode* node = &from; node != root_; node = node->parent.get()) {
        // The level that chose `node` among its siblings.
        const bool below_hash = cursor.depth > cursor.hash_depth;
        const uint32_t own = below_hash ? cursor.at : level_before(filter, cursor.at);
        if (node->next && (below_hash || is_level(level_at(filter, own), '+'))) {
            return node->next.get();
        }
        --cursor.depth;
        cursor.at = own;
    }
    return nullptr;
}

RetainedNode* RetainedStore::descend(RetainedCursor& cursor, RetainedNode& from) const {
    if (!from.first_child || hidden(cursor, from)) return nullptr;
    RetainedNode* child = from.first_child.get();
    uint32_t at = cursor.at;
    if (cursor.depth < cursor.hash_depth) {
        const Bytes filter = filter_of(cursor);
        if (at > filter.size()) return nullptr;
        if (cursor.hashed_at != at) {
            const Bytes level = level_at(filter, at);
            cursor.hashed_at = at;
            cursor.hashed_size = static_cast<uint32_t>(level.size());
            cursor.hash = siphash(key_, level);
        }
        const Bytes level = filter.subspan(at, cursor.hashed_size);
        if (!is_level(level, '+')) child = find_child(from, level, cursor.hash);
        at += cursor.hashed_size + 1;
    }
    if (child == nullptr) return nullptr;
    cursor.at = at;
    ++cursor.depth;
    return child;
}

// --- names ---------------------------------------------------------------------------------------

uint32_t RetainedStore::name_size(const RetainedNode& node) {
    uint32_t size = node.text_size;
    for (const RetainedNode* it = node.parent.get(); it->parent; it = it->parent.get()) {
        size += it->text_size + 1u;
    }
    return size;
}

void RetainedStore::write_name(const RetainedNode& node, uint8_t* out) {
    uint8_t* end = out + name_size(node);
    for (const RetainedNode* it = &node;; it = it->parent.get()) {
        const Bytes level = it->level();
        end -= level.size();
        if (!level.empty()) std::memcpy(end, level.data(), level.size());
        if (!it->parent->parent) break;
        *--end = '/';
    }
}

}  // namespace mqttd
