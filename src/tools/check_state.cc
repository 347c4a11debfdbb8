#include "tools/check_state.h"

#include "mqttd/topic.h"

#include "tools/check_json.h"

#include <algorithm>
#include <unordered_set>

namespace mqttd::check {

namespace {

std::string text_of(Bytes bytes) {
    return std::string(as_text(bytes));
}

}  // namespace

bool State::apply(uint8_t type, uint64_t position, Bytes body) {
    switch (static_cast<DurableType>(type)) {
        case DurableType::kSession:
            return session(body);
        case DurableType::kAway:
            return away(body);
        case DurableType::kEnded: {
            if (body.size() != 4) return false;
            const auto ended = sessions_.find(load_le<uint32_t>(body.data()));
            if (ended == sessions_.end()) return true;
            numbers_.erase(ended->second.client_id);
            sessions_.erase(ended);
            return true;
        }
        case DurableType::kSubscribed:
            return subscribed(body);
        case DurableType::kUnsubscribed:
            return unsubscribed(body);
        case DurableType::kMessage: {
            const auto read = decode_durable<DurableMessage>(body);
            if (read) keep(*read, position, body.size());
            return read.ok();
        }
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
            return released(body);
        case DurableType::kRetained:
            return retained(body, position);
        case DurableType::kCleared:
            retained_.erase(text_of(body));
            return true;
        case DurableType::kClock: {
            const auto read = decode_durable<DurableClock>(body);
            if (read) last_wall_s_ = std::max(last_wall_s_, read->wall_s);
            return read.ok();
        }
        case DurableType::kGone:
            return gone(body);
        case DurableType::kPage:
            return page(body, position, false);
        case DurableType::kPageTaken:
            return page(body, position, true);
        default:
            return false;
    }
}

KeptSession* State::find(uint32_t number) {
    const auto found = sessions_.find(number);
    return found != sessions_.end() ? &found->second : nullptr;
}

// --- messages ------------------------------------------------------------------------------------

MessageRef State::make(const DurableMessage& message) const {
    MessageRef made = std::make_shared<KeptMessage>();
    made->name = message.name;
    made->topic = text_of(message.topic);
    made->expires_at = message.expires_at;
    made->qos = message.qos;
    made->retain = message.retain;
    made->priority = message.priority;
    made->properties_bytes = message.properties.size();
    made->payload_bytes = message.payload.size();
    made->payload = text_of(shortened(message.payload, payload_most_));
    return made;
}

// Under its name; who was said first under it stays.
MessageRef State::keep(const DurableMessage& message, uint64_t position, uint64_t record_bytes) {
    const uint64_t name = message.name != 0 ? message.name : position;
    MessageRef& kept = messages_[name];
    if (!kept) {
        kept = make(message);
        kept->name = name;
    }
    kept->record_bytes = record_bytes;
    return kept;
}

bool State::gone(Bytes body) {
    for (size_t at = 0; at + 8 <= body.size(); at += 8)
        messages_.erase(load_le<uint64_t>(body.data() + at));
    return body.size() % 8 == 0;
}

bool State::retained(Bytes body, uint64_t position) {
    const auto read = decode_durable<DurableMessage>(body);
    if (!read || !topic_name_valid(read->topic)) return false;
    retained_[text_of(read->topic)] = keep(*read, position, body.size());
    return true;
}

// --- sessions ------------------------------------------------------------------------------------

bool State::session(Bytes body) {
    const auto read = decode_durable<DurableSession>(body);
    if (!read) return false;
    const std::string client_id = text_of(read->client_id);
    if (find(read->number) == nullptr) {
        // A client has one session: another one under its name has ended, said or not.
        const auto older = numbers_.find(client_id);
        if (older != numbers_.end()) sessions_.erase(older->second);
        numbers_[client_id] = read->number;
        sessions_[read->number].client_id = client_id;
    }
    KeptSession& kept = sessions_[read->number];
    kept.number = read->number;
    kept.expiry_s = read->expiry_s;
    kept.away_since = read->away_since;
    kept.listener = read->listener;
    kept.level = read->level;
    kept.will_delay_s = read->will_delay_s;
    kept.will = read->has_will ? make(read->will) : nullptr;
    kept.record_bytes = body.size();
    return true;
}

bool State::away(Bytes body) {
    const auto read = decode_durable<DurableAway>(body);
    if (!read) return false;
    last_wall_s_ = std::max(last_wall_s_, read->since);
    KeptSession* kept = find(read->number);
    if (kept == nullptr) return true;
    kept->expiry_s = read->expiry_s;
    kept->away_since = read->since;
    return true;
}

bool State::subscribed(Bytes body) {
    const auto read = decode_durable<DurableSubscription>(body);
    if (!read || (read->options & 3) == 3 || !topic_filter_valid(read->filter)) return false;
    KeptSession* kept = find(read->number);
    if (kept == nullptr) return true;
    kept->subscriptions[text_of(read->filter)] = {read->options, read->identifier, body.size()};
    return true;
}

bool State::unsubscribed(Bytes body) {
    const auto read = decode_durable<DurableUnsubscription>(body);
    if (!read) return false;
    KeptSession* kept = find(read->number);
    if (kept != nullptr) kept->subscriptions.erase(text_of(read->filter));
    return true;
}

// --- what is under way ---------------------------------------------------------------------------

bool State::deliveries(Bytes body) {
    DeliveriesReader reader(body);
    const auto found = messages_.find(reader.message());
    DurableDelivery read;
    while (reader.next(read)) {
        KeptSession* kept = find(read.session);
        if (kept == nullptr) continue;
        if (found != messages_.end()) {
            take(read, *kept, found->second);
            continue;
        }
        const auto packet_id = static_cast<uint16_t>(read.number);
        const bool known =
            read.sent ? kept->under_way.contains(packet_id) : kept->queued.contains(read.number);
        if (known) continue;
        if (read.sent) {
            kept->lost_under_way[packet_id] = reader.message();
        } else {
            kept->lost_queued[read.number] = reader.message();
        }
    }
    return !reader.damaged();
}

// What is there already stays, but it was said again just now.
void State::take(const DurableDelivery& read, KeptSession& session, const MessageRef& message) {
    const auto packet_id = static_cast<uint16_t>(read.number);
    KeptFlow& flow = read.sent ? session.under_way[packet_id] : session.queued[read.number];
    flow.record_bytes = delivery_size(read);
    if (flow.message || flow.qos != 0) return;
    flow.message = message;
    flow.qos = read.qos;
    flow.retain = read.retain;
    flow.limited = read.limited;
    for (uint32_t i = 0; i < read.id_count; ++i)
        flow.identifiers.push_back(read.id(i));
    if (read.sent) {
        session.lost_under_way.erase(packet_id);
    } else {
        session.lost_queued.erase(read.number);
    }
}

// A message in a page has no name until it is taken.
bool State::page(Bytes body, uint64_t position, bool taken) {
    PageReader reader(body);
    KeptSession* kept = find(reader.page().session);
    const uint64_t base = reader.page().base != 0 ? reader.page().base : position;
    DurablePageEntry read;
    while (kept != nullptr && reader.next(read)) {
        const uint32_t number = read.delivery.number;
        if (number == 0) continue;  // QoS 0: for that life only
        kept->lost_queued.erase(number);
        kept->queued.erase(number);
        const uint64_t bytes = DurableMessage::kHeadBytes + read.message.payload.size();
        read.message.name = base + read.place;
        take(
            read.delivery, *kept, taken ? keep(read.message, position, bytes) : make(read.message));
    }
    return !reader.damaged();
}

bool State::sent(Bytes body) {
    const auto read = decode_durable<DurableSent>(body);
    if (!read) return false;
    KeptSession* kept = find(read->session);
    if (kept == nullptr) return true;
    const auto flow = kept->queued.find(read->delivery);
    const auto lost = kept->lost_queued.find(read->delivery);
    if (flow != kept->queued.end()) {
        flow->second.record_bytes += body.size();
        kept->under_way[read->packet_id] = std::move(flow->second);
        kept->lost_under_way.erase(read->packet_id);
        kept->queued.erase(flow);
    } else if (lost != kept->lost_queued.end()) {
        kept->lost_under_way[read->packet_id] = lost->second;
        kept->lost_queued.erase(lost);
    }
    return true;
}

bool State::progress(Bytes body) {
    const auto read = decode_durable<DurableProgress>(body);
    if (!read) return false;
    KeptSession* kept = find(read->session);
    if (kept == nullptr) return true;
    for (uint32_t i = 0; i < read->id_count; ++i) {
        const uint16_t packet_id = read->id(i);
        kept->lost_under_way.erase(packet_id);
        if (read->state == DurableState::kDone) {
            kept->under_way.erase(packet_id);
            continue;
        }
        KeptFlow& flow = kept->under_way[packet_id];
        flow = {};
        flow.qos = 2;
        flow.record_bytes = 2;
    }
    return true;
}

bool State::dropped(Bytes body) {
    const auto read = decode_durable<DurableDropped>(body);
    if (!read) return false;
    KeptSession* kept = find(read->session);
    if (kept == nullptr) return true;
    kept->queued.erase(read->delivery);
    kept->lost_queued.erase(read->delivery);
    return true;
}

bool State::inbound(Bytes body, uint64_t position) {
    const auto read = decode_durable<DurableInbound>(body);
    const bool form = read && read->message.topic.empty();
    if (!read || (!form && !topic_name_valid(read->message.topic))) return false;
    KeptSession* kept = find(read->session);
    if (kept == nullptr) return true;
    const MessageRef message = form ? nullptr : keep(read->message, position, body.size());
    kept->inbound.emplace(read->packet_id, message);
    return true;
}

bool State::released(Bytes body) {
    const auto read = decode_durable<DurableReleased>(body);
    if (!read) return false;
    KeptSession* kept = find(read->session);
    if (kept != nullptr) kept->inbound.erase(read->packet_id);
    return true;
}

// --- what it comes to ----------------------------------------------------------------------------

uint64_t KeptSession::waiting_bytes() const {
    uint64_t bytes = 0;
    for (const auto& [delivery, flow] : queued)
        bytes += flow.message->payload_bytes;
    for (const auto& [packet_id, flow] : under_way)
        bytes += flow.message ? flow.message->payload_bytes : 0;
    return bytes;
}

StateTotals State::totals() const {
    StateTotals totals;
    std::unordered_set<const KeptMessage*> needed;
    const auto need = [&](const MessageRef& message) {
        if (!message || !needed.insert(message.get()).second) return;
        totals.live_bytes += message->record_bytes;
    };
    for (const auto& [number, session] : sessions_) {
        ++totals.sessions;
        totals.connected += session.connected() ? 1 : 0;
        totals.subscriptions += session.subscriptions.size();
        totals.queued += session.queued.size();
        totals.under_way += session.under_way.size();
        totals.inbound += session.inbound.size();
        totals.lost += session.lost();
        totals.live_bytes += session.record_bytes;
        for (const auto& [filter, subscription] : session.subscriptions)
            totals.live_bytes += subscription.record_bytes;
        const auto need_flow = [&](const KeptFlow& flow) {
            need(flow.message);
            totals.live_bytes += flow.record_bytes;
        };
        for (const auto& [delivery, flow] : session.queued)
            need_flow(flow);
        for (const auto& [packet_id, flow] : session.under_way)
            need_flow(flow);
        for (const auto& [packet_id, message] : session.inbound)
            need(message);
    }
    for (const auto& [topic, message] : retained_) {
        need(message);
        ++totals.retained;
    }
    return totals;
}

}  // namespace mqttd::check
