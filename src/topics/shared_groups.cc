#include "topics/shared_groups.h"

#include "topics/subscription_index.h"

#include <string_view>

namespace mqttd {

namespace {

constexpr std::string_view kShare = "$share/";
constexpr std::string_view kQueue = "$queue/";
constexpr std::string_view kShortQueue = "$Q/";
constexpr uint32_t kFirstLeaves = 4;  // room of the first table

// How many bytes of `$queue/` or `$Q/` the filter begins with.
size_t queue_prefix(std::string_view filter) {
    if (filter.starts_with(kQueue)) return kQueue.size();
    return filter.starts_with(kShortQueue) ? kShortQueue.size() : 0;
}

}  // namespace

bool is_shared(Bytes filter) {
    if (filter.empty() || filter[0] != '$') return false;
    const std::string_view text = as_text(filter);
    return text.starts_with(kShare) || queue_prefix(text) > 0;
}

Result<SharedFilter> parse_shared(Bytes filter) {
    MQTTD_ASSERT(is_shared(filter));
    SharedFilter shared;
    size_t behind = queue_prefix(as_text(filter));
    if (behind > 0) {
        shared.group = filter.first(behind - 1);
    } else {
        const Bytes rest = filter.subspan(kShare.size());
        const size_t slash = as_text(rest).find('/');
        if (slash == std::string_view::npos || slash == 0) return Error::kTopicFilterInvalid;
        shared.group = rest.first(slash);
        if (has_wildcard(shared.group)) return Error::kTopicFilterInvalid;
        behind = kShare.size() + slash + 1;
    }
    shared.filter = filter.subspan(behind);
    if (!topic_filter_valid(shared.filter) || is_shared(shared.filter)) {
        return Error::kTopicFilterInvalid;
    }
    return shared;
}

uint32_t jump_hash(uint64_t key, uint32_t buckets) {
    int64_t bucket = 0;
    for (int64_t next = 0; next < int64_t{buckets};) {
        bucket = next;
        key = key * 2862933555777941757u + 1;
        const auto draw = static_cast<double>((key >> 33) + 1);
        next = static_cast<int64_t>(static_cast<double>(bucket + 1) * (2147483648.0 / draw));
    }
    return static_cast<uint32_t>(bucket);
}

// --- the members ---------------------------------------------------------------------------------

uint32_t SharedGroup::join(Arena& arena, Subscription& member) {
    if (count >= kFew && (count - kFew) % SharedLeaf::kMembers == 0) {
        const uint32_t leaf = (count - kFew) / SharedLeaf::kMembers;
        if (leaf == leaves_room && !widen(arena)) return kNobody;
        auto* fresh = arena.make<SharedLeaf>(Arena::Use::kNormal);
        if (fresh == nullptr) return kNobody;
        leaves.get()[leaf] = fresh;
    }
    at(count) = &member;
    return count++;
}

// Doubles the table of leaves.
bool SharedGroup::widen(Arena& arena) {
    const uint32_t room = leaves_room == 0 ? kFirstLeaves : 2 * leaves_room;
    auto* larger =
        static_cast<Ptr32<SharedLeaf>*>(arena.allocate(size_t{room} * sizeof(Ptr32<SharedLeaf>)));
    if (larger == nullptr) return false;
    for (uint32_t i = 0; i < room; ++i) {
        new (&larger[i]) Ptr32<SharedLeaf>();
        if (i < leaves_room) larger[i] = leaves.get()[i];
    }
    if (leaves) arena.release(leaves.get());
    leaves = larger;
    leaves_room = room;
    return true;
}

Subscription* SharedGroup::leave(Arena& arena, uint32_t i) {
    MQTTD_ASSERT(i < count);
    const uint32_t last = --count;
    Subscription* moved = nullptr;
    if (sticky == i) sticky = kNobody;
    if (i != last) {
        moved = at(last).get();
        at(i) = moved;
        if (sticky == last) sticky = i;
    }
    at(last) = nullptr;
    if (last >= kFew && (last - kFew) % SharedLeaf::kMembers == 0) {
        Ptr32<SharedLeaf>& leaf = leaves.get()[(last - kFew) / SharedLeaf::kMembers];
        arena.destroy(leaf.get());
        leaf = nullptr;
    }
    return moved;
}

void SharedGroup::clear(Arena& arena) {
    for (uint32_t i = 0; i < leaves_room; ++i)
        if (leaves.get()[i]) arena.destroy(leaves.get()[i].get());
    if (leaves) arena.release(leaves.get());
    leaves = nullptr;
    leaves_room = count = 0;
}

// --- the groups of the index ---------------------------------------------------------------------

// The node of a group under its whole text, hung at the node of its filter.
FilterNode* SubscriptionIndex::make_group(Bytes text, uint32_t hash, Bytes filter) {
    auto* group = arena_.make<SharedGroup>(Arena::Use::kNormal);
    if (group != nullptr) {
        if (++next_group_number_ == 0) ++next_group_number_;
        group->number = next_group_number_;
        if (!groups_.insert(*group, group->number)) {
            arena_.destroy(group);
            group = nullptr;
        }
    }
    FilterNode* node = group != nullptr ? new_filter(text) : nullptr;
    if (node != nullptr && !filters_.insert(*node, hash)) {
        arena_.destroy(node);
        node = nullptr;
    }
    const uint32_t filter_hash = text_hash(filter);
    FilterNode* target = node != nullptr ? find_filter(filter, filter_hash) : nullptr;
    if (node != nullptr && target == nullptr) {
        target = make_filter(filter, filter_hash);
        if (target == nullptr) {
            filters_.remove(*node);
            arena_.destroy(node);
        }
    }
    if (target == nullptr) {
        if (group != nullptr) {
            groups_.remove(*group);
            arena_.destroy(group);
        }
        return nullptr;
    }
    node->shared = 1;
    node->groups = group;
    group->node = node;
    group->filter = target;
    group->next = target->groups;
    if (group->next) group->next->prev = group;
    target->groups = group;
    ++shared_groups_;
    return node;
}

// The end of a group that is out of the hash, and of its filter if nobody else wants that.
void SubscriptionIndex::free_group(FilterNode& node) {
    SharedGroup& group = *node.groups;
    FilterNode& target = *group.filter;
    if (group.next) group.next->prev = group.prev;
    if (group.prev) {
        group.prev->next = group.next;
    } else {
        target.groups = group.next;
    }
    --shared_groups_;
    free_filter(node);
    drop_if_unwanted(target);
}

SharedGroup* SubscriptionIndex::group_of(uint16_t number, Bytes name) const {
    return groups_.find(
        number, [&](const SharedGroup& it) { return topic_matches(it.filter->filter(), name); });
}

SharedGroup* SubscriptionIndex::next_group(FilterNode& filter, GroupCursor& cursor) {
    SharedGroup* group = nullptr;
    if (!cursor.started) {
        cursor.started = true;
        group = filter.groups.get();
    } else if (cursor.group != nullptr) {
        group = cursor.group->next.get();
    }
    // Those that have ended wait for others' pins.
    while (group != nullptr && group->count == 0)
        group = group->next.get();
    if (group != nullptr) pin(*group->node);
    if (cursor.group != nullptr) unpin(*cursor.group->node);
    cursor.group = group;
    return group;
}

void SubscriptionIndex::end_groups(GroupCursor& cursor) {
    if (cursor.group != nullptr) unpin(*cursor.group->node);
    cursor = {nullptr, true};
}

}  // namespace mqttd
