#include "store/file_name.h"

#include "catch2/catch.hpp"

#include <string>

using namespace mqttd;

TEST_CASE("names of files and back", "[store]") {
    CHECK(std::string_view(name_of({7, 0})) == "0000000000000007.log");
    CHECK(std::string_view(name_of({0xabcdef, 12})) == "0000000000abcdef.12.log");
    for (const uint64_t number : {uint64_t{0}, uint64_t{1}, uint64_t{0xfedcba98}, ~uint64_t{0}}) {
        for (const uint32_t part : {0u, 1u, 99u, ~0u}) {
            const auto name = parse_name(name_of({number, part}));
            REQUIRE(name.has_value());
            CHECK(name->number == number);
            CHECK(name->part == part);
        }
    }
}

TEST_CASE("what is no file of ours is left alone", "[store]") {
    for (const char* name : {"",
                             ".log",
                             "lock",
                             "7.log",
                             "mosquitto.db",
                             "000000000000000g.log",
                             "0000000000000007",
                             "0000000000000007.log.bak",
                             "0000000000000007..log",
                             "0000000000000007.0.log",
                             "0000000000000007.x.log",
                             "0000000000000007.-1.log",
                             "0000000000000007.4294967296.log",
                             "00000000000000070.log",
                             "spare-3.log"}) {
        INFO(name);
        CHECK_FALSE(parse_name(name).has_value());
    }
    CHECK(is_spare(spare_name(3)));
    CHECK_FALSE(is_spare("0000000000000007.log"));
    CHECK_FALSE(is_spare("spare-3"));
}
