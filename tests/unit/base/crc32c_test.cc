#include "base/crc32c.h"

#include "base/little_endian.h"
#include "base/prng.h"
#include "catch2/catch.hpp"

#include <vector>

using namespace mqttd;

TEST_CASE("CRC-32C gives the numbers of RFC 3720", "[base]") {
    // Appendix B.4: 32 bytes of zeros, of ones, ascending, descending.
    std::vector<uint8_t> bytes(32, 0);
    const auto both = [&](uint32_t value) {
        CHECK(crc32c(0, Bytes(bytes)) == value);
        CHECK(crc32c_by_tables(0, Bytes(bytes)) == value);
    };
    both(0x8a9136aa);
    bytes.assign(32, 0xff);
    both(0x62a8ab43);
    for (uint8_t i = 0; i < 32; ++i)
        bytes[i] = i;
    both(0x46dd794e);
    for (uint8_t i = 0; i < 32; ++i)
        bytes[i] = static_cast<uint8_t>(31 - i);
    both(0x113fdb5c);
    CHECK(crc32c(0, as_bytes("123456789")) == 0xe3069283);
    CHECK(crc32c(0, {}) == 0);
}

TEST_CASE("CRC-32C by tables and by instruction agree, whole or in pieces", "[base]") {
    Prng dice(3);
    std::vector<uint8_t> bytes(1000);
    for (uint8_t& byte : bytes)
        byte = static_cast<uint8_t>(dice.next());
    for (size_t size = 0; size <= bytes.size(); ++size) {
        const Bytes all = Bytes(bytes).first(size);
        const uint32_t whole = crc32c(0, all);
        REQUIRE(crc32c_by_tables(0, all) == whole);
        const size_t cut = dice.below(static_cast<uint32_t>(size) + 1);
        REQUIRE(crc32c(crc32c(0, all.first(cut)), all.subspan(cut)) == whole);
        REQUIRE(crc32c_by_tables(crc32c(0, all.first(cut)), all.subspan(cut)) == whole);
    }
}

TEST_CASE("numbers in files are little-endian", "[base]") {
    uint8_t bytes[8];
    store_le<uint64_t>(bytes, 0x0102030405060708);
    for (uint8_t i = 0; i < 8; ++i)
        CHECK(bytes[i] == 8 - i);
    CHECK(load_le<uint64_t>(bytes) == 0x0102030405060708);
    CHECK(load_le<uint32_t>(bytes) == 0x05060708);
    CHECK(load_le<uint16_t>(bytes) == 0x0708);
    CHECK(load_le<uint8_t>(bytes) == 0x08);
}
