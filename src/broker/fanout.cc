// One publication to all its receivers, at once or as a job.
//
// The loop over a set's slots is the hottest of the broker. For a receiver that may be given the
// very bytes that came (its slot says *plain*, its session says *direct*) it appends a range and
// nothing else. More receivers than a slice become a job, whose publisher is stopped meanwhile.

#include "base/assert.h"
#include "broker/core.h"

#include <algorithm>
#include <new>

namespace mqttd {

void Core::fan_out(Publication& publication, Link* publisher, std::span<FilterNode*> filters) {
    if (publication.qos == 0 && !publication.system) ++stats_.fanouts_qos0;
    uint64_t receivers = 0;
    for (const FilterNode* filter : filters)
        receivers += filter->count;
    const bool merge = filters.size() > 1 && !options_.allow_duplicate_messages;
    // Large payloads are written in mid-turn: their bytes count, too.
    const uint64_t each = 1 + std::max<uint64_t>(publication.wire.size(), publication.tail.size()) /
                                  limits::kWriteBytes;
    if (receivers * each > options_.fanout_slice && receivers > 1 &&
        start_fanout_job(publication, publisher, filters, merge)) {
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
    publication.filter = &filter;
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
    if (++epoch_ == 0) ++epoch_;
    for (FilterNode* filter : filters) {
        SetCursor cursor;
        SubscriptionIndex::visit(*filter, cursor, filter->count, [&](const SubscriberSlot& slot) {
            auto& session = static_cast<Session&>(*slot.subscriber);
            const uint8_t qos = slot.options & suboption::kQosMask;
            session.merged_qos = session.epoch == epoch_ ? std::max(session.merged_qos, qos) : qos;
            session.epoch = epoch_;
        });
    }
    for (FilterNode* filter : filters) {
        SetCursor cursor;
        publication.filter = filter;
        const uint32_t handed = SubscriptionIndex::visit(
            *filter, cursor, filter->count, [&](const SubscriberSlot& slot) {
                auto& session = static_cast<Session&>(*slot.subscriber);
                if (session.epoch != epoch_) return;
                session.epoch = 0;
                deliver(session, std::min(publication.qos, session.merged_qos), publication);
            });
        spend(2 * handed);
    }
}

// False if the arena refused: the caller hands out at once instead.
bool Core::start_fanout_job(Publication& publication,
                            Link* publisher,
                            std::span<FilterNode*> filters,
                            bool merge) {
    const size_t count = filters.size();
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
    job->joins = subscriptions_.joins();
    for (size_t i = 0; i < count; ++i) {
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
    ++stats_.fanout_jobs_now;
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
    uint32_t step = limits::kFanoutStep / static_cast<uint32_t>(1 + bytes / limits::kWriteBytes);
    if (job.merge) step = std::min(step, limits::kFanoutStep / job.filter_count);
    step = std::max(step, 1u);
    int64_t slice = std::min<int64_t>(options_.fanout_slice, std::max<int64_t>(units_, 1));
    while (slice > 0 && units_ > 0 && job.filter < job.filter_count) {
        const auto limit = static_cast<uint32_t>(std::min<int64_t>(slice, step));
        publication.filter = job.filters[job.filter];
        const uint32_t handed =
            SubscriptionIndex::visit(*job.filters[job.filter],
                                     job.cursors[job.filter],
                                     limit,
                                     [&](const SubscriberSlot& slot) {
                                         if (job.merge) {
                                             hand_first_of(publication, slot, job);
                                         } else {
                                             hand_to_slot(publication, slot);
                                         }
                                     });
        slice -= std::max<uint32_t>(handed, 1);
        spend(std::max<uint32_t>(handed, 1));
        if (job.cursors[job.filter].done) ++job.filter;
    }
    if (publication.message != nullptr) messages_.drop(*publication.message);
    if (job.filter == job.filter_count) end_fanout_job(job);
}

// Merging across turns cannot use marks, which the next publish overwrites: a receiver is served
// from the first of the matching filters it has.
void Core::hand_first_of(Publication& publication, const SubscriberSlot& slot, FanoutJob& job) {
    auto& session = static_cast<Session&>(*slot.subscriber);
    uint8_t wanted = 0;
    spend(job.filter_count);
    for (uint32_t i = 0; i < job.filter_count; ++i) {
        const Subscription* other = subscriptions_.find(session, job.filters[i]->filter());
        const bool counts =
            other != nullptr && other->filter.get() == job.filters[i] && other->joined < job.joins;
        if (!counts) continue;
        if (i < job.filter) return;
        wanted = std::max<uint8_t>(wanted, other->options & suboption::kQosMask);
    }
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
    --stats_.fanout_jobs_now;
    arena_.destroy(&job);
    if (publisher != nullptr) {
        publisher->fanout = nullptr;
        resume(*publisher);
    }
}

}  // namespace mqttd
