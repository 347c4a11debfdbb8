#include "broker/sys_text.h"

#include <catch2/catch.hpp>
#include <cstdio>
#include <ctime>
#include <string>

using namespace mqttd;

namespace {

std::string level(std::string_view text) {
    SysTextOf<1024> out;
    return std::string(out.level(text).text());
}

std::string json(std::string_view text) {
    SysTextOf<1024> out;
    return std::string(out.json(text).text());
}

}  // namespace

TEST_CASE("text from outside becomes one level of a topic", "[sys]") {
    // A client named "a/b" or "#" must not make two levels or a wildcard; nothing else changes.
    REQUIRE(level("a/b") == "a%2Fb");
    REQUIRE(level("+") == "%2B");
    REQUIRE(level("#") == "%23");
    REQUIRE(level("100%") == "100%25");
    REQUIRE(level(std::string_view("\0\x1f\x7f", 3)) == "%00%1F%7F");
    for (int c = 0; c < 256; ++c) {
        const char byte = static_cast<char>(c);
        const std::string text = level({&byte, 1});
        const bool escaped = c < 0x20 || c == 0x7f || c == '/' || c == '+' || c == '#' || c == '%';
        REQUIRE(text.size() == (escaped ? 3u : 1u));
        if (!escaped) REQUIRE(text[0] == byte);
        if (escaped) REQUIRE(std::stoi(text.substr(1), nullptr, 16) == c);
    }
}

TEST_CASE("text from outside becomes a JSON string", "[sys]") {
    // RFC 8259: quotation mark, reverse solidus and controls are escaped, all else stays.
    REQUIRE(json("plain") == "\"plain\"");
    REQUIRE(json("a\"b\\c/d") == "\"a\\\"b\\\\c/d\"");
    REQUIRE(json("\n\x01") == "\"\\u000A\\u0001\"");
    REQUIRE(json("\xc3\xa9") == "\"\xc3\xa9\"");
}

TEST_CASE("what does not fit whole is left out, with all that follows", "[sys]") {
    // Half a number would be a wrong number.
    SysTextOf<8> out;
    out.add("12345").number(678);
    REQUIRE(out.text() == "12345678");
    REQUIRE(out.whole());
    out.add("9");
    REQUIRE_FALSE(out.whole());
    out.cut(5);
    REQUIRE(out.whole());
    out.number(6789).add("x");
    REQUIRE(out.text() == "12345");
    REQUIRE_FALSE(out.whole());
}

TEST_CASE("numbers have the formats of mosquitto", "[sys]") {
    SysTextOf<80> out;
    out.number(0).add(" ").number(~uint64_t{0}).add(" ").decimal(0).add(" ").decimal(552.696);
    REQUIRE(out.text() == "0 18446744073709551615 0.00 552.70");
}

TEST_CASE("times are those of the C library", "[sys]") {
    // Against gmtime, over leap years and centuries.
    for (int64_t second = 0; second < int64_t{9'000'000'000}; second += 86'400 * 13 + 4'321) {
        const time_t when = second;
        std::tm parts{};
        gmtime_r(&when, &parts);
        char wanted[32];
        std::strftime(wanted, sizeof wanted, "%Y-%m-%dT%H:%M:%SZ", &parts);
        SysTextOf<32> out;
        REQUIRE(out.time(second).text() == wanted);
    }
    SysTextOf<32> out;
    REQUIRE(out.time(951'868'799).text() == "2000-02-29T23:59:59Z");
}
