// One publication to all its receivers, at once or as a job.
//
// The loop over a set's slots is the hottest of the broker. For a receiver that may be given the
// very bytes that came (its slot says *plain*, its session says *direct*) it appends a range and
// nothing else. More receivers than a slice become a job, whose publisher is stopped meanwhile.
//
// Everybody else goes through hand_one, which looks at the options of the subscription: No Local,
// Retain As Published, the identifier.

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/append_run.h"
#include "broker/core.h"
#include "mqtt/properties.h"

#include <algorithm>
#include <new>

namespace mqttd {

void Core::fan_out(Publication& publication,
                   Link* publisher,
                   std::span<FilterNode*> filters,
                   MatchCursor* rest) {
    if (publication.qos == 0 && !publication.system) ++stats_.fanouts_qos0;
    uint64_t receivers = 0;
    for (const FilterNode* filter : filters)
        receivers += filter->count +
                     uint64_t{publication.count} * count_groups(*filter, options_.fanout_slice);
    const bool several = filters.size() > 1 || rest != nullptr;
    const bool merge = several && !options_.allow_duplicate_messages;
    if (rest != nullptr) {
        if (start_fanout_job(publication, publisher, filters, rest, merge)) return;
        subscriptions_.end_match(rest);
        if (publication.qos > 0) {
            publication.refused = true;
        } else {
            drop(nullptr, Drop::kMemory, publication.count);
        }
        return;
    }
    // Large payloads are written in mid-turn: their bytes count, too.
    const uint64_t each =
        uint64_t{1} +
        std::max(publication.wire.size(), publication.payload.size()) / limits::kWriteBytes;
    const bool behind =
        !fanouts_.empty() && publication.from != nullptr && publication.from->behind_job;
    if (behind || (receivers * each > options_.fanout_slice && receivers > 1)) {
        if (start_fanout_job(publication, publisher, filters, nullptr, merge)) return;
        // Too many to be served at once, or too early, and no memory to do it later.
        if (publication.qos > 0 && publisher != nullptr) {
            publication.refused = true;
        } else {
            drop(nullptr, Drop::kMemory, receivers * publication.count);
        }
        return;
    }
    if (merge) {
        hand_merged(publication, filters);
    } else {
        for (FilterNode* filter : filters)
            hand_to_set(publication, *filter);
    }
    for (FilterNode* filter : filters) {
        if (!filter->groups) continue;
        GroupCursor cursor;
        while (hand_to_groups(publication, *filter, cursor)) {
        }
    }
}

void Core::hand_to_set(Publication& publication, FilterNode& filter) {
    SetCursor cursor;
    publication.filter = &filter;
    const uint32_t handed =
        SubscriptionIndex::visit(filter, cursor, filter.count, [&](const SubscriberSlot& slot) {
            hand_to_slot(publication, filter, slot);
        });
    spend(handed);
}

// The bytes as they came, if that is all there is to do.
bool Core::append_wire(Publication& publication, Session& session, uint8_t options) {
    if (session.direct != publication.wire_fits || (options & suboption::kPlain) == 0) return false;
    Outbox& outbox = *session.outbox;
    if (outbox.blocked() || !outbox.append(arena_, publication.wire)) return false;
    stats_.fast_deliveries += publication.count;
    count_sent(publication);
    publication.taken = true;
    dirty_.add_delivery(outbox);
    if (outbox.wants_flush(options_.outbox_bytes_max)) flush(outbox);
    return true;
}

void Core::hand_to_slot(Publication& publication, FilterNode& filter, const SubscriberSlot& slot) {
    auto& session = static_cast<Session&>(*slot.subscriber);
    if (!append_wire(publication, session, slot.options)) hand_one(publication, filter, slot);
}

// At what QoS a subscription gets it.
uint8_t Core::granted_qos(const Publication& publication, uint8_t options) const {
    const uint8_t wanted = options & suboption::kQosMask;
    if (MQTTD_MUTANT(35) && publication.qos > 0) return publication.qos;  // above what was granted
    return publication.upgrade ? wanted : std::min(publication.qos, wanted);
}

// Whether a subscription sees that it was published with RETAIN.   [MQTT-3.3.1-9], [MQTT5-3.3.1-12]
bool Core::shown_retain(const Publication& publication, uint8_t options) {
    const bool always = MQTTD_MUTANT(16);  // Retain As Published for everybody
    const bool as_published = (options & suboption::kRetainAsPublished) != 0;
    return publication.retain && (as_published || always);
}

// Whether this subscription does not want it, because its own client published it.
//   [MQTT5-3.8.3-3]
bool Core::is_local(const Publication& publication, const Session& session, uint8_t options) {
    if (MQTTD_MUTANT(15)) return false;  // No Local ignored
    return (options & suboption::kNoLocal) != 0 && session.number == publication.from_number;
}

// The same, and counted: once for each subscription of a session that lives.
bool Core::not_local(const Publication& publication, const Session& session, uint8_t options) {
    if (!is_local(publication, session, options)) return false;
    const bool counts = !session.dead || MQTTD_MUTANT(53);  // drops of the dead are counted
    if (counts) drop(nullptr, Drop::kNoLocal, publication.count);
    return true;
}

void Core::hand_one(Publication& publication, FilterNode& filter, const SubscriberSlot& slot) {
    auto& session = static_cast<Session&>(*slot.subscriber);
    const uint8_t options = slot.options;
    if (publication.message != nullptr && send_copy(publication, session, options)) return;
    if (hidden(session, filter.filter(), publication.topic)) return;
    if (not_local(publication, session, options)) return;
    uint32_t identifier = 0;
    if ((options & suboption::kIdentifier) != 0) {
        const Subscription* subscription = subscriptions_.find(session, filter.filter());
        if (subscription != nullptr) identifier = subscription->identifier;
    }
    hand_with(publication, session, options, identifier, 0);
}

void Core::hand_with(Publication& publication,
                     Session& session,
                     uint8_t options,
                     uint32_t identifier,
                     uint16_t shared) {
    Delivery delivery;
    delivery.qos = granted_qos(publication, options);
    delivery.retain = shown_retain(publication, options);
    delivery.ids = add_id({}, identifier);
    delivery.shared = shared;
    deliver(session, publication, delivery);
}

// `ids`, which lie at the start of ids_, and one more.
Bytes Core::add_id(Bytes ids, uint32_t identifier) {
    constexpr uint32_t kIdMax = 5;
    if (identifier == 0 || ids.size() + kIdMax > sizeof ids_) return ids;
    const uint32_t size =
        encode_property(ids_ + ids.size(), Property::kSubscriptionIdentifier, identifier);
    return {ids_, ids.size() + size};
}

// One copy for each client, at the highest QoS of its matching subscriptions: marked in a first
// pass, delivered and unmarked in a second.
void Core::hand_merged(Publication& publication, std::span<FilterNode*> filters) {
    for (FilterNode* filter : filters) {
        SetCursor cursor;
        SubscriptionIndex::visit(*filter, cursor, filter->count, [&](const SubscriberSlot& slot) {
            auto& session = static_cast<Session&>(*slot.subscriber);
            if (hidden(session, filter->filter(), publication.topic)) return;
            if (not_local(publication, session, slot.options)) return;
            const bool first = session.merged == Session::kNotMerged;
            session.merged = first ? slot.options : merge(session.merged, slot.options);
        });
    }
    for (FilterNode* filter : filters) {
        SetCursor cursor;
        publication.filter = filter;
        const uint32_t handed = SubscriptionIndex::visit(
            *filter, cursor, filter->count, [&](const SubscriberSlot& slot) {
                auto& session = static_cast<Session&>(*slot.subscriber);
                if (session.merged == Session::kNotMerged) return;
                const uint8_t options = session.merged;
                session.merged = Session::kNotMerged;
                deliver_merged(publication, session, options, filters, ~uint64_t{0});
            });
        spend(2 * handed);
    }
}

// The options of two subscriptions that share one copy: the higher QoS, and all that either wants.
uint8_t Core::merge(uint8_t a, uint8_t b) {
    const auto qos = std::max<uint8_t>(a & suboption::kQosMask, b & suboption::kQosMask);
    return static_cast<uint8_t>(((a | b) & ~suboption::kQosMask) | qos);
}

// With the identifiers of all its matching subscriptions.   [MQTT5-3.3.4-4]
void Core::deliver_merged(Publication& publication,
                          Session& session,
                          uint8_t options,
                          std::span<FilterNode* const> filters,
                          uint64_t joins) {
    Delivery delivery;
    delivery.qos = granted_qos(publication, options);
    delivery.retain = publication.retain && (options & suboption::kRetainAsPublished) != 0;
    if ((options & suboption::kIdentifier) != 0) {
        for (const FilterNode* filter : filters) {
            const Subscription* subscription = subscriptions_.find(session, filter->filter());
            if (subscription == nullptr || subscription->joined >= joins) continue;
            if (is_local(publication, session, subscription->options)) continue;
            if (hidden(session, filter->filter(), publication.topic)) continue;
            const Bytes more = add_id(delivery.ids, subscription->identifier);
            if (more.size() == delivery.ids.size() && subscription->identifier != 0) {
                deliver(session, publication, delivery);  // no room: the others go with a copy more
                delivery.ids = add_id({}, subscription->identifier);
            } else {
                delivery.ids = more;
            }
        }
        spend(static_cast<uint32_t>(filters.size()));
    }
    deliver(session, publication, delivery);
}

}  // namespace mqttd
