#include "broker/name_table.h"

#include "base/prng.h"

#include <catch2/catch.hpp>
#include <unordered_map>

using namespace mqttd;

TEST_CASE("a table of names is what a map of the library is", "[broker]") {
    Prng dice(3);
    NameTable<uint32_t> table;
    std::unordered_map<uint64_t, uint32_t> map;
    CHECK(table.find(1) == nullptr);
    table.erase(1);
    for (uint32_t i = 0; i < 200'000; ++i) {
        // Few names, so that they come and go; names that differ in their high bits only, too.
        const uint64_t name = (uint64_t{dice.below(4)} << 48) + dice.below(3'000) + 1;
        if (dice.below(5) < 3) {
            table.make(name) = i;
            map[name] = i;
        } else {
            table.erase(name);
            map.erase(name);
        }
        REQUIRE(table.size() == map.size());
        const uint64_t other = (uint64_t{dice.below(4)} << 48) + dice.below(3'000) + 1;
        const uint32_t* found = table.find(other);
        const auto same = map.find(other);
        REQUIRE((found != nullptr) == (same != map.end()));
        if (found != nullptr) REQUIRE(*found == same->second);
    }
    size_t seen = 0;
    table.for_each([&](uint64_t name, uint32_t value) {
        ++seen;
        REQUIRE(map.at(name) == value);
    });
    CHECK(seen == map.size());
    CHECK(table.find(0) == nullptr);
    table.clear();
    CHECK(table.size() == 0);
    CHECK(table.find(1) == nullptr);
    CHECK(table.make(7) == 0);
}
