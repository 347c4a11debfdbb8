#include "base/utf8.h"

namespace mqttd {

bool utf8_text(Bytes text) {
    const uint8_t* at = text.data();
    const uint8_t* const end = at + text.size();
    while (at != end) {
        const size_t left = static_cast<size_t>(end - at);
        if (left >= 8) {
            if (not_plain_text(load_word(at)) == 0) {
                at += 8;
                continue;
            }
        } else if (not_plain_text(load_short_word(at, left)) == 0) {
            return true;
        }
        // Something in sight is special: step up to it and over it.
        while (at != end && *at < 0x80) {
            if (*at == 0) return false;
            ++at;
        }
        if (at == end) return true;
        const uint32_t size = utf8_sequence(at, end);
        if (size == 0) return false;
        at += size;
    }
    return true;
}

}  // namespace mqttd
