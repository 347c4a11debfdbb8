// One publication to all its receivers, at once or as a job.
//
// The loop over a set's slots is the hottest of the broker. For a receiver that may be given the
// very bytes that came (its slot says *plain*, its session says *direct*) it appends a range and
// nothing else. More receivers than a slice become a job, whose publisher is stopped meanwhile.
//
// So does a match that was cut, however many it found: the job serves what was found and goes on
// with the match, by turns, in the room it was made with. Who was there when it began gets the
// message: later subscriptions in a part of the trie that had not been walked yet are told by their
// `joined`.
//
// Everybody else goes through hand_one, which looks at the options of the subscription: No Local,
// Retain As Published, the identifier.

#include "base/assert.h"
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
    if (receivers * each > options_.fanout_slice && receivers > 1) {
        if (start_fanout_job(publication, publisher, filters, nullptr, merge)) return;
        // Too many to be served at once, no memory to do it later.
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
inline bool Core::append_wire(Publication& publication, Session& session, uint8_t options) {
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

inline void Core::hand_to_slot(Publication& publication,
                               FilterNode& filter,
                               const SubscriberSlot& slot) {
    auto& session = static_cast<Session&>(*slot.subscriber);
    if (!append_wire(publication, session, slot.options)) hand_one(publication, filter, slot);
}

// At what QoS a subscription gets it.
uint8_t Core::granted_qos(const Publication& publication, uint8_t options) const {
    const uint8_t wanted = options & suboption::kQosMask;
    return options_.upgrade_outgoing_qos ? wanted : std::min(publication.qos, wanted);
}

// Whether this subscription does not want it, because its own client published it.
//   [MQTT-3.8.3-3]
bool Core::is_local(const Publication& publication, const Session& session, uint8_t options) {
    return (options & suboption::kNoLocal) != 0 && session.number == publication.from_number;
}

// The same, and counted: once for each subscription.
bool Core::not_local(const Publication& publication, const Session& session, uint8_t options) {
    if (!is_local(publication, session, options)) return false;
    drop(nullptr, Drop::kNoLocal, publication.count);
    return true;
}

void Core::hand_one(Publication& publication, FilterNode& filter, const SubscriberSlot& slot) {
    auto& session = static_cast<Session&>(*slot.subscriber);
    const uint8_t options = slot.options;
    if (not_local(publication, session, options)) return;
    uint32_t identifier = 0;
    if ((options & suboption::kIdentifier) != 0) {
        const Subscription* subscription = subscriptions_.find(session, filter.filter());
        if (subscription != nullptr) identifier = subscription->identifier;
    }
    hand_with(publication, session, options, identifier, false);
}

void Core::hand_with(
    Publication& publication, Session& session, uint8_t options, uint32_t identifier, bool shared) {
    Delivery delivery;
    delivery.qos = granted_qos(publication, options);
    delivery.retain = publication.retain && (options & suboption::kRetainAsPublished) != 0;
    delivery.ids = add_id({}, identifier);
    delivery.shared = shared;
    deliver(session, publication, delivery);
}

// `ids`, which lie at the start of ids_, and one more.
Bytes Core::add_id(Bytes ids, uint32_t identifier) {
    constexpr uint32_t kIdMax = 5;
    static_assert(limits::kIdsBytes >= limits::kMatchedFilters * kIdMax);  // of one copy
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

// With the identifiers of all its matching subscriptions.   [MQTT-3.3.4-4]
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
            delivery.ids = add_id(delivery.ids, subscription->identifier);
        }
        spend(static_cast<uint32_t>(filters.size()));
    }
    deliver(session, publication, delivery);
}

