// PUBLISH: one packet at a time; runs at QoS 0 are in handle_run.cc.   MQTT 3.1.1 §3.3, §4.3.

#include "mqttd/topic.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/append_run.h"
#include "broker/core.h"
#include "broker/recorder.h"
#include "mqtt/properties.h"

namespace mqttd {

// Clients do not write where the broker speaks.
bool Core::reserved_topic(Bytes topic) {
    const std::string_view text = as_text(topic);
    return text.starts_with("$SYS/") || text == "$SYS" || is_shared(topic) ||
           text.starts_with("$CONTROL/");
}

// Levels and length: what a topic may cost behind its mount point.
Error Core::check_topic(Bytes topic, std::string_view mount) const {
    const size_t size = mount.size() + topic.size();
    if (size > options_.max_topic_len) return Error::kTopicNameInvalid;
    if (size >= options_.max_topic_levels &&
        level_count(as_bytes(mount)) - 1 + level_count(topic) > options_.max_topic_levels) {
        return Error::kTopicNameInvalid;
    }
    return Error::kNone;
}

// What ends the link of whoever sends it.
Error Core::check_publish(const Link& link, const PublishView& publish) const {
    if (publish.property_set.has(Property::kSubscriptionIdentifier)) {
        return Error::kProtocolError;  // [MQTT5-3.3.4-6]
    }
    if (publish.retain && !options_.retain_available) return Error::kRetainNotSupported;
    if (publish.qos > listener_of(link).max_qos) return Error::kQosNotSupported;
    return check_topic(publish.topic_name);
}

Core::Taken Core::handle_publish(Link& link, const Input& input) {
    const Result<PublishView> decoded =
        decode_publish(input.body(), input.frame.flags(), link.version);
    if (!decoded) {
        fail(link, decoded.error());
        return Taken::kYes;
    }
    return publish_one(link, input.range.segment, *decoded);
}

// A packet that was decoded: its topic and properties as they are passed on.
Core::Taken Core::publish_one(Link& link, Segment* segment, const PublishView& publish) {
    const Error error = check_publish(link, publish);
    if (error != Error::kNone) {
        fail(link, error);
        return Taken::kYes;
    }
    if (dirty_.backlog() > options_.backlog_max) return stop_before(link, StopReason::kBacklog);
    const Result<Bytes> name = resolve_alias(link, publish);
    if (!name) {
        if (name.error() == Error::kNoMemory) return wait_for_memory(link);
        fail(link, name.error());
        return Taken::kYes;
    }
    const Text topic = mounted(link, *name);
    const Text properties = passed_on(publish.property_set, publish.properties);
    Taken taken = Taken::kYes;
    if (topic.refused || properties.refused) {
        taken = wait_for_memory(link);
    } else if (check_topic(topic.bytes) != Error::kNone) {
        fail(link, Error::kTopicNameInvalid);
    } else {
        Publication publication;
        publication.topic = topic.bytes;
        publication.properties = properties.bytes;
        publication.payload = range_in(segment, publish.payload);
        publication.expires_s = expiry_in(publish.property_set, publish.properties);
        publication.qos = publish.qos;
        publication.retain = publish.retain;
        publication.from = link.session.get();
        publication.from_number = publication.from->number;
        publication.payload_bytes = publish.payload.size();
        taken = take_publish(link, publish, publication);
    }
    let_go(topic);
    let_go(properties);
    return taken;
}

// When a message with these properties is too old.
uint64_t Core::expiry_in(PropertySet set, Bytes properties) const {
    if (!set.has(Property::kMessageExpiryInterval)) return kNeverExpires;
    return uint64_t{now_s_up()} + property_number(properties, Property::kMessageExpiryInterval, 0);
}

Core::Taken Core::take_publish(Link& link, const PublishView& publish, Publication& publication) {
    const uint8_t refusal = refusal_of(link, publish, publication);
    Taken taken = Taken::kYes;
    if (publish.qos == 2) {
        taken = accept_qos2(link, publish, publication, refusal);
    } else if (refusal == 0) {
        taken = pass_on(link, publication);
    }
    if (taken == Taken::kAgain) return taken;
    ++stats_.publish_received;
    ++stats_.publish_received_qos[publish.qos];
    stats_.publish_bytes_received += publish.payload.size();
    if (publish.qos == 1 && link.state == LinkState::kConnected) {
        answer(link,
               PacketType::kPuback,
               publish.packet_id,
               refusal != 0 ? refusal : answer_of(publication));
    }
    return taken;
}

// Why this message is not passed on though its link goes on, as a reason code; 0 if it is.  Counts
// it.
uint8_t Core::refusal_of(const Link& link,
                         const PublishView& publish,
                         const Publication& publication) {
    const uint32_t limit = options_.message_size_limit;
    if (limit != 0 && publication.payload.size() > limit) {
        drop(nullptr, Drop::kTooLarge, 1);
        return kReasonImplementationSpecific;
    }
    if (reserved_topic(publication.topic)) {
        drop(nullptr, Drop::kSystemTopic, 1);
        return kReasonNotAuthorized;
    }
    AwaitingRel* awaiting = link.session->awaiting.get();
    const bool in_use = is_v5(link.version) && publish.qos == 1 && awaiting != nullptr &&
                        awaiting->find(publish.packet_id) != nullptr;
    return in_use ? kReasonPacketIdInUse : 0;
}

// What the publisher is told of a message that was passed on.
uint8_t Core::answer_of(const Publication& publication) const {
    if (publication.no_disk) return kReasonQuotaExceeded;
    if (publication.nobody) return kReasonNoMatchingSubscribers;
    const bool refused = options_.queue_full == QueueFull::kRefuse && publication.full;
    return refused && !publication.taken ? kReasonQuotaExceeded : kReasonSuccess;
}

// Publishes; the link waits before the packet if memory is short (so that it is not acknowledged
// and lost), and behind it while a job hands it out.
Core::Taken Core::pass_on(Link& link, Publication& publication) {
    publication.kept = link.retained;
    if (link.retained && recorder_ != nullptr)
        said_before_ = recorder_->said() - 1;  // its answer waits
    if (!publish(publication, &link)) {
        if (MQTTD_MUTANT(1)) return Taken::kYes;  // acknowledged and not kept
        if (publication.no_disk) return refuse_for_disk(link, publication);
        link.retained = publication.kept;
        return publication.paused ? pause(link) : wait_for_memory(link);
    }
    return link.fanout ? stop_behind(link, StopReason::kFanout) : Taken::kYes;
}

// 5.0 can be told, at QoS 1; who cannot waits.
Core::Taken Core::refuse_for_disk(Link& link, const Publication& publication) {
    if (!is_v5(link.version) || publication.qos != 1) return wait_for_disk(link);
    drop(nullptr, Drop::kDisk, 1);
    return Taken::kYes;
}

// Nobody reads what it publishes: it goes on when somebody does.
Core::Taken Core::pause(Link& link) {
    if (!link.waiting) {
        links_.remove(link);
        paused_.push_back(link);
        link.waiting = true;
        ++stats_.pauses;
        ++stats_.paused_publishers;
    }
    return stop_before(link, StopReason::kSlowConsumer);
}

// QoS 2: kept until its PUBREL.  A repeated packet is answered again and not kept again.
Core::Taken Core::accept_qos2(Link& link,
                              const PublishView& publish,
                              const Publication& publication,
                              uint8_t refusal) {
    Session& session = *link.session;
    const bool v5 = is_v5(link.version);
    const auto refuse = [&](uint8_t reason) {
        answer(link, PacketType::kPubrec, publish.packet_id, reason);
        return Taken::kYes;
    };
    AwaitingRel* awaiting = session.awaiting.get();
    if (awaiting != nullptr && awaiting->find(publish.packet_id) != nullptr) {
        return refuse(v5 && !publish.dup ? kReasonPacketIdInUse : kReasonSuccess);
    }
    if (v5 && refusal != 0) return refuse(refusal);
    if (session.durable && disk_fails()) {
        if (!v5) return wait_for_disk(link);
        drop(nullptr, Drop::kDisk, 1);
        return refuse(kReasonQuotaExceeded);
    }
    const uint32_t most = options_.max_awaiting_rel;
    if (awaiting != nullptr && most != 0) {
        // 5.0 was told how many at a time; what an earlier connection left comes on top, bounded.
        if (v5 && awaiting->on_connection() >= most) {
            drop(&session, Drop::kAwaitRel, 1);
            fail(link, Error::kReceiveMaximumExceeded);
            return Taken::kYes;
        }
        const bool too_many = awaiting->size() >= (v5 ? uint64_t{most} * 2 : most);
        if (too_many) {
            drop(&session, Drop::kAwaitRel, 1);
            // 3.x has no way to say so: no PUBREC.
            return v5 ? refuse(kReasonQuotaExceeded) : Taken::kYes;
        }
    }
    MessageParts parts = parts_of(publication);
    parts.priority = priority_of(publication.topic);
    Message* message = refusal == 0 ? messages_.make(parts) : nullptr;
    if (awaiting == nullptr) {
        awaiting = arena_.make<AwaitingRel>(Arena::Use::kNormal);
        session.awaiting = awaiting;
    }
    const bool kept = awaiting != nullptr && (message != nullptr || refusal != 0) &&
                      awaiting->insert(arena_, publish.packet_id, now_s_up(), message);
    if (!kept) {
        if (message != nullptr) messages_.drop(*message);
        return wait_for_memory(link);
    }
    ++stats_.inflight_in;
    if (session.durable) recorder_->inbound(session.number, publish.packet_id, message);
    if (options_.await_rel_timeout_s != 0) {
        arm_session_by(session, now_ + options_.await_rel_timeout_s * kSecond);
    }
    answer(link, PacketType::kPubrec, publish.packet_id);
    return Taken::kYes;
}

}  // namespace mqttd
