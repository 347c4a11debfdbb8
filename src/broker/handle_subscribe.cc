// SUBSCRIBE and UNSUBSCRIBE.   MQTT 3.1.1 §3.8, §3.10.
//
// A packet may carry hundreds of thousands of filters. They are taken in slices: the link stops
// before the packet (it is not consumed), a PartialRequest remembers how far it is, and the packet
// comes again in the next turn. The answer leaves when all are done.

#include "mqttd/topic.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/core.h"
#include "broker/held.h"
#include "broker/recorder.h"
#include "broker/round.h"
#include "mqtt/properties.h"

#include <algorithm>

namespace mqttd {

namespace {

constexpr uint8_t kSubackFailure = 0x80;  // all that 3.1.1 can say

}  // namespace

Core::Taken Core::handle_subscribe(Link& link, const Input& input) {
    const PacketType type = input.frame.type();
    PartialRequest* partial = link.partial.get();
    const Bytes body = input.body();
    SubscribeView request;
    if (partial == nullptr) {
        const Result<SubscribeView> decoded =
            decode_subscribe(type, body, input.frame.flags(), link.version);
        if (!decoded) {
            fail(link, decoded.error());
            return Taken::kYes;
        }
        request = *decoded;
        partial = arena_.make<PartialRequest>(Arena::Use::kNormal);
        if (partial == nullptr) return wait_for_memory(link);
        link.partial = partial;
        partial->count = request.filter_count;
        if (type == PacketType::kSubscribe || is_v5(link.version)) {
            partial->codes = static_cast<uint8_t*>(arena_.allocate(request.filter_count));
            if (!partial->codes) {
                drop_partial(link);
                return wait_for_memory(link);
            }
        }
    } else {
        // Checked when it came the first time; only its place in memory may be new.
        request = reread_subscribe(type, body, link.version);
    }
    const uint32_t identifier =
        property_number(request.properties, Property::kSubscriptionIdentifier, 0);
    Bytes rest = request.filters.subspan(partial->offset);
    for (uint32_t slice = 0; !rest.empty() && slice < limits::kFiltersPerSlice; ++slice) {
        const FilterView filter = next_filter(rest, type);
        const bool shared_no_local = filter.no_local && is_shared(filter.topic_filter);
        if (shared_no_local) {
            fail(link, Error::kProtocolError);  // [MQTT5-3.8.3-4]
            return Taken::kYes;
        }
        const uint8_t code = type == PacketType::kSubscribe
                                 ? subscribe_one(link, filter, identifier)
                                 : unsubscribe_one(link, filter);
        if (partial->codes) partial->codes[partial->done] = code;
        ++partial->done;
        partial->recorded = partial->recorded || link.session->durable;
        partial->offset = static_cast<uint32_t>(request.filters.size() - rest.size());
        spend(limits::kSubscribeUnits);
    }
    if (!rest.empty()) return stop_before(link, StopReason::kBudget);
    return finish_request(link, request, type);
}

Core::Taken Core::finish_request(Link& link, const SubscribeView& request, PacketType type) {
    PartialRequest& partial = *link.partial;
    MQTTD_ASSERT(partial.done == partial.count);
    if (type == PacketType::kUnsubscribe && !is_v5(link.version)) {
        drop_partial(link);
        answer(link, PacketType::kUnsuback, request.packet_id);
        return Taken::kYes;
    }
    const auto answer_type =
        type == PacketType::kSubscribe ? PacketType::kSuback : PacketType::kUnsuback;
    const uint32_t header = suback_header_size(partial.count, link.version);
    const uint32_t size = header + partial.count;
    if (link.extras && size > link.extras->max_packet_size) {
        fail(link, Error::kPacketTooLarge);  // it cannot be told
        return Taken::kYes;
    }
    if (recorder_ != nullptr && hold_suback(link, request, answer_type)) return Taken::kYes;
    uint8_t* at = link.outbox->room(arena_, size, Arena::Use::kReserve);
    if (at == nullptr) {
        ++stats_.refused_memory;
        end_link(link, Error::kNoMemory, true);
        return Taken::kYes;
    }
    encode_suback_header(at, answer_type, request.packet_id, partial.count, link.version);
    std::memcpy(at + header, partial.codes.get(), partial.count);
    link.outbox->commit(size);
    ++stats_.packets_sent_all;
    ++stats_.packets_sent[static_cast<uint32_t>(answer_type)];
    drop_partial(link);
    delivered(link, true);
    return Taken::kYes;
}

// True: the answer is held until what was subscribed is safe, or the link has ended.
bool Core::hold_suback(Link& link, const SubscribeView& request, PacketType type) {
    PartialRequest& partial = *link.partial;
    const uint64_t position =
        partial.recorded && recorder_->holds_answers() ? recorder_->flush() : 0;
    const Held* held = link.extras ? link.extras->held.get() : nullptr;
    const bool behind = held != nullptr && (held->count > 0 || let_in_early(link));
    if (!behind && (position == 0 || recorder_->durable(position))) return false;
    const uint32_t header = suback_header_size(partial.count, link.version);
    Segment* segment = scratch(header + partial.count);
    if (segment == nullptr) {
        ++stats_.refused_memory;
        end_link(link, Error::kNoMemory, true);
        return true;
    }
    uint8_t* at = segment->end();
    encode_suback_header(at, type, request.packet_id, partial.count, link.version);
    std::memcpy(at + header, partial.codes.get(), partial.count);
    if (hold_packet(link, position, type, {at, header + partial.count})) drop_partial(link);
    return true;
}

// Subscribes to one filter and starts its retained replay.  Returns the SUBACK code.
uint8_t Core::subscribe_one(Link& link, const FilterView& filter, uint32_t identifier) {
    // Before a mount point comes in front of it and it looks like any other.   [MQTT5-4.8.2-1],
    // [MQTT5-4.8.2-2]
    const bool bad_group = is_shared(filter.topic_filter) && !parse_shared(filter.topic_filter);
    const Text text = mounted(link, filter.topic_filter);
    uint8_t code = kReasonQuotaExceeded;
    if (bad_group) {
        code = kReasonTopicFilterInvalid;
    } else if (text.refused) {
        ++stats_.refused_memory;
    } else {
        code = judge_filter(link, text.bytes, identifier);
    }
    if (code == 0) code = subscribe_to(link, text.bytes, filter, identifier);
    let_go(text);
    return code >= kReasonUnspecifiedError && !is_v5(link.version) ? kSubackFailure : code;
}

// Why there can be no such subscription, as a reason code; 0 if there can.
uint8_t Core::judge_filter(const Link& link, Bytes text, uint32_t identifier) const {
    const Session& session = *link.session;
    if (check_topic(text) != Error::kNone) return kReasonTopicFilterInvalid;
    if (!options_.shared_available && is_shared(text)) return kReasonSharedNotSupported;
    if (!options_.wildcard_available && has_wildcard(text)) return kReasonWildcardsNotSupported;
    if (!options_.subscription_ids_available && identifier != 0) {
        return kReasonSubscriptionIdsNotSupported;
    }
    const bool many = options_.max_subscriptions != 0 &&
                      session.subscriptions >= options_.max_subscriptions &&
                      subscriptions_.find(session, text) == nullptr;
    const bool scarce = session.subscriptions >= limits::kFiltersWhenScarce &&
                        arena_.pressure() >= Arena::Pressure::kGrowth;
    return many || scarce ? kReasonQuotaExceeded : 0;
}

uint8_t Core::subscribe_to(Link& link, Bytes text, const FilterView& filter, uint32_t identifier) {
    Session& session = *link.session;
    const uint8_t qos = std::min(filter.qos, listener_of(link).max_qos);
    unsigned options = qos;
    if (filter.no_local) options |= suboption::kNoLocal;
    if (filter.retain_as_published) options |= suboption::kRetainAsPublished;
    if (identifier != 0) options |= suboption::kIdentifier;
    if (identifier == 0 && !filter.no_local) options |= suboption::kPlain;
    const auto added =
        subscriptions_.subscribe(session, text, static_cast<uint8_t>(options), identifier);
    if (!added) {
        ++stats_.refused_memory;
        return added.error() == Error::kTopicFilterInvalid ? kReasonTopicFilterInvalid
                                                           : kReasonQuotaExceeded;
    }
    if (log_.wants(LogKind::kSubscribe)) {  // before two texts are made clean for it
        log_.write(LogKind::kSubscribe,
                   "%s %u %s",
                   Clean(session.id->text()).c_str(),
                   unsigned{qos},
                   Clean(text).c_str());
    }
    if (session.durable) recorder_->subscribed(session.number, *added->subscription);
    // 3.1.1 sends retained messages for every SUBSCRIBE, also for one it already had; 5.0 asks.
    // [MQTT5-3.8.4-3], [MQTT5-3.3.1-9…-11]
    const bool replay = !is_shared(text) && (filter.retain_handling == 0 ||
                                             (filter.retain_handling == 1 && !added->existed));
    if (replay && !start_replay(session, *added->subscription)) {
        ++stats_.refused_memory;
        if (!added->existed) remove_subscription(session, *added->subscription);
        return kReasonQuotaExceeded;
    }
    return qos;
}

uint8_t Core::unsubscribe_one(Link& link, const FilterView& filter) {
    Session& session = *link.session;
    const Text text = mounted(link, filter.topic_filter);
    if (text.refused) {
        ++stats_.refused_memory;
        return kReasonImplementationSpecific;
    }
    Subscription* subscription = subscriptions_.find(session, text.bytes);
    if (subscription != nullptr) {
        if (subscription->replay) end_replay(*subscription->replay);
        if (!MQTTD_MUTANT(19)) remove_subscription(session, *subscription);  // it stays subscribed
        if (log_.wants(LogKind::kUnsubscribe)) {
            log_.write(LogKind::kUnsubscribe,
                       "%s %s",
                       Clean(session.id->text()).c_str(),
                       Clean(text.bytes).c_str());
        }
    }
    let_go(text);
    return subscription != nullptr ? kReasonSuccess : kReasonNoSubscriptionExisted;
}

// One that its session no longer wants.
void Core::remove_subscription(Session& session, Subscription& subscription) {
    if (session.durable) {
        recorder_->unsubscribed(session.number, subscription.filter->filter());
        round_->leave(subscription);
    }
    subscriptions_.remove(subscription);
}

void Core::drop_partial(Link& link) {
    PartialRequest* partial = link.partial.get();
    if (partial == nullptr) return;
    if (partial->codes) arena_.release(partial->codes.get());
    arena_.destroy(partial);
    link.partial = nullptr;
}

}  // namespace mqttd
