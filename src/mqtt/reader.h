#pragma once

// Reader: takes fields off the front of a packet body.
//
// The first thing that goes wrong is kept and every later take gives zero or an empty view, so that
// a decoder reads its fields in a straight line and asks once, at the end or where it matters.
// Nothing past the end is ever looked at.

#include "mqttd/bytes.h"
#include "mqttd/result.h"
#include "mqttd/topic.h"

#include "mqtt/varint.h"

#include <cstdint>

namespace mqttd {

class Reader {
  public:
    explicit Reader(Bytes body) : rest_(body) {}

    Error error() const { return error_; }

    bool failed() const { return error_ != Error::kNone; }

    bool at_end() const { return rest_.empty(); }

    Bytes rest() const { return rest_; }

    // Keeps the first reason and gives up the rest.
    void fail(Error error) {
        if (!failed()) error_ = error;
        rest_ = rest_.last(0);
    }

    Bytes take_bytes(size_t size) {
        if (rest_.size() < size) {
            fail(Error::kMalformedPacket);
            return {};
        }
        const Bytes taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }

    uint8_t take_byte() {
        const Bytes at = take_bytes(1);
        return at.empty() ? uint8_t{0} : at[0];
    }

    uint16_t take_u16() {
        const Bytes at = take_bytes(2);
        return at.empty() ? uint16_t{0} : static_cast<uint16_t>(at[0] << 8 | at[1]);
    }

    uint32_t take_u32() {
        const uint32_t high = take_u16();
        return high << 16 | take_u16();
    }

    // In its shortest form; a longer one is malformed.
    uint32_t take_varint() {
        const Varint varint = read_varint(rest_);
        if (varint.size == 0 || !varint.minimal()) {
            fail(Error::kMalformedPacket);
            return 0;
        }
        rest_ = rest_.subspan(varint.size);
        return varint.value;
    }

    // Two bytes of length, then as many bytes.
    Bytes take_binary() { return take_bytes(take_u16()); }

    Bytes take_text() {
        const Bytes text = take_binary();
        if (!utf8_valid(text)) fail(Error::kMalformedPacket);
        return text;
    }

  private:
    Bytes rest_;
    Error error_ = Error::kNone;
};

}  // namespace mqttd
