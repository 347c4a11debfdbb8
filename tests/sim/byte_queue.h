#pragma once

// ByteQueue: bytes in at the back, out at the front.

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace mqttd::sim {

class ByteQueue {
  public:
    void append(std::string_view bytes) { text_.append(bytes); }

    size_t size() const { return text_.size() - begin_; }

    bool empty() const { return size() == 0; }

    std::string_view view() const { return std::string_view(text_).substr(begin_); }

    void drop(size_t bytes) {
        begin_ += bytes;
        if (begin_ == text_.size()) {
            clear();
        } else if (begin_ > 65'536) {
            text_.erase(0, begin_);
            begin_ = 0;
        }
    }

    // Only so many of its first bytes are left.
    void keep(size_t bytes) { text_.resize(begin_ + bytes); }

    void clear() {
        text_.clear();
        begin_ = 0;
    }

  private:
    std::string text_;
    size_t begin_ = 0;
};

}  // namespace mqttd::sim
