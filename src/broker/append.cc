// PUBLISH packets into outboxes.
//
// Every packet has a head of its own (fixed header, topic or alias, packet id, the properties that
// are about this receiver) and a tail that all share (the publisher's properties, the payload). A
// short payload is copied behind its head, a long one is appended as a range.

#include "base/assert.h"
#include "base/mutant.h"
#include "broker/append_run.h"
#include "broker/core.h"
#include "mqtt/properties.h"

namespace mqttd {

namespace {

// Subscription identifiers, alias, expiry.
constexpr uint32_t kOwnPropertiesMax = limits::kIdsBytes + 3 + 5;

uint8_t* put(uint8_t* at, Bytes bytes) {
    if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
    return at + bytes.size();
}

}  // namespace

// What a receiver is told of the Message Expiry Interval.   [MQTT5-3.3.2-6]
uint32_t Core::remaining_s(uint64_t expires_s) const {
    if (MQTTD_MUTANT(12)) return 86'400;  // the rest of the expiry is not counted down
    return expires_s > now_s_up() ? static_cast<uint32_t>(expires_s - now_s_up()) : 0;
}

MessageParts Core::parts_of(Message& message) {
    return {message.topic(),
            message.properties(),
            message.payload(),
            message.expires_s,
            message.qos,
            message.retain,
            static_cast<uint8_t>(message.priority),
            message.system};
}

MessageParts Core::parts_of(const Publication& publication) {
    return {publication.topic,
            publication.properties,
            publication.payload,
            publication.expires_s,
            publication.qos,
            publication.retain,
            0,
            publication.system};
}

// Encodes a PUBLISH for one receiver.  Unless it was appended nothing has changed.
Core::Appended Core::append_publish(Link& link,
                                    const MessageParts& parts,
                                    const Delivery& delivery,
                                    bool dup,
                                    uint16_t packet_id,
                                    Arena::Use use) {
    PublishHead head;
    head.version = link.version;
    head.qos = delivery.qos;
    head.dup = dup;
    head.retain = delivery.retain;
    head.packet_id = packet_id;
    head.topic_name = parts.topic;
    LinkExtras* extras = link.extras.get();
    if (extras != nullptr && extras->mounted) {
        const std::string_view mount = listener_of(link).mount_point;
        const bool below = parts.topic.size() > mount.size();
        if (below && as_text(parts.topic).starts_with(mount)) {
            head.topic_name = parts.topic.subspan(mount.size());
        }
    }
    uint8_t own[kOwnPropertiesMax];
    OutboundAliases* aliases = nullptr;
    OutboundAliases::Choice alias;
    Bytes properties;
    if (is_v5(link.version)) {
        uint8_t* end = put(own, delivery.ids);
        aliases = extras != nullptr ? extras->outbound.get() : nullptr;
        if (aliases != nullptr) {
            const auto hash = static_cast<uint32_t>(siphash(key_, head.topic_name));
            alias = aliases->choose(arena_, head.topic_name, hash);
        }
        if (alias.alias != 0) end += encode_property(end, Property::kTopicAlias, alias.alias);
        if (alias.known) head.topic_name = {};
        if (parts.expires_s != kNeverExpires) {
            end += encode_property(
                end, Property::kMessageExpiryInterval, remaining_s(parts.expires_s));
        }
        head.own_properties = {own, end};
        properties = parts.properties;
        head.tail_properties = static_cast<uint32_t>(properties.size());
    }
    const auto give_up = [&](Appended why) {
        if (alias.alias != 0 && !alias.known) aliases->forget(arena_, alias.alias);
        return why;
    };
    const auto properties_size = static_cast<uint32_t>(properties.size());
    head.tail_size = properties_size + parts.payload.size();
    const uint32_t head_size = publish_head_size(head);
    const uint64_t whole = uint64_t{head_size} + head.tail_size;
    const bool any_size = MQTTD_MUTANT(33);  // Maximum Packet Size ignored
    if (head_size == 0 || (extras != nullptr && whole > extras->max_packet_size && !any_size)) {
        return give_up(Appended::kTooLarge);
    }
    const bool copy = parts.payload.size() < limits::kTailCopyBytes;
    const uint32_t size = head_size + properties_size + (copy ? parts.payload.size() : 0);
    Outbox& outbox = *link.outbox;
    uint8_t* at = outbox.room(arena_, size, use);
    if (at == nullptr) return give_up(Appended::kNoMemory);
    encode_publish_head(at, head);
    at = put(at + head_size, properties);
    if (copy && parts.payload.size() > 0) put(at, bytes_of(parts.payload));
    outbox.commit(size);
    // A packet that has begun may use the reserve: half of one would end the link.
    if (!copy && !outbox.append(arena_, parts.payload, Arena::Use::kReserve)) doom(link);
    if (!parts.system) count_sent(delivery.qos, parts.payload.size());
    delivered(link, false);
    return Appended::kYes;
}

// The packets as a receiver at QoS 0 gets them when the publisher's own bytes will not do: encoded
// once into the turn's scratch segment, and kept until the publication ends.  kTooLarge: one of
// them is as large as packets can be and would grow; then each has to be looked at.
Core::Appended Core::encode_qos0(Publication& publication, bool v5, bool retain) {
    EncodedOnce& encoded = publication.made().qos0[v5][retain];
    if (encoded.range.size() != 0) return Appended::kYes;
    encoded.whole = publication.count > 1 || publication.payload.size() < limits::kTailCopyBytes;
    uint64_t size = 0;
    const auto head_of = [&](const MessageParts& parts, uint8_t* expiry) {
        PublishHead head;
        head.version = v5 ? Version::k50 : Version::k311;
        head.retain = retain;
        head.topic_name = parts.topic;
        head.tail_size = parts.payload.size();
        if (!v5) return head;
        if (parts.expires_s != kNeverExpires) {
            const uint32_t left = remaining_s(parts.expires_s);
            head.own_properties = {expiry,
                                   encode_property(expiry, Property::kMessageExpiryInterval, left)};
        }
        head.tail_properties = static_cast<uint32_t>(parts.properties.size());
        head.tail_size += head.tail_properties;
        return head;
    };
    uint8_t expiry[5];
    bool fits = true;
    for_each_packet(publication, [&](const MessageParts& parts) {
        const PublishHead head = head_of(parts, expiry);
        const uint32_t head_size = publish_head_size(head);
        size += uint64_t{head_size} + head.tail_properties;
        if (encoded.whole) size += parts.payload.size();
        fits = head_size != 0;
        return fits;
    });
    if (!fits) return Appended::kTooLarge;
    Segment* segment = size <= UINT32_MAX ? scratch(static_cast<uint32_t>(size)) : nullptr;
    if (segment == nullptr) return Appended::kNoMemory;
    uint8_t* at = segment->end();
    for_each_packet(publication, [&](const MessageParts& parts) {
        const PublishHead head = head_of(parts, expiry);
        at += encode_publish_head(at, head);
        if (v5) at = put(at, parts.properties);
        if (encoded.whole && parts.payload.size() > 0) at = put(at, bytes_of(parts.payload));
        return true;
    });
    encoded.range = {segment, segment->used, segment->used + static_cast<uint32_t>(size)};
    segment->used += static_cast<uint32_t>(size);
    segment->hold();
    return Appended::kYes;
}

}  // namespace mqttd
