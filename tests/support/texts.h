#pragma once

// Texts that are none, and texts that only look as if: for every field that holds one.

#include <string>
#include <vector>

namespace mqttd {

// Neither standard lets these stand in a text field.
inline std::vector<std::string> bad_texts() {
    return {
        std::string(1, '\0'),        // U+0000: alone, within, at the end, in its overlong form
        std::string("a\0b", 3),      //
        std::string("ab\0", 3),      //
        "\xc0\x80",                  //
        "a\xc0\xaf",                 // another overlong form: '/'
        "\xe0\x80\xaf",              //
        "\xed\xa0\x80",              // the surrogates: first, last, and a pair of them
        "\xed\xbf\xbf",              //
        "\xed\xa0\xbd\xed\xb8\x80",  //
        "\xf4\x90\x80\x80",          // beyond U+10FFFF
        "\xf8\x88\x80\x80\x80",      //
        "\x80",                      // a continuation of nothing
        "abcdefgh\xff",              // never a byte of UTF-8
        "\xc3",                      // cut short
        "\xe2\x82",                  //
        "\xf0\x9f\x98",              //
        "\xe2\x82/",                 //
    };
}

// All of these may: the ends of each length, a byte order mark, control characters, what Unicode
// calls no character.
inline std::vector<std::string> good_texts() {
    return {"x",
            "\x01",
            "\x7f",
            "\xc2\x80",
            "\xdf\xbf",
            "\xe0\xa0\x80",
            "\xed\x9f\xbf",
            "\xee\x80\x80",
            "\xef\xbb\xbf",
            "\xef\xbf\xbf",
            "\xf0\x90\x80\x80",
            "\xf4\x8f\xbf\xbf"};
}

}  // namespace mqttd
