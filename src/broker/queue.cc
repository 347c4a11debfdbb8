// What waits for one session: the window, the queue behind it, what a full queue drops.

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/core.h"
#include "broker/paging.h"
#include "broker/recorder.h"
#include "broker/sys_alarms.h"
#include "broker/sys_text.h"
#include "broker/window.h"

#include <algorithm>

namespace mqttd {

namespace {

// An alarm about a client bears the beginning of its identifier.
constexpr uint32_t kQueueAlarmName = 200;
constexpr uint32_t kQueueAlarmId = kQueueAlarmName + 32;

}  // namespace

Outflow* Core::ensure_outflow(Session& session) {
    if (!session.outflow) session.outflow = arena_.make<Outflow>(Arena::Use::kNormal);
    return session.outflow.get();
}

// Into the session's queue, within its limits; what a full one drops is `queue_full`.
Core::Queued Core::enqueue(Session& session, Message& message, const Delivery& delivery) {
    Outflow* outflow = ensure_outflow(session);
    if (outflow == nullptr) return Queued::kNoMemory;
    // Nobody knows when it comes; who reads too slowly is shed in time.
    const bool scarce = !session.link && arena_.pressure() >= Arena::Pressure::kGrowth;
    if (delivery.limited && scarce) return Queued::kNoMemory;
    if (delivery.limited && !make_room(session, message)) return Queued::kFull;
    SubscriptionIds* ids = nullptr;
    if (!delivery.ids.empty()) {
        ids = SubscriptionIds::make(arena_, delivery.ids);
        if (ids == nullptr) return Queued::kNoMemory;
    }
    const bool recorded = session.durable && delivery.qos > 0 && message.named;
    const uint32_t name = recorded ? next_delivery(*outflow) : 0;
    const Waiting waiting{
        &message, ids, delivery.qos, delivery.retain, delivery.limited, delivery.shared, name};
    if (!outflow->queue.push(arena_, waiting)) {
        if (ids != nullptr) arena_.release(ids);
        return Queued::kNoMemory;
    }
    if (recorded) {
        recorder_->delivery(session.number,
                            message,
                            {name, false, delivery.qos, delivery.retain, delivery.limited},
                            delivery.ids);
    }
    messages_.hold(message);
    ++stats_.queued;
    stats_.queued_bytes += message.payload_size;
    if (delivery.qos == 0) session.direct = Direct::kNo;
    watch_queue(session);
    if (session.durable) paging_->grew(session);
    return Queued::kYes;
}

// Whether the message fits the session's queue, or something was dropped to make it fit.
bool Core::make_room(Session& session, const Message& message) {
    OutQueue& queue = session.outflow->queue;
    const auto full = [&] {
        return (options_.max_queued_messages != 0 &&
                queue.limited() >= options_.max_queued_messages) ||
               (options_.max_queued_bytes != 0 &&
                queue.limited_bytes() + message.payload_size > options_.max_queued_bytes);
    };
    while (full() && !queue.empty() && !queue.front_away() &&
           queue.front().message->expired(now_s())) {
        drop_queued(session, queue.pop(arena_), Drop::kExpired);
    }
    const bool fits =
        options_.max_queued_bytes == 0 || message.payload_size <= options_.max_queued_bytes;
    while (options_.queue_full == QueueFull::kDropOld && fits && full() && queue.limited() > 0 &&
           queue.lowest_priority() <= message.priority) {
        Waiting oldest;
        if (!queue.pop_lowest(arena_, oldest)) break;
        drop_queued(session, oldest, Drop::kQueueFull);
    }
    if (!full()) return true;
    drop(&session, Drop::kQueueFull, 1);
    if (options_.queue_full == QueueFull::kDisconnect && session.link && !session.link->broken) {
        ++stats_.slow_closed;
        tell_why(*session.link, Error::kQuotaExceeded);
        break_off(*session.link, Error::kQuotaExceeded);
    }
    return false;
}

// 0 is no name.
uint32_t Core::next_delivery(Outflow& outflow) {
    if (++outflow.deliveries == 0) ++outflow.deliveries;
    return outflow.deliveries;
}

void Core::drop_queued(Session& session, const Waiting& waiting, Drop reason) {
    if (waiting.delivery != 0) recorder_->dropped(session.number, waiting.delivery);
    forget(session, waiting);
    drop(&session, reason, 1);
}

// Lets go of what came out of a queue.
void Core::forget(Session& session, const Waiting& waiting) {
    --stats_.queued;
    stats_.queued_bytes -= waiting.message->payload_size;
    if (!MQTTD_MUTANT(43)) messages_.drop(*waiting.message);  // what was queued is never let go
    if (waiting.ids != nullptr) arena_.release(waiting.ids);
    watch_queue(session);
}

// One alarm when the queue rises above its high watermark, and its end when it has fallen below the
// low one; at a mark itself nothing changes, but an empty queue is below any. Our own messages do
// not count: an alarm that waits in the queue it is about would raise and end itself for ever.
void Core::watch_queue(Session& session) {
    if (session.dead) return;  // see bury
    const OutQueue& queue = session.outflow->queue;
    const uint32_t permille =
        session.queue_alarm ? options_.queue_low_permille : options_.queue_high_permille;
    const auto beyond = [&](uint64_t size, uint64_t most) {
        if (most == 0 || size == 0) return false;
        const uint64_t rest = most % 1'000 * permille;
        const uint64_t mark = most / 1'000 * permille + rest / 1'000;
        return size > mark || (session.queue_alarm && size == mark && rest % 1'000 == 0);
    };
    const bool high = beyond(queue.watched(), options_.max_queued_messages) ||
                      beyond(queue.watched_bytes(), options_.max_queued_bytes);
    if (high == session.queue_alarm || !tell_queue_alarm(session, high)) return;
    session.queue_alarm = high;
    stats_.queue_alarms += high ? 1u : ~uint64_t{0};
}

// The alarm of a dead session ends with it; if its client has a new one with an alarm of its own,
// which bears the same name, that stays.  False if it could not be noted.
bool Core::end_queue_alarm(Session& session) {
    const Session* next = find_session(session.id->text());
    const bool stays = next != nullptr && next->queue_alarm;
    if (!stays && !tell_queue_alarm(session, false)) return false;
    session.queue_alarm = false;
    --stats_.queue_alarms;
    return true;
}

// False if the alarm could not be noted: it is told with the next change of the queue.
bool Core::tell_queue_alarm(Session& session, bool high) {
    const Clean name(session.id->text());
    SysTextOf<kQueueAlarmId> id;
    id.add("queue_high_watermark.").add(as_text(session.id->text()).substr(0, kQueueAlarmName));
    if (!high) return sys_ == nullptr || clear_alarm(id.text());
    SysTextOf<160> summary;
    summary.number(session.outflow->queue.watched()).add(" messages, ");
    summary.number(session.outflow->queue.watched_bytes()).add(" bytes wait");
    SysTextOf<1024> json;
    SysAlarms::write(json, id.text(), "queue above its high watermark", summary.text(), wall_s_);
    if (sys_ != nullptr && !raise_alarm(id.text(), json.text())) return false;
    log_.write(LogKind::kWarning,
               "Queue of client %s is above its high watermark: %u messages, %llu bytes.",
               name.c_str(),
               session.outflow->queue.watched(),
               static_cast<unsigned long long>(session.outflow->queue.watched_bytes()));
    return true;
}

}  // namespace mqttd
