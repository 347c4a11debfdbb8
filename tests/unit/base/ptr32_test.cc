#include "base/ptr32.h"

#include "support/arena_memory.h"

#include <catch2/catch.hpp>

using namespace mqttd;

namespace {

struct alignas(16) Node {
    Ptr32<Node> other;
    uint32_t value = 0;
};

}  // namespace

TEST_CASE("a Ptr32 reaches both ways over gigabytes") {
    // The arena may be 32 GiB; a distance counts 16-byte granules in 32 signed bits.
    const size_t span = (size_t{32} << 30) - Arena::kPageBytes;
    ArenaMemory memory(size_t{32} << 30);
    auto* low = new (memory.base()) Node;
    auto* high = new (static_cast<uint8_t*>(memory.base()) + span) Node;
    low->other = high;
    high->other = low;
    REQUIRE(low->other.get() == high);
    REQUIRE(high->other.get() == low);
    REQUIRE(low->other->other == low);
}

TEST_CASE("null is null, and assigning null forgets") {
    // Lists end in null; a stale distance there would be a wild pointer.
    TestArena test;
    auto* a = test.arena.make<Node>(Arena::Use::kNormal);
    auto* b = test.arena.make<Node>(Arena::Use::kNormal);
    REQUIRE(a->other.get() == nullptr);
    REQUIRE_FALSE(a->other);
    a->other = b;
    REQUIRE(static_cast<bool>(a->other));
    a->other = nullptr;
    REQUIRE(a->other == nullptr);
}

TEST_CASE("copying a Ptr32 copies where it points, not how far") {
    // Assigning one object's link to another's is what every list does.
    TestArena test;
    auto* nodes = static_cast<Node*>(test.arena.allocate(64 * sizeof(Node)));
    for (uint32_t i = 0; i < 64; ++i)
        new (&nodes[i]) Node;
    nodes[0].other = &nodes[63];
    for (uint32_t i = 1; i < 63; ++i)
        nodes[i].other = nodes[i - 1].other;
    for (uint32_t i = 1; i < 63; ++i)
        REQUIRE(nodes[i].other.get() == &nodes[63]);
}
