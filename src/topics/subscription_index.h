#pragma once

// SubscriptionIndex: from a topic name to everyone who wants it.
//
// A filter is one FilterNode however many subscribe to it. All filters lie in a hash by their text:
// a topic name finds the filter that equals it with one look-up (names hold no wildcards, so they
// never find another kind). Filters with `+` or `#` also hang in a trie of levels, walked
// iteratively with a small fixed stack:
//
//     hash: text ─▶ FilterNode ─▶ set of SubscriberSlot     trie: (parent, level) ─▶ TrieNode
//                                                                  ├ plus      ─▶ TrieNode
//                                                                  ├ ends      ─▶ FilterNode
//                                                                  └ hash_ends ─▶ FilterNode `…/#`
//
// A walk that uses up its steps, or the room for what it finds, goes on in a later call: its
// MatchCursor holds the branches that are left and pins their nodes. A pinned TrieNode stays in the
// trie even when it is empty, so whatever comes and goes meanwhile, the branches left and what was
// walked cover the trie: **every filter that matches and is there all the time is found once**; who
// comes meanwhile may or may not be (joins() tells who was there).
//
// Topics that begin with `$` skip the wildcards of the first level. A publish only looks up: it
// never interns a level, so a flood of fresh topics grows nothing. The edges (parent, level) are
// one hash; a level's text is hashed once per publish and mixed with the parent's number.
//
// A set is one slot inside the node (`only`) and, for more than one subscriber, chunks of slots
// with a bit mask of those in use: one chunk of 4, regrown to 16 and 64, then further ones of 64.
// An empty chunk is freed. Regrowing is the only time a slot moves.
//
// A fan-out that is done in slices pins the node and keeps its place in a SetCursor. The rule: **a
// cursor sees exactly the subscriptions that were there when it started and still are, each once.**
//   - While the node is pinned no slot moves and no chunk is freed (empty ones wait for the unpin).
//   - Who joins a pinned set may take any free slot of a chunk, also one ahead of a cursor: the
//   slot's
//     `fresh` bit and its `since` hide it from the cursors that started before. The time scale is
//     the node's clock: odd once somebody joined, made even by the next cursor that starts. `only`
//     has no such mark and is not given away while the node is pinned.
//   - A filter whose last subscriber left, and that no shared group hangs at, is out of the index
//     at once; if it is pinned, its memory goes with the last pin. Who subscribes to it meanwhile
//     gets a new node.
//
// A Subscription is the relation (subscriber, filter), found by a hash over both numbers, linked
// into the subscriber's list for its teardown in slices.
//
// Cost: exact match one hash of the topic; wildcard match one step per trie node visited
// (last_steps). A direct-mapped cache of recent topics, valid for one generation of filters, spares
// both. Memory: Subscription 48 bytes, a single-subscriber filter 48 bytes + text.
//
// The hash key comes from outside; nothing is hashed or ordered by address.

#include "mqttd/bytes.h"
#include "mqttd/result.h"

#include "base/arena.h"
#include "base/hash_index.h"
#include "base/ptr32.h"
#include "base/siphash.h"
#include "topics/match_cache.h"
#include "topics/shared_groups.h"

#include <cstdint>
#include <span>

