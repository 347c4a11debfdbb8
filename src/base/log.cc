#include "base/log.h"

#include "base/utf8.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace mqttd {

void Log::write(LogKind kind, const char* format, ...) const {
    if (!wants(kind)) return;
    char line[kLineMax + 1];
    va_list arguments;
    va_start(arguments, format);
    const int length = std::vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    sink_(context_, kind, {line, std::min<size_t>(static_cast<size_t>(length), kLineMax)});
}

namespace {

// Bytes of the character at `at` that a terminal may be shown; 0 if it may not.  U+0080 to U+009F
// (0xc2 0x80 to 0xc2 0x9f) are controls too.
uint32_t printable_size(const uint8_t* at, const uint8_t* end) {
    if (*at < 0x80) return *at < 0x20 || *at == 0x7f ? 0 : 1;
    return *at == 0xc2 && end - at > 1 && at[1] < 0xa0 ? 0 : utf8_sequence(at, end);
}

}  // namespace

Clean::Clean(Bytes text) {
    const bool cut = text.size() > kTextMax;
    const uint8_t* at = text.data();
    const uint8_t* const end = at + text.size();
    char* out = text_;
    char* const limit = text_ + (cut ? kTextMax - 3 : kTextMax);
    while (at < end) {
        const uint32_t size = printable_size(at, end);
        if (out + std::max(size, 1u) > limit) break;  // a character goes whole or not at all
        if (size == 0) {
            *out++ = '?';
            ++at;
            continue;
        }
        std::memcpy(out, at, size);
        out += size;
        at += size;
    }
    if (cut) {
        std::memcpy(out, "...", 3);
        out += 3;
    }
    *out = 0;
}

}  // namespace mqttd
