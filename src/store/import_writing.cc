#include "store/import_writing.h"

#include "mqttd/packet.h"
#include "mqttd/topic.h"

#include "mqtt/properties.h"
#include "topics/shared_groups.h"
#include "topics/subscription_index.h"

namespace mqttd {

namespace {

constexpr uint32_t kIdsSpan = 32'768;  // packet identifiers that a window may span
constexpr uint32_t kIds = 65'535;      // from 1 on, and round again
constexpr size_t kVarintMost = 4;

constexpr uint64_t kNotPassedOn = PropertySet::bit(Property::kTopicAlias) |
                                  PropertySet::bit(Property::kSubscriptionIdentifier) |
                                  PropertySet::bit(Property::kMessageExpiryInterval);

size_t varint_size(uint64_t number) {
    size_t size = 1;
    for (; number > 127 && size < kVarintMost; number >>= 7)
        ++size;
    return size;
}

// The shortest packet that can have brought it.
uint64_t packet_size(const MosquittoMessage& message) {
    const size_t properties = message.properties.size();
    const uint64_t rest = 2 + message.topic_name.size() + (message.qos > 0 ? 2 : 0) +
                          (properties > 0 ? varint_size(properties) + properties : 0) +
                          message.payload.size();
    return 1 + varint_size(rest) + rest;
}

bool is_status(Bytes topic) {
    const std::string_view text = as_text(topic);
    return text == "$SYS" || text.starts_with("$SYS/");
}

// Whether the index takes it; the rest was checked when it was read.
bool may_subscribe(Bytes filter) {
    Bytes matched = filter;
    if (is_shared(filter)) {
        const Result<SharedFilter> shared = parse_shared(filter);
        if (!shared) return false;
        matched = shared->filter;
    }
    return !has_wildcard(matched) || level_count(matched) <= SubscriptionIndex::kLevelsMax;
}

}  // namespace

void ImportWriting::sessions() {
    for (const ImportSession& session : index_.sessions()) {
        if (session.fate != ImportSession::Fate::kTaken) continue;
        DurableSession out;
        out.number = session.number;
        out.expiry_s = session.expiry_s;  // "never" is the same number on both sides
        out.away_since = session.away_since;
        out.level = session.v5 ? 5 : 4;
        out.client_id = session.client_id;
        DurableBody body;
        encode(body, out);
        say(DurableType::kSession, body);
        ++report_.sessions;
    }
}

// nullptr: it is not taken, which is counted.
ImportSession* ImportWriting::session_of(Bytes client_id, uint64_t ImportGone::*kind) {
    ImportSession* session = index_.session(client_id);
    if (session == nullptr) {
        ++left(ImportLeft::kNoSession);
        return nullptr;
    }
    if (session->fate == ImportSession::Fate::kTaken) return session;
    const bool ended = session->fate == ImportSession::Fate::kEnded;
    ImportGone& gone = ended ? report_.ended : report_.expired;
    ++(gone.*kind);
    return nullptr;
}

// --- messages ------------------------------------------------------------------------------------

void ImportWriting::message(const MosquittoMessage& message) {
    ImportMessage* entry = index_.message(message.store_id);
    if (entry == nullptr || entry->state() != State::kUnseen) {
        ++left(ImportLeft::kOdd);
        return;
    }
    entry->set(State::kUnused);
    if (!fits(*entry, message)) return;
    const bool status = entry->retained && is_status(message.topic_name);
    const bool nothing = entry->retained && message.payload.empty();
    if (status) ++left(ImportLeft::kStatus);
    if (!status && nothing) ++left(ImportLeft::kOdd);
    const bool retained = entry->retained && !status && !nothing;

    DurableMessage out = durable(message);
    if (retained || entry->delivered) {
        out.retain = retained || message.retain;
        DurableBody body;
        encode(body, out);
        entry->write(say(retained ? DurableType::kRetained : DurableType::kMessage, body));
        report_.retained += retained ? 1 : 0;
    }
    if (entry->inbound) came_in(message, out, entry->name);
}

// Whether it is to be kept; if not, what speaks of it is counted when it is met.
bool ImportWriting::fits(ImportMessage& entry, const MosquittoMessage& message) {
    const bool expired = message.expires_s > 0 && message.expires_s <= options_.now_s;
    const bool large = packet_size(message) > options_.packet_bytes_max;
    if (!expired && !large) return true;
    entry.set(expired ? State::kExpired : State::kTooLarge);
    const uint64_t inbound = entry.inbound ? index_.inbound(message.store_id).size() : 0;
    left(expired ? ImportLeft::kExpired : ImportLeft::kTooLarge) += entry.retained + inbound;
    return false;
}

DurableMessage ImportWriting::durable(const MosquittoMessage& message) {
    DurableMessage out;
    out.expires_at = static_cast<uint64_t>(message.expires_s);
    out.qos = message.qos;
    out.retain = message.retain;
    out.topic = message.topic_name;
    out.payload = message.payload;
    out.properties = message.properties;
    if ((message.property_set.bits & kNotPassedOn) == 0) return out;
    properties_.clear();
    for (Bytes rest = message.properties; !rest.empty();) {
        const PropertyView property = next_property(rest);
        if ((PropertySet::bit(property.id) & kNotPassedOn) != 0) continue;
        properties_.insert(properties_.end(), property.encoded.begin(), property.encoded.end());
    }
    out.properties = Bytes(properties_);
    return out;
}

// A message comes in once; its body is in the record.
void ImportWriting::came_in(const MosquittoMessage& message,
                            const DurableMessage& durable,
                            uint64_t name) {
    const std::span<const ImportInbound> all = index_.inbound(message.store_id);
    left(ImportLeft::kOdd) += all.size() - 1;
    DurableInbound out{all[0].session, all[0].packet_id, durable};
    out.message.name = name;
    DurableBody body;
    encode(body, out);
    say(DurableType::kInbound, body);
    ++report_.inbound;
}

// --- what waits ----------------------------------------------------------------------------------

void ImportWriting::client_message(const MosquittoClientMessage& message) {
    ImportSession* session = session_of(message.client_id, &ImportGone::messages);
    if (session == nullptr || !message.outgoing) return;  // what came in is written already
    switch (message.state) {
        case MosquittoState::kResendPubrel:
        case MosquittoState::kWaitForPubcomp:
            return released(message, *session);
        case MosquittoState::kWaitForPubrel:
        case MosquittoState::kResendPubcomp:
        case MosquittoState::kSendPubrec:  // those of what comes in
            ++left(ImportLeft::kOdd);
            return;
        default:
            break;
    }
    const ImportMessage* entry = index_.message(message.store_id);
    const State state = entry != nullptr ? entry->state() : State::kUnseen;
    switch (state) {
        case State::kWritten:
            return deliver(message, *session, entry->name);
        case State::kExpired:
            ++left(ImportLeft::kExpired);
            return;
        case State::kTooLarge:
            ++left(ImportLeft::kTooLarge);
            return;
        default:
            ++left(ImportLeft::kNoMessage);
    }
}

// PUBREC has come, so only the identifier is needed.
void ImportWriting::released(const MosquittoClientMessage& message, ImportSession& session) {
    if (message.qos != 2 || !take_id(message, session)) {
        ++left(ImportLeft::kOdd);
        return;
    }
    uint8_t id[2];
    store_le<uint16_t>(id, message.packet_id);
    DurableBody body;
    encode(body, DurableProgress{session.number, DurableState::kReleased, 1, id});
    say(DurableType::kProgress, body);
    ++report_.under_way;
}

// What was sent keeps its packet identifier; what was not (mosquitto gives those in the queue one,
// too), or whose identifier cannot be, gets one when it is sent.
void ImportWriting::deliver(const MosquittoClientMessage& message,
                            ImportSession& session,
                            uint64_t name) {
    bool sent = false;
    switch (message.state) {
        case MosquittoState::kWaitForPuback:
            sent = message.qos == 1;
            break;
        case MosquittoState::kWaitForPubrec:
            sent = message.qos == 2;
            break;
        case MosquittoState::kPublishQos1:
        case MosquittoState::kPublishQos2:
            sent = message.dup && message.qos > 0;
            break;
        default:
            break;
    }
    DurableDelivery out;
    out.session = session.number;
    out.qos = message.qos;
    out.retain = message.retain;
    out.sent = sent && take_id(message, session);
    out.number = out.sent ? message.packet_id : ++session.deliveries;
    uint8_t ids[4 * DurableDelivery::kIdsMax];
    for (Bytes rest = message.subscription_ids; !rest.empty();) {
        if (out.id_count == DurableDelivery::kIdsMax) break;
        store_le<uint32_t>(ids + 4 * out.id_count++, next_property(rest).number);
    }
    out.ids = ids;
    uint8_t encoded[10 + sizeof ids];
    const uint8_t* end = put_delivery(encoded, out);
    DurableBody body;
    encode_deliveries(body, name, Bytes(encoded, static_cast<size_t>(end - encoded)));
    say(DurableType::kDeliveries, body);
    ++(out.sent ? report_.under_way : report_.queued);
}

// Whether what is under way can keep its packet identifier: a window holds each once, and spans no
// more than half of them.
bool ImportWriting::take_id(const MosquittoClientMessage& message, ImportSession& session) {
    const uint32_t id = message.packet_id;
    const uint32_t first = session.first_id != 0 ? session.first_id : id;
    if (id == 0 || (id + kIds - first) % kIds >= kIdsSpan) return false;
    if (!used_.use(session.number, message.packet_id)) return false;
    session.first_id = static_cast<uint16_t>(first);
    return true;
}

void ImportWriting::subscription(const MosquittoSubscription& subscription) {
    const ImportSession* session = session_of(subscription.client_id, &ImportGone::subscriptions);
    if (session == nullptr) return;
    if (!may_subscribe(subscription.topic_filter)) {
        ++left(ImportLeft::kOdd);
        return;
    }
    unsigned options = subscription.qos;
    if (subscription.no_local && !is_shared(subscription.topic_filter)) {
        options |= suboption::kNoLocal;
    }
    if (subscription.retain_as_published) options |= suboption::kRetainAsPublished;
    DurableBody body;
    encode(body,
           DurableSubscription{session->number,
                               subscription.identifier,
                               static_cast<uint8_t>(options),
                               subscription.topic_filter});
    say(DurableType::kSubscribed, body);
    ++report_.subscriptions;
}

}  // namespace mqttd
