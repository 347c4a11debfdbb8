#include "mqttd/topic.h"

#include "base/utf8.h"
#include "mqtt/plain_name.h"

namespace mqttd {
namespace {

// Words while they are plain, sequence by sequence where they are not.
Error check_name_closely(Bytes name) {
    const uint8_t* at = name.data();
    const uint8_t* const end = at + name.size();
    bool wildcard = false;
    while (at != end) {
        if (end - at >= 8 && not_plain_name(load_word(at)) == 0) {
            at += 8;
        } else if (*at >= 0x80) {
            const uint32_t size = utf8_sequence(at, end);
            if (size == 0) return Error::kMalformedPacket;
            at += size;
        } else {
            if (*at == 0) return Error::kMalformedPacket;
            wildcard |= is_wildcard(*at);
            ++at;
        }
    }
    return wildcard ? Error::kTopicNameInvalid : Error::kNone;
}

}  // namespace

bool utf8_valid(Bytes text) {
    return utf8_text(text);
}

Error topic_name_check(Bytes name) {
    if (plain_name(name)) return Error::kNone;
    return name.empty() ? Error::kTopicNameInvalid : check_name_closely(name);
}

bool topic_name_valid(Bytes name) {
    for (const uint8_t byte : name) {
        if (byte == 0 || is_wildcard(byte)) return false;
    }
    return !name.empty();
}

Error topic_filter_check(Bytes filter) {
    if (!utf8_text(filter)) return Error::kMalformedPacket;
    return topic_filter_valid(filter) ? Error::kNone : Error::kTopicFilterInvalid;
}

bool topic_filter_valid(Bytes filter) {
    const size_t size = filter.size();
    for (size_t i = 0; i < size; ++i) {
        if (!is_wildcard(filter[i])) continue;
        const bool starts_level = i == 0 || filter[i - 1] == kLevelSeparator;
        const bool last = i + 1 == size;
        const bool ends_level = last || (filter[i] == '+' && filter[i + 1] == kLevelSeparator);
        if (!starts_level || !ends_level) return false;
    }
    return size != 0;
}

bool has_wildcard(Bytes filter) {
    for (const uint8_t byte : filter) {
        if (is_wildcard(byte)) return true;
    }
    return false;
}

uint32_t level_count(Bytes topic) {
    uint32_t levels = 1;
    for (const uint8_t byte : topic) {
        levels += byte == kLevelSeparator;
    }
    return levels;
}

Bytes next_level(Bytes& rest, bool& more) {
    const void* slash =
        rest.empty() ? nullptr : std::memchr(rest.data(), kLevelSeparator, rest.size());
    more = slash != nullptr;
    if (!more) {
        const Bytes level = rest;
        rest = rest.subspan(rest.size());
        return level;
    }
    const auto size = static_cast<size_t>(static_cast<const uint8_t*>(slash) - rest.data());
    const Bytes level = rest.first(size);
    rest = rest.subspan(size + 1);
    return level;
}

// `+` takes a level at a time and `#` all that is left, so there is never a choice to come back to:
// one walk over both.
bool topic_matches(Bytes filter, Bytes name) {
    if (filter.empty() || name.empty()) return false;
    if (name[0] == '$' && is_wildcard(filter[0])) return false;
    bool more_filter = true;
    bool more_name = true;
    while (more_filter) {
        const Bytes want = next_level(filter, more_filter);
        if (want.size() == 1 && want[0] == '#') return true;  // also the parent itself
        if (!more_name) return false;
        const Bytes have = next_level(name, more_name);
        const bool any = want.size() == 1 && want[0] == '+';
        if (!any && !same_bytes(want, have)) return false;
    }
    return !more_name;
}

}  // namespace mqttd
