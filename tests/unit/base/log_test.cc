#include "base/log.h"

#include "base/utf8.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <string>
#include <vector>

using namespace mqttd;

namespace {

struct Lines {
    std::vector<std::pair<LogKind, std::string>> all;

    static void take(void* self, LogKind kind, std::string_view line) {
        static_cast<Lines*>(self)->all.emplace_back(kind, line);
    }
};

std::string cleaned(std::string_view text) {
    return Clean(text).c_str();
}

}  // namespace

TEST_CASE("a kind that is switched off is never handed to the sink") {
    // Debug lines of every packet must cost nothing while nobody wants them.
    Lines lines;
    const Log log(&Lines::take, &lines, Log::bit(LogKind::kError) | Log::bit(LogKind::kDebug));
    log.write(LogKind::kError, "one %d", 1);
    log.write(LogKind::kNotice, "two");
    log.write(LogKind::kDebug, "%s", "three");
    REQUIRE(lines.all.size() == 2);
    REQUIRE(lines.all[0] == std::pair(LogKind::kError, std::string("one 1")));
    REQUIRE(lines.all[1] == std::pair(LogKind::kDebug, std::string("three")));
    REQUIRE_FALSE(log.wants(LogKind::kNotice));
}

TEST_CASE("a log without a sink wants nothing") {
    // Tests and tools run the core without one.
    const Log log;
    REQUIRE_FALSE(log.wants(LogKind::kError));
    log.write(LogKind::kError, "nobody hears %s", "this");
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

TEST_CASE("a line reads as printf would write it") {
    // The usual conversions are done by hand, the others are not; nobody may see a difference.
    Lines lines;
    const Log log(&Lines::take, &lines, ~0u);
    char expected[2000];
    const auto same = [&](auto format, auto... arguments) {
        std::snprintf(expected, sizeof expected, format, arguments...);
        log.write(LogKind::kNotice, format, arguments...);
        CHECK(lines.all.back().second == std::string(expected).substr(0, 999));
    };
    for (const unsigned value : {0u, 1u, 9u, 10u, 4'294'967'295u})
        same("%u|%u", value, value);
    for (const int value : {0, -1, 10, 2'147'483'647, -2'147'483'647 - 1})
        same("<%d>", value);
    for (const unsigned long long value : {0ull, 10ull, ~0ull})
        same("%llu %s", value, "x");
    for (const long long value : {0ll, -1ll, -0x7fffffffffffffffll - 1})
        same("%lld%u", value, 7u);
    same("%s%s%s", "", "a", "");
    same("");
    same("no conversion");
    same("%s 100%% %s", "a", "b");
    same("%s %016llX", "a", 0x1234ull);
    same("%u %.*s %u", 1u, 3, "abcdef", 2u);
    same("%5d|%-5s|%x|%c", 42, "ab", 255u, 'z');
    same("%zu %ld", size_t{12}, -5l);
    const std::string most(994, 'x');
    for (size_t cut = 0; cut < 4; ++cut) {
        const std::string text = most.substr(cut);
        same("%s%u", text.c_str(), 1'234'567u);
        same("%s%s", text.c_str(), "abcdefgh");
        same("%s, 100%%", text.c_str());
    }
}

#pragma GCC diagnostic pop

TEST_CASE("a line is cut at 999 bytes, neither before nor after") {
    // mosquitto's length, which other tools expect.
    Lines lines;
    const Log log(&Lines::take, &lines, ~0u);
    for (const size_t size : {998u, 999u, 1000u, 5000u}) {
        log.write(LogKind::kNotice, "%s", std::string(size, 'x').c_str());
        REQUIRE(lines.all.back().second.size() == std::min<size_t>(size, 999));
    }
}

TEST_CASE("Clean leaves plain and international text alone") {
    // Client identifiers may be of any script.
    REQUIRE(cleaned("") == "");
    REQUIRE(cleaned("sensor-1 'x' \"y\"") == "sensor-1 'x' \"y\"");
    REQUIRE(cleaned("Küche/温度/🌡") == "Küche/温度/🌡");
}

TEST_CASE("Clean makes every control character visible as a question mark") {
    // A client identifier with a line feed could forge a log line, one with an escape could drive
    // the operator's terminal; U+0080 to U+009F are such escapes too.
    for (int c = 0; c < 0x20; ++c) {
        REQUIRE(cleaned(std::string("a") + static_cast<char>(c) + "b") == "a?b");
    }
    REQUIRE(cleaned("\x7f") == "?");
    REQUIRE(cleaned("a\xc2\x9b"
                    "31mb") == "a??31mb");
    REQUIRE(cleaned("a\xc2\xa0"
                    "b") ==
            "a\xc2\xa0"
            "b");
}

TEST_CASE("Clean shows bytes that are not UTF-8 as question marks") {
    // What a refused CONNECT carried is logged too.
    REQUIRE(cleaned("a\xff\xfe"
                    "b") == "a??b");
    REQUIRE(cleaned("\xc3") == "?");
    REQUIRE(cleaned("\xed\xa0\x80") == "???");  // a surrogate
    REQUIRE(cleaned("\xc0\x8a") == "??");       // a line feed, overlong
}

TEST_CASE("Clean cuts long text at a character and says so") {
    // Whatever the width of the characters, the result is valid and fits.
    for (const std::string& character :
         {std::string("x"), std::string("é"), std::string("温"), std::string("🌡")}) {
        for (size_t front = 0; front < 4; ++front) {
            std::string text(front, '-');
            while (text.size() <= 300)
                text += character;
            const std::string shown = cleaned(text);
            REQUIRE(shown.size() <= Clean::kTextMax);
            REQUIRE(shown.size() > Clean::kTextMax - 4);
            REQUIRE(shown.ends_with("..."));
            REQUIRE(utf8_text(as_bytes(shown)));
            REQUIRE(text.starts_with(shown.substr(0, shown.size() - 3)));
        }
    }
    const std::string longest(Clean::kTextMax, 'x');
    REQUIRE(cleaned(longest) == longest);
}
