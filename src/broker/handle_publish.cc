// PUBLISH: runs at QoS 0, single packets at any QoS.   MQTT 3.1.1 §3.3, §4.3.

#include "mqttd/topic.h"

#include "base/assert.h"
#include "broker/core.h"

namespace mqttd {

namespace {

// A payload as a range of the segment it lies in.
Range range_of(Segment* segment, Bytes bytes) {
    if (bytes.empty()) return {segment, 0, 0};
    const auto begin = static_cast<uint32_t>(bytes.data() - segment->data());
    return {segment, begin, begin + static_cast<uint32_t>(bytes.size())};
}

// The bytes from the properties to the end of the packet lie together.
Publication publication_from(const PublishView& publish,
                             Segment* segment,
                             Session* from,
                             Version version) {
    Publication publication;
    publication.topic = publish.topic_name;
    publication.tail = range_of(segment, publish.payload);
    publication.tail.begin -= static_cast<uint32_t>(publish.properties.size());
    publication.properties_size = static_cast<uint32_t>(publish.properties.size());
    publication.qos = publish.qos;
    publication.retain = publish.retain;
    publication.version = version;
    publication.from = from;
    publication.payload_bytes = publish.payload.size();
    return publication;
}

}  // namespace

// Clients do not write where the broker speaks.
bool Core::reserved_topic(Bytes topic) {
    const std::string_view text = as_text(topic);
    return text.starts_with("$SYS/") || text == "$SYS" || text.starts_with("$share/") ||
           text.starts_with("$CONTROL/");
}

// Levels and length: what a topic may cost.
Error Core::check_topic(Bytes topic) const {
    if (topic.size() > options_.max_topic_len) return Error::kTopicNameInvalid;
    if (topic.size() >= options_.max_topic_levels &&
        level_count(topic) > options_.max_topic_levels) {
        return Error::kTopicNameInvalid;
    }
    return Error::kNone;
}

// Takes consecutive QoS 0 PUBLISH packets with the same topic from the front of `input`, checking
// each, and hands them on as one run.  Returns the bytes taken (at least the first packet).
uint32_t Core::handle_run(Link& link, const Range& input, const Frame& first, Taken& taken) {
    taken = Taken::kYes;
    const Bytes bytes = bytes_of(input);
    const Result<PublishView> decoded =
        decode_publish(bytes.subspan(first.header, first.size - first.header), 0, link.version);
    if (!decoded || check_topic(decoded->topic_name) != Error::kNone) {
        fail(link, decoded ? Error::kTopicNameInvalid : decoded.error());
        return first.size;
    }
    if (dirty_.backlog() > options_.backlog_max) {
        taken = stop_before(link, StopReason::kBacklog);
        return 0;
    }
    Publication run = publication_from(*decoded, input.segment, link.session.get(), link.version);
    // The topic with its length: what every further packet of the run must begin with.
    const uint32_t topic_size = static_cast<uint32_t>(decoded->topic_name.size()) + 2;
    const uint8_t* topic = bytes.data() + first.header;
    const uint32_t limit = options_.message_size_limit;
    const bool too_large = limit != 0 && run.payload_bytes > limit;
    uint32_t size = first.size;
    const bool mergeable = first.length_minimal && !too_large && !options_.queue_qos0_messages;
    while (mergeable && size < bytes.size() && bytes[size] == bytes[0] &&
           run.count < visit_units_) {
        const Result<Frame> next = find_frame(bytes.subspan(size));
        if (!next || !next->header_complete() || !next->length_minimal) break;
        const uint32_t body = next->size - next->header;
        if (next->size > bytes.size() - size || next->size > options_.max_packet_size) break;
        if (body < topic_size) break;
        if (limit != 0 && body - topic_size > limit) break;
        if (std::memcmp(bytes.data() + size + next->header, topic, topic_size) != 0) break;
        run.payload_bytes += body - topic_size;
        ++run.count;
        size += next->size;
    }
    stats_.packets_received_all += run.count;
    stats_.packets_received[static_cast<uint32_t>(PacketType::kPublish)] += run.count;
    stats_.publish_received += run.count;
    stats_.publish_received_qos[0] += run.count;
    stats_.publish_bytes_received += run.payload_bytes;
    link.packets_in += run.count;
    spend(run.count);
    if (too_large) {
        drop(nullptr, Drop::kTooLarge, 1);
        return size;
    }
    if (reserved_topic(run.topic)) {
        drop(nullptr, Drop::kSystemTopic, run.count);
        return size;
    }
    ++stats_.runs;
    if (first.length_minimal) run.wire = {input.segment, input.begin, input.begin + size};
    publish(run, &link);
    if (link.fanout) taken = stop_behind(link, StopReason::kFanout);
    return size;
}

Core::Taken Core::handle_publish(Link& link, const Input& input) {
    const Result<PublishView> decoded =
        decode_publish(input.body(), input.frame.flags(), link.version);
    if (!decoded || check_topic(decoded->topic_name) != Error::kNone) {
        fail(link, decoded ? Error::kTopicNameInvalid : decoded.error());
        return Taken::kYes;
    }
    const PublishView& publish = *decoded;
    if (publish.retain && !options_.retain_available) {
        fail(link, Error::kRetainNotSupported);
        return Taken::kYes;
    }
    if (dirty_.backlog() > options_.backlog_max) return stop_before(link, StopReason::kBacklog);
    Taken taken = Taken::kYes;
    const uint32_t limit = options_.message_size_limit;
    const bool too_large = limit != 0 && publish.payload.size() > limit;
    if (publish.qos == 2) {
        taken = accept_qos2(link, publish, input);
        if (taken == Taken::kAgain) return taken;
    } else if (too_large) {
        drop(nullptr, Drop::kTooLarge, 1);
    } else if (reserved_topic(publish.topic_name)) {
        drop(nullptr, Drop::kSystemTopic, 1);
    } else {
        Publication publication =
            publication_from(publish, input.range.segment, link.session.get(), link.version);
        taken = pass_on(link, publication);
        if (taken == Taken::kAgain) return taken;
    }
    ++stats_.publish_received;
    ++stats_.publish_received_qos[publish.qos];
    stats_.publish_bytes_received += publish.payload.size();
    if (publish.qos == 1 && link.state == LinkState::kConnected) {
        answer(link, PacketType::kPuback, publish.packet_id);
    }
    return taken;
}

// Publishes; the link waits before the packet if memory is short (so that it is not acknowledged
// and lost), and behind it while a job hands it out.
Core::Taken Core::pass_on(Link& link, Publication& publication) {
    if (!publish(publication, &link)) {
        return wait_for_memory(link);
    }
    return link.fanout ? stop_behind(link, StopReason::kFanout) : Taken::kYes;
}

// QoS 2: kept until its PUBREL.  A repeated identifier is answered again and not kept again.
Core::Taken Core::accept_qos2(Link& link, const PublishView& publish, const Input& input) {
    Session& session = *link.session;
    AwaitingRel* awaiting = session.awaiting.get();
    if (awaiting != nullptr && awaiting->find(publish.packet_id) != nullptr) {
        answer(link, PacketType::kPubrec, publish.packet_id);
        return Taken::kYes;
    }
    if (awaiting != nullptr && options_.max_awaiting_rel != 0 &&
        awaiting->size() >= options_.max_awaiting_rel) {
        drop(&session, Drop::kAwaitRel, 1);  // 3.x has no way to say so: no PUBREC
        return Taken::kYes;
    }
    Message* message = nullptr;
    const uint32_t limit = options_.message_size_limit;
    const bool too_large = limit != 0 && publish.payload.size() > limit;
    const bool keep = !too_large && !reserved_topic(publish.topic_name);
    if (!keep) drop(nullptr, too_large ? Drop::kTooLarge : Drop::kSystemTopic, 1);
    if (keep) {
        const Publication parts =
            publication_from(publish, input.range.segment, &session, link.version);
        message = messages_.make({parts.topic,
                                  parts.tail,
                                  parts.properties_size,
                                  publish.qos,
                                  publish.retain,
                                  link.version});
    }
    if (awaiting == nullptr) {
        awaiting = arena_.make<AwaitingRel>(Arena::Use::kNormal);
        session.awaiting = awaiting;
    }
    const bool kept = awaiting != nullptr && (message != nullptr || !keep) &&
                      awaiting->insert(arena_, publish.packet_id, now_s(), message);
    if (!kept) {
        if (message != nullptr) messages_.drop(*message);
        return wait_for_memory(link);
    }
    ++stats_.inflight_in;
    if (options_.await_rel_timeout_s != 0) {
        arm_session_by(session, now_ + options_.await_rel_timeout_s * kSecond);
    }
    answer(link, PacketType::kPubrec, publish.packet_id);
    return Taken::kYes;
}

}  // namespace mqttd
