// Runs: consecutive QoS 0 PUBLISH packets of one link with the same topic, taken as one.
//
// The publisher's own bytes then go to everybody of the same protocol family, one append for each
// however many packets they are. Every packet is checked on its own. What must not go on as it came
// (an alias, an expiry interval, a mount point) is taken as a single packet.

#include "mqttd/topic.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/append_run.h"
#include "broker/core.h"

#include <algorithm>

namespace mqttd {

namespace {

constexpr uint64_t kOnlyAlone = PropertySet::bit(Property::kTopicAlias) |
                                PropertySet::bit(Property::kMessageExpiryInterval) |
                                PropertySet::bit(Property::kSubscriptionIdentifier);

bool may_run(const PublishView& publish) {
    return (publish.property_set.bits & kOnlyAlone) == 0;
}

uint64_t eight_bytes(const uint8_t* at) {
    uint64_t word;
    std::memcpy(&word, at, sizeof word);
    return word;
}

// Whether `size` bytes are the same: for a few, where a call of memcmp costs more than the rest.
bool same_start(const uint8_t* a, const uint8_t* b, size_t size) {
    if (size < 8) return std::memcmp(a, b, size) == 0;
    for (size_t i = 0; i + 8 < size; i += 8) {
        if (eight_bytes(a + i) != eight_bytes(b + i)) return false;
    }
    return eight_bytes(a + size - 8) == eight_bytes(b + size - 8);
}

}  // namespace

// Takes consecutive packets with the same topic from the front of `input`, checking each, and hands
// them on as one run.  Returns the bytes taken (at least the first packet).
uint32_t Core::handle_run(Link& link, const Range& input, const Frame& first, Taken& taken) {
    taken = Taken::kYes;
    const Bytes bytes = bytes_of(input);
    const Result<PublishView> decoded =
        decode_publish(bytes.subspan(first.header, first.size - first.header), 0, link.version);
    if (!decoded) {
        fail(link, decoded.error());
        return first.size;
    }
    const bool alone = !may_run(*decoded) || !listener_of(link).mount_point.empty();
    if (alone) {
        taken = publish_one(link, input.segment, *decoded);
        if (taken == Taken::kAgain) return 0;
        count_run(1);
        return first.size;
    }
    const Error error = check_topic(decoded->topic_name);
    if (error != Error::kNone) {
        fail(link, error);
        return first.size;
    }
    if (dirty_.backlog() > options_.backlog_max) {
        taken = stop_before(link, StopReason::kBacklog);
        return 0;
    }
    Publication run;
    run.topic = decoded->topic_name;
    run.properties = decoded->properties;
    run.payload = range_in(input.segment, decoded->payload);
    run.payload_bytes = decoded->payload.size();
    run.from = link.session.get();
    run.from_number = run.from->number;
    run.wire = {input.segment, input.begin, input.begin + first.size};
    run.wire_largest = first.size;
    const uint32_t limit = options_.message_size_limit;
    const bool too_large = limit != 0 && run.payload_bytes > limit;
    const bool as_it_came = first.length_minimal && !options_.upgrade_outgoing_qos;
    if (as_it_came) run.wire_fits = is_v5(link.version) ? Direct::k5 : Direct::k3;
    const bool one_by_one =
        too_large || options_.queue_qos0_messages || options_.slow_consumer == SlowConsumer::kPause;
    if (as_it_came && !one_by_one) extend_run(link, input, first, run);
    if (options_.slow_consumer == SlowConsumer::kPause && !too_large &&
        !reserved_topic(run.topic)) {
        taken = pass_on(link, run);
        if (taken == Taken::kAgain) return 0;
        count_run(1);
        count_received(run);
        return first.size;
    }
    count_run(run.count);
    count_received(run);
    const uint32_t size = run.wire.size();
    if (too_large) {
        drop(nullptr, Drop::kTooLarge, 1);
        return size;
    }
    if (reserved_topic(run.topic)) {
        drop(nullptr, Drop::kSystemTopic, run.count);
        return size;
    }
    ++stats_.runs;
    publish(run, &link);
    if (link.fanout) taken = stop_behind(link, StopReason::kFanout);
    return size;
}

void Core::count_received(const Publication& run) {
    stats_.publish_received += run.count;
    stats_.publish_received_qos[0] += run.count;
    stats_.publish_bytes_received += run.payload_bytes;
}

void Core::count_run(uint32_t packets) {
    stats_.packets_received_all += packets;
    stats_.packets_received[static_cast<uint32_t>(PacketType::kPublish)] += packets;
    spend(packets);
}

// Lengthens `run`, which holds the first packet of `input`, by those that follow and may join it.
void Core::extend_run(const Link& link, const Range& input, const Frame& first, Publication& run) {
    const Bytes bytes = bytes_of(input);
    // What nearly every further packet begins with behind its fixed header: the topic with its
    // length and, for 5.0, the same properties.
    const bool v5 = is_v5(link.version);
    const size_t topic = run.topic.size() + 2;
    const size_t front = v5 ? first.size - first.header - run.payload.size() : topic;
    const Bytes prefix = bytes.subspan(first.header, front);
    const uint32_t limit = options_.message_size_limit != 0 ? options_.message_size_limit : ~0u;
    const uint32_t payload_size = run.payload.size();
    uint32_t size = first.size;
    while (size < bytes.size() && run.count < visit_units_) {
        // Mostly it is as long as the first one, too.
        if (bytes.size() - size >= first.size &&
            same_start(bytes.data() + size, bytes.data(), first.header + front)) {
            run.payload_bytes += payload_size;
            ++run.count;
            size += first.size;
            continue;
        }
        if (bytes[size] != bytes[0]) break;
        const Result<Frame> next = find_frame(bytes.subspan(size));
        if (!next || !next->header_complete() || !next->length_minimal) break;
        if (next->size > bytes.size() - size || next->size > options_.max_packet_size) break;
        const Bytes body = bytes.subspan(size + next->header, next->size - next->header);
        auto payload = static_cast<uint32_t>(body.size() - front);
        const bool same =
            body.size() >= front && std::memcmp(body.data(), prefix.data(), front) == 0;
        const bool mixed = MQTTD_MUTANT(41) && body.size() >= front;  // a run of several topics
        if (!same && !mixed) {
            if (!v5 || body.size() < topic || std::memcmp(body.data(), prefix.data(), topic) != 0) {
                break;
            }
            const Result<PublishView> publish = decode_publish(body, 0, link.version);
            if (!publish || !may_run(*publish)) break;
            payload = static_cast<uint32_t>(publish->payload.size());
        }
        if (payload > limit) break;
        run.payload_bytes += payload;
        run.wire_largest = std::max(run.wire_largest, next->size);
        ++run.count;
        size += next->size;
    }
    run.wire.end = run.wire.begin + size;
}

}  // namespace mqttd
