#pragma once

// Log lines: formatted into a fixed buffer, handed to a sink.
//
// A line has a kind (mosquitto's log types) and is cut at kLineMax bytes. Nothing is formatted for
// a kind that is switched off. The sink adds the time and takes the line away; it must not wait
// (io/log_sink.h gathers lines and writes once per turn). Foreign text goes through `clean`, so
// that a client identifier cannot forge lines or send control sequences to a terminal.

#include "mqttd/bytes.h"

#include <cstdint>
#include <string_view>

namespace mqttd {

enum class LogKind : uint8_t {
    kError,
    kWarning,
    kNotice,
    kInformation,
    kSubscribe,
    kUnsubscribe,
    kDebug,
    kCount,
};

class Log {
  public:
    static constexpr uint32_t kLineMax = 999;
    using Sink = void (*)(void* context, LogKind kind, std::string_view line);

    Log() = default;

    Log(Sink sink, void* context, uint32_t kinds) : sink_(sink), context_(context), kinds_(kinds) {}

    static constexpr uint32_t bit(LogKind kind) { return 1u << static_cast<uint32_t>(kind); }

    bool wants(LogKind kind) const { return sink_ != nullptr && (kinds_ & bit(kind)) != 0; }

    void write(LogKind kind, const char* format, ...) const __attribute__((format(printf, 3, 4)));

  private:
    Sink sink_ = nullptr;
    void* context_ = nullptr;
    uint32_t kinds_ = 0;
};

// Foreign text made printable: controls and invalid UTF-8 become '?', long text is cut with "...".
// For use as a %s argument within one expression.
class Clean {
  public:
    static constexpr uint32_t kTextMax = 255;

    explicit Clean(Bytes text);

    explicit Clean(std::string_view text) : Clean(as_bytes(text)) {}

    const char* c_str() const { return text_; }

  private:
    char text_[kTextMax + 1];
};

}  // namespace mqttd
