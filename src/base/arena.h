#pragma once

// Arena: all memory that grows with use, under one ceiling.
//
// The server reserves address space for `memory_limit` once and hands it over; from then on nothing
// calls malloc. The space is a row of 64 KiB pages. A page is free, or carved into objects of one
// size class, or part of a run of pages (tables, segments, large messages). A page whose objects
// are all free goes back to the arena, never to the kernel, so no size class can starve another and
// the ceiling is simply a count of pages.
//
//     | page table | page | page | ...  single pages from the bottom ▶      ◀ runs from the top |
//
// Singles and runs grow towards each other, so that a long-lived small object does not end up in
// the middle of the room that runs need.
//
// Every allocation can be refused (nullptr); each caller has a named answer. Ordinary requests stop
// when `reserve` pages are left; these serve acknowledgements, DISCONNECT and closing
// (Use::kReserve). `pressure` tells in four steps how near the ceiling is, for the order of
// shedding: what would stay (new retained topics, queues of the absent), new connections, QoS 0,
// slow readers.
//
// Cost: allocate and release are a freelist operation, ~5 ns; taking a page clears nothing. A run
// is found by a first-fit walk over a bitmap, 64 pages a step. All objects are 16-byte aligned.

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace mqttd {

class Arena {
  public:
    static constexpr uint32_t kPageBytes = 64 * 1024;
    static constexpr uint32_t kSmallMax = 32 * 1024;  // above: whole pages
    static constexpr uint32_t kClassCount = 39;

    enum class Use : uint8_t { kNormal, kReserve };

    // How near the ceiling: each step sheds one more kind of load.
    enum class Pressure : uint8_t { kNone, kGrowth, kConnections, kQos0, kSlowReaders };

    struct ClassStats {
        uint32_t size = 0;    // bytes per object
        uint64_t in_use = 0;  // objects
        uint64_t free = 0;    // objects carved and waiting
        uint64_t high = 0;    // most objects ever in use
    };

    // `base`: zero-filled, writable, 64 KiB aligned, `bytes` long (at most 32 GiB), outliving the
    // arena.  A sixty-fourth of the pages (at least 4) is the reserve.
    Arena(void* base, size_t bytes);
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    // At least `bytes` (> 0), uninitialised, or nullptr.
    void* allocate(size_t bytes, Use use = Use::kNormal);
    void release(void* object);

    // What the object really has room for.
    size_t room(const void* object) const;

    // Gives back the pages of a run behind its first `bytes`.
    void trim(void* run, size_t bytes);

    template <class T, class... Args>
    T* make(Use use, Args&&... args) {
        static_assert(alignof(T) <= 16);
        void* memory = allocate(sizeof(T), use);
        return memory != nullptr ? new (memory) T(std::forward<Args>(args)...) : nullptr;
    }

    template <class T>
    void destroy(T* object) {
        object->~T();
        release(object);
    }

    Pressure pressure() const;

    uint64_t pages_total() const { return page_count_; }

    uint64_t pages_used() const { return pages_used_; }

    uint64_t pages_high() const { return pages_high_; }

    uint64_t bytes_used() const { return bytes_used_; }  // asked for and not yet given back

    uint64_t refused() const { return refused_; }

    // Objects and runs handed out and not yet given back; 0 when the books balance.
    uint64_t live() const { return live_; }

    uint64_t allocations() const { return allocations_; }

    ClassStats class_stats(uint32_t index) const;

    // For tests: refuses the n-th allocation from now (1 = the next one), once.  0: never.
    void refuse_nth(uint64_t n) { refuse_at_ = n == 0 ? 0 : allocations_ + n; }

  private:
    struct Page;

    struct ClassState {
        uint32_t first_partial = 0;  // page index + 1
        uint64_t in_use = 0;
        uint64_t high = 0;
        uint64_t pages = 0;
    };

    uint8_t* page_start(uint32_t page) const { return base_ + uint64_t{page} * kPageBytes; }

    uint32_t page_of(const void* object) const;
    void* allocate_small(uint32_t size_class, Use use);
    void* allocate_run(uint32_t pages, Use use);
    uint32_t take_single(Use use);
    void give_back(uint32_t page, uint32_t pages);
    bool may_take(uint32_t pages, Use use) const;
    void mark(uint32_t page, uint32_t pages, bool used);
    bool taken(uint32_t page) const;
    void link_partial(uint32_t page, ClassState& state);
    void unlink_partial(uint32_t page, ClassState& state);

    uint8_t* base_;
    Page* pages_;
    uint64_t* bitmap_;      // one bit per page, 1 = taken
    uint32_t page_count_;   // all pages, the tables' own included
    uint32_t reserve_;      // pages kept for Use::kReserve
    uint32_t single_hint_;  // no free page below
    uint32_t run_hint_;     // no free page at or above
    uint64_t pages_used_ = 0;
    uint64_t pages_high_ = 0;
    uint64_t bytes_used_ = 0;
    uint64_t refused_ = 0;
    uint64_t live_ = 0;
    uint64_t allocations_ = 0;
    uint64_t refuse_at_ = 0;
    ClassState classes_[kClassCount];
};

}  // namespace mqttd
