#pragma once

// Bytes (a view) and Range (a view that can be counted).
//
// Bytes is a borrowed view; it lives as long as what it was cut from and is passed within a call.
// A Range names a stretch of a Segment (base/segment.h), the counted block that input is read into
// and messages are kept in. Whoever keeps a Range past the call takes a count on its segment; an
// outbox does so when a range is appended. Positions are 32-bit: no segment is larger than 4 GiB.

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace mqttd {

using Bytes = std::span<const uint8_t>;

inline std::string_view as_text(Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline Bytes as_bytes(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

inline bool same_bytes(Bytes a, Bytes b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

struct Segment;

struct Range {
    Segment* segment = nullptr;
    uint32_t begin = 0;  // bytes from the start of the segment's data
    uint32_t end = 0;    // one past the last byte

    uint32_t size() const { return end - begin; }
};

}  // namespace mqttd
