#include "mqtt/frame.h"

#include "mqtt/varint.h"

namespace mqttd {

Result<Frame> find_long_frame(Bytes input) {
    Frame frame;
    if (input.empty()) return frame;
    frame.first = input[0];
    const Varint length = read_varint(input.subspan(1));
    if (length.too_long) return Error::kMalformedPacket;
    if (length.size == 0) return frame;
    frame.header = static_cast<uint8_t>(1 + length.size);
    frame.size = frame.header + length.value;
    frame.length_minimal = length.minimal();
    return frame;
}

Result<Frame> find_frame(Bytes input) {
    return find_frame_inline(input);
}

}  // namespace mqttd