namespace mqttd {

struct Subscription;
struct FilterNode;
struct TrieNode;
struct SubscriberChunk;
struct Replay;  // the broker's; not looked into here

// The part of a session that the index knows; Session derives from it (it must come first).
struct alignas(16) Subscriber {
    uint32_t epoch = 0;   // the publish that marked it last (overlapping subscriptions)
    uint32_t number = 0;  // unique among living subscribers; given by the owner
    uint32_t subscriptions = 0;
    Ptr32<Subscription> first_subscription;
};

// Subscription options as in the SUBSCRIBE packet, plus one bit of ours.
namespace suboption {
constexpr uint8_t kQosMask = 0x03;
constexpr uint8_t kNoLocal = 0x04;
constexpr uint8_t kRetainAsPublished = 0x08;
constexpr uint8_t kIdentifier = 0x40;  // has a subscription identifier (5.0)
constexpr uint8_t kPlain = 0x80;       // would get the very bytes a publisher of its family sent
}  // namespace suboption

struct SubscriberSlot {
    Ptr32<Subscriber> subscriber;  // null: not in use
    uint8_t options = 0;           // suboption bits
    uint8_t spare = 0;
    uint16_t since = 0;  // the node's clock when it joined; counts while its fresh bit is set
};

static_assert(sizeof(SubscriberSlot) == 8);

struct alignas(16) Subscription {
    HashHook<Subscription> hash;
    Ptr32<Subscriber> subscriber;
    Ptr32<FilterNode> filter;
    Ptr32<Subscription> prev;  // the subscriber's list
    Ptr32<Subscription> next;

    union {
        Ptr32<SubscriberChunk> chunk = nullptr;  // null: the slot inside the filter node (`only`)
        uint32_t member;                         // of a shared group: its number there
    };

    uint8_t slot = 0;
    uint8_t options = 0;
    uint32_t identifier = 0;  // 5.0, 0 = none
    Ptr32<Replay> replay;     // the owner's: retained messages on their way; null when all went
    uint64_t joined = 0;      // index of this subscription among all ever made, see joins()
};

static_assert(sizeof(Subscription) == 48);

struct alignas(16) SubscriberChunk {
    static constexpr uint32_t kSlotsMax = 64;
    uint64_t used = 0;   // bit i: slots()[i] holds a subscriber
    uint64_t fresh = 0;  // bit i: it joined while the node was pinned
    Ptr32<SubscriberChunk> next;
    Ptr32<SubscriberChunk> prev;       // of the first: the last
    Ptr32<SubscriberChunk> next_hole;  // ring of chunks with free slots, the empty ones first
    Ptr32<SubscriberChunk> prev_hole;
    uint16_t newest = 0;  // `since` of the youngest fresh slot
    uint8_t room = 0;     // slots this chunk was made with: 4, 16 or 64
    bool in_holes = false;

    SubscriberSlot* slots() { return reinterpret_cast<SubscriberSlot*>(this + 1); }
};

static_assert(sizeof(SubscriberChunk) == 48);

struct alignas(16) FilterNode {
    HashHook<FilterNode> hash;
    uint32_t number = 0;  // unique among living filters
    uint32_t count = 0;   // subscribers, or members; 0 if only groups want this filter

    union {
        Ptr32<TrieNode> trie;           // where a wildcard filter ends (`…/#`: its parent level)
        Ptr32<FilterNode> prev_orphan;  // once it is out of the index
    };

    SubscriberSlot only;           // in use or not, also beside chunks
    Ptr32<SubscriberChunk> first;  // its `prev` is the last one
    Ptr32<SubscriberChunk> holes;
    Ptr32<SharedGroup> groups;  // those that hang here; if `shared`, its own
    uint32_t pins : 31 = 0;     // fan-outs under way
    uint32_t shared : 1 = 0;    // the node of a shared group: no topic matches it
    uint16_t clock = 0;         // odd: somebody joined since the last cursor started
    uint16_t text_size = 0;

    FilterNode() : trie(nullptr) {}

    uint8_t* text() { return reinterpret_cast<uint8_t*>(this + 1); }

    Bytes filter() const { return {reinterpret_cast<const uint8_t*>(this + 1), text_size}; }
};

static_assert(sizeof(FilterNode) == 48);

struct alignas(16) TrieNode {
    HashHook<TrieNode> hash;  // by (parent, level text); `+` too
    Ptr32<TrieNode> parent;   // null: the root, which is in no hash
    Ptr32<TrieNode> plus;
    Ptr32<FilterNode> ends;       // the filter whose last level this is
    Ptr32<FilterNode> hash_ends;  // the filter that goes on with `#`
    uint32_t number = 0;
    uint32_t children = 0;  // `plus` counted
    uint32_t pins = 0;      // walks that go on here later
    uint16_t text_size = 0;

