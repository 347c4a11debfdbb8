// SUBSCRIBE and UNSUBSCRIBE.   MQTT 3.1.1 §3.8, §3.10.
//
// A packet may carry hundreds of thousands of filters. They are taken in slices: the link stops
// before the packet (it is not consumed), a PartialRequest remembers how far it is, and the packet
// comes again in the next turn. The answer leaves when all are done.

#include "mqttd/topic.h"

#include "base/assert.h"
#include "broker/core.h"

namespace mqttd {

namespace {

constexpr uint8_t kSubackFailure = 0x80;

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
        if (type == PacketType::kSubscribe) {
            partial->codes = static_cast<uint8_t*>(arena_.allocate(request.filter_count));
            if (!partial->codes) {
                drop_partial(link);
                return wait_for_memory(link);
            }
        }
    } else {
        // Checked when it came the first time; only its place in memory may be new.
        request.packet_id = static_cast<uint16_t>(body[0] << 8 | body[1]);
        request.filters = body.subspan(2);
    }
    Bytes rest = request.filters.subspan(partial->offset);
    for (uint32_t slice = 0; !rest.empty() && slice < limits::kFiltersPerSlice; ++slice) {
        const FilterView filter = next_filter(rest, type);
        if (type == PacketType::kSubscribe) {
            partial->codes[partial->done] = subscribe_one(link, filter);
        } else {
            unsubscribe_one(link, filter);
        }
        ++partial->done;
        partial->offset = static_cast<uint32_t>(request.filters.size() - rest.size());
        spend(limits::kSubscribeUnits);
    }
    if (!rest.empty()) return stop_before(link, StopReason::kBudget);
    return finish_request(link, request, type);
}

Core::Taken Core::finish_request(Link& link, const SubscribeView& request, PacketType type) {
    PartialRequest& partial = *link.partial;
    MQTTD_ASSERT(partial.done == partial.count);
    if (type == PacketType::kUnsubscribe) {
        drop_partial(link);
        answer(link, PacketType::kUnsuback, request.packet_id);
        return Taken::kYes;
    }
    const uint32_t header = suback_header_size(partial.count, link.version);
    uint8_t* at = link.outbox->room(arena_, header + partial.count, Arena::Use::kReserve);
    if (at == nullptr) {
        ++stats_.refused_memory;
        end_link(link, Error::kNoMemory, true);
        return Taken::kYes;
    }
    encode_suback_header(at, PacketType::kSuback, request.packet_id, partial.count, link.version);
    std::memcpy(at + header, partial.codes.get(), partial.count);
    link.outbox->commit(header + partial.count);
    ++stats_.packets_sent_all;
    ++stats_.packets_sent[static_cast<uint32_t>(PacketType::kSuback)];
    drop_partial(link);
    delivered(link, true);
    return Taken::kYes;
}

// Subscribes to one filter and starts its retained replay.  Returns the SUBACK code.
uint8_t Core::subscribe_one(Link& link, const FilterView& filter) {
    Session& session = *link.session;
    if (check_topic(filter.topic_filter) != Error::kNone) return kSubackFailure;
    if (is_shared(filter.topic_filter)) return kSubackFailure;  // to come
    const uint8_t options = filter.qos | suboption::kPlain;
    const auto added = subscriptions_.subscribe(session, filter.topic_filter, options);
    if (!added) {
        ++stats_.refused_memory;
        return kSubackFailure;
    }
    log_.write(LogKind::kSubscribe,
               "%s %u %s",
               Clean(session.id->text()).c_str(),
               unsigned{filter.qos},
               Clean(filter.topic_filter).c_str());
    // 3.1.1 sends retained messages for every SUBSCRIBE, also for one it already had.
    // [MQTT-3.8.4-3]
    if (!start_replay(session, *added->subscription)) {
        ++stats_.refused_memory;
        if (!added->existed) subscriptions_.remove(*added->subscription);
        return kSubackFailure;
    }
    return filter.qos;
}

void Core::unsubscribe_one(Link& link, const FilterView& filter) {
    Session& session = *link.session;
    Subscription* subscription = subscriptions_.find(session, filter.topic_filter);
    if (subscription == nullptr) return;
    if (subscription->replay) end_replay(*subscription->replay);
    subscriptions_.remove(*subscription);
    log_.write(LogKind::kUnsubscribe,
               "%s %s",
               Clean(session.id->text()).c_str(),
               Clean(filter.topic_filter).c_str());
}

void Core::drop_partial(Link& link) {
    PartialRequest* partial = link.partial.get();
    if (partial == nullptr) return;
    if (partial->codes) arena_.release(partial->codes.get());
    arena_.destroy(partial);
    link.partial = nullptr;
}

}  // namespace mqttd
