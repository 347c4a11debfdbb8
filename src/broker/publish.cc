// A publication: kept as retained, matched, handed to whoever wants it.

#include "mqttd/topic.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/core.h"
#include "broker/recorder.h"
#include "broker/sys_topics.h"

#include <algorithm>

namespace mqttd {

// Returns false, with nothing done, if a QoS 1 or 2 message cannot be kept for lack of memory: its
// publisher waits and it is not acknowledged.  What is dropped at QoS 0 is counted.  Either way the
// publication has ended.
bool Core::publish(Publication& publication, Link* publisher) {
    const Ending ending{*this, publication};
    begin_publication(publication);
    RetainedStore::Sought sought;
    if (publication.retain) sought = retained_.seek(publication.topic);
    const std::span<FilterNode*> room{matched_, limits::kMatchedFilters};
    const Result<Match> match = subscriptions_.match(publication.topic, room, limits::kMatchSteps);
    spend_match();
    retained_.come_nearer(sought);
    if (!match) {
        if (publication.qos > 0) return false;
        drop(nullptr, Drop::kMemory, publication.count);
        return true;
    }
    MatchCursor* rest = match->rest;
    const bool wanted = match->found > 0 || rest != nullptr;
    if (publisher != nullptr && options_.slow_consumer == SlowConsumer::kPause && rest == nullptr &&
        all_blocked(room.first(match->found))) {
        publication.paused = true;
        return false;
    }
    if (publication.qos > 0 && publisher != nullptr && disk_fails() &&
        (rest != nullptr || is_durable(publication, room.first(match->found)))) {
        subscriptions_.end_match(rest);
        publication.no_disk = true;
        return false;
    }
    const bool clears = publication.retain && publication.payload_size() == 0;
    const bool counted = publication.qos > 0 || publication.upgrade;
    const bool keep = (publication.retain && !clears) || (counted && wanted);
    publication.nobody = !wanted;
    bool done = true;
    publication.begun = publisher == nullptr;  // nobody who could wait
    if (keep && !ensure_message(publication)) {
        done = publication.qos == 0;
        if (done && !publication.system) drop(nullptr, Drop::kMemory, 1);
    } else if (publication.retain && !publication.kept) {
        retain(publication, sought);
        publication.kept = true;
    }
    const bool possible = !counted || publication.message != nullptr;
    if (done && wanted && possible) {
        fan_out(publication, publisher, room.first(match->found), rest);
    } else {
        subscriptions_.end_match(rest);
    }
    return done && !publication.refused;
}

// Whether something of it would have to be kept.  Looks at some receivers: among very many there is
// one who stays.
bool Core::is_durable(const Publication& publication, std::span<FilterNode*> filters) {
    constexpr uint32_t kLooks = 1'024;
    if (publication.retain) return true;
    uint32_t looks = kLooks;
    for (FilterNode* filter : filters) {
        SetCursor cursor;
        bool durable = filter->groups;  // any of their members
        looks -= SubscriptionIndex::visit(*filter, cursor, looks, [&](const SubscriberSlot& slot) {
            durable = durable || static_cast<const Session&>(*slot.subscriber).durable;
        });
        if (durable || !cursor.done) return true;
    }
    return false;
}

// Whether nobody would get it now, and somebody would who does not read.  Looks at a few receivers:
// among many there is one who reads.
bool Core::all_blocked(std::span<FilterNode*> filters) {
    constexpr uint32_t kLooks = 64;
    uint32_t receivers = 0;
    uint32_t looks = kLooks;
    for (FilterNode* filter : filters) {
        SetCursor cursor;
        bool all = true;
        looks -= SubscriptionIndex::visit(*filter, cursor, looks, [&](const SubscriberSlot& slot) {
            const auto& session = static_cast<const Session&>(*slot.subscriber);
            all = all && session.link && session.outbox->blocked();
            ++receivers;
        });
        if (!cursor.done || !all) return false;
        for (SharedGroup* group = filter->groups.get(); group != nullptr;
             group = group->next.get()) {
            if (group->count == 0) continue;  // it has ended, and somebody's walk stands there
            if (!group_blocked(*group, looks)) return false;
            ++receivers;
        }
    }
    return receivers > 0;
}

// A walk through few nodes finds them in the cache, one through a large trie does not.
void Core::spend_match() {
    const uint32_t steps = subscriptions_.last_steps();
    const uint32_t near = std::min(steps, limits::kMatchNear);
    spend(near / 4 + (steps - near) * limits::kMatchFarUnits);
}

// The message as retained message of its topic; an empty payload removes it.   [MQTT-3.3.1-5…-11]
void Core::retain(Publication& publication, const RetainedStore::Sought& sought) {
    const RetainedStore::Place place = retained_.look(sought);
    RetainedNode* node = place.found();
    if (publication.payload_size() == 0) {
        if (node != nullptr) {
            if (!MQTTD_MUTANT(5)) forget_retained(*node);  // not cleared
        } else if (publication.qos > 0 && recorder_ != nullptr && recorder_->clears()) {
            // Somebody else may have cleared it just now: it is said again, so that the answer
            // waits.
            recorder_->cleared(publication.topic);
        }
        return;
    }
    Message& message = *publication.message;
    // What stays must not fill the room that those who come and go need.
    const bool scarce =
        node == nullptr && !publication.system && arena_.pressure() >= Arena::Pressure::kGrowth;
    const bool too_large = options_.retain_max_payload != 0 && !publication.system &&
                           message.payload_size >= options_.retain_max_payload;
    const bool too_many = options_.retain_max_messages != 0 && !publication.system &&
                          node == nullptr && retained_by_clients() >= options_.retain_max_messages;
    if (too_large || too_many) {
        ++(too_large ? stats_.retained_refused_size : stats_.retained_refused_count);
        drop(publication.from, Drop::kRetainLimit, 1);
        return;
    }
    if (scarce) return drop(publication.from, Drop::kMemory, 1);
    auto* old = node != nullptr ? static_cast<Message*>(node->message.get()) : nullptr;
    if (old != nullptr) old->hold();  // outlives its place in the store until the books are done
    message.hold();
    messages_.hold(message);
    const bool stored = retained_.set(place, &message, next_retained_sequence_++, now_s()).ok();
    if (stored) {
        retained_bytes_ += message.payload_size;
        if (message.named) recorder_->retained(message, now_s());
        if (old != nullptr) leave_store(*old);
        retained_expire_ = retained_expire_ || message.expires_s != kNeverExpires;
    } else {
        messages_.drop(message);
        if (!publication.system) drop(publication.from, Drop::kMemory, 1);
    }
    if (old != nullptr) old->Segment::drop(arena_);
}

// Out of the retained store, and of the books.
void Core::forget_retained(RetainedNode& node) {
    auto& message = static_cast<Message&>(*node.message);
    message.hold();
    if (message.recorded) recorder_->cleared(message.topic());
    retained_.clear(node);
    leave_store(message);
    message.Segment::drop(arena_);
}

void Core::leave_store(Message& message) {
    retained_bytes_ -= message.payload_size;
    messages_.drop(message);
}

// Our own values do not count against retain_max_messages.
uint64_t Core::retained_by_clients() const {
    return retained_.messages() - (sys_ != nullptr ? sys_->own_messages() : 0);
}

// The counted copy that outlives the turn.
bool Core::ensure_message(Publication& publication) {
    if (publication.message != nullptr) return true;
    MQTTD_ASSERT(publication.count == 1);
    MessageParts parts = parts_of(publication);
    parts.priority = priority_of(publication.topic);
    publication.message = messages_.make(parts);
    return publication.message != nullptr;
}

// What `queue_priority` says of a topic: the first line that matches counts.
uint8_t Core::priority_of(Bytes topic) const {
    for (const TopicPriority& row : options_.priorities) {
        if (topic_matches(as_bytes(row.filter), topic)) return row.priority;
    }
    return 0;
}

// A publication of a message that is kept already; takes a hold of its own.
Publication Core::publication_of(Message& message, Session* from) {
    Publication publication;
    publication.topic = message.topic();
    publication.properties = message.properties();
    publication.payload = message.payload();
    publication.expires_s = message.expires_s;
    publication.qos = message.qos;
    publication.retain = message.retain;
    publication.system = message.system;
    publication.from = from;
    publication.from_number = from != nullptr ? from->number : 0;
    publication.payload_bytes = message.payload_size;
    messages_.hold(message);
    publication.message = &message;
    begin_publication(publication);
    return publication;
}

// The options under which it is handed out, to the last receiver.
void Core::begin_publication(Publication& publication) const {
    publication.upgrade = options_.upgrade_outgoing_qos;
    publication.queue_qos0 = options_.queue_qos0_messages;
}

// Lets go of what was made for a publication, or held for it.
void Core::end_publication(Publication& publication) {
    if (publication.message != nullptr) messages_.drop(*publication.message);
    publication.message = nullptr;
    if (!publication.encodings) return;
    const auto let_go = [&](const Range& range) {
        if (range.segment != nullptr) range.segment->drop(arena_);
    };
    for (const auto& family : publication.encodings->qos0) {
        for (const EncodedOnce& encoded : family)
            let_go(encoded.range);
    }
    for (const EncodedCounted& counted : publication.encodings->counted)
        let_go(counted.range);
    publication.encodings.reset();
}

// A will.
void Core::publish_message(Message& message, Session* from) {
    if (reserved_topic(message.topic())) {
        drop(nullptr, Drop::kSystemTopic, 1);
        return;
    }
    if (message.expires_s != kNeverExpires) message.expires_s += now_s_up();
    message.priority = priority_of(message.topic());  // its CONNECT may be long ago
    Publication publication = publication_of(message, from);
    if (!publish(publication, nullptr)) drop(nullptr, Drop::kMemory, 1);
}

}  // namespace mqttd
