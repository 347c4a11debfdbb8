#pragma once

// Feeds hostile bytes to find_frame and every decoder, and checks what must hold whatever they are:
// nothing is read or pointed to outside the packet, what was accepted can be walked, and its
// numbers are within their bounds.  Shared by the fuzzer and the unit tests.
//
// Layout of an input: byte 0 chooses the version, then packets as on the wire.

#include "mqttd/codec.h"
#include "mqttd/topic.h"

#include "mqtt/properties.h"

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace mqttd::fuzz {

inline void must(bool fact) {
    if (!fact) std::abort();
}

// `part` is empty or lies in `whole`.
inline void must_lie_in(Bytes part, Bytes whole) {
    if (part.empty()) return;
    must(part.data() >= whole.data());
    must(part.data() + part.size() <= whole.data() + whole.size());
}

inline void walk_properties(Bytes block, PropertySet set, Bytes body) {
    must_lie_in(block, body);
    uint64_t seen = 0;
    while (!block.empty()) {
        const PropertyView property = next_property(block);
        must_lie_in(property.text, body);
        must_lie_in(property.value, body);
        seen |= PropertySet::bit(property.id);
    }
    must(seen == set.bits);
}

inline void try_connect(Bytes body, uint8_t flags) {
    const Version version = connect_version(body);
    const Result<ConnectView> connect = decode_connect(body, flags);
    if (!connect) return;
    must(connect->version == version && version != Version::kNone);
    must_lie_in(connect->client_id, body);
    must_lie_in(connect->user_name, body);
    must_lie_in(connect->password, body);
    must(utf8_valid(connect->client_id) && utf8_valid(connect->user_name));
    walk_properties(connect->properties, connect->property_set, body);
    if (!connect->has_will) return;
    must(topic_name_valid(connect->will.topic_name) && connect->will.qos <= 2);
    must_lie_in(connect->will.payload, body);
    walk_properties(connect->will.properties, connect->will.property_set, body);
}

inline void try_publish(Bytes body, uint8_t flags, Version version) {
    const Result<PublishView> publish = decode_publish(body, flags, version);
    if (!publish) return;
    must(publish->qos <= 2 && (publish->qos == 0) == (publish->packet_id == 0));
    must(utf8_valid(publish->topic_name));
    const bool aliased = publish->property_set.has(Property::kTopicAlias);
    must(topic_name_valid(publish->topic_name) || (publish->topic_name.empty() && aliased));
    must_lie_in(publish->topic_name, body);
    must_lie_in(publish->payload, body);
    walk_properties(publish->properties, publish->property_set, body);

    // Written again with everything as tail, it is the same packet.
    PublishHead head;
    head.version = version;
    head.qos = publish->qos;
    head.packet_id = publish->packet_id;
    head.topic_name = publish->topic_name;
    head.tail_properties = static_cast<uint32_t>(publish->properties.size());
    head.tail_size = static_cast<uint32_t>(publish->properties.size() + publish->payload.size());
    const uint32_t size = publish_head_size(head);
    const std::unique_ptr<uint8_t[]> out(new uint8_t[size]);
    must(encode_publish_head(out.get(), head) == size);
    const Result<Frame> frame = find_frame({out.get(), size});
    must(frame && frame->size - frame->header == body.size());
}

inline void try_list(PacketType type, Bytes body, uint8_t flags, Version version) {
    const Result<SubscribeView> list = decode_subscribe(type, body, flags, version);
    if (!list) return;
    must(list->packet_id != 0 && list->filter_count != 0);
    walk_properties(list->properties, list->property_set, body);
    Bytes rest = list->filters;
    for (uint32_t i = 0; i < list->filter_count; ++i) {
        must(!rest.empty());
        const FilterView filter = next_filter(rest, type);
        must(topic_filter_check(filter.topic_filter) == Error::kNone);
        must(filter.qos <= 2 && filter.retain_handling <= 2);
    }
    must(rest.empty());
}

inline void decode_one(PacketType type, Bytes body, uint8_t flags, Version version) {
    switch (type) {
        case PacketType::kConnect:
            return try_connect(body, flags);
        case PacketType::kPublish:
            return try_publish(body, flags, version);
        case PacketType::kPuback:
        case PacketType::kPubrec:
        case PacketType::kPubrel:
        case PacketType::kPubcomp:
            if (const auto ack = decode_ack(type, body, flags, version)) {
                must(ack->packet_id != 0);
                must_lie_in(ack->properties, body);
            }
            return;
        case PacketType::kSubscribe:
        case PacketType::kUnsubscribe:
            return try_list(type, body, flags, version);
        case PacketType::kPingreq:
            if (decode_pingreq(body, flags)) must(body.empty());
            return;
        case PacketType::kDisconnect:
            if (const auto left = decode_disconnect(body, flags, version)) {
                walk_properties(left->properties, left->property_set, body);
            }
            return;
        case PacketType::kAuth:
            if (const auto auth = decode_auth(body, flags)) {
                walk_properties(auth->properties, auth->property_set, body);
            }
            return;
        default:
            return;
    }
}

// Decodes packet after packet until one is incomplete or has an impossible length.
inline void decode_all(Bytes input) {
    if (input.empty()) return;
    constexpr Version kChoices[] = {Version::k31, Version::k311, Version::k50};
    const Version version = kChoices[input[0] % 3];
    input = input.subspan(1);
    for (;;) {
        const Result<Frame> frame = find_frame(input);
        if (!frame || !frame->header_complete() || frame->size > input.size()) return;
        // An own copy of each body: a sanitizer then sees a look past its end.
        const Bytes body = input.subspan(frame->header, frame->size - frame->header);
        const std::unique_ptr<uint8_t[]> copy(new uint8_t[body.size()]);
        if (!body.empty()) std::memcpy(copy.get(), body.data(), body.size());
        decode_one(frame->type(), {copy.get(), body.size()}, frame->flags(), version);
        input = input.subspan(frame->size);
    }
}

}  // namespace mqttd::fuzz
