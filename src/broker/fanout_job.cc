// A fan-out in slices: more receivers than may be served at once, or a match that was cut.
//
// The job serves what was found and goes on with the match, by turns, in the room it was made with.
// Who was there when it began gets the message: later subscriptions in a part of the trie that had
// not been walked yet are told by their `joined`. Its publisher is stopped until it is done, and
// jobs run one after the other, so a later message overtakes none. If the publisher goes meanwhile,
// its will, or what its client publishes first when it is back, becomes a job as well and so comes
// behind.   [MQTT-4.6.0-5]

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/append_run.h"
#include "broker/core.h"
#include "broker/recorder.h"

#include <algorithm>
#include <new>

namespace mqttd {

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
    if (publication.wire_fits != Direct::kNobody && !publication.queue_qos0) {
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
    job->upgrade = publication.upgrade;
    job->queue_qos0 = publication.queue_qos0;
    if (Session* from = publication.from) {
        job->from_hash = from->hash.hash;
        from->behind_job = publisher == nullptr;  // a publisher waits until the job is done
    }
    job->publisher = publisher;
    if (publisher != nullptr) publisher->fanout = job;
    fanouts_.push_back(*job);
    publication.taken = true;
    ++stats_.fanout_jobs;
    ++stats_.fanout_jobs_now;
    return true;
}

// Whether a job of the session's client is left from an earlier session or its will; or of another
// one by chance, which does no harm.
bool Core::is_publishing(const Session& session) {
    const FanoutJob* job = fanouts_.front();
    uint32_t looked = 0;
    for (; job != nullptr; job = fanouts_.next(*job), ++looked) {
        const bool left = job->from_number != 0 && !job->publisher;
        if (left && job->from_hash == session.hash.hash) break;
    }
    spend(looked / 4);
    return job != nullptr;
}

// A slice of the job; ends it when all are served.
void Core::run_fanout_job(FanoutJob& job) {
    Publication publication =
        job.wire != nullptr ? publication_of(job) : publication_of(*job.message, nullptr);
    const Ending ending{*this, publication};
    publication.retain = job.retain;
    publication.system = job.system;
    publication.upgrade = job.upgrade;
    publication.queue_qos0 = job.queue_qos0;
    publication.from_number = job.from_number;
    publication.begun = true;                                           // it was acknowledged
    const bool expired = job.message && job.message->expired(now_s());  // [MQTT5-3.3.2-5]
    publication.late = expired && !MQTTD_MUTANT(57);  // handed out after its expiry
    // Few receivers at a time when each is dear, so that the budget is looked at in time.
    const uint64_t bytes = publication.wire.size() + publication.payload.size();
    const auto each = static_cast<uint32_t>(1 + bytes / limits::kWriteBytes);
    int64_t slice = std::min<int64_t>(options_.fanout_slice, std::max<int64_t>(units_, 1));
    while (slice > 0 && units_ > 0) {
        const bool last = job.filter_count > 1 && job.filter + 1 == job.filter_count;
        if (MQTTD_MUTANT(40) && last) ++job.filter;  // a job forgets its last filter
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
    // Served before: only identifiers that were not known then are worth another copy.
    const bool again = session.epoch == job.mark;
    if (again && !(job.late && (slot.options & suboption::kIdentifier) != 0)) return;
    if (hidden(session, publication.filter->filter(), publication.topic)) return;
    if (not_local(publication, session, slot.options)) return;
    uint8_t options = Session::kNotMerged;
    spend(job.filter_count);
    const std::span<FilterNode* const> filters{job.filters, job.filter_count};
    for (uint32_t i = 0; i < job.filter_count; ++i) {
        const Subscription* other = subscriptions_.find(session, filters[i]->filter());
        const bool counts =
            other != nullptr && other->filter.get() == filters[i] && other->joined < job.joins;
        if (!counts) continue;
        if (is_local(publication, session, other->options)) continue;
        if (hidden(session, filters[i]->filter(), publication.topic)) continue;
        if (again && (other->options & suboption::kIdentifier) == 0) continue;
        if (again && i < job.filter) return;  // with those of this portion it was made
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
    if (publisher != nullptr && recorder_ != nullptr) {
        if (job.released != 0 && publisher->session) {
            recorder_->released(publisher->session->number, job.released);
        }
        settle_held(*publisher, Recorder::kAfterFanout, recorder_->flush());
    }
    fanouts_.remove(job);
    --stats_.fanout_jobs_now;
    arena_.destroy(&job);
    if (publisher != nullptr) {
        publisher->fanout = nullptr;
        resume(*publisher);
    }
}

}  // namespace mqttd
