#pragma once

// RetainedStore: the last message of every topic that has one, found by name or by filter.
//
// A trie of levels again, but walked the other way round: the filter is matched against stored
// names. Each RetainedNode is one level below its parent and holds a message or only children. The
// children of a node are a list in order of insertion, and the edges (parent, level) a hash, so an
// exact level is one look-up and `+` or `#` a walk along the list:
//
//     root ─▶ "a" ─▶ "b" ─▶ "c"            parent ◀ node ▶ first_child … last_child
//              │      └▶ "x"                         node ⇄ next, prev
//              └▶ "y"                      hash: (parent's number, level) ─▶ node
//
// A replay may take many turns. RetainedCursor keeps its place by pinning the node it stands on: a
// pinned node that loses its message and its children stays as a tombstone until the cursor moves
// on. New siblings go to the end of the list, nothing is ever moved, so whatever was there at the
// start and stays is visited exactly once, in the order of its levels' first messages. The cursor
// skips messages whose sequence is not below the one taken at SUBSCRIBE: they went, or were
// dropped, as live messages. Every step is bounded and counted; the way back up is not, it was paid
// for on the way down.
//
// The root is made with the first message and holds none. A node without message, children and pins
// goes at once, and whatever that leaves empty above it.
//
// The message itself is a counted Segment that this room does not look into.
//
// Names come in families: where the last look went is kept, and the next one with the same parent
// begins there.
//
// Cost: 52 bytes + text per level, 64 at least, and 2 … 4 in the hash; set, clear and find one
// look-up per level.

#include "mqttd/bytes.h"
#include "mqttd/result.h"
#include "mqttd/time.h"

#include "base/arena.h"
#include "base/hash_index.h"
#include "base/ptr32.h"
#include "base/segment.h"
#include "base/siphash.h"

#include <cstddef>
#include <cstdint>

namespace mqttd {

struct alignas(16) RetainedNode {
    HashHook<RetainedNode> hash;  // by (parent's number, level text)
    Ptr32<RetainedNode> parent;   // null: the root
    Ptr32<RetainedNode> first_child;
    Ptr32<RetainedNode> last_child;
    Ptr32<RetainedNode> next;  // siblings
    Ptr32<RetainedNode> prev;
    Ptr32<Segment> message;  // null: no message here
    uint32_t number = 0;
    uint32_t stored_at_s = 0;    // seconds of the broker's clock, for retain_max_age
    uint64_t sequence : 48 = 0;  // of the message: nine years of a million a second
    uint64_t text_size : 16 = 0;
    uint32_t pins = 0;  // cursors that stand here

    // The text begins behind the last field, in what the alignment leaves.
    static constexpr size_t kHead = 52;

    uint8_t* text() { return reinterpret_cast<uint8_t*>(this) + kHead; }

    Bytes level() const { return {reinterpret_cast<const uint8_t*>(this) + kHead, text_size}; }
};

static_assert(sizeof(RetainedNode) == 64);
static_assert(offsetof(RetainedNode, pins) + sizeof(uint32_t) == RetainedNode::kHead);

// A walk over the stored names that match a filter, to be continued at any time.
struct RetainedCursor {
    Segment* filter = nullptr;     // counted copy of the filter's text; null for a sweep
    RetainedNode* node = nullptr;  // pinned; null before the start and after the end
    uint64_t before = 0;           // only messages with a smaller sequence
    uint32_t depth = 0;            // level of `node`
    bool done = false;

    // The store's own.
    static constexpr uint32_t kNoHash = ~uint32_t{0};
    uint32_t at = 0;                // where the filter level for the children of `node` begins
    uint32_t hash_depth = kNoHash;  // depth from which the filter's `#` takes everything
    uint32_t hashed_at = kNoHash;   // the level whose hash is kept: where it begins, its size
    uint32_t hashed_size = 0;
    uint64_t hash = 0;
    bool dollar = false;  // wildcards of the first level see `$` too: a sweep
};

class RetainedStore {
  public:
    RetainedStore(Arena& arena, const HashKey& key);
    ~RetainedStore();  // every cursor must have been stopped
    RetainedStore(const RetainedStore&) = delete;
    RetainedStore& operator=(const RetainedStore&) = delete;

    // How far a valid topic name leads: one walk for looking and storing.  Good until the store
    // changes.
    struct Place {
        Bytes name;
        RetainedNode* node = nullptr;  // the last one there is; null: not even the root
        size_t rest = 0;               // where the levels without a node begin
        uint64_t rest_hash = 0;        // of the first of them

