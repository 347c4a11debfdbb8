#include "io/memory.h"

#include "base/arena.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <sys/resource.h>

using namespace mqttd;

TEST_CASE("a reserved region is aligned, zero and costs nothing yet") {
    // What Arena asks of its memory; 32 GiB must work on a machine with less.
    const Result<Region> region = reserve_memory(size_t{32} << 30, size_t{32} << 30);
    REQUIRE(region.ok());
    REQUIRE(region->bytes == size_t{32} << 30);
    REQUIRE(reinterpret_cast<uintptr_t>(region->base) % Arena::kPageBytes == 0);
    Arena arena(region->base, region->bytes);
    void* object = arena.allocate(100);
    REQUIRE(object != nullptr);
    arena.release(object);
    release_memory(*region);
}

TEST_CASE("sizes are rounded up to whole pages of the arena") {
    // So that the caller's number is kept.
    const Result<Region> region = reserve_memory((size_t{1} << 20) + 1, 1);
    REQUIRE(region.ok());
    REQUIRE(region->bytes == (size_t{1} << 20) + 65536);
    static_cast<uint8_t*>(region->base)[region->bytes - 1] = 1;
    release_memory(*region);
}

TEST_CASE("when the whole is refused, a part is taken, but never less than the least") {
    // Strict overcommit and RLIMIT_AS refuse what an ordinary machine grants.
    const Result<Region> region = reserve_memory(size_t{1} << 60, size_t{1} << 30);
    REQUIRE(region.ok());
    REQUIRE(region->bytes >= size_t{1} << 30);
    REQUIRE(region->bytes < size_t{1} << 60);
    release_memory(*region);
    REQUIRE(reserve_memory(size_t{1} << 60, size_t{1} << 59).error() == Error::kNoMemory);
}
