// A publication: kept as retained, matched, handed to whoever wants it.

#include "base/assert.h"
#include "broker/core.h"
#include "broker/sys_topics.h"

#include <algorithm>

namespace mqttd {

// Returns false, with nothing done, if a QoS 1 or 2 message cannot be kept for lack of memory: its
// publisher waits and it is not acknowledged.  What is dropped at QoS 0 is counted.
bool Core::publish(Publication& publication, Link* publisher) {
    const std::span<FilterNode*> room{matched_, limits::kMatchedFilters};
    const uint32_t matched = subscriptions_.match(publication.topic, room);
    spend(subscriptions_.last_steps() / 4);
    std::span<FilterNode*> filters = room.first(std::min<size_t>(matched, room.size()));
    FilterNode** many = nullptr;
    if (matched > room.size()) {
        many = static_cast<FilterNode**>(arena_.allocate(matched * sizeof(FilterNode*)));
        if (many == nullptr) {
            if (publication.qos > 0) return false;
            drop(nullptr, Drop::kMemory, publication.count);
            return true;
        }
        filters = {many, matched};
        subscriptions_.match(publication.topic, filters);
    }
    const bool clears = publication.retain && publication.payload_size() == 0;
    const bool counted = publication.qos > 0 || options_.upgrade_outgoing_qos;
    const bool keep = (publication.retain && !clears) || (counted && matched > 0);
    publication.nobody = matched == 0;
    bool done = true;
    publication.begun = publisher == nullptr;  // nobody who could wait
    if (keep && !ensure_message(publication)) {
        done = publication.qos == 0;
        if (done) drop(nullptr, Drop::kMemory, 1);
    } else if (publication.retain) {
        retain(publication);
    }
    if (done && matched > 0) fan_out(publication, publisher, filters);
    if (publication.refused) done = false;
    if (publication.message != nullptr) messages_.drop(*publication.message);
    publication.message = nullptr;
    if (many != nullptr) arena_.release(many);
    return done;
}

// The message as retained message of its topic; an empty payload removes it.   [MQTT-3.3.1-5…-11]
void Core::retain(Publication& publication) {
    RetainedNode* node = retained_.find(publication.topic);
    auto* old = node != nullptr ? static_cast<Message*>(node->message.get()) : nullptr;
    if (old != nullptr) old->hold();  // outlives its place in the store until the books are done
    bool replaced = false;
    if (publication.payload_size() == 0) {
        replaced = retained_.clear(publication.topic);
    } else {
        Message& message = *publication.message;
        // What stays must not fill the room that those who come and go need.
        const bool scarce =
            old == nullptr && !publication.system && arena_.pressure() >= Arena::Pressure::kGrowth;
        const bool too_large = options_.retain_max_payload != 0 && !publication.system &&
                               message.payload_size >= options_.retain_max_payload;
        const bool too_many = options_.retain_max_messages != 0 && !publication.system &&
                              old == nullptr &&
                              retained_by_clients() >= options_.retain_max_messages;
        if (too_large || too_many) {
            drop(publication.from, Drop::kRetainLimit, 1);
        } else if (scarce) {
            drop(publication.from, Drop::kMemory, 1);
        } else {
            message.hold();
            messages_.hold(message);
            const Result<bool> stored = retained_.set(publication.topic,
                                                      &message,
                                                      message.payload_size,
                                                      next_retained_sequence_++,
                                                      now_s());
            if (stored) {
                replaced = old != nullptr;
                retained_expire_ = retained_expire_ || message.expires_s != kNeverExpires;
            } else {
                messages_.drop(message);
                drop(publication.from, Drop::kMemory, 1);
            }
        }
    }
    if (old != nullptr) {
        if (replaced) messages_.drop(*old);
        old->Segment::drop(arena_);
    }
}

// Our own values do not count against retain_max_messages.
uint64_t Core::retained_by_clients() const {
    return retained_.messages() - (sys_ != nullptr ? sys_->own_messages() : 0);
}

// The counted copy that outlives the turn.
bool Core::ensure_message(Publication& publication) {
    if (publication.message != nullptr) return true;
    MQTTD_ASSERT(publication.count == 1);
    publication.message = messages_.make(parts_of(publication));
    return publication.message != nullptr;
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
    publication.from = from;
    publication.from_number = from != nullptr ? from->number : 0;
    publication.payload_bytes = message.payload_size;
    messages_.hold(message);
    publication.message = &message;
    return publication;
}

// A will.
void Core::publish_message(Message& message, Session* from) {
    if (reserved_topic(message.topic())) {
        drop(nullptr, Drop::kSystemTopic, 1);
        return;
    }
    if (message.expires_s != kNeverExpires) message.expires_s += now_s_up();
    Publication publication = publication_of(message, from);
    if (!publish(publication, nullptr)) drop(nullptr, Drop::kMemory, 1);
}

}  // namespace mqttd
