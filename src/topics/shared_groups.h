#pragma once

// Shared subscriptions: of the members of a group, one gets each message.   MQTT 5.0 §4.8.2
//
// `$share/<group>/<filter>`; `$queue/<filter>` and `$Q/<filter>` are groups of their own, whose
// names no `$share/` can spell. A group hangs where a subscriber would, at the node of <filter>,
// and has a node of its own, in the same hash, under the whole text: UNSUBSCRIBE finds a member by
// what its SUBSCRIBE said, and a member is a Subscription like any other.
//
//     FilterNode "f" ─▶ SharedGroup ⇄ SharedGroup …       each ⇄ FilterNode "$share/g/f"
//                        └ members 0 … count-1: the first four here, then leaves of 64
//
// Members are numbered without gaps, so that any can be picked by number: who joins gets the next
// number, and when one leaves the last one takes its place. Both are O(1), but that the table of
// leaves (4 bytes for 64 members) is copied when it doubles.
//
// choose() asks kProbes members: `judge` says of each whether it can take a message now,
// later (an absent session would queue it) or not at all.
//   - round robin  the members by turns;
//   - sticky       one as long as it can, then the next by turns;
//   - hash         by the caller's hint (publisher, topic), with a jump hash: one who joins or
//   leaves
//                  moves about one hint in `count`; who cannot is stood in for by the next ones;
//   - least queued the less loaded of two picked at random, then the next ones.
// The first who can take it now is chosen, else the first who could later (least queued: the one
// with the least load). What was tried in vain is passed over next time. Where none of them can
// ever, the next kMore are asked, until one can: a group may be full of those who went and stay
// away.
//
// A group has a small number, by which who was given a message can tell later through which group
// it came, without holding on to it. Numbers come round after 65535 groups; hence a look-up by
// number asks for the topic, too.
//
// A group whose last member has left is not found any more. If it is pinned it stays in its list,
// empty, until the unpin: a walk along the groups of a filter can stop at any of them.

#include "mqttd/bytes.h"
#include "mqttd/result.h"
#include "mqttd/topic.h"

#include "base/arena.h"
#include "base/hash_index.h"
#include "base/ptr32.h"
#include "topics/level_hash.h"

#include <algorithm>
#include <cstdint>

namespace mqttd {

struct FilterNode;
struct Subscription;

// A shared subscription's filter taken apart.
struct SharedFilter {
    Bytes group;   // `$queue`, `$Q` for those
    Bytes filter;  // what topics are matched against
};

// Whether `filter` begins like a shared one: it is shared or nothing.
bool is_shared(Bytes filter);

// Of a filter that is_shared.  Error: kTopicFilterInvalid: the group is empty or holds a wildcard,
// or there is no valid filter behind it that is not itself shared.
Result<SharedFilter> parse_shared(Bytes filter);

// What a member can do with a message.
enum class Usable : uint8_t { kNo, kLater, kNow };

struct Judgement {
    Usable usable = Usable::kNo;
    uint32_t load = 0;  // messages that wait for it, for kLeastQueued
};

struct Choice {
    Subscription* member = nullptr;  // null: nobody
    Usable usable = Usable::kNo;     // kNow or kLater
};

struct SharedLeaf {
    static constexpr uint32_t kMembers = 64;
    Ptr32<Subscription> members[kMembers];
};

struct alignas(16) SharedGroup {
    static constexpr uint32_t kFew = 4;
    static constexpr uint32_t kProbes = 8;
    static constexpr uint32_t kMore = 504;
    static constexpr uint32_t kNobody = ~0u;

    HashHook<SharedGroup> hash;  // by number
    Ptr32<FilterNode> node;      // under the whole text
    Ptr32<FilterNode> filter;    // where it hangs
    Ptr32<SharedGroup> next;     // of the filter's groups, the youngest first
    Ptr32<SharedGroup> prev;
    Ptr32<Subscription> few[kFew];
    Ptr32<Ptr32<SharedLeaf>> leaves;
    uint32_t leaves_room = 0;
    uint32_t count = 0;         // members
    uint32_t turn = 0;          // the next number to ask; for kLeastQueued a counter
    uint32_t sticky = kNobody;  // the number of who was chosen last
    uint16_t number = 0;        // 1 … 65535, while there are no more groups unique

    Ptr32<Subscription>& at(uint32_t i) {
        if (i < kFew) return few[i];
        i -= kFew;
        return leaves.get()[i / SharedLeaf::kMembers]->members[i % SharedLeaf::kMembers];
    }

    // The new member's number, or kNobody if the arena refused a place for it.
    uint32_t join(Arena& arena, Subscription& member);

    // Takes out the member with number `i`; returns the one that has this number now, or nullptr.
    Subscription* leave(Arena& arena, uint32_t i);

    // Gives back everything but itself; nobody is a member any more.
    void clear(Arena& arena);

    // Judge: Judgement(Subscription&).  O(1): mostly kProbes calls, at most kMore besides.
    template <class Judge>
    Choice choose(SharedStrategy strategy, uint32_t hint, Judge&& judge);

  private:
    bool widen(Arena& arena);

    // Collects the answers of those asked.
    struct Best {
        Choice choice;
        uint32_t index = 0;
        uint32_t load = ~0u;
    };

