// Shared subscriptions: each message goes to one member of each group that matches.
//
// A run is taken apart here: its messages are dealt out one by one. Who is away or blocked is
// passed over while there is somebody else. What a member had not acknowledged when its session
// ends goes to another one, unless it is of QoS 2 and had been begun with it.   MQTT 5.0 §4.8.2

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/append_run.h"
#include "broker/core.h"
#include "broker/recorder.h"
#include "broker/window.h"

namespace mqttd {

namespace {

constexpr uint32_t kGroupUnits = 4;   // a choice, in units
constexpr uint32_t kAsksPerUnit = 4;  // … where many have to be asked

}  // namespace

// At most `most`.
uint32_t Core::count_groups(const FilterNode& filter, uint32_t most) {
    uint32_t count = 0;
    for (const SharedGroup* group = filter.groups.get(); group != nullptr && count < most;
         group = group->next.get()) {
        ++count;
    }
    return count;
}

// Hands it to the next group of the filter.  False when there is none left.
bool Core::hand_to_groups(Publication& publication, FilterNode& filter, GroupCursor& cursor) {
    SharedGroup* group = subscriptions_.next_group(filter, cursor);
    if (group == nullptr) return false;
    spend(kGroupUnits * publication.count);
    publication.filter = nullptr;
    if (publication.count == 1) {
        hand_to_group(publication, *group);
        return true;
    }
    Range rest = publication.wire;
    for_each_packet(publication, [&](const MessageParts& parts) {
        const Result<Frame> frame = find_frame(bytes_of(rest));
        Publication one;
        const Ending ending{*this, one};
        one.topic = parts.topic;
        one.properties = parts.properties;
        one.payload = parts.payload;
        one.from = publication.from;
        one.from_number = publication.from_number;
        one.payload_bytes = parts.payload.size();
        one.system = publication.system;
        one.upgrade = publication.upgrade;
        one.queue_qos0 = publication.queue_qos0;
        one.wire = {rest.segment, rest.begin, rest.begin + frame->size};
        one.wire_fits = publication.wire_fits;
        one.wire_largest = frame->size;
        rest.begin += frame->size;
        hand_to_group(one, *group);
        publication.taken = publication.taken || one.taken;
        return true;
    });
    return true;
}

void Core::hand_to_group(Publication& publication, SharedGroup& group) {
    if (MQTTD_MUTANT(6) && stats_.publish_received % 5 == 0) return;  // a group goes without
    uint32_t hint = 0;
    if (options_.shared_strategy == SharedStrategy::kHash) {
        hint = static_cast<uint32_t>(siphash(key_, publication.topic));
    }
    uint32_t asked = 0;
    const Choice choice =
        group.choose(options_.shared_strategy, hint, [&](const Subscription& member) {
            ++asked;
            const auto& session = static_cast<const Session&>(*member.subscriber);
            if (hidden(session, group.filter->filter(), publication.topic)) return Judgement{};
            const uint8_t qos = granted_qos(publication, member.options);
            return judge_member(session, qos, publication.queue_qos0);
        });
    if (asked > SharedGroup::kProbes) spend(asked / kAsksPerUnit);
    if (choice.member == nullptr) {
        drop(nullptr, Drop::kNoMember, publication.count);
        return;
    }
    auto& session = static_cast<Session&>(*choice.member->subscriber);
    const uint8_t options = choice.member->options;
    hand_with(publication, session, options, choice.member->identifier, group.number);
}

// Whether no member reads though one is connected: who is absent is passed over.  Takes what it
// looks at from `looks`; false when they are used up.
bool Core::group_blocked(SharedGroup& group, uint32_t& looks) {
    bool blocked = false;
    for (uint32_t i = 0; i < group.count; ++i, --looks) {
        if (looks == 0) return false;
        const auto& session = static_cast<const Session&>(*group.at(i)->subscriber);
        if (!session.link) continue;
        if (!session.outbox->blocked()) return false;
        blocked = true;
    }
    return blocked;
}

// Whether a member can take a message at this QoS now, or at least later.
Judgement Core::judge_member(const Session& session, uint8_t qos, bool queue_qos0) const {
    if (session.dead) return {};
    const Outflow* outflow = session.outflow.get();
    const uint32_t load = outflow != nullptr ? outflow->queue.size() + outflow->window.live() : 0;
    const Usable waits = qos > 0 || queue_qos0 ? Usable::kLater : Usable::kNo;
    const bool reads = session.link && !session.link->broken && !session.outbox->blocked();
    if (MQTTD_MUTANT(36)) return {Usable::kNow, load};  // absent members are chosen, too
    if (!reads) return {waits, load};
    const bool open =
        outflow == nullptr || (outflow->queue.empty() && (qos == 0 || window_has_room(session, 0)));
    if (MQTTD_MUTANT(52) && !open) return {waits, load};  // QoS 0 is lost behind what is queued
    return {open ? Usable::kNow : Usable::kLater, load};  // QoS 0 overtakes what is queued
}

// A message that a member whose session has ended had not acknowledged goes to another one of the
// group it came through.  False if that has gone.
bool Core::redistribute(Message& message, uint16_t number) {
    spend(kGroupUnits);
    SharedGroup* group = subscriptions_.group_of(number, message.topic());
    if (group == nullptr) return false;
    Publication publication = publication_of(message, nullptr);
    const Ending ending{*this, publication};
    publication.begun = true;
    if (message.recorded) recorder_->doubt(message);
    hand_to_group(publication, *group);
    return true;
}

}  // namespace mqttd
