#include "base/log.h"

#include "base/utf8.h"

#include <algorithm>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace mqttd {

namespace {

char* put_text(char* at, const char* end, std::string_view text) {
    const size_t size = std::min(text.size(), static_cast<size_t>(end - at));
    std::memcpy(at, text.data(), size);
    return at + size;
}

template <class Number>
char* put_number(char* at, const char* end, Number number) {
    char digits[20];
    const char* last = std::to_chars(digits, digits + sizeof digits, number).ptr;
    return put_text(at, end, {digits, static_cast<size_t>(last - digits)});
}

// The conversions that nearly all lines are made of: %s %u %d %llu %lld.  printf needs about 2000
// instructions for such a line, this a tenth, and a client that comes and goes has two.  Returns
// the end of the text, cut at `end`; nullptr: there is another conversion in it.
char* format_simple(char* at, const char* end, const char* format, va_list& arguments) {
    for (;;) {
        const char* percent = format;
        while (*percent != '%' && *percent != 0)
            ++percent;
        at = put_text(at, end, {format, static_cast<size_t>(percent - format)});
        if (*percent == 0) return at;
        format = percent + 2;
        if (percent[1] == 's') {
            const char* text = va_arg(arguments, const char*);
            at = put_text(at, end, text != nullptr ? text : "(null)");
        } else if (percent[1] == 'u') {
            at = put_number(at, end, va_arg(arguments, unsigned));
        } else if (percent[1] == 'd') {
            at = put_number(at, end, va_arg(arguments, int));
        } else if (std::strncmp(percent, "%llu", 4) == 0) {
            at = put_number(at, end, va_arg(arguments, unsigned long long));
            format = percent + 4;
        } else if (std::strncmp(percent, "%lld", 4) == 0) {
            at = put_number(at, end, va_arg(arguments, long long));
            format = percent + 4;
        } else {
            return nullptr;
        }
    }
}

}  // namespace

void Log::write(LogKind kind, const char* format, ...) const {
    if (!wants(kind)) return;
    char line[kLineMax + 1];
    va_list arguments;
    va_start(arguments, format);
    const char* end = format_simple(line, line + kLineMax, format, arguments);
    va_end(arguments);
    if (end != nullptr) return sink_(context_, kind, {line, static_cast<size_t>(end - line)});
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
        if (*at >= 0x20 && *at < 0x7f && out < limit) {  // nearly always
            *out++ = static_cast<char>(*at++);
            continue;
        }
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
