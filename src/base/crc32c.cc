#include "base/crc32c.h"

#include "base/little_endian.h"

#include <array>

namespace mqttd {

namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected

using Tables = std::array<std::array<uint32_t, 256>, 8>;

// tables[n][b]: what byte b adds when n more bytes follow it in the same step.
constexpr Tables make_tables() {
    Tables tables{};
    for (uint32_t byte = 0; byte < 256; ++byte) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; ++bit)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
        tables[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; ++byte) {
        for (size_t n = 1; n < 8; ++n) {
            const uint32_t before = tables[n - 1][byte];
            tables[n][byte] = (before >> 8) ^ tables[0][before & 0xff];
        }
    }
    return tables;
}

constexpr Tables kTables = make_tables();

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t crc32c_by_instruction(uint32_t before, Bytes bytes) {
    uint64_t crc = ~before;
    const uint8_t* at = bytes.data();
    size_t left = bytes.size();
    for (; left >= 8; left -= 8, at += 8)
        crc = __builtin_ia32_crc32di(crc, load_le<uint64_t>(at));
    auto rest = static_cast<uint32_t>(crc);
    for (; left > 0; --left, ++at)
        rest = __builtin_ia32_crc32qi(rest, *at);
    return ~rest;
}
#endif

}  // namespace

uint32_t crc32c_by_tables(uint32_t before, Bytes bytes) {
    uint32_t crc = ~before;
    const uint8_t* at = bytes.data();
    size_t left = bytes.size();
    for (; left >= 8; left -= 8, at += 8) {
        const uint32_t low = crc ^ load_le<uint32_t>(at);
        const uint32_t high = load_le<uint32_t>(at + 4);
        crc = kTables[7][low & 0xff] ^ kTables[6][low >> 8 & 0xff] ^ kTables[5][low >> 16 & 0xff] ^
              kTables[4][low >> 24] ^ kTables[3][high & 0xff] ^ kTables[2][high >> 8 & 0xff] ^
              kTables[1][high >> 16 & 0xff] ^ kTables[0][high >> 24];
    }
    for (; left > 0; --left, ++at)
        crc = (crc >> 8) ^ kTables[0][(crc ^ *at) & 0xff];
    return ~crc;
}

uint32_t crc32c(uint32_t before, Bytes bytes) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2") != 0) return crc32c_by_instruction(before, bytes);
#endif
    return crc32c_by_tables(before, bytes);
}

}  // namespace mqttd
