#pragma once

// Writer: puts fields one behind the other into room that the caller has measured.  The mirror of
// Reader, without checks: what we write is ours.

#include "mqttd/bytes.h"

#include "base/assert.h"
#include "mqtt/varint.h"

#include <cstdint>
#include <cstring>

namespace mqttd {

constexpr size_t kBinaryMax = 0xffff;  // what two bytes of length can say

constexpr uint32_t binary_size(Bytes bytes) {
    return 2 + static_cast<uint32_t>(bytes.size());
}

class Writer {
  public:
    explicit Writer(uint8_t* out) : begin_(out), at_(out) {}

    uint32_t written() const { return static_cast<uint32_t>(at_ - begin_); }

    void put_byte(uint8_t value) { *at_++ = value; }

    void put_u16(uint16_t value) {
        put_byte(static_cast<uint8_t>(value >> 8));
        put_byte(static_cast<uint8_t>(value));
    }

    void put_u32(uint32_t value) {
        put_u16(static_cast<uint16_t>(value >> 16));
        put_u16(static_cast<uint16_t>(value));
    }

    void put_varint(uint32_t value) {
        MQTTD_DCHECK(value <= kVarintMax);
        at_ = write_varint(at_, value);
    }

    void put_bytes(Bytes bytes) {
        if (!bytes.empty()) std::memcpy(at_, bytes.data(), bytes.size());
        at_ += bytes.size();
    }

    // Two bytes of length, then the bytes.
    void put_binary(Bytes bytes) {
        MQTTD_ASSERT(bytes.size() <= kBinaryMax);
        put_u16(static_cast<uint16_t>(bytes.size()));
        put_bytes(bytes);
    }

    // A property block behind its length.
    void put_properties(Bytes block) {
        put_varint(static_cast<uint32_t>(block.size()));
        put_bytes(block);
    }

  private:
    uint8_t* begin_;
    uint8_t* at_;
};

// A property block with its length in front.
constexpr uint32_t properties_size(Bytes block) {
    const auto size = static_cast<uint32_t>(block.size());
    return varint_size(size) + size;
}

}  // namespace mqttd
