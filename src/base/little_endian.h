#pragma once

// Numbers in files and between processes: little-endian, wherever we run.

#include <bit>
#include <cstdint>
#include <cstring>

namespace mqttd {

template <class T>
T swap_if_big_endian(T value) {
    if constexpr (std::endian::native == std::endian::little || sizeof(T) == 1) return value;
    if constexpr (sizeof(T) == 2) return static_cast<T>(__builtin_bswap16(value));
    if constexpr (sizeof(T) == 4) return static_cast<T>(__builtin_bswap32(value));
    if constexpr (sizeof(T) == 8) return static_cast<T>(__builtin_bswap64(value));
}

// `T` is an unsigned integer; `at` needs no alignment.
template <class T>
T load_le(const uint8_t* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return swap_if_big_endian(value);
}

template <class T>
void store_le(uint8_t* at, T value) {
    value = swap_if_big_endian(value);
    std::memcpy(at, &value, sizeof value);
}

}  // namespace mqttd
