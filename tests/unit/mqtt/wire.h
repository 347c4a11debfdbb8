#pragma once

// Building packet bodies by hand, and copies that end exactly where their memory ends, so that the
// address sanitizer sees any look past the last byte.

#include "mqttd/bytes.h"
#include "mqttd/packet.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd::test {

class Wire {
  public:
    Wire& byte(unsigned value) {
        bytes_.push_back(static_cast<uint8_t>(value));
        return *this;
    }

    Wire& u16(unsigned value) { return byte(value >> 8 & 0xff).byte(value & 0xff); }

    Wire& u32(uint32_t value) { return u16(value >> 16).u16(value & 0xffff); }

    Wire& raw(std::string_view text) {
        for (const char c : text) {
            byte(static_cast<uint8_t>(c));
        }
        return *this;
    }

    Wire& raw(const Wire& other) { return raw(as_text(other)); }

    Wire& text(std::string_view text) { return u16(static_cast<unsigned>(text.size())).raw(text); }

    // A block with its length (below 128) in front.
    Wire& block(const Wire& other) {
        return byte(static_cast<unsigned>(other.bytes_.size())).raw(other);
    }

    operator Bytes() const { return bytes_; }

    size_t size() const { return bytes_.size(); }

  private:
    std::vector<uint8_t> bytes_;
};

class Exact {
  public:
    explicit Exact(Bytes from) : size_(from.size()), bytes_(new uint8_t[from.size()]) {
        if (size_ != 0) std::memcpy(bytes_.get(), from.data(), size_);
    }

    operator Bytes() const { return {bytes_.get(), size_}; }

    uint8_t* data() { return bytes_.get(); }

  private:
    size_t size_;
    std::unique_ptr<uint8_t[]> bytes_;
};

inline std::string text_of(Bytes bytes) {
    return std::string(as_text(bytes));
}

constexpr Version kVersions[] = {Version::k31, Version::k311, Version::k50};

constexpr PacketType kAckTypes[] = {
    PacketType::kPuback, PacketType::kPubrec, PacketType::kPubrel, PacketType::kPubcomp};

}  // namespace mqttd::test
