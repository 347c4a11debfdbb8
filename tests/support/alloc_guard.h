#pragma once

// AllocGuard: proves that a stretch of code takes no memory from the system.
//
//     warm_up();
//     AllocGuard guard;
//     steady_state();
//     REQUIRE(guard.allocations() == 0);
//
// The test program defines malloc and its siblings itself (alloc_guard.cc) and counts the calls;
// operator new ends there too. mmap, mremap, brk and sbrk are counted apart, as is free. What the
// C library does inside malloc is not counted twice.
//
// A build with AddressSanitizer or ThreadSanitizer has its own malloc: there `available` is false
// and all counts are 0, so that the REQUIRE above holds and proves nothing.

#include <cstdint>

namespace mqttd {

class AllocGuard {
  public:
    AllocGuard();

    static bool available();

    // Since construction.
    uint64_t allocations() const;  // malloc, calloc, realloc, aligned ones, mmap, mremap, brk, sbrk
    uint64_t heap_calls() const;   // those of them that are not system calls
    uint64_t mappings() const;     // those that are
    uint64_t frees() const;

  private:
    uint64_t heap_calls_;
    uint64_t mappings_;
    uint64_t frees_;
};

}  // namespace mqttd
