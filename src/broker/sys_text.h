#pragma once

// SysText: what is published below `$SYS` as text, written into a buffer of fixed size.
//
// A piece that does not fit whole is left out, and so is everything after it; `whole` tells. Texts
// from outside become safe in two ways: as one topic level (`level`) or as a JSON string (`json`).

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mqttd {

class SysText {
  public:
    SysText(char* room, size_t size) : room_(room), room_size_(size) {}

    SysText& add(std::string_view text);
    SysText& number(uint64_t value);
    SysText& decimal(double value);  // two digits behind the point, as mosquitto's loads

    // One level of a topic: '/', '+', '#', '%' and controls as %XX.
    SysText& level(std::string_view text);

    // In quotation marks, escaped as RFC 8259 says.
    SysText& json(std::string_view text);

    // "2024-02-29T23:59:59Z".
    SysText& time(int64_t unix_s);

    std::string_view text() const { return {room_, size_}; }

    size_t size() const { return size_; }

    bool whole() const { return whole_; }

    // Back to an earlier size, and whole again.
    void cut(size_t size) {
        size_ = size;
        whole_ = true;
    }

  private:
    char* room_;
    size_t room_size_;
    size_t size_ = 0;
    bool whole_ = true;
};

// With its buffer.
template <size_t kSize>
class SysTextOf : public SysText {
  public:
    SysTextOf() : SysText(buffer_, kSize) {}

    SysTextOf(const SysTextOf&) = delete;
    SysTextOf& operator=(const SysTextOf&) = delete;

  private:
    char buffer_[kSize];
};

}  // namespace mqttd
