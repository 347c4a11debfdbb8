#include "config/address.h"

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <string>

namespace mqttd {

namespace {

// libc's own reading, as the judge.
std::optional<IpAddress> by_libc(const std::string& text) {
    IpAddress address;
    if (inet_pton(AF_INET, text.c_str(), address.bytes.data()) == 1) {
        return address;
    }
    address.is_v6 = true;
    if (inet_pton(AF_INET6, text.c_str(), address.bytes.data()) == 1) {
        return address;
    }
    return std::nullopt;
}

}  // namespace

TEST_CASE("numeric addresses read as inet_pton reads them", "[config]") {
    // The shell will hand the same text to the kernel's own types; the two must agree.
    for (const char* text : {"0.0.0.0",
                             "127.0.0.1",
                             "255.255.255.255",
                             "256.1.1.1",
                             "1.2.3",
                             "1.2.3.4.5",
                             "01.2.3.4",
                             "1.2.3.04",
                             "1..2.3",
                             "",
                             ".",
                             "a.b.c.d",
                             "::",
                             "::1",
                             "1::",
                             "fe80::1:2",
                             "1:2:3:4:5:6:7:8",
                             "1:2:3:4:5:6:7",
                             "1:2:3:4:5:6:7:8:9",
                             "1:2:3:4:5:6:7::",
                             "::2:3:4:5:6:7:8",
                             "1::2::3",
                             ":::",
                             ":1",
                             "1:",
                             "::ffff:10.0.0.1",
                             "::10.0.0.256",
                             "1:2:3:4:5:6:1.2.3.4",
                             "1.2.3.4::",
                             "12345::",
                             "::g",
                             "fe80::1%lo",
                             "[::1]",
                             "localhost",
                             "example.org"}) {
        INFO("text '" << text << "'");
        CHECK(parse_address(text) == by_libc(text));
    }
}

TEST_CASE("random address-like texts read as inet_pton reads them", "[config]") {
    // Groups, gaps and dots in every order; the corner cases nobody thinks of.
    const unsigned seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const char* kPieces[] = {
        ":", "::", ".", "0", "1", "ff", "ffff", "12345", "255", "256", "1.2.3.4"};
    for (int i = 0; i < 50000; ++i) {
        std::string text;
        for (auto pieces = random() % 17; pieces > 0; --pieces) {
            text += kPieces[random() % std::size(kPieces)];
        }
        INFO("text '" << text << "'");
        REQUIRE(parse_address(text) == by_libc(text));
    }
}

TEST_CASE("only the all-zero address of a family is its wildcard", "[config]") {
    // A wildcard takes the port of every other address of its family.
    CHECK(is_wildcard(*parse_address("0.0.0.0")));
    CHECK(is_wildcard(*parse_address("::")));
    CHECK(is_wildcard(*parse_address("0:0:0:0:0:0:0:0")));
    CHECK_FALSE(is_wildcard(*parse_address("::1")));
    CHECK_FALSE(is_wildcard(*parse_address("1.0.0.0")));
}

}  // namespace mqttd
