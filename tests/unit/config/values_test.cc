#include "config/values.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>
#include <string>

namespace mqttd {

TEST_CASE("numbers read as strtol reads them with base 0", "[config]") {
    // Old configuration files hold 0x10 and 010 and must keep their meaning.
    const char* kWords[] = {"0",
                            "1",
                            "-1",
                            "+7",
                            "010",
                            "0x10",
                            "0XfF",
                            "-0x10",
                            "08",
                            "0x",
                            "x",
                            "",
                            "-",
                            "+",
                            "1a",
                            "--1",
                            "1.5",
                            "007",
                            "00",
                            "-010",
                            "0x0",
                            "1 ",
                            "9223372036854775807"};
    for (const std::string word : kWords) {
        INFO("word '" << word << "'");
        char* end = nullptr;
        const long expected = std::strtol(word.c_str(), &end, 0);
        const bool whole =
            !word.empty() && end == word.c_str() + word.size() && end != word.c_str();
        const Number number = parse_number(word);
        CHECK((number.error == NumberError::kNone) == whole);
        CHECK((!whole || number.value == expected));
    }
}

TEST_CASE("random words read as strtol reads them", "[config]") {
    // The same fact over many words: only the blanks strtol skips are left out.
    const unsigned seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    constexpr std::string_view kAlphabet = "0123456789abfxX+-g";
    for (int i = 0; i < 20000; ++i) {
        std::string word(1 + random() % 7, '0');
        for (char& c : word) {
            c = kAlphabet[random() % kAlphabet.size()];
        }
        char* end = nullptr;
        const long expected = std::strtol(word.c_str(), &end, 0);
        const bool whole = end == word.c_str() + word.size();
        const Number number = parse_number(word);
        INFO("word '" << word << "'");
        REQUIRE((number.error == NumberError::kNone) == whole);
        REQUIRE((!whole || number.value == expected));
    }
}

TEST_CASE("a number past 64 bits is too large, not wrapped", "[config]") {
    // A wrapped limit would be a different limit.
    CHECK(parse_number("9223372036854775807").error == NumberError::kNone);
    CHECK(parse_number("9223372036854775808").error == NumberError::kTooLarge);
    CHECK(parse_number("99999999999999999999999").error == NumberError::kTooLarge);
    CHECK(parse_number("99999999999999999999999z").error == NumberError::kNotANumber);
    CHECK(parse_number(std::string(100000, '9')).error == NumberError::kTooLarge);
}

TEST_CASE("bools are four words and nothing else", "[config]") {
    // mosquitto knows these four; `yes` or `True` must not silently mean false.
    CHECK(parse_bool("true") == true);
    CHECK(parse_bool("1") == true);
    CHECK(parse_bool("false") == false);
    CHECK(parse_bool("0") == false);
    for (const char* word : {"True", "TRUE", "yes", "on", "no", "off", "", "2", "true "}) {
        CHECK_FALSE(parse_bool(word).has_value());
    }
}

TEST_CASE("a duration is a number and its unit", "[config]") {
    // Without a unit mosquitto refuses the line: seconds and hours must not be guessed.
    CHECK(parse_duration("1s").value == 1);
    CHECK(parse_duration("2h").value == 7200);
    CHECK(parse_duration("14d").value == 14 * 86400);
    CHECK(parse_duration("2w").value == 14 * 86400);
    CHECK(parse_duration("1m").value == 30 * 86400);
    CHECK(parse_duration("1y").value == 365 * 86400);
    for (const char* word : {"", "1", "d", "-1d", "1.5d", "1x", "1D", "d1", "1dd"}) {
        INFO(word);
        CHECK(parse_duration(word).error == NumberError::kNotANumber);
    }
    CHECK(parse_duration("9223372036854775807y").error == NumberError::kTooLarge);
}

TEST_CASE("a share is a decimal fraction, kept in thousandths", "[config]") {
    // No floating point: the same text gives the same bits everywhere.
    CHECK(parse_share("0").value == 0);
    CHECK(parse_share("1").value == 1000);
    CHECK(parse_share("0.2").value == 200);
    CHECK(parse_share("0.6").value == 600);
    CHECK(parse_share("0.001").value == 1);
    for (const char* word : {"", ".", "0.", ".5", "0.0000001", "a", "0.x", "-0.5", "1e-1"}) {
        INFO(word);
        CHECK(parse_share(word).error == NumberError::kNotANumber);
    }
}

TEST_CASE("words are cut at blanks, and a tab is a blank", "[config]") {
    // Where mqttd differs from mosquitto: `port\t1883` is a key and a value.
    std::string_view text = " \t key\t one  two \t";
    CHECK(take_word(text) == "key");
    CHECK(text == "one  two");
    CHECK(take_word(text) == "one");
    CHECK(take_word(text) == "two");
    CHECK(take_word(text).empty());
}

TEST_CASE("text is well-formed UTF-8 without U+0000", "[config]") {
    // Values become client ids and topics, where MQTT allows nothing else.
    for (const char* good : {"",
                             "plain",
                             "gr\xc3\xbc\xc3\x9f",
                             "\xe2\x82\xac",
                             "\xf0\x9f\x98\x80",
                             "\xed\x9f\xbf",
                             "\xee\x80\x80",
                             "\xf4\x8f\xbf\xbf"}) {
        CHECK(is_utf8_text(good));
    }
    for (const char* bad : {"\x80",
                            "\xc3",
                            "\xc0\xaf",
                            "\xe0\x80\xaf",
                            "\xed\xa0\x80",
                            "\xff",
                            "\xf4\x90\x80\x80",
                            "\xf0\x80\x80\xaf",
                            "\xe2\x82",
                            "\xf5\x80\x80\x80"}) {
        CHECK_FALSE(is_utf8_text(bad));
    }
    CHECK_FALSE(is_utf8_text(std::string_view("a\0b", 3)));
}

}  // namespace mqttd
