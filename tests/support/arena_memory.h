#pragma once

// ArenaMemory: address space for an Arena, given back when the test ends.
//
//     ArenaMemory memory(64 << 20);
//     Arena arena(memory.base(), memory.bytes());
//
// TestArena is both in one, for the tests that do not care.

#include "base/arena.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sys/mman.h>

namespace mqttd {

class ArenaMemory {
  public:
    explicit ArenaMemory(size_t bytes = size_t{64} << 20) : bytes_(bytes) {
        constexpr size_t kAlignment = Arena::kPageBytes;
        mapped_ = bytes + kAlignment;
        start_ = mmap(nullptr,
                      mapped_,
                      PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                      -1,
                      0);
        if (start_ == MAP_FAILED) std::abort();
        const auto address = reinterpret_cast<uintptr_t>(start_);
        base_ = reinterpret_cast<void*>((address + kAlignment - 1) / kAlignment * kAlignment);
    }

    ~ArenaMemory() { munmap(start_, mapped_); }

    ArenaMemory(const ArenaMemory&) = delete;
    ArenaMemory& operator=(const ArenaMemory&) = delete;

    void* base() const { return base_; }

    size_t bytes() const { return bytes_; }

  private:
    void* start_ = nullptr;
    void* base_ = nullptr;
    size_t mapped_ = 0;
    size_t bytes_;
};

struct TestArena {
    explicit TestArena(size_t bytes = size_t{64} << 20)
        : memory(bytes), arena(memory.base(), memory.bytes()) {}

    ArenaMemory memory;
    Arena arena;
};

}  // namespace mqttd
