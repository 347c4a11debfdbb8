#include "base/arena.h"

#include "base/prng.h"
#include "support/alloc_guard.h"
#include "support/arena_memory.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <vector>

using namespace mqttd;

namespace {

constexpr size_t kMiB = size_t{1} << 20;

uint64_t offset_in(const TestArena& test, const void* object) {
    return static_cast<uint64_t>(static_cast<const uint8_t*>(object) -
                                 static_cast<const uint8_t*>(test.memory.base()));
}

uint64_t page_in(const TestArena& test, const void* object) {
    return offset_in(test, object) / Arena::kPageBytes;
}

// Allocates pages, each as a run, until the arena refuses.
std::vector<void*> fill(Arena& arena, Arena::Use use = Arena::Use::kNormal) {
    std::vector<void*> pages;
    while (void* page = arena.allocate(Arena::kPageBytes, use))
        pages.push_back(page);
    return pages;
}

}  // namespace

TEST_CASE("every size gets room for itself, aligned to sixteen") {
    // Callers write exactly what they asked for, and Ptr32 counts in granules of sixteen bytes.
    TestArena test;
    for (size_t bytes = 1; bytes <= Arena::kSmallMax + 100; ++bytes) {
        void* object = test.arena.allocate(bytes);
        REQUIRE(object != nullptr);
        REQUIRE(reinterpret_cast<uintptr_t>(object) % 16 == 0);
        REQUIRE(test.arena.room(object) >= bytes);
        std::memset(object, 0xa5, bytes);
        test.arena.release(object);
    }
    REQUIRE(test.arena.live() == 0);
    REQUIRE(test.arena.bytes_used() == 0);
}

TEST_CASE("rounding up to a class costs at most a quarter, up to 16 KiB") {
    // The idle cost per client is counted in classes; a coarse one would waste it.  (Above 16 KiB
    // only three or two objects fit a page, so the steps are those of 64 KiB.)
    TestArena test;
    for (size_t bytes = 128; bytes <= 16 * 1024; bytes += 16) {
        void* object = test.arena.allocate(bytes);
        REQUIRE(test.arena.room(object) <= bytes + bytes / 4);
        test.arena.release(object);
    }
}

TEST_CASE("objects of one class fill one page before the next is taken") {
    // 64 bytes: 1024 to a page, without a header in it.
    TestArena test;
    const uint64_t before = test.arena.pages_used();
    std::vector<void*> objects;
    for (int i = 0; i < 1024; ++i)
        objects.push_back(test.arena.allocate(64));
    REQUIRE(test.arena.pages_used() == before + 1);
    objects.push_back(test.arena.allocate(64));
    REQUIRE(test.arena.pages_used() == before + 2);
    for (void* object : objects)
        test.arena.release(object);
    REQUIRE(test.arena.live() == 0);
}