    uint8_t* text() { return reinterpret_cast<uint8_t*>(this + 1); }

    Bytes level() const { return {reinterpret_cast<const uint8_t*>(this + 1), text_size}; }

    bool empty() const { return children == 0 && !ends && !hash_ends && pins == 0; }
};

static_assert(sizeof(TrieNode) == 48);

// Where a walk through the trie has not been yet.
struct TrieBranch {
    TrieNode* node;
    uint32_t level;  // of the name, for the children of `node`
};

// A match that was cut and goes on later; its nodes are pinned.  Behind it lie the branches, at
// ever deeper levels, and the name.
struct alignas(16) MatchCursor {
    uint32_t branches = 0;  // left; 0: the match is through
    uint32_t name_offset = 0;
    uint32_t name_size = 0;

    bool done() const { return branches == 0; }

    TrieBranch* left() { return reinterpret_cast<TrieBranch*>(this + 1); }

    Bytes name() const { return {reinterpret_cast<const uint8_t*>(this) + name_offset, name_size}; }
};

struct Match {
    uint32_t found = 0;           // filters put into `out`
    MatchCursor* rest = nullptr;  // there may be more: match_on, and in any case end_match
};

// A place in a set, to go on from later.  The node must be pinned between calls.
struct SetCursor {
    SubscriberChunk* chunk = nullptr;
    uint32_t slot = 0;
    uint16_t clock = 0;  // the node's when this cursor started
    bool started = false;
    bool only_done = false;  // `only` has been looked at
    bool done = false;
};

class SubscriptionIndex {
  public:
    // Deepest wildcard filter, in levels; bounds the stack of a match.
    static constexpr uint32_t kLevelsMax = 1024;

    // A trie node stands for up to two filters that match: without room for both it is left for
    // the next call.
    static constexpr uint32_t kMatchRoom = 2;

    SubscriptionIndex(Arena& arena, const HashKey& key);
    ~SubscriptionIndex();
    SubscriptionIndex(const SubscriptionIndex&) = delete;
    SubscriptionIndex& operator=(const SubscriptionIndex&) = delete;

    struct Added {
        Subscription* subscription = nullptr;
        bool existed = false;  // the same subscriber had this filter: options were replaced
    };

    // `filter` is valid (topic_filter_valid) and at most 65535 bytes; `options` are suboption bits.
    // A shared one (is_shared) makes the subscriber a member of its group.
    // Errors: kNoMemory; kTopicFilterInvalid (wildcards and more than kLevelsMax levels; what
    // parse_shared refuses).  Nothing has changed then.  Subscribing again replaces options and
    // identifier and cannot fail.
    Result<Added> subscribe(Subscriber& subscriber,
                            Bytes filter,
                            uint8_t options,
                            uint32_t identifier = 0);

    // False if there was none.
    bool unsubscribe(Subscriber& subscriber, Bytes filter);

    // Never fails and never allocates.  O(1), and O(levels) for the last subscriber of a wildcard
    // filter.
    void remove(Subscription& subscription);

    // The options byte that visit shows, or a shared group's choice.
    static void set_options(Subscription& subscription, uint8_t options);

    Subscription* find(const Subscriber& subscriber, Bytes filter) const;

    // For who will subscribe to it in a while: asks memory for where it hangs; with what that
    // returned, some time later, for what hangs there, one after the other.
    uint32_t fetch(Bytes filter) const {
        const uint32_t hash = text_hash(filter);
        filters_.fetch(hash);
        return hash;
    }

    void fetch_more(uint32_t hash, uint32_t passed) const { filters_.fetch_element(hash, passed); }

