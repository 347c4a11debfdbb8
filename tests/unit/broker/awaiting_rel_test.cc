#include "broker/awaiting_rel.h"

#include "support/arena_memory.h"

#include <catch2/catch.hpp>

using namespace mqttd;

// The number of the connection has sixteen bits: after 65,536 of them an old entry looks like one
// of the present, and letting go of it must not take away from a count that never held it.
TEST_CASE("a flow of 65,536 connections ago does not upset the count", "[broker]") {
    TestArena memory(size_t{4} << 20);
    AwaitingRel& awaiting = *memory.arena.make<AwaitingRel>(Arena::Use::kNormal);
    REQUIRE(awaiting.insert(memory.arena, 1, 0, nullptr));
    REQUIRE(awaiting.on_connection() == 1);
    for (uint32_t i = 0; i < 65'536; ++i)
        awaiting.begin_connection();
    REQUIRE(awaiting.on_connection() == 0);
    awaiting.erase(*awaiting.find(1));
    REQUIRE(awaiting.on_connection() == 0);
    REQUIRE(awaiting.insert(memory.arena, 2, 0, nullptr));
    REQUIRE(awaiting.on_connection() == 1);
    REQUIRE(awaiting.find(1) == nullptr);
    awaiting.erase(*awaiting.find(2));
    awaiting.release(memory.arena);
    memory.arena.destroy(&awaiting);
    REQUIRE(memory.arena.live() == 0);
}
