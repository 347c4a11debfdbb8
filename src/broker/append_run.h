#pragma once

// The packets of a publication one by one: of a run, or the single one.

#include "base/assert.h"
#include "broker/core.h"

namespace mqttd {

// A payload as a range of the segment it lies in.
inline Range range_in(Segment* segment, Bytes bytes) {
    if (bytes.empty()) return {segment, 0, 0};
    const auto begin = static_cast<uint32_t>(bytes.data() - segment->data());
    return {segment, begin, begin + static_cast<uint32_t>(bytes.size())};
}

// Calls visit(MessageParts) for each, until it returns false.
template <class Visit>
void Core::for_each_packet(const Publication& publication, Visit&& visit) {
    if (publication.count == 1) {
        visit(parts_of(publication));
        return;
    }
    const Version version = publication.wire_fits == Direct::k5 ? Version::k50 : Version::k311;
    Range rest = publication.wire;
    while (rest.size() > 0) {
        const Bytes bytes = bytes_of(rest);
        const Result<Frame> frame = find_frame(bytes);  // all were checked when the run was formed
        MQTTD_ASSERT(frame.ok() && frame->header_complete() && frame->size <= bytes.size());
        const Result<PublishView> publish =
            decode_publish(bytes.subspan(frame->header, frame->size - frame->header), 0, version);
        MQTTD_ASSERT(publish.ok());
        MessageParts parts;
        parts.topic = publication.topic;
        parts.properties = publish->properties;
        parts.payload = range_in(rest.segment, publish->payload);
        if (!visit(parts)) return;
        rest.begin += frame->size;
    }
}

}  // namespace mqttd