    // The filters with a subscriber or a shared group that match the topic `name`, into `out` (at
    // least kMatchRoom places).  Stops after `steps` trie nodes or when `out` is full; then there
    // is a cursor for the rest, which the caller ends.  Otherwise allocates nothing: O(name) and a
    // step per trie node visited. Error: kNoMemory: it was cut, and there was no memory for the
    // cursor.
    Result<Match> match(Bytes name, std::span<FilterNode*> out, uint32_t steps = ~0u);

    // Goes on, with at least one step; returns how many filters are in `out` now.  Those of earlier
    // calls are the caller's to pin: the index may have changed between any two calls.
    uint32_t match_on(MatchCursor& cursor, std::span<FilterNode*> out, uint32_t steps = ~0u);

    // Frees the cursor, through or not; also nullptr.
    void end_match(MatchCursor* cursor);

    // Trie nodes and hash chains looked at by the last match or match_on: what it cost.
    uint32_t last_steps() const { return last_steps_; }

    // A pinned node stays, and its slots keep their places, until it is unpinned as often.  The
    // last unpin frees what emptied meanwhile: one release per 64 slots that were left.
    void pin(FilterNode& filter);
    void unpin(FilterNode& filter);

    // Fixes the moment from which newcomers are not seen; visit does so by itself if it was not
    // done. For a fan-out over several filters, which comes to the later ones in a later turn.
    static void begin(FilterNode& filter, SetCursor& cursor);

    // Calls visit(SubscriberSlot&) for up to `limit` slots in use, going on from `cursor`; returns
    // how many.  cursor.done when the set is through.  visit must not change the set.  A cursor
    // that is through within one call needs no pin.
    template <class Visit>
    static uint32_t visit(FilterNode& filter, SetCursor& cursor, uint32_t limit, Visit&& visit);

    // The groups of a filter, one after the other, the youngest first; nullptr at the end.  The
    // group returned is pinned until the next call or end_groups, so a walk may go on in a later
    // turn (the filter must be pinned then): groups that are there all the time are seen once, new
    // ones not at all.
    SharedGroup* next_group(FilterNode& filter, GroupCursor& cursor);
    void end_groups(GroupCursor& cursor);

    // The group with this number if it matches the topic `name`, or nullptr: it has gone, or its
    // number belongs to another one now.  O(name).
    SharedGroup* group_of(uint16_t number, Bytes name) const;

    // Shared ones counted.
    uint64_t subscriptions() const { return subscriptions_.size(); }

    uint64_t shared_subscriptions() const { return shared_subscriptions_; }

    uint64_t shared_groups() const { return shared_groups_; }

    // Subscriptions ever made.  Who keeps this number can tell later whether a Subscription was
    // there already (joined < number) or has come since.
    uint64_t joins() const { return joins_; }

    // Texts in use, those of shared groups and what they hang at counted.
    uint64_t filters() const { return filters_.size(); }

    uint64_t wildcard_filters() const { return wildcard_filters_; }

    uint64_t trie_nodes() const { return edges_.size(); }

    uint64_t cache_hits() const { return cache_.hits(); }

    uint32_t cache_entries() const { return cache_.entries(); }

    // For a listing that goes on later: visits the filters of one hash bucket.
    template <class Visit>
    bool visit_filters(uint64_t& cursor, Visit visit) const {
        return filters_.visit_bucket(cursor, visit);
    }

  private:
    struct Walk;

    uint32_t text_hash(Bytes text) const { return static_cast<uint32_t>(siphash(key_, text)); }

    FilterNode* find_filter(Bytes text, uint32_t hash) const;
    Subscription* find_relation(const Subscriber& subscriber, const FilterNode& filter) const;
    uint32_t relation_hash(const Subscriber& subscriber, const FilterNode& filter) const;