        // The node with the message of the name, or nullptr.
        RetainedNode* found() const {
            return node != nullptr && rest > name.size() && node->message ? node : nullptr;
        }
    };

    Place look(Bytes name) const { return look(seek(name)); }

    // The same in two steps, for who has something else to do meanwhile: where the last level of a
    // name hangs is asked for from memory, and comes while others work. Good until the store
    // changes.
    struct Sought {
        Bytes name;
        RetainedNode* node = nullptr;  // that is there, with
        size_t rest = 0;               // the levels behind it
        uint64_t hash = 0;             // of the first of these
        uint32_t edge = 0;
        bool open = false;  // that is the last one, and has not been looked for
        RetainedNode* above = nullptr;
        size_t last = 0;  // where the level below `above` begins
    };

    Sought seek(Bytes name) const;

    // The bucket has come: asks for what is in it.
    void come_nearer(const Sought& sought) const {
        if (sought.open) edges_.fetch_element(sought.edge, 0);
    }

    Place look(const Sought& sought) const;

    // Stores `message` (takes over one count, also when it fails) at a place, replacing what was
    // there.  Error: kNoMemory: the old message stays.
    Result<bool> set(const Place& place, Segment* message, uint64_t sequence, uint32_t now_s);

    Result<bool> set(Bytes name, Segment* message, uint64_t sequence, uint32_t now_s) {
        return set(look(name), message, sequence, now_s);
    }

    // Removes the message of `name`; false if there was none.  Never fails, never allocates.
    bool clear(Bytes name);
    void clear(RetainedNode& node);

    // The node with the message of `name`, or nullptr.
    RetainedNode* find(Bytes name) const;

    // Begins a walk; kNoMemory if the filter cannot be copied.  Filters whose first level is a
    // wildcard see no topic that begins with `$`.  A walk under way on this cursor is stopped.
    Result<bool> start(RetainedCursor& cursor, Bytes filter, uint64_t before);

    // Begins a walk over all messages, `$` topics too: for the sweep that removes the ones that are
    // too old.  Cannot fail.
    void start_all(RetainedCursor& cursor);

    // The next node with a message, or nullptr: then either cursor.done or `steps` ran out (each
    // node looked at takes one).  The node stays valid until the next call on this cursor.
    RetainedNode* next(RetainedCursor& cursor, uint32_t& steps);

    // Lets go of node and filter; may be called at any time, also twice.
    void stop(RetainedCursor& cursor);

    // For a start, which looks far ahead: as `seek` and `come_nearer`, one element after the other,
    // but good for ever.
    uint32_t fetch(Bytes name) const {
        const Sought sought = seek(name);
        return sought.open ? sought.edge : 0;
    }

    void fetch_more(uint32_t edge, uint32_t passed) const { edges_.fetch_element(edge, passed); }

    uint64_t messages() const { return messages_; }

    uint64_t nodes() const { return edges_.size(); }

    // The topic name of a node, put together from its levels: its size, and the bytes themselves
    // into `out`, which has room for them.
    static uint32_t name_size(const RetainedNode& node);
    static void write_name(const RetainedNode& node, uint8_t* out);

  private:
    RetainedNode* find_child(const RetainedNode& parent, Bytes level, uint64_t level_hash) const;
    RetainedNode* make_node(RetainedNode* parent, Bytes level);
    RetainedNode* add_child(RetainedNode& parent, Bytes level, uint64_t level_hash);
    void prune(RetainedNode* node);
    void unlink(RetainedNode& node);

    RetainedNode* advance(RetainedCursor& cursor, RetainedNode& from) const;
    RetainedNode* descend(RetainedCursor& cursor, RetainedNode& from) const;
    static bool matches(const RetainedCursor& cursor, const RetainedNode& node);

    // The parent of the name looked for last, and that name up to there.
    struct Trail {
        RetainedNode* node = nullptr;  // null: none
        uint32_t size = 0;             // with the slash behind it
        uint8_t text[64];
    };

    void remember(const Place& place, RetainedNode* above, size_t last) const;

    Arena& arena_;
    HashKey key_;
    mutable Trail trail_;
    HashIndex<RetainedNode, &RetainedNode::hash, 2> edges_;
    RetainedNode* root_ = nullptr;
    uint32_t next_number_ = 1;
    uint64_t messages_ = 0;
};

}  // namespace mqttd