// Takes over `rest`.  False if the arena refused.
bool Core::start_fanout_job(Publication& publication,
                            Link* publisher,
                            std::span<FilterNode*> filters,
                            MatchCursor* rest,
                            bool merge) {
    const size_t count = rest != nullptr ? limits::kMatchedFilters : filters.size();
    auto* list = static_cast<FilterNode**>(
        arena_.allocate(count * (sizeof(FilterNode*) + sizeof(SetCursor))));
    if (list == nullptr) return false;
    Segment* wire = nullptr;
    if (publication.wire_fits != Direct::kNobody && !options_.queue_qos0_messages) {
        wire = copy_to_segment(arena_, bytes_of(publication.wire));
    }
    FanoutJob* job = nullptr;
    if (wire != nullptr || (publication.count == 1 && ensure_message(publication))) {
        job = arena_.make<FanoutJob>(Arena::Use::kNormal);
    }
    if (job == nullptr) {
        if (wire != nullptr) wire->drop(arena_);
        arena_.release(list);
        return false;
    }
    std::copy(filters.begin(), filters.end(), list);
    job->filters = list;
    job->cursors = reinterpret_cast<SetCursor*>(list + count);
    job->room = static_cast<uint32_t>(count);
    job->rest = rest;
    job->joins = subscriptions_.joins();
    if (merge && ++fanout_mark_ == 0) ++fanout_mark_;
    job->mark = fanout_mark_;
    for (size_t i = 0; i < filters.size(); ++i) {
        subscriptions_.pin(*list[i]);
        SubscriptionIndex::begin(*list[i], *new (&job->cursors[i]) SetCursor);
    }
    job->filter_count = static_cast<uint32_t>(filters.size());
    job->merge = merge;
    job->wire = wire;
    if (wire == nullptr) {
        messages_.hold(*publication.message);
        job->message = publication.message;
    }
    job->count = publication.count;
    job->payload_bytes = publication.payload_bytes;
    job->qos = publication.qos;
    job->retain = publication.retain;
    job->wire_fits = wire != nullptr ? publication.wire_fits : Direct::kNobody;
    job->wire_largest = publication.wire_largest;
    job->from_number = publication.from_number;
    job->system = publication.system;
    job->publisher = publisher;
    if (publisher != nullptr) publisher->fanout = job;
    fanouts_.push_back(*job);
    publication.taken = true;
    ++stats_.fanout_jobs;
    ++stats_.fanout_jobs_now;
    return true;
}

// A slice of the job; ends it when all are served.
void Core::run_fanout_job(FanoutJob& job) {
    Publication publication =
        job.wire != nullptr ? publication_of(job) : publication_of(*job.message, nullptr);
    publication.retain = job.retain;
    publication.system = job.system;
    publication.from_number = job.from_number;
    publication.begun = true;  // it was acknowledged
    // Few receivers at a time when each is dear, so that the budget is looked at in time.
    const uint64_t bytes = publication.wire.size() + publication.payload.size();
    const auto each = static_cast<uint32_t>(1 + bytes / limits::kWriteBytes);
    int64_t slice = std::min<int64_t>(options_.fanout_slice, std::max<int64_t>(units_, 1));
    while (slice > 0 && units_ > 0) {
        if (job.filter == job.filter_count) {
            if (job.rest == nullptr) break;
            slice -= match_more(job, std::min(slice, units_ / limits::kMatchFarUnits));
            continue;
        }
        const uint32_t dear = job.merge ? std::max(each, job.filter_count) : each;
        const auto limit = static_cast<uint32_t>(
            std::min<int64_t>(slice, std::max(limits::kFanoutStep / dear, 1u)));
        FilterNode& filter = *job.filters[job.filter];
        publication.filter = &filter;
        const uint32_t handed = SubscriptionIndex::visit(
            filter, job.cursors[job.filter], limit, [&](const SubscriberSlot& slot) {
                if (job.merge) {
                    hand_first_of(publication, slot, job);
                } else if (!job.late || was_there(slot, filter, job)) {
                    hand_to_slot(publication, filter, slot);
                }
            });
        slice -= std::max<uint32_t>(handed, 1);
        spend(std::max<uint32_t>(handed, 1));
        if (!job.cursors[job.filter].done) continue;
        if (!filter.groups || !hand_to_groups(publication, filter, job.groups)) {
            job.groups = {};
            ++job.filter;
        }
    }
    if (publication.message != nullptr) messages_.drop(*publication.message);
    if (job.filter == job.filter_count && job.rest == nullptr) end_fanout_job(job);
}

