#pragma once

// fetch: asks memory for a cache line that is going to be read or written in a while.
//
// The empty statement keeps the compiler from thinking that a function which does nothing else
// does nothing: GCC 12 leaves calls to such a function out.

namespace mqttd {

inline void fetch(const void* place) {
    __builtin_prefetch(place);
    asm volatile("");
}

}  // namespace mqttd
