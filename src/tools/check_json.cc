#include "tools/check_json.h"

#include "base/utf8.h"

#include <algorithm>

namespace mqttd::check {

void JsonLine::key(std::string_view name) {
    const char last = out_.back();
    if (last != '{' && last != '[') out_ += ',';
    if (name.empty()) return;
    quote(name);
    out_ += ':';
}

void JsonLine::quote(std::string_view value) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    out_ += '"';
    for (const char c : value) {
        const auto byte = static_cast<uint8_t>(c);
        if (byte < 0x20 || byte == 0x7f) {
            out_ += "\\u00";
            out_ += kDigits[byte >> 4];
            out_ += kDigits[byte & 15];
            continue;
        }
        if (c == '"' || c == '\\') out_ += '\\';
        out_ += c;
    }
    out_ += '"';
}

void JsonLine::number(std::string_view name, uint64_t value) {
    key(name);
    out_ += std::to_string(value);
}

void JsonLine::truth(std::string_view name, bool value) {
    key(name);
    out_ += value ? "true" : "false";
}

void JsonLine::null(std::string_view name) {
    key(name);
    out_ += "null";
}

void JsonLine::word(std::string_view name, std::string_view value) {
    key(name);
    quote(value);
}

void JsonLine::text(std::string_view name, Bytes value) {
    if (utf8_text(value)) return word(name, as_text(value));
    word(std::string(name) + "_base64", base64(value));
}

void JsonLine::item(uint64_t value) {
    key({});
    out_ += std::to_string(value);
}

void JsonLine::open(std::string_view name, char bracket) {
    key(name);
    out_ += bracket;
}

void JsonLine::close(char bracket) {
    out_ += bracket;
}

std::string JsonLine::take() {
    std::string line = std::move(out_) + "}\n";
    out_.assign(1, '{');
    return line;
}

std::string base64(Bytes bytes) {
    constexpr std::string_view kDigits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (size_t at = 0; at < bytes.size(); at += 3) {
        const size_t left = bytes.size() - at;
        uint32_t three = uint32_t{bytes[at]} << 16;
        if (left > 1) three |= uint32_t{bytes[at + 1]} << 8;
        if (left > 2) three |= bytes[at + 2];
        out += kDigits[three >> 18];
        out += kDigits[three >> 12 & 63];
        out += left > 1 ? kDigits[three >> 6 & 63] : '=';
        out += left > 2 ? kDigits[three & 63] : '=';
    }
    return out;
}

Bytes shortened(Bytes payload, uint64_t most) {
    if (payload.size() <= most) return payload;
    const Bytes cut = payload.first(static_cast<size_t>(most));
    for (size_t less = 0; less <= std::min<size_t>(3, cut.size()); ++less) {
        const Bytes text = cut.first(cut.size() - less);
        if (utf8_text(text)) return text;
    }
    return cut;
}

}  // namespace mqttd::check