    template <class Judge>
    bool ask(uint32_t i, Judge& judge, bool by_load, Best& best);

    template <class Judge>
    void ask_ring(uint32_t first, uint32_t probes, uint32_t skip, Judge& judge, Best& best);

    template <class Judge>
    void ask_two(Judge& judge, Best& best);

    template <class Judge>
    void ask_more(uint32_t first, Judge& judge, Best& best);
};

static_assert(sizeof(SharedGroup) == 64);

// A place in the list of a filter's groups, see SubscriptionIndex::next_group.
struct GroupCursor {
    SharedGroup* group = nullptr;  // pinned: where it stands
    bool started = false;

    bool done() const { return started && group == nullptr; }
};

// Which of `buckets` a key belongs to, such that one bucket more takes its share evenly from all
// others and moves nothing else (Lamping and Veach, 2014).  O(log buckets).
uint32_t jump_hash(uint64_t key, uint32_t buckets);

// True if it was the one.
template <class Judge>
bool SharedGroup::ask(uint32_t i, Judge& judge, bool by_load, Best& best) {
    Subscription* member = at(i).get();
    const Judgement judged = judge(*member);
    if (judged.usable == Usable::kNo) return false;
    const bool better = judged.usable > best.choice.usable ||
                        (by_load && judged.usable == best.choice.usable && judged.load < best.load);
    if (better)
        best = {
            {member, judged.usable},
            i, judged.load
        };
    return judged.usable == Usable::kNow;
}

// Asks `probes` members from number `first` on, but number `skip`, until one can take it now.
template <class Judge>
void SharedGroup::ask_ring(
    uint32_t first, uint32_t probes, uint32_t skip, Judge& judge, Best& best) {
    const uint32_t seen = std::min(count, kProbes + 1);
    uint32_t i = first;
    for (uint32_t n = 0; n < seen && probes > 0; ++n, i = i + 1 == count ? 0 : i + 1) {
        if (i == skip) continue;
        if (ask(i, judge, false, best)) return;
        --probes;
    }
}

template <class Judge>
void SharedGroup::ask_two(Judge& judge, Best& best) {
    const uint64_t random = mix_hash(uint64_t{++turn} * 0x9e3779b97f4a7c15u);
    const auto one = static_cast<uint32_t>(random * count >> 32);
    if (count == 1) {
        ask(one, judge, true, best);
        return;
    }
    const uint64_t again = mix_hash(random << 32 | turn);
    const uint32_t other = (one + 1 + static_cast<uint32_t>(again * (count - 1) >> 32)) % count;
    const bool first = ask(one, judge, true, best);
    const bool second = ask(other, judge, true, best);
    if (first || second || count == 2) return;
    // From the one behind `one`, all others of a small group.
    uint32_t probes = kProbes - 2;
    uint32_t i = one;
    for (uint32_t n = 2; n < count && probes > 0; --probes, ++n) {
        i = (i + 1) % count;
        if (i == other) i = (i + 1) % count;
        if (ask(i, judge, true, best)) return;
    }
}

// From number `first` on, those of whom some may have been asked already, until one can at all.
template <class Judge>
void SharedGroup::ask_more(uint32_t first, Judge& judge, Best& best) {
    const uint32_t most = std::min(count, kMore);
    for (uint32_t n = 0, i = first % count; n < most; ++n, i = i + 1 == count ? 0 : i + 1) {
        ask(i, judge, false, best);
        if (best.choice.member != nullptr) return;
    }
}

template <class Judge>
Choice SharedGroup::choose(SharedStrategy strategy, uint32_t hint, Judge&& judge) {
    Best best;
    if (count == 0) return best.choice;
    uint32_t others = turn;  // where those stand that were not asked
    switch (strategy) {
        case SharedStrategy::kLeastQueued:
            ask_two(judge, best);
            break;
        case SharedStrategy::kHash:
            others = jump_hash(mix_hash(hint), count);
            ask_ring(others, kProbes, kNobody, judge, best);
            others += kProbes;
            break;
        case SharedStrategy::kRoundRobin: {
            turn %= count;
            ask_ring(turn, kProbes, kNobody, judge, best);
            const bool chosen = best.choice.member != nullptr;
            turn = (chosen ? best.index + 1 : turn + kProbes) % count;
            others = turn;
            break;
        }
        case SharedStrategy::kSticky: {
            uint32_t probes = kProbes;
            if (sticky != kNobody && ask(sticky, judge, false, best)) break;
            if (sticky != kNobody) --probes;
            turn %= count;
            ask_ring(turn, probes, sticky, judge, best);
            const bool now = best.choice.usable == Usable::kNow;
            turn = (now ? best.index + 1 : turn + probes) % count;
            if (now) sticky = best.index;
            others = turn;
            break;
        }
    }
    if (best.choice.member == nullptr && count > kProbes) {
        ask_more(others, judge, best);
        const bool by_turns =
            strategy == SharedStrategy::kRoundRobin || strategy == SharedStrategy::kSticky;
        if (by_turns && best.choice.member != nullptr) turn = (best.index + 1) % count;
        const bool stays =
            strategy == SharedStrategy::kSticky && best.choice.usable == Usable::kNow;
        if (stays) sticky = best.index;
    }
    return best.choice;
}

}  // namespace mqttd