// The publication of a job that hands out a copy of the packets themselves.
Publication Core::publication_of(FanoutJob& job) {
    Publication publication;
    publication.wire = {job.wire, 0, job.wire->used};
    publication.wire_fits = job.wire_fits;
    publication.wire_largest = job.wire_largest;
    publication.qos = job.qos;
    publication.count = job.count;
    publication.payload_bytes = job.payload_bytes;
    const Bytes bytes = bytes_of(publication.wire);
    const Version version = job.wire_fits == Direct::k5 ? Version::k50 : Version::k311;
    const Result<Frame> frame = find_frame(bytes);
    MQTTD_ASSERT(frame.ok());
    const Result<PublishView> first =
        decode_publish(bytes.subspan(frame->header, frame->size - frame->header), 0, version);
    MQTTD_ASSERT(first.ok());  // it was when it came
    publication.topic = first->topic_name;
    publication.properties = first->properties;
    publication.payload = range_in(job.wire, first->payload);
    return publication;
}

// The next filters of a match that was cut; returns the steps taken.
uint32_t Core::match_more(FanoutJob& job, int64_t steps) {
    for (uint32_t i = 0; i < job.filter_count; ++i)
        subscriptions_.unpin(*job.filters[i]);
    const auto most = static_cast<uint32_t>(std::min<int64_t>(steps, limits::kMatchSteps));
    job.filter_count = subscriptions_.match_on(*job.rest, {job.filters, job.room}, most);
    job.filter = 0;
    job.late = true;
    for (uint32_t i = 0; i < job.filter_count; ++i) {
        subscriptions_.pin(*job.filters[i]);
        SubscriptionIndex::begin(*job.filters[i], *new (&job.cursors[i]) SetCursor);
    }
    spend_match();
    if (job.rest->done()) {
        subscriptions_.end_match(job.rest);
        job.rest = nullptr;
    }
    return std::max(subscriptions_.last_steps(), 1u);
}

// Whether the subscription behind a slot was made before the job.
bool Core::was_there(const SubscriberSlot& slot, FilterNode& filter, const FanoutJob& job) const {
    const Subscription* found = subscriptions_.find(*slot.subscriber, filter.filter());
    return found != nullptr && found->filter.get() == &filter && found->joined < job.joins;
}

// Merging across turns: a receiver is served from the first of the matching filters it has, with
// the options of those the job knows by then (all of them, unless the match was cut), and marked.
// Jobs run one after the other, so that one mark is enough.
void Core::hand_first_of(Publication& publication, const SubscriberSlot& slot, FanoutJob& job) {
    auto& session = static_cast<Session&>(*slot.subscriber);
    if (not_local(publication, session, slot.options)) return;
    if (session.epoch == job.mark) return;
    uint8_t options = Session::kNotMerged;
    spend(job.filter_count);
    const std::span<FilterNode* const> filters{job.filters, job.filter_count};
    for (uint32_t i = 0; i < job.filter_count; ++i) {
        const Subscription* other = subscriptions_.find(session, filters[i]->filter());
        const bool counts =
            other != nullptr && other->filter.get() == filters[i] && other->joined < job.joins;
        if (!counts) continue;
        if (is_local(publication, session, other->options)) continue;
        options = options == Session::kNotMerged ? other->options : merge(options, other->options);
    }
    if (options == Session::kNotMerged) return;
    session.epoch = job.mark;
    deliver_merged(publication, session, options, filters, job.joins);
}

void Core::end_fanout_job(FanoutJob& job) {
    for (uint32_t i = 0; i < job.filter_count; ++i)
        subscriptions_.unpin(*job.filters[i]);
    arena_.release(job.filters);
    if (job.wire != nullptr) job.wire->drop(arena_);
    if (job.message) messages_.drop(*job.message);
    Link* publisher = job.publisher.get();
    fanouts_.remove(job);
    --stats_.fanout_jobs_now;
    arena_.destroy(&job);
    if (publisher != nullptr) {
        publisher->fanout = nullptr;
        resume(*publisher);
    }
}

}  // namespace mqttd
