#pragma once

// Finding one packet in a run of bytes: find_frame (codec.h) with its common case inline.
//
//     byte 1        bytes 2 to 5             Remaining Length bytes
//     type, flags   Remaining Length         body
//     ├── Frame::header (2 to 5) ──┤
//     ├── Frame::size ──────────────────────────────────────────────┤
//
// Most packets are shorter than 128 bytes and come whole; the loop that walks a read takes them
// with two compares.  The length is known before the body has arrived, so that a packet above the
// limit is refused after at most five bytes.

#include "mqttd/codec.h"

namespace mqttd {

// A Remaining Length of more than one byte, or an `input` too short for any.
Result<Frame> find_long_frame(Bytes input);

inline Result<Frame> find_frame_inline(Bytes input) {
    if (input.size() < 2 || input[1] >= 0x80) [[unlikely]]
        return find_long_frame(input);
    return Frame{input[0], 2, uint32_t{2} + input[1], true};
}

}  // namespace mqttd
