#include "io/memory.h"

#include <cstdint>
#include <sys/mman.h>

namespace mqttd {

namespace {

constexpr size_t kAlignment = 64 * 1024;

size_t round_up(size_t n) {
    return (n + kAlignment - 1) / kAlignment * kAlignment;
}

Region reserve_exactly(size_t bytes) {
    const size_t mapped = bytes + kAlignment;
    void* got = mmap(nullptr,
                     mapped,
                     PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                     -1,
                     0);
    if (got == MAP_FAILED) return {};
    auto* start = static_cast<uint8_t*>(got);
    auto* base = reinterpret_cast<uint8_t*>(round_up(reinterpret_cast<uintptr_t>(start)));
    const auto before = static_cast<size_t>(base - start);
    const size_t after = mapped - before - bytes;
    if (before > 0) munmap(start, before);
    if (after > 0) munmap(base + bytes, after);
    return {base, bytes};
}

}  // namespace

Result<Region> reserve_memory(size_t wanted, size_t least) {
    for (size_t bytes = round_up(wanted); bytes >= least && bytes > 0; bytes = bytes / 2) {
        const Region region = reserve_exactly(round_up(bytes));
        if (region.base != nullptr) return region;
    }
    return Error::kNoMemory;
}

Result<Region> share_memory(size_t bytes) {
    const size_t size = round_up(bytes);
    void* got = mmap(
        nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (got == MAP_FAILED) return Error::kNoMemory;
    return Region{got, size};
}

void release_memory(const Region& region) {
    if (region.base != nullptr) munmap(region.base, region.bytes);
}

}  // namespace mqttd
