#pragma once

// Address space for the arena, reserved once at start.
//
// The kernel gives a page of memory when it is first touched, so reserving all that `memory_limit`
// allows costs nothing yet; MAP_NORESERVE keeps it out of the overcommit heuristics. A machine with
// strict accounting (vm.overcommit_memory 2, or an RLIMIT_AS) may refuse the whole: then half of it
// is asked for, and so on, and the caller says what was got.
//
// The arena wants its base at a multiple of 64 KiB; mmap promises 4 KiB, so a little more is mapped
// and the ends are given back. No madvise: huge pages stay the operator's choice.

#include "mqttd/result.h"

#include <cstddef>

namespace mqttd {

struct Region {
    void* base = nullptr;  // zero-filled, 64 KiB aligned
    size_t bytes = 0;      // a multiple of 64 KiB
};

// `wanted` bytes, or as many as can be had, but at least `least`.  kNoMemory below that.
Result<Region> reserve_memory(size_t wanted, size_t least);

// Zero-filled memory that this process and those forked from it see alike; a multiple of 64 KiB.
Result<Region> share_memory(size_t bytes);

void release_memory(const Region& region);

}  // namespace mqttd