    // Filters and the trie.
    FilterNode* new_filter(Bytes text);
    FilterNode* make_filter(Bytes text, uint32_t hash);
    void drop_if_unwanted(FilterNode& filter);
    void drop_filter(FilterNode& filter);
    void free_orphan(FilterNode& filter);
    void free_filter(FilterNode& filter);
    bool hang(FilterNode& filter);
    void unhang(FilterNode& filter);
    TrieNode* make_trie_node(TrieNode* parent, Bytes level);
    TrieNode* add_child(TrieNode& parent, Bytes level, uint64_t level_hash);
    TrieNode* find_child(const TrieNode& parent, Bytes level, uint64_t level_hash) const;
    void prune(TrieNode* node);

    // Groups (shared_groups.cc).
    FilterNode* make_group(Bytes text, uint32_t hash, Bytes filter);
    void free_group(FilterNode& node);

    // The walk (match.cc).
    void go_on(Walk& walk, uint32_t steps);
    MatchCursor* keep(Walk& walk, Bytes name);

    // Sets (subscriber_set.cc).
    bool place(Subscription& subscription);
    void vacate(Subscription& subscription);
    SubscriberChunk* chunk_with_room(FilterNode& filter);
    SubscriberChunk* make_chunk(uint32_t room);
    SubscriberChunk* append_chunk(FilterNode& filter);
    SubscriberChunk* regrow_chunk(FilterNode& filter);
    void free_chunk(FilterNode& filter, SubscriberChunk& chunk);
    static SubscriberSlot& slot_of(Subscription& subscription);
    static uint64_t visible(FilterNode& filter, const SetCursor& cursor, SubscriberChunk& chunk);

    Arena& arena_;
    HashKey key_;
    HashIndex<FilterNode, &FilterNode::hash> filters_;
    HashIndex<Subscription, &Subscription::hash> subscriptions_;
    HashIndex<TrieNode, &TrieNode::hash> edges_;
    HashIndex<SharedGroup, &SharedGroup::hash> groups_;  // by number; those that have members
    TrieNode* root_ = nullptr;                           // while there are wildcard filters
    MatchCache cache_;
    FilterNode* orphans_ = nullptr;  // not wanted any more, but pinned; chained by hash.next
    uint64_t generation_ = 1;        // of the set of filters, for the cache
    uint64_t joins_ = 0;
    uint32_t next_filter_number_ = 1;
    uint32_t next_trie_number_ = 1;
    uint16_t next_group_number_ = 0;
    uint32_t last_steps_ = 0;
    uint32_t shared_subscriptions_ = 0;
    uint32_t shared_groups_ = 0;
    uint64_t wildcard_filters_ = 0;
};

inline void SubscriptionIndex::begin(FilterNode& filter, SetCursor& cursor) {
    cursor.started = true;
    filter.clock = static_cast<uint16_t>((filter.clock + 1) & ~1);
    cursor.clock = filter.clock;
    cursor.chunk = filter.first.get();
}

template <class Visit>
uint32_t SubscriptionIndex::visit(FilterNode& filter,
                                  SetCursor& cursor,
                                  uint32_t limit,
                                  Visit&& visit) {
    if (cursor.done || limit == 0) return 0;
    if (!cursor.started) begin(filter, cursor);
    uint32_t visited = 0;
    if (!cursor.only_done) {
        cursor.only_done = true;
        if (filter.only.subscriber) {
            visit(filter.only);
            visited = 1;
        }
    }
    for (SubscriberChunk* chunk = cursor.chunk; chunk != nullptr; chunk = chunk->next.get()) {
        SubscriberSlot* slots = chunk->slots();
        uint64_t left = chunk->fresh == 0 ? chunk->used : visible(filter, cursor, *chunk);
        left &= ~uint64_t{0} << cursor.slot;
        for (; left != 0; left &= left - 1) {
            const auto slot = static_cast<uint32_t>(__builtin_ctzll(left));
            if (visited == limit) {
                cursor.chunk = chunk;
                cursor.slot = slot;
                return visited;
            }
            visit(slots[slot]);
            ++visited;
        }
        cursor.slot = 0;
    }
    cursor.chunk = nullptr;
    cursor.done = true;
    return visited;
}

}  // namespace mqttd
