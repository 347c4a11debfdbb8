// What the journal says of messages on their way: queued, under way, on disk only, inbound.

#include "mqttd/topic.h"

#include "broker/recorder.h"
#include "broker/restore.h"

namespace mqttd {

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
        fill(flow, **found, read);
    }
    if (reader.damaged()) ++report_.unreadable;
}

void Restore::fill(Flow& flow, Message& message, const DurableDelivery& read) {
    flow.message = &message;
    core_.messages_.hold(message);
    flow.qos = read.qos;
    flow.retain = read.retain;
    flow.limited = read.limited;
    if (read.id_count > 0) flow.ids = Recorder::ids_of(core_.arena_, read);
}

// What was said of these deliveries before counts no more.
void Restore::page(Bytes body, uint64_t position) {
    PageReader reader(body);
    const uint64_t name = reader.page().name != 0 ? reader.page().name : position;
    if (find(reader.page().session) == nullptr) return;
    Page found{position, reader.page().session, static_cast<uint32_t>(body.size()), {}};
    DurablePageEntry read;
    while (reader.next(read)) {
        if (read.delivery.number == 0) continue;  // QoS 0: for that life only
        const uint64_t key = key_of(found.session, read.delivery.number);
        unknown_queued_.erase(key);
        if (Flow* flow = queued_.find(key)) {
            let_go(*flow);
            queued_.erase(key);
        }
        found.sum.add(read);
    }
    if (reader.damaged()) ++report_.unreadable;
    if (found.sum.count > 0) pages_.make(name) = found;
}

// One body, so that a start finds them either there or here.
void Restore::page_taken(Bytes body, uint64_t position) {
    PageReader reader(body);
    pages_.erase(reader.page().name);
    const uint32_t number = reader.page().session;
    if (find(number) == nullptr) return;
    const uint64_t base = reader.page().base != 0 ? reader.page().base : position;
    DurablePageEntry read;
    while (reader.next(read)) {
        if (read.delivery.number == 0) continue;  // QoS 0: for that life only
        read.message.name = base + read.place;
        Message* message = keep(read.message, position);
        if (message == nullptr) continue;
        Flow& flow = queued_.make(key_of(number, read.delivery.number));
        if (flow.message == nullptr) fill(flow, *message, read.delivery);
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

}  // namespace mqttd
