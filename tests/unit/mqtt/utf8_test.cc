#include "mqttd/topic.h"

#include "unit/mqtt/wire.h"

#include <catch2/catch.hpp>
#include <vector>

namespace mqttd {
namespace {

using test::Exact;

// Decodes code points one by one and judges each by its number, as the Unicode standard puts it.
bool slow_valid(Bytes text) {
    size_t i = 0;
    while (i < text.size()) {
        const uint32_t first = text[i];
        uint32_t follow = 0;
        uint32_t point = first;
        if (first >= 0xf8) return false;
        if (first >= 0xf0) {
            follow = 3;
            point = first & 0x07;
        } else if (first >= 0xe0) {
            follow = 2;
            point = first & 0x0f;
        } else if (first >= 0xc0) {
            follow = 1;
            point = first & 0x1f;
        } else if (first >= 0x80) {
            return false;
        }
        for (uint32_t k = 1; k <= follow; ++k) {
            if (i + k >= text.size() || text[i + k] >> 6 != 2) return false;
            point = point << 6 | (text[i + k] & 0x3f);
        }
        const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
        if (point < smallest[follow] || point > 0x10ffff || point == 0) return false;
        if (point >= 0xd800 && point <= 0xdfff) return false;
        i += follow + 1;
    }
    return true;
}

TEST_CASE("all strings of one, two and three bytes are judged as Unicode does",
          "[MQTT-1.5.3-1][MQTT5-1.5.4-1]") {
    // Exhaustive: every overlong form, surrogate, stray byte, NUL and cut sequence of that length.
    uint32_t wrong = 0;
    for (uint32_t n = 0; n < 1u << 24; ++n) {
        const uint8_t bytes[3] = {
            static_cast<uint8_t>(n >> 16), static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)};
        wrong += utf8_valid(bytes) != slow_valid(bytes);
        if (n >= 1u << 16) continue;
        wrong += utf8_valid({bytes + 1, 2}) != slow_valid({bytes + 1, 2});
        if (n < 1u << 8) wrong += utf8_valid({bytes + 2, 1}) != slow_valid({bytes + 2, 1});
    }
    CHECK(wrong == 0);
    CHECK(utf8_valid({}));
}

TEST_CASE("four-byte sequences are judged as Unicode does", "[MQTT-1.5.3-1][MQTT5-1.5.4-1]") {
    // All leading bytes that can begin one, all second bytes, and third and fourth bytes at the
    // edges of what may follow.
    const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0xbe, 0xbf, 0xc0, 0xff};
    uint32_t wrong = 0;
    for (unsigned first = 0xe0; first < 0x100; ++first) {
        for (unsigned second = 0; second < 0x100; ++second) {
            for (const uint8_t third : edges) {
                for (const uint8_t fourth : edges) {
                    const uint8_t bytes[4] = {
                        static_cast<uint8_t>(first), static_cast<uint8_t>(second), third, fourth};
                    wrong += utf8_valid(bytes) != slow_valid(bytes);
                }
            }
        }
    }
    CHECK(wrong == 0);
}

TEST_CASE("a bad byte is found at every place of every length", "[MQTT-1.5.3-1][MQTT5-1.5.4-1]") {
    // The scan takes words of eight and a tail: whatever the place, it must not slip through, and
    // the last byte must be the last one read.
    const std::vector<std::string> good = {"", "x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    const std::vector<std::string> bad = {std::string(1, '\0'),
                                          "\x80",
                                          "\xff",
                                          "\xc0\x80",
                                          "\xed\xa0\x80",
                                          "\xc3",
                                          "\xe2\x82",
                                          "\xf0\x9f\x98",
                                          "\xf4\x90\x80\x80"};
    for (size_t before = 0; before < 20; ++before) {
        for (size_t after = 0; after < 20; ++after) {
            for (const std::string& middle : good) {
                const std::string text =
                    std::string(before, 'a') + middle + std::string(after, 'b');
                if (!utf8_valid(Exact(as_bytes(text)))) FAIL(before << ' ' << after);
                if (!text.empty() && topic_name_check(Exact(as_bytes(text))) != Error::kNone) {
                    FAIL(before << ' ' << after);
                }
            }
            for (const std::string& middle : bad) {
                const std::string text =
                    std::string(before, 'a') + middle + std::string(after, 'b');
                if (utf8_valid(Exact(as_bytes(text)))) FAIL(before << ' ' << after);
                if (topic_name_check(Exact(as_bytes(text))) != Error::kMalformedPacket) {
                    FAIL(before << ' ' << after);
                }
            }
        }
    }
}

TEST_CASE("U+0000 is not text", "[MQTT-1.5.3-2][MQTT5-1.5.4-2]") {
    // NUL is ASCII, and the fast path must not take it for a letter.
    CHECK_FALSE(utf8_valid(as_bytes(std::string_view("\0", 1))));
    CHECK_FALSE(utf8_valid(as_bytes(std::string_view("aaaaaaa\0", 8))));
    CHECK_FALSE(utf8_valid(as_bytes(std::string_view("\xc3\xa9\0", 3))));
}

TEST_CASE("a byte order mark is a character like any other", "[mqtt]") {
    CHECK(utf8_valid(as_bytes("\xef\xbb\xbf")));
    CHECK(utf8_valid(as_bytes("\xef\xbb\xbfsensor")));
}

}  // namespace
}  // namespace mqttd