TEST_CASE("a page whose objects are all free serves another class") {
    // No class starves another: what one has given back is everybody's.
    TestArena test(2 * kMiB);
    std::vector<void*> small;
    while (void* object = test.arena.allocate(64))
        small.push_back(object);
    REQUIRE(test.arena.allocate(20'000) == nullptr);
    for (void* object : small)
        test.arena.release(object);
    std::vector<void*> large;
    while (void* object = test.arena.allocate(20'000))
        large.push_back(object);
    // All but the one page the small class keeps.
    REQUIRE(large.size() >= (small.size() / 1024 - 1) * 3);
    for (void* object : large)
        test.arena.release(object);
    REQUIRE(test.arena.live() == 0);
}

TEST_CASE("an object that comes and goes costs no page traffic") {
    // The last page of a class stays carved.
    TestArena test;
    test.arena.release(test.arena.allocate(64));
    const uint64_t used = test.arena.pages_used();
    for (int i = 0; i < 100; ++i) {
        void* object = test.arena.allocate(64);
        REQUIRE(test.arena.pages_used() == used);
        test.arena.release(object);
        REQUIRE(test.arena.pages_used() == used);
    }
}

TEST_CASE("single pages come from the bottom and runs from the top") {
    // So that a long-lived small object does not sit in the middle of the room that runs need.
    TestArena test;
    const uint64_t last = test.arena.pages_total();
    void* single = test.arena.allocate(64);
    void* run = test.arena.allocate(3 * Arena::kPageBytes);
    void* next_run = test.arena.allocate(Arena::kPageBytes + 1);
    REQUIRE(page_in(test, single) < 8);
    REQUIRE(page_in(test, run) == last - 3);
    REQUIRE(page_in(test, next_run) == last - 5);
    REQUIRE(test.arena.room(run) == 3 * Arena::kPageBytes);
    test.arena.release(run);
    void* again = test.arena.allocate(2 * Arena::kPageBytes);
    REQUIRE(page_in(test, again) == last - 2);  // first fit from the top
    test.arena.release(again);
    test.arena.release(next_run);
    test.arena.release(single);
    REQUIRE(test.arena.live() == 0);
}

TEST_CASE("a run as large as all that is free can be had, and not one page more") {
    // Neighbouring free pages are one stretch again, however they became free.
    TestArena test(4 * kMiB);
    constexpr auto kAll = Arena::Use::kReserve;
    std::vector<void*> pages = fill(test.arena, kAll);
    const size_t count = pages.size();
    for (size_t i = 0; i < count; i += 2)
        test.arena.release(pages[i]);
    REQUIRE(test.arena.allocate(2 * Arena::kPageBytes, kAll) == nullptr);
    for (size_t i = 1; i < count; i += 2)
        test.arena.release(pages[i]);
    REQUIRE(test.arena.allocate((count + 1) * Arena::kPageBytes, kAll) == nullptr);
    void* all = test.arena.allocate(count * Arena::kPageBytes, kAll);
    REQUIRE(all != nullptr);
    test.arena.release(all);
    REQUIRE(test.arena.live() == 0);
}

TEST_CASE("the reserve is left for those who ask for it") {
    // Acknowledgements and closing must still work when ordinary requests are refused.
    TestArena test(16 * kMiB);
    const std::vector<void*> ordinary = fill(test.arena);
    REQUIRE(test.arena.allocate(64) == nullptr);
    REQUIRE(test.arena.pressure() == Arena::Pressure::kSlowReaders);
    void* answer = test.arena.allocate(64, Arena::Use::kReserve);
    REQUIRE(answer != nullptr);
    const std::vector<void*> rest = fill(test.arena, Arena::Use::kReserve);
    REQUIRE(rest.size() ==
            test.arena.pages_total() / 64 - (test.arena.pages_total() < 256 ? 0 : 1));
    REQUIRE(test.arena.pages_used() == test.arena.pages_total());
    REQUIRE(test.arena.refused() == 3);
    for (void* page : ordinary)
        test.arena.release(page);
    for (void* page : rest)
        test.arena.release(page);
    test.arena.release(answer);
    REQUIRE(test.arena.live() == 0);
}

TEST_CASE("pressure rises in four steps and falls again") {
    // The order of shedding hangs on it: what would stay, new connections, QoS 0, slow readers.
    TestArena test(64 * kMiB);
    std::vector<void*> pages;
    auto last = Arena::Pressure::kNone;
    std::vector<uint64_t> left_at(5);
    while (void* page = test.arena.allocate(Arena::kPageBytes, Arena::Use::kReserve)) {
        pages.push_back(page);
        const Arena::Pressure now = test.arena.pressure();
        REQUIRE(now >= last);
        if (now != last) {
            left_at[static_cast<size_t>(now)] = test.arena.pages_total() - test.arena.pages_used();
        }
        last = now;
    }
    const uint64_t total = test.arena.pages_total();
    REQUIRE(left_at[1] == total * 12 / 64);
    REQUIRE(left_at[2] == total / 8);
    REQUIRE(left_at[3] == total / 16);
    REQUIRE(left_at[4] == total / 32);
    for (void* page : pages)
        test.arena.release(page);
    REQUIRE(test.arena.pressure() == Arena::Pressure::kNone);
}

TEST_CASE("trim gives back what lies behind, in whole pages") {
    // An assembly buffer or a table is asked for at its largest and cut to what arrived.
    TestArena test;
    const uint64_t before = test.arena.pages_used();
    void* run = test.arena.allocate(10 * Arena::kPageBytes);
    std::memset(run, 1, 10 * Arena::kPageBytes);
    test.arena.trim(run, 3 * Arena::kPageBytes + 1);
    REQUIRE(test.arena.room(run) == 4 * Arena::kPageBytes);
    REQUIRE(test.arena.pages_used() == before + 4);
    test.arena.trim(run, 9 * Arena::kPageBytes);  // never grows
    REQUIRE(test.arena.room(run) == 4 * Arena::kPageBytes);
    void* other = test.arena.allocate(6 * Arena::kPageBytes);
    REQUIRE(other == static_cast<uint8_t*>(run) + 4 * Arena::kPageBytes);
    test.arena.trim(run, 0);  // one page stays
    REQUIRE(test.arena.room(run) == Arena::kPageBytes);
    test.arena.release(other);
    test.arena.release(run);
    void* small = test.arena.allocate(100);
    test.arena.trim(small, 1);  // not a run: stays as it is
    REQUIRE(test.arena.room(small) == 112);
    test.arena.release(small);
    REQUIRE(test.arena.live() == 0);
    REQUIRE(test.arena.pages_used() == before + 1);
}

TEST_CASE("refuse_nth refuses exactly that one") {
    // The refusal tests of all rooms stand on this.
    TestArena test;
    for (uint64_t n = 1; n < 5; ++n) {
        test.arena.refuse_nth(n);
        for (uint64_t i = 1; i < 8; ++i) {
            void* object = test.arena.allocate(i % 2 == 0 ? 64 : 100'000);
            REQUIRE((object == nullptr) == (i == n));
            if (object != nullptr) test.arena.release(object);
        }
    }
    REQUIRE(test.arena.refused() == 4);
    test.arena.refuse_nth(3);
    test.arena.refuse_nth(0);
    for (int i = 0; i < 5; ++i)
        test.arena.release(test.arena.allocate(64));
    REQUIRE(test.arena.live() == 0);
}

TEST_CASE("requests beyond the arena are refused, not wrapped around") {
    // Sizes come from packets; the largest must not become a small one.
    TestArena test(2 * kMiB);
    REQUIRE(test.arena.allocate(2 * kMiB) == nullptr);
    REQUIRE(test.arena.allocate(~size_t{0}) == nullptr);
    REQUIRE(test.arena.allocate(size_t{1} << 48) == nullptr);
    REQUIRE(test.arena.allocate((uint64_t{1} << 32) * Arena::kPageBytes) == nullptr);
    REQUIRE(test.arena.live() == 0);
}

TEST_CASE("the class statistics add up") {
    // They are published; a wrong one sends the operator the wrong way.
    TestArena test;
    std::vector<void*> objects;
    for (int i = 0; i < 1500; ++i)
        objects.push_back(test.arena.allocate(64));
    for (int i = 0; i < 100; ++i) {
        test.arena.release(objects.back());
        objects.pop_back();
    }
    const auto of_64 = test.arena.class_stats(3);
    REQUIRE(of_64.size == 64);
    REQUIRE(of_64.in_use == 1400);
    REQUIRE(of_64.high == 1500);
    REQUIRE(of_64.free == 2 * 1024 - 1400);
    REQUIRE(test.arena.bytes_used() == 1400 * 64);
    for (void* object : objects)
        test.arena.release(object);
}

TEST_CASE("random requests never overlap and the books balance", "[random]") {
    // The model is a map of what is live; contents are checked when an object goes.
    const uint64_t seed = GENERATE(1u, 2u, 3u, 4u, 5u, 6u);
    INFO("seed " << seed);
    TestArena test(8 * kMiB);
    Prng prng(seed);

    struct Piece {
        void* object;
        size_t bytes;
        uint8_t mark;
    };

    std::vector<Piece> pieces;
    std::map<uint64_t, uint64_t> taken;  // begin → end
    uint64_t bytes = 0;
    uint64_t refusals = 0;
    for (int step = 0; step < 20'000; ++step) {
        // Growing and shrinking in turn, so that the ceiling and the empty arena are both visited.
        const bool growing = (step / 2500) % 2 == 0;
        if (pieces.empty() || prng.below(100) < (growing ? 70u : 30u)) {
            const uint32_t shape = prng.below(100);
            const size_t size = 1 + (shape < 80   ? prng.below(2000)
                                     : shape < 95 ? prng.below(Arena::kSmallMax)
                                                  : prng.below(500'000));
            const auto use = prng.below(10) == 0 ? Arena::Use::kReserve : Arena::Use::kNormal;
            void* object = test.arena.allocate(size, use);
            if (object == nullptr) {
                ++refusals;
                continue;
            }
            const uint64_t begin = offset_in(test, object);
            const uint64_t end = begin + test.arena.room(object);
            REQUIRE(end <= test.memory.bytes());
            const auto after = taken.lower_bound(begin);
            REQUIRE((after == taken.end() || after->first >= end));
            REQUIRE((after == taken.begin() || std::prev(after)->second <= begin));
            taken[begin] = end;
            bytes += end - begin;
            const auto mark = static_cast<uint8_t>(prng.next());
            std::memset(object, mark, size);
            pieces.push_back({object, size, mark});
        } else {
            const size_t index = prng.below(static_cast<uint32_t>(pieces.size()));
            const Piece piece = pieces[index];
            pieces[index] = pieces.back();
            pieces.pop_back();
            const auto* at = static_cast<const uint8_t*>(piece.object);
            REQUIRE(std::all_of(at, at + piece.bytes, [&](uint8_t b) { return b == piece.mark; }));
            bytes -= test.arena.room(piece.object);
            taken.erase(offset_in(test, piece.object));
            test.arena.release(piece.object);
        }
        REQUIRE(test.arena.live() == pieces.size());
        REQUIRE(test.arena.bytes_used() == bytes);
    }
    REQUIRE(refusals > 0);
    REQUIRE(test.arena.refused() == refusals);
    for (const Piece& piece : pieces)
        test.arena.release(piece.object);
    REQUIRE(test.arena.live() == 0);
    REQUIRE(test.arena.bytes_used() == 0);
    // At most one carved page per class stays.
    REQUIRE(test.arena.pages_used() <= 4 + Arena::kClassCount);
    REQUIRE(test.arena.pages_high() <= test.arena.pages_total());
}

TEST_CASE("the arena asks the system for nothing") {
    // All its memory was handed over at the start.
    TestArena test;
    AllocGuard guard;
    void* objects[100];
    for (size_t i = 0; i < 100; ++i)
        objects[i] = test.arena.allocate(1 + i * 1000);
    for (void* object : objects)
        test.arena.release(object);
    REQUIRE(guard.allocations() == 0);
}
