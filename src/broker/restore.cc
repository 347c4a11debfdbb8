#include "broker/restore.h"

#include "mqttd/topic.h"

#include "base/assert.h"
#include "broker/recorder.h"
#include "mqtt/properties.h"

#include <algorithm>

namespace mqttd {

Restore::Restore(Core& core) : core_(core) {
    MQTTD_ASSERT(core.recorder_ != nullptr && core.sessions_.size() == 0);
    core_.begin_restore();
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
    MessageParts parts;
    parts.topic = message.topic;
    parts.properties = message.properties;
    parts.qos = message.qos;
    parts.retain = message.retain;
    parts.priority = message.priority;
    if (message.expires_at != 0) {
        // Of a will it is an interval, and one more, until it is published.
        const int64_t left = static_cast<int64_t>(message.expires_at) - core_.wall_s_;
        const auto now_s = static_cast<int64_t>(core_.now_s());
        parts.expires_s = will ? message.expires_at - 1
                               : static_cast<uint64_t>(std::max<int64_t>(now_s + left, 0));
    }
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
    if (core_.retained_.set(place, kept, core_.next_retained_sequence_++, core_.now_s()).ok()) {
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
        core_.next_session_number_ = std::max(core_.next_session_number_, read->number);
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

// --- what is under way
// ----------------------------------------------------------------------------

void Restore::deliveries(Bytes body) {
    DeliveriesReader reader(body);
    Message** found = messages_.find(reader.message());
    DurableDelivery read;
    while (reader.next(read)) {
        if (find(read.session) == nullptr) continue;
        const uint64_t key = key_of(read.session, read.number);
        auto& unknown = read.sent ? unknown_under_way_ : unknown_queued_;
        Flows& flows = read.sent ? under_way_ : queued_;
        if (found == nullptr) {
            if (flows.find(key) == nullptr) unknown.insert(key);
            continue;
        }
        unknown.erase(key);
        Flow& flow = flows.make(key);
        if (flow.message != nullptr) continue;  // said before
        if (flow.qos != 0) continue;            // PUBREC has come
        flow.message = *found;
        core_.messages_.hold(*flow.message);
        flow.qos = read.qos;
        flow.retain = read.retain;
        flow.limited = read.limited;
        uint8_t encoded[5 * DurableDelivery::kIdsMax];
        uint8_t* end = encoded;
        for (uint32_t i = 0; i < read.id_count; ++i)
            end += encode_property(end, Property::kSubscriptionIdentifier, read.id(i));
        if (read.id_count > 0) flow.ids = SubscriptionIds::make(core_.arena_, {encoded, end});
    }
    if (reader.damaged()) ++report_.unreadable;
}

void Restore::sent(Bytes body) {
    const auto read = decode_durable<DurableSent>(body);
    if (!read) {
        ++report_.unreadable;
        return;
    }
    const uint64_t key = key_of(read->session, read->delivery);
    if (unknown_queued_.erase(key) > 0) {
        unknown_under_way_.insert(key_of(read->session, read->packet_id));
    }
    const Flow* found = queued_.find(key);
    if (found == nullptr) return;
    Flow& flow = under_way_.make(key_of(read->session, read->packet_id));
    let_go(flow);
    flow = *found;
    queued_.erase(key);
}

void Restore::progress(Bytes body) {
    const auto read = decode_durable<DurableProgress>(body);
    if (!read) {
        ++report_.unreadable;
        return;
    }
    if (find(read->session) == nullptr) return;
    for (uint32_t i = 0; i < read->id_count; ++i) {
        const uint64_t key = key_of(read->session, read->id(i));
        unknown_under_way_.erase(key);
        if (read->state == DurableState::kReleased) {
            Flow& flow = under_way_.make(key);
            let_go(flow);
            flow.qos = 2;
            continue;
        }
        Flow* found = under_way_.find(key);
        if (found == nullptr) continue;
        let_go(*found);
        under_way_.erase(key);
    }
}

void Restore::dropped(Bytes body) {
    const auto read = decode_durable<DurableDropped>(body);
    if (!read) ++report_.unreadable;
    if (read) unknown_queued_.erase(key_of(read->session, read->delivery));
    const uint64_t key = read ? key_of(read->session, read->delivery) : 0;
    Flow* found = queued_.find(key);
    if (found == nullptr) return;
    let_go(*found);
    queued_.erase(key);
}

void Restore::inbound(Bytes body, uint64_t position) {
    const auto read = decode_durable<DurableInbound>(body);
    const bool form = read && read->message.topic.empty();  // completed for form's sake
    if (!read || (!form && !topic_name_valid(read->message.topic))) {
        ++report_.unreadable;
        return;
    }
    Session* session = find(read->session);
    if (session == nullptr) return;
    if (!session->awaiting) {
        session->awaiting = core_.arena_.make<AwaitingRel>(Arena::Use::kNormal);
    }
    AwaitingRel* awaiting = session->awaiting.get();
    if (awaiting != nullptr && awaiting->find(read->packet_id) != nullptr) {
        if (!form) keep(read->message, position);
        return;
    }
    Message* message = form ? nullptr : keep(read->message, position);
    const bool kept = awaiting != nullptr && (form || message != nullptr);
    if (message != nullptr) core_.messages_.hold(*message);
    if (kept && awaiting->insert(core_.arena_, read->packet_id, core_.now_s_up(), message)) {
        ++core_.stats_.inflight_in;
        return;
    }
    if (message != nullptr) core_.messages_.drop(*message);
    ++report_.no_memory;
}

void Restore::released(uint32_t number, uint16_t packet_id) {
    Session* session = find(number);
    AwaitingRel* awaiting = session != nullptr ? session->awaiting.get() : nullptr;
    AwaitingEntry* entry = awaiting != nullptr ? awaiting->find(packet_id) : nullptr;
    if (entry == nullptr) return;
    if (entry->message) core_.messages_.drop(*entry->message);
    awaiting->erase(*entry);
    --core_.stats_.inflight_in;
}

// --- the end
// --------------------------------------------------------------------------------------

void Restore::finish() {
    for (const auto* unknown : {&unknown_under_way_, &unknown_queued_}) {
        for (const uint64_t key : *unknown)
            report_.lost_messages += find(static_cast<uint32_t>(key >> 32)) != nullptr ? 1 : 0;
    }
    fill_windows();
    fill_queues();
    messages_.for_each([&](uint64_t, Message* kept) { core_.messages_.drop(*kept); });
    messages_.clear();
    settle_sessions();
    report_.retained = core_.retained_by_clients();
    core_.end_restore(report_.no_memory == 0);
}

void Restore::fill_windows() {
    std::vector<Place> all;
    all.reserve(under_way_.size());
    under_way_.for_each([&](uint64_t key, const Flow& flow) { all.push_back({key, flow}); });
    under_way_.clear();
    std::sort(all.begin(), all.end(), [](const Place& a, const Place& b) { return a.key < b.key; });
    std::vector<Place> flows;
    for (size_t at = 0; at < all.size();) {
        const auto number = static_cast<uint32_t>(all[at].key >> 32);
        flows.clear();
        for (; at < all.size() && all[at].key >> 32 == number; ++at)
            flows.push_back(all[at]);
        Session* session = find(number);
        if (session != nullptr) {
            fill_window(*session, flows);
        } else {
            for (Place& place : flows)
                let_go(place.flow);
        }
    }
}

// Identifiers were given in their order, round and round: the oldest comes behind the widest gap.
void Restore::fill_window(Session& session, std::vector<Place>& flows) {
    const auto id_of = [](const Place& place) { return static_cast<uint16_t>(place.key); };
    size_t first = 0;
    uint32_t widest = 0;
    for (size_t i = 0; i < flows.size(); ++i) {
        const uint32_t before = id_of(flows[i == 0 ? flows.size() - 1 : i - 1]);
        const uint32_t gap =
            (id_of(flows[i]) + InflightWindow::kIds - before) % InflightWindow::kIds;
        const uint32_t wide = flows.size() == 1 ? InflightWindow::kIds : gap;
        if (wide > widest) {
            widest = wide;
            first = i;
        }
    }
    std::rotate(flows.begin(), flows.begin() + static_cast<ptrdiff_t>(first), flows.end());
    Outflow* outflow = core_.ensure_outflow(session);
    if (outflow != nullptr) outflow->window.begin_at(id_of(flows[0]));
    for (Place& place : flows) {
        InflightSlot* slot =
            outflow != nullptr ? outflow->window.push_at(core_.arena_, id_of(place)) : nullptr;
        if (slot == nullptr) {
            ++report_.no_memory;
            let_go(place.flow);
            continue;
        }
        const Flow& flow = place.flow;
        slot->state = flow.message == nullptr ? FlowState::kAwaitPubcomp
                      : flow.qos == 1         ? FlowState::kAwaitPuback
                                              : FlowState::kAwaitPubrec;
        slot->message = flow.message;
        slot->ids = flow.ids;
        slot->retain = flow.retain;
        slot->left = true;  // nobody knows
        if (flow.message != nullptr) outflow->bytes += flow.message->payload_size;
        ++core_.stats_.inflight_out;
        ++report_.under_way;
    }
}

void Restore::fill_queues() {
    std::vector<Place> all;
    all.reserve(queued_.size());
    queued_.for_each([&](uint64_t key, const Flow& flow) { all.push_back({key, flow}); });
    queued_.clear();
    std::sort(all.begin(), all.end(), [](const Place& a, const Place& b) { return a.key < b.key; });
    for (Place& place : all) {
        Session* session = find(static_cast<uint32_t>(place.key >> 32));
        Outflow* outflow = session != nullptr ? core_.ensure_outflow(*session) : nullptr;
        const auto delivery = static_cast<uint32_t>(place.key);
        const Flow& flow = place.flow;
        const bool pushed =
            outflow != nullptr &&
            outflow->queue.push(
                core_.arena_,
                {flow.message, flow.ids, flow.qos, flow.retain, flow.limited, 0, delivery});
        if (!pushed) {
            if (session != nullptr) ++report_.no_memory;
            let_go(place.flow);
            continue;
        }
        outflow->deliveries = delivery;
        ++core_.stats_.queued;
        core_.stats_.queued_bytes += flow.message->payload_size;
        ++report_.queued;
    }
}

// Times on the wall become the broker's.  Who was connected has been away since the last word.
void Restore::settle_sessions() {
    const auto wall = static_cast<uint64_t>(core_.wall_s_);
    const uint64_t last = last_seen_s_ != 0 ? std::min(last_seen_s_, wall) : wall;
    const uint32_t now_s = core_.now_s();
    std::vector<Session*> all;
    sessions_.for_each([&](uint64_t, Session* session) { all.push_back(session); });
    std::sort(all.begin(), all.end(), [](const Session* a, const Session* b) {
        return a->number < b->number;
    });
    for (Session* session : all) {
        const bool connected = session->away_since_s == 0;
        if (connected && session->expiry_s == 0) {  // was to end with its connection
            core_.end_session(*session);
            continue;
        }
        const uint64_t since = connected ? last : std::min<uint64_t>(session->away_since_s, wall);
        uint64_t away = wall - since;
        if (away > now_s) {  // longer than our clock runs
            const auto more = static_cast<uint32_t>(away - now_s);
            if (session->expiry_s != kNoExpiry) {
                session->expiry_s -= std::min(session->expiry_s - 1, more);
            }
            session->will_delay_s -= std::min(session->will_delay_s, more);
            away = now_s;
        }
        session->away_since_s = now_s - static_cast<uint32_t>(away);
        core_.update_direct(*session);
        core_.arm_session(*session);
        if (session->outflow) core_.watch_queue(*session);
        report_.subscriptions += session->subscriptions;
        ++report_.sessions;
    }
    sessions_.clear();
}

// --- Broker
// ---------------------------------------------------------------------------------------

void Broker::begin_restore() {
    MQTTD_ASSERT(restore_ == nullptr);
    restore_ = std::make_unique<Restore>(*core_);
}

void Broker::restore(uint8_t type, uint64_t position, Bytes body) {
    restore_->apply(type, position, body);
}

RestoreReport Broker::end_restore() {
    restore_->finish();
    const RestoreReport report = restore_->report();
    restore_.reset();
    return report;
}

}  // namespace mqttd
