#include "broker/recorder.h"

#include "base/mutant.h"
#include "mqtt/properties.h"

#include <algorithm>

namespace mqttd {

namespace {

// The numbers of encoded Subscription Identifiers, four bytes each; returns how many.
uint32_t put_ids(uint8_t* out, Bytes encoded) {
    uint32_t count = 0;
    for (size_t at = 0; at < encoded.size() && count < DurableDelivery::kIdsMax; ++count) {
        uint32_t value = 0;
        uint32_t shift = 0;
        ++at;  // the property's own identifier
        while (at < encoded.size()) {
            const uint8_t byte = encoded[at++];
            value |= uint32_t{byte & 0x7fu} << shift;
            shift += 7;
            if ((byte & 0x80) == 0) break;
        }
        store_le<uint32_t>(out + 4 * count, value);
    }
    return count;
}

}  // namespace

uint64_t Recorder::append(DurableType type, DurableBody& body, bool last_of_whole) {
    ++said_;
    if (muted_) return 0;
    if (journal_.room() < Journal::cost(body.size())) {
        missed_ = true;
        ++missed_count_;
        return 0;
    }
    const bool joined = whole_ && !last_of_whole && !MQTTD_MUTANT(63);  // wholes come apart
    open_ = joined;
    return journal_.append(static_cast<uint8_t>(type), body.parts(), joined);
}

uint64_t Recorder::flush() {
    flush_gathered();
    flush_gone();
    return missed_ ? kAfterRound : journal_.tail();
}

void Recorder::flush_gathered() {
    if (kind_ == Gathered::kNothing) return;
    DurableBody body;
    DurableType type = DurableType::kDeliveries;
    if (kind_ == Gathered::kDeliveries) {
        encode_deliveries(body, message_, Bytes(gathered_, used_));
    } else {
        type = DurableType::kProgress;
        encode(body, DurableProgress{session_, state_, used_ / 2, gathered_});
    }
    kind_ = Gathered::kNothing;
    used_ = 0;
    append(type, body);
}

void Recorder::flush_gone() {
    if (gone_used_ == 0 || whole_) return;
    DurableBody body;
    body.bytes(Bytes(gone_, gone_used_));
    append(DurableType::kGone, body);
    gone_used_ = 0;
}

void Recorder::end_whole() {
    flush_gathered();
    if (open_) {
        DurableBody body;
        encode(body, DurableClock{static_cast<uint64_t>(wall_s_), 0});
        append(DurableType::kClock, body, true);
    }
    whole_ = open_ = false;
}

DurableMessage Recorder::durable(Message& message) const {
    DurableMessage out;
    out.name = message.recorded ? message.name() : 0;
    if (message.expires_s != kNeverExpires) out.expires_at = wall_of(message.expires_s);
    out.qos = message.qos;
    out.retain = message.retain;
    out.priority = static_cast<uint8_t>(message.priority);
    out.topic = message.topic();
    out.properties = message.properties();
    const Range payload = message.payload();
    if (payload.size() > 0) out.payload = bytes_of(payload);
    return out;
}

// The message has been said at `position`, for the first time or again.
uint64_t Recorder::said_again(Message& message, uint64_t position) {
    if (position == 0) return message.recorded ? message.name() : 0;
    if (!message.recorded) message.set_name(position);
    message.recorded = true;
    message.doubted = false;
    message.round = round_;
    return message.name();
}

uint64_t Recorder::name_of(Message& message) {
    if (said_in_round(message)) return message.name();
    flush_gathered();
    DurableBody body;
    encode(body, durable(message));
    return said_again(message, append(DurableType::kMessage, body));
}

void Recorder::retained(Message& message, uint32_t since_s) {
    flush_gathered();
    DurableMessage out = durable(message);
    // It may have been kept since before our clock began.
    const uint32_t age_s = now_s_ - since_s;
    out.kept_since = static_cast<uint64_t>(wall_s_ - int64_t{age_s});
    DurableBody body;
    encode(body, out);
    said_again(message, append(DurableType::kRetained, body));
}

void Recorder::cleared(Bytes topic) {
    flush_gathered();
    DurableBody body;
    body.bytes(topic);
    append(DurableType::kCleared, body);
    cleared_ = journal_.tail();
}

void Recorder::gone(uint64_t name) {
    if (muted_) return;
    if (gone_used_ == sizeof gone_) flush_gone();
    if (gone_used_ == sizeof gone_) return;  // in the middle of a whole: read, and held for nothing
    store_le<uint64_t>(gone_ + gone_used_, name);
    gone_used_ += 8;
}

void Recorder::session(const Session& session) {
    flush_gathered();
    DurableSession out;
    out.number = session.number;
    out.expiry_s = session.expiry_s;
    out.away_since = session.link ? 0 : wall_of(session.away_since_s);
    out.listener = session.listener;
    out.level = session.link ? static_cast<uint8_t>(session.link->version) : uint8_t{4};
    out.client_id = session.id->text();
    if (Message* will = session.will.get()) {
        out.has_will = true;
        out.will_delay_s = session.will_delay_s;
        out.will = durable(*will);
        // Of a will it is an interval until it is published.
        out.will.expires_at = will->expires_s != kNeverExpires ? will->expires_s + 1 : 0;
    }
    DurableBody body;
    encode(body, out);
    append(DurableType::kSession, body);
}

void Recorder::away(const Session& session) {
    if (MQTTD_MUTANT(64)) return;  // since when a client is away is not told
    flush_gathered();
    DurableBody body;
    encode(body, DurableAway{session.number, session.expiry_s, wall_of(session.away_since_s)});
    append(DurableType::kAway, body);
}

void Recorder::ended(uint32_t session) {
    flush_gathered();
    DurableBody body;
    body.number(session);
    append(DurableType::kEnded, body);
}

void Recorder::subscribed(uint32_t session, const Subscription& subscription) {
    flush_gathered();
    constexpr unsigned kTheirs =
        suboption::kQosMask | suboption::kNoLocal | suboption::kRetainAsPublished;
    DurableBody body;
    encode(body,
           DurableSubscription{session,
                               subscription.identifier,
                               static_cast<uint8_t>(subscription.options & kTheirs),
                               subscription.filter->filter()});
    append(DurableType::kSubscribed, body);
}

void Recorder::unsubscribed(uint32_t session, Bytes filter) {
    flush_gathered();
    DurableBody body;
    encode(body, DurableUnsubscription{session, filter});
    append(DurableType::kUnsubscribed, body);
}

void Recorder::delivery(uint32_t session, Message& message, const Flow& flow, Bytes ids) {
    const uint64_t name = name_of(message);
    if (name == 0) return;  // it could not be said, and is missed already
    uint8_t numbers[4 * DurableDelivery::kIdsMax];
    DurableDelivery out;
    out.session = session;
    out.number = flow.number;
    out.sent = flow.sent;
    out.qos = flow.qos;
    out.retain = flow.retain;
    out.limited = flow.limited;
    out.id_count = static_cast<uint8_t>(ids.empty() ? 0 : put_ids(numbers, ids));
    out.ids = numbers;
    const uint32_t size = delivery_size(out);
    const bool joins = kind_ == Gathered::kDeliveries && message_ == name && used_ + size <= kRoom;
    if (!joins) flush_gathered();
    kind_ = Gathered::kDeliveries;
    message_ = name;
    put_delivery(gathered_ + used_, out);
    used_ += size;
    ++said_;
}

void Recorder::sent(uint32_t session, uint32_t delivery, uint16_t packet_id) {
    if (MQTTD_MUTANT(62)) return;  // which identifier a queued message got is not told
    flush_gathered();
    DurableBody body;
    encode(body, DurableSent{session, delivery, packet_id});
    append(DurableType::kSent, body);
}

void Recorder::progress(uint32_t session, uint16_t packet_id, DurableState state) {
    const bool joins = kind_ == Gathered::kProgress && session_ == session && state_ == state &&
                       used_ + 2 <= kRoom;
    if (!joins) flush_gathered();
    kind_ = Gathered::kProgress;
    session_ = session;
    state_ = state;
    store_le<uint16_t>(gathered_ + used_, packet_id);
    used_ += 2;
    ++said_;
}

void Recorder::dropped(uint32_t session, uint32_t delivery) {
    flush_gathered();
    DurableBody body;
    encode(body, DurableDropped{session, delivery});
    append(DurableType::kDropped, body);
}

void Recorder::inbound(uint32_t session, uint16_t packet_id, Message* message) {
    flush_gathered();
    DurableInbound out;
    out.session = session;
    out.packet_id = packet_id;
    if (message != nullptr) out.message = durable(*message);
    DurableBody body;
    encode(body, out);
    const uint64_t position = append(DurableType::kInbound, body);
    if (message != nullptr) said_again(*message, position);
}

void Recorder::released(uint32_t session, uint16_t packet_id) {
    if (MQTTD_MUTANT(61)) return;  // that an inbound identifier is free is not told
    flush_gathered();
    DurableBody body;
    encode(body, DurableReleased{session, packet_id});
    append(DurableType::kReleased, body, true);
}

uint64_t Recorder::page(DurableType type, std::span<const Bytes> parts) {
    flush_gathered();
    DurableBody body;
    for (const Bytes part : parts)
        body.bytes(part);
    return append(type, body);
}

void Recorder::taken(Message& message, uint64_t position) {
    if (message.named) said_again(message, position + message.name());
}

DurableDelivery Recorder::durable(const QueueEntry& entry, uint8_t* ids) {
    const Bytes encoded = encoded_ids(entry.ids.get());
    DurableDelivery out;
    out.number = entry.delivery;
    out.qos = entry.qos;
    out.retain = entry.retain;
    out.limited = entry.limited;
    out.id_count = static_cast<uint8_t>(put_ids(ids, encoded));
    out.ids = ids;
    return out;
}

MessageParts Recorder::parts_of(const DurableMessage& message, int64_t wall_ahead) {
    MessageParts parts;
    parts.topic = message.topic;
    parts.properties = message.properties;
    parts.qos = message.qos;
    parts.retain = message.retain;
    parts.priority = message.priority;
    if (message.expires_at == 0) return parts;
    const int64_t expires_s = static_cast<int64_t>(message.expires_at) - wall_ahead;
    parts.expires_s = static_cast<uint64_t>(std::max<int64_t>(expires_s, 0));
    return parts;
}

SubscriptionIds* Recorder::ids_of(Arena& arena, const DurableDelivery& delivery) {
    uint8_t encoded[5 * DurableDelivery::kIdsMax];
    uint8_t* end = encoded;
    for (uint32_t i = 0; i < delivery.id_count; ++i)
        end += encode_property(end, Property::kSubscriptionIdentifier, delivery.id(i));
    return SubscriptionIds::make(arena, {encoded, end});
}

void Recorder::clock(uint64_t boot_ms) {
    flush_gathered();
    DurableBody body;
    encode(body, DurableClock{static_cast<uint64_t>(wall_s_), boot_ms});
    append(DurableType::kClock, body);
}

}  // namespace mqttd
