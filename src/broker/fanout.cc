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

#include "base/assert.h"
#include "broker/core.h"

#include <algorithm>
#include <new>

namespace mqttd {

void Core::fan_out(Publication& publication,
                   Link* publisher,
                   std::span<FilterNode*> filters,
                   MatchCursor* rest) {
    uint64_t receivers = 0;
    for (const FilterNode* filter : filters)
        receivers += filter->count;
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
    const uint64_t each = 1 + std::max<uint64_t>(publication.wire.size(), publication.tail.size()) /
                                  limits::kWriteBytes;
    if (receivers * each > options_.fanout_slice && receivers > 1 &&
        start_fanout_job(publication, publisher, filters, nullptr, merge)) {
        return;
    }
    if (merge) {
        hand_merged(publication, filters);
        return;
    }
    for (FilterNode* filter : filters)
        hand_to_set(publication, *filter);
}

void Core::hand_to_set(Publication& publication, FilterNode& filter) {
    SetCursor cursor;
    const uint32_t handed =
        SubscriptionIndex::visit(filter, cursor, filter.count, [&](const SubscriberSlot& slot) {
            hand_to_slot(publication, slot);
        });
    spend(handed);
}

inline void Core::hand_to_slot(Publication& publication, const SubscriberSlot& slot) {
    auto& session = static_cast<Session&>(*slot.subscriber);
    if (publication.wire.size() != 0 && session.direct && (slot.options & suboption::kPlain) != 0) {
        Outbox& outbox = *session.outbox;
        if (!outbox.blocked() && outbox.append(arena_, publication.wire)) {
            stats_.fast_deliveries += publication.count;
            count_sent(publication);
            dirty_.add_delivery(outbox);
            if (outbox.wants_flush(options_.outbox_bytes_max)) flush(outbox);
            return;
        }
    }
    const uint8_t wanted = slot.options & suboption::kQosMask;
    deliver(session, std::min(publication.qos, wanted), publication);
}

// One copy for each client, at the highest QoS of its matching subscriptions: marked in a first
// pass, delivered and unmarked in a second.
void Core::hand_merged(Publication& publication, std::span<FilterNode*> filters) {
    for (FilterNode* filter : filters) {
        SetCursor cursor;
        SubscriptionIndex::visit(*filter, cursor, filter->count, [&](const SubscriberSlot& slot) {
            auto& session = static_cast<Session&>(*slot.subscriber);
            const uint8_t qos = slot.options & suboption::kQosMask;
            const bool first = session.merged_qos == Session::kNotMerged;
            session.merged_qos = first ? qos : std::max(session.merged_qos, qos);
        });
    }
    for (FilterNode* filter : filters) {
        SetCursor cursor;
        const uint32_t handed = SubscriptionIndex::visit(
            *filter, cursor, filter->count, [&](const SubscriberSlot& slot) {
                auto& session = static_cast<Session&>(*slot.subscriber);
                if (session.merged_qos == Session::kNotMerged) return;
                const uint8_t qos = std::min(publication.qos, session.merged_qos);
                session.merged_qos = Session::kNotMerged;
                deliver(session, qos, publication);
            });
        spend(2 * handed);
    }
}

// Takes over `rest`.  False if the arena refused: the caller hands out at once instead, or, with a
// rest, not at all.
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
    if (publication.wire.size() != 0 && !options_.queue_qos0_messages) {
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
    job->version = publication.version;
    job->system = publication.system;
    job->publisher = publisher;
    if (publisher != nullptr) publisher->fanout = job;
    fanouts_.push_back(*job);
    ++stats_.fanout_jobs;
    return true;
}

// A slice of the job; ends it when all are served.
void Core::run_fanout_job(FanoutJob& job) {
    Publication publication;
    if (job.wire != nullptr) {
        publication.wire = {job.wire, 0, job.wire->used};
        publication.qos = job.qos;
        publication.count = job.count;
        publication.payload_bytes = job.payload_bytes;
        publication.version = job.version;
    } else {
        publication = publication_of(*job.message, nullptr);
        publication.retain = false;
    }
    publication.system = job.system;
    publication.begun = true;  // it was acknowledged
    // Few receivers at a time when each is dear, so that the budget is looked at in time.
    const uint64_t bytes = publication.wire.size() + publication.tail.size();
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
        const uint32_t handed = SubscriptionIndex::visit(
            filter, job.cursors[job.filter], limit, [&](const SubscriberSlot& slot) {
                if (job.merge) {
                    hand_first_of(publication, slot, job);
                } else if (!job.late || was_there(slot, filter, job)) {
                    hand_to_slot(publication, slot);
                }
            });
        slice -= std::max<uint32_t>(handed, 1);
        spend(std::max<uint32_t>(handed, 1));
        if (job.cursors[job.filter].done) ++job.filter;
    }
    if (publication.message != nullptr) messages_.drop(*publication.message);
    if (job.filter == job.filter_count && job.rest == nullptr) end_fanout_job(job);
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

// Merging across turns: a receiver is served from the first of the matching filters it has, at the
// highest QoS of those the job knows by then (all of them, unless the match was cut), and marked.
// Jobs run one after the other, so that one mark is enough.
void Core::hand_first_of(Publication& publication, const SubscriberSlot& slot, FanoutJob& job) {
    auto& session = static_cast<Session&>(*slot.subscriber);
    if (session.epoch == job.mark) return;
    uint8_t wanted = 0;
    bool there = false;
    spend(job.filter_count);
    for (uint32_t i = 0; i < job.filter_count; ++i) {
        const Subscription* other = subscriptions_.find(session, job.filters[i]->filter());
        const bool counts =
            other != nullptr && other->filter.get() == job.filters[i] && other->joined < job.joins;
        if (!counts) continue;
        there = true;
        wanted = std::max<uint8_t>(wanted, other->options & suboption::kQosMask);
    }
    if (!there) return;
    session.epoch = job.mark;
    deliver(session, std::min(publication.qos, wanted), publication);
}

void Core::end_fanout_job(FanoutJob& job) {
    for (uint32_t i = 0; i < job.filter_count; ++i)
        subscriptions_.unpin(*job.filters[i]);
    arena_.release(job.filters);
    if (job.wire != nullptr) job.wire->drop(arena_);
    if (job.message) messages_.drop(*job.message);
    Link* publisher = job.publisher.get();
    fanouts_.remove(job);
    arena_.destroy(&job);
    if (publisher != nullptr) {
        publisher->fanout = nullptr;
        resume(*publisher);
    }
}

}  // namespace mqttd
