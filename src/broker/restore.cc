#include "broker/restore.h"

#include "mqttd/topic.h"

#include "base/assert.h"
#include "broker/recorder.h"

#include <algorithm>
#include <limits>

namespace mqttd {

Restore::Restore(Core& core, uint64_t bytes) : core_(core) {
    MQTTD_ASSERT(core.recorder_ != nullptr && core.sessions_.size() == 0);
    core_.begin_restore();
    constexpr uint64_t kRecordBytes = 256;      // about what a message takes
    constexpr uint64_t kEntriesMost = 1 << 20;  // made room for before any is there
    messages_.reserve(std::min(bytes / kRecordBytes, kEntriesMost));
}

Restore::~Restore() {
    under_way_.for_each([&](uint64_t, Flow& flow) { let_go(flow); });
    queued_.for_each([&](uint64_t, Flow& flow) { let_go(flow); });
    messages_.for_each([&](uint64_t, Message* kept) { core_.messages_.drop(*kept); });
}

void Restore::apply(uint8_t type, uint64_t position, Bytes body) {
    ++report_.records;
    switch (static_cast<DurableType>(type)) {
        case DurableType::kSession:
            return session(body);
        case DurableType::kAway:
            return away(body);
        case DurableType::kEnded:
            if (body.size() == 4) ended(load_le<uint32_t>(body.data()));
            return;
        case DurableType::kSubscribed:
            return subscribed(body);
        case DurableType::kUnsubscribed:
            return unsubscribed(body);
        case DurableType::kMessage:
            if (const auto message = decode_durable<DurableMessage>(body)) {
                keep(*message, position);
            } else {
                ++report_.unreadable;
            }
            return;
        case DurableType::kDeliveries:
            return deliveries(body);
        case DurableType::kSent:
            return sent(body);
        case DurableType::kProgress:
            return progress(body);
        case DurableType::kDropped:
            return dropped(body);
        case DurableType::kInbound:
            return inbound(body, position);
        case DurableType::kReleased:
            if (const auto out = decode_durable<DurableReleased>(body)) {
                released(out->session, out->packet_id);
            } else {
                ++report_.unreadable;
            }
            return;
        case DurableType::kRetained:
            return retained(body, position);
        case DurableType::kCleared:
            return cleared(body);
        case DurableType::kClock:
            if (const auto clock = decode_durable<DurableClock>(body)) {
                last_seen_s_ = std::max(last_seen_s_, clock->wall_s);
            }
            return;
        case DurableType::kGone:
            return gone(body);
        case DurableType::kPage:
            return page(body, position);
        case DurableType::kPageTaken:
            return page_taken(body, position);
        default:
            ++report_.unreadable;
    }
}

Session* Restore::find(uint32_t number) {
    Session** found = sessions_.find(number);
    return found != nullptr ? *found : nullptr;
}

// --- messages
// -------------------------------------------------------------------------------------

Message* Restore::make(const DurableMessage& message, bool will) {
    MessageParts parts = core_.recorder_->parts_of(message);
    // Of a will it is an interval, and one more, until it is published.
    if (will && message.expires_at != 0) parts.expires_s = message.expires_at - 1;
    Segment* payload = nullptr;
    if (!message.payload.empty()) {
        payload = Segment::make(core_.arena_, static_cast<uint32_t>(message.payload.size()));
        if (payload == nullptr) return nullptr;
        std::memcpy(payload->data(), message.payload.data(), message.payload.size());
        payload->used = static_cast<uint32_t>(message.payload.size());
        parts.payload = {payload, 0, payload->used};
    }
    Message* made = core_.messages_.make(parts);
    if (payload != nullptr) payload->drop(core_.arena_);
    return made;
}

// A message under its name; the one that is there already, if it was said before.  nullptr: no
// memory for it.
Message* Restore::keep(const DurableMessage& message, uint64_t position) {
    const uint64_t name = message.name != 0 ? message.name : position;
    if (name == 0) return nullptr;
    Message*& kept = messages_.make(name);
    if (kept != nullptr) return kept;
    Message* made = make(message, false);
    if (made == nullptr) {
        messages_.erase(name);
        ++report_.no_memory;
        return nullptr;
    }
    made->set_name(name);
    made->recorded = true;
    made->round = core_.recorder_->round();
    kept = made;
    return made;
}

void Restore::gone(Bytes names) {
    for (; names.size() >= 8; names = names.subspan(8)) {
        const auto name = load_le<uint64_t>(names.data());
        Message** found = messages_.find(name);
        if (found == nullptr) continue;
        core_.messages_.drop(**found);
        messages_.erase(name);
    }
}

void Restore::let_go(Flow& flow) {
    if (flow.message != nullptr) core_.messages_.drop(*flow.message);
    if (flow.ids != nullptr) core_.arena_.release(flow.ids);
    flow = {};
}

// How many seconds ago that was, by the wall clock; 0 if it was not said.
uint32_t Restore::age_of(uint64_t since) const {
    const int64_t age_s = core_.recorder_->wall_s() - static_cast<int64_t>(since);
    if (since == 0 || age_s < 0) return 0;
    return static_cast<uint32_t>(std::min<int64_t>(age_s, std::numeric_limits<uint32_t>::max()));
}

void Restore::retained(Bytes body, uint64_t position) {
    const auto message = decode_durable<DurableMessage>(body);
    if (!message || !topic_name_valid(message->topic)) {
        ++report_.unreadable;
        return;
    }
    Message* kept = keep(*message, position);
    if (kept == nullptr) return;
    const RetainedStore::Place place = core_.retained_.look(message->topic);
    RetainedNode* node = place.found();
    auto* old = node != nullptr ? static_cast<Message*>(node->message.get()) : nullptr;
    if (old == kept) return;
    if (old != nullptr) old->hold();
    kept->hold();
    core_.messages_.hold(*kept);
    const uint32_t since_s = core_.now_s() - age_of(message->kept_since);  // wraps
    if (core_.retained_.set(place, kept, core_.next_retained_sequence_++, since_s).ok()) {
        core_.retained_bytes_ += kept->payload_size;
        if (old != nullptr) core_.leave_store(*old);
        core_.retained_expire_ = core_.retained_expire_ || kept->expires_s != kNeverExpires;
    } else {
        core_.messages_.drop(*kept);
        ++report_.no_memory;
    }
    if (old != nullptr) old->Segment::drop(core_.arena_);
}

void Restore::cleared(Bytes topic) {
    RetainedNode* node = core_.retained_.find(topic);
    if (node == nullptr || !node->message) return;
    auto& message = static_cast<Message&>(*node->message);
    message.hold();
    core_.retained_.clear(*node);
    core_.leave_store(message);
    message.Segment::drop(core_.arena_);
}

// --- sessions
// -------------------------------------------------------------------------------------

void Restore::session(Bytes body) {
    const auto read = decode_durable<DurableSession>(body);
    if (!read || read->number == 0) {
        ++report_.unreadable;
        return;
    }
    Session* session = find(read->number);
    // Also if there is no room for it: it is still there for the next start.
    core_.next_session_number_ = std::max(core_.next_session_number_, read->number);
    if (session == nullptr) {
        // Its predecessor's end may have been about to be said.
        Session* older = core_.find_session(read->client_id);
        if (older != nullptr) ended(older->number);
        session = core_.make_session(read->client_id, read->expiry_s);
        if (session == nullptr) {
            ++report_.no_memory;
            return;
        }
        session->number = read->number;
        session->durable = session->safe = true;
        sessions_.make(read->number) = session;
    }
    core_.set_expiry(*session, read->expiry_s);
    session->listener = read->listener;
    away_since(*session, read->away_since);
    if (session->will) core_.messages_.drop(*session->will);
    session->will = nullptr;
    session->will_delay_s = read->will_delay_s;
    if (!read->has_will) return;
    session->will = make(read->will, true);
    if (!session->will) ++report_.no_memory;
}

// 0: it was connected.  Kept as it is until all is known.
void Restore::away_since(Session& session, uint64_t wall_s) {
    session.away_since_s = static_cast<uint32_t>(wall_s);
}

void Restore::away(Bytes body) {
    const auto read = decode_durable<DurableAway>(body);
    Session* session = read ? find(read->number) : nullptr;
    if (!read) ++report_.unreadable;
    if (session == nullptr) return;
    core_.set_expiry(*session, read->expiry_s);
    away_since(*session, read->since);
    last_seen_s_ = std::max(last_seen_s_, read->since);
}

// Whatever was to reach it finds nobody at the end.
void Restore::ended(uint32_t number) {
    Session* session = find(number);
    if (session == nullptr) return;
    sessions_.erase(number);
    if (session->will) core_.messages_.drop(*session->will);
    session->will = nullptr;
    session->durable = false;
    core_.end_session(*session);
}

void Restore::subscribed(Bytes body) {
    const auto read = decode_durable<DurableSubscription>(body);
    constexpr unsigned kTheirs =
        suboption::kQosMask | suboption::kNoLocal | suboption::kRetainAsPublished;
    if (!read || (read->options & suboption::kQosMask) > 2 || !topic_filter_valid(read->filter)) {
        ++report_.unreadable;
        return;
    }
    Session* session = find(read->number);
    if (session == nullptr) return;
    unsigned options = read->options & kTheirs;
    if (read->identifier != 0) options |= suboption::kIdentifier;
    if (read->identifier == 0 && (options & suboption::kNoLocal) == 0) options |= suboption::kPlain;
    const auto added = core_.subscriptions_.subscribe(
        *session, read->filter, static_cast<uint8_t>(options), read->identifier);
    if (!added) ++report_.no_memory;
}

void Restore::unsubscribed(Bytes body) {
    const auto read = decode_durable<DurableUnsubscription>(body);
    Session* session = read ? find(read->number) : nullptr;
    if (!read) ++report_.unreadable;
    if (session == nullptr) return;
    Subscription* subscription = core_.subscriptions_.find(*session, read->filter);
    if (subscription != nullptr) core_.subscriptions_.remove(*subscription);
}

// --- Broker
// ---------------------------------------------------------------------------------------

void Broker::begin_restore(uint64_t bytes) {
    MQTTD_ASSERT(restore_ == nullptr);
    restore_ = std::make_unique<Restore>(*core_, bytes);
}

void Broker::restore(uint8_t type, uint64_t position, Bytes body) {
    restore_->take(type, position, body);
}

RestoreReport Broker::end_restore() {
    restore_->finish();
    const RestoreReport report = restore_->report();
    restore_.reset();
    return report;
}

}  // namespace mqttd
