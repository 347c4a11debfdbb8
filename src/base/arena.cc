#include "base/arena.h"

#include "base/assert.h"

#include <algorithm>
#include <array>

namespace mqttd {

namespace {

// Four classes per doubling above 128 bytes: at most a fifth is lost to rounding.
constexpr std::array<uint32_t, Arena::kClassCount> kSizes = {
    16,   32,   48,   64,   80,   96,   112,  128,  144,   160,   192,   224,   256,
    320,  384,  448,  512,  640,  768,  896,  1024, 1280,  1536,  1792,  2048,  2560,
    3072, 3584, 4096, 5120, 6144, 7168, 8192, 9360, 10912, 13104, 16384, 21840, 32768};

constexpr uint32_t kUsedClasses = Arena::kClassCount;
static_assert(kSizes[kUsedClasses - 1] == Arena::kSmallMax);

constexpr bool sizes_ascend() {
    for (uint32_t i = 1; i < kUsedClasses; ++i) {
        if (kSizes[i] <= kSizes[i - 1] || kSizes[i] % 16 != 0) return false;
    }
    return true;
}

static_assert(sizes_ascend());

// Class of every size up to kSmallMax, in steps of 16 bytes.
struct ClassTable {
    uint8_t of[Arena::kSmallMax / 16 + 1] = {};

    constexpr ClassTable() {
        uint32_t size_class = 0;
        for (uint32_t granules = 0; granules <= Arena::kSmallMax / 16; ++granules) {
            if (granules * 16 > kSizes[size_class]) ++size_class;
            of[granules] = static_cast<uint8_t>(size_class);
        }
    }
};

constexpr ClassTable kClassOf;

constexpr uint8_t kRunHead = 0xfe;
constexpr uint8_t kNoClass = 0xff;

}  // namespace

// What is known of one page; 20 bytes in the page table at the front of the arena.
struct Arena::Page {
    uint32_t next;  // partial list of its class: page index + 1, 0 = none
    uint32_t prev;
    uint32_t run_pages;  // head of a run: its length
    uint16_t used;       // objects handed out
    uint16_t carved;     // objects ever cut from the front of the page
    uint16_t free_head;  // index + 1 of the first object of the freelist
    uint8_t size_class;
    uint8_t spare;
};

Arena::Arena(void* base, size_t bytes)
    : base_(static_cast<uint8_t*>(base)), page_count_(static_cast<uint32_t>(bytes / kPageBytes)) {
    MQTTD_ASSERT(bytes >= 16 * size_t{kPageBytes} && bytes <= (size_t{32} << 30));
    MQTTD_ASSERT(reinterpret_cast<uintptr_t>(base) % kPageBytes == 0);
    const size_t bitmap_bytes = (page_count_ + 63) / 64 * 8;
    const size_t table_bytes = bitmap_bytes + page_count_ * sizeof(Page);
    const auto own = static_cast<uint32_t>((table_bytes + kPageBytes - 1) / kPageBytes);
    bitmap_ = reinterpret_cast<uint64_t*>(base_);
    pages_ = reinterpret_cast<Page*>(base_ + bitmap_bytes);
    // The bits past the last page count as taken.
    for (uint32_t page = page_count_; page < (page_count_ + 63) / 64 * 64; ++page) {
        bitmap_[page / 64] |= uint64_t{1} << (page % 64);
    }
    mark(0, own, true);
    pages_used_ = pages_high_ = own;
    single_hint_ = own;
    run_hint_ = page_count_;
    reserve_ = std::max<uint32_t>(4, page_count_ / 64);
}

uint32_t Arena::page_of(const void* object) const {
    const auto offset = static_cast<uint64_t>(static_cast<const uint8_t*>(object) - base_);
    MQTTD_DCHECK(offset / kPageBytes < page_count_);
    return static_cast<uint32_t>(offset / kPageBytes);
}

void* Arena::allocate(size_t bytes, Use use) {
    MQTTD_DCHECK(bytes > 0);
    ++allocations_;
    void* object = nullptr;
    if (allocations_ != refuse_at_) {
        if (bytes <= kSmallMax) {
            object = allocate_small(kClassOf.of[(bytes + 15) / 16], use);
        } else if (bytes / kPageBytes < page_count_) {
            object =
                allocate_run(static_cast<uint32_t>((bytes + kPageBytes - 1) / kPageBytes), use);
        }
    }
    if (object == nullptr) {
        ++refused_;
        return nullptr;
    }
    ++live_;
    return object;
}

void* Arena::allocate_small(uint32_t size_class, Use use) {
    ClassState& state = classes_[size_class];
    const uint32_t size = kSizes[size_class];
    uint32_t index = state.first_partial;
    if (index == 0) {
        index = take_single(use);
        if (index == 0) return nullptr;
        Page& fresh = pages_[index - 1];
        fresh = Page{};
        fresh.size_class = static_cast<uint8_t>(size_class);
        ++state.pages;
        link_partial(index - 1, state);
    }
    Page& page = pages_[index - 1];
    uint8_t* start = page_start(index - 1);
    uint8_t* object = nullptr;
    if (page.free_head != 0) {
        object = start + uint32_t{page.free_head - 1u} * size;
        page.free_head = *reinterpret_cast<uint16_t*>(object);
    } else {
        object = start + uint32_t{page.carved} * size;
        ++page.carved;
    }
    ++page.used;
    if (page.free_head == 0 && (page.carved + 1u) * size > kPageBytes) {
        unlink_partial(index - 1, state);
    }
    if (++state.in_use > state.high) state.high = state.in_use;
    bytes_used_ += size;
    return object;
}

void Arena::release(void* object) {
    MQTTD_DCHECK(object != nullptr && live_ > 0);
    --live_;
    const uint32_t index = page_of(object);
    Page& page = pages_[index];
    if (page.size_class == kRunHead) {
        MQTTD_ASSERT(object == page_start(index));
        bytes_used_ -= uint64_t{page.run_pages} * kPageBytes;
        give_back(index, page.run_pages);
        return;
    }
    MQTTD_ASSERT(page.used > 0 && page.size_class < kUsedClasses);
    ClassState& state = classes_[page.size_class];
    const uint32_t size = kSizes[page.size_class];
    const auto offset = static_cast<uint32_t>(static_cast<uint8_t*>(object) - page_start(index));
    MQTTD_DCHECK(offset % size == 0);
    const bool was_full = page.free_head == 0 && (page.carved + 1u) * size > kPageBytes;
    *static_cast<uint16_t*>(object) = page.free_head;
    page.free_head = static_cast<uint16_t>(offset / size + 1);
    --page.used;
    --state.in_use;
    bytes_used_ -= size;
    if (was_full) link_partial(index, state);
    // The last page of a class stays carved: an object that comes and goes costs no page traffic.
    if (page.used == 0 && (page.next != 0 || page.prev != 0)) {
        unlink_partial(index, state);
        --state.pages;
        give_back(index, 1);
    }
}

void* Arena::allocate_run(uint32_t count, Use use) {
    if (!may_take(count, use)) return nullptr;
    // First fit from the top.
    uint32_t found = 0;
    bool at_top = true;
    for (uint32_t page = run_hint_; page > 0;) {
        if (page % 64 == 0 && bitmap_[page / 64 - 1] == ~uint64_t{0}) {
            page -= 64;
            found = 0;
            if (at_top) run_hint_ = page;
            continue;
        }
        --page;
        found = taken(page) ? 0 : found + 1;
        if (found == 0 && at_top) run_hint_ = page;
        if (found > 0) at_top = false;
        if (found < count) continue;
        mark(page, count, true);
        pages_used_ += count;
        pages_high_ = std::max(pages_high_, pages_used_);
        pages_[page] = Page{};
        pages_[page].size_class = kRunHead;
        pages_[page].run_pages = count;
        bytes_used_ += uint64_t{count} * kPageBytes;
        return page_start(page);
    }
    return nullptr;
}

// Index + 1 of a page for a size class, 0 if there is none to be had.
uint32_t Arena::take_single(Use use) {
    if (!may_take(1, use)) return 0;
    for (uint32_t word = single_hint_ / 64; word * 64 < page_count_; ++word) {
        if (bitmap_[word] == ~uint64_t{0}) continue;
        const auto page = word * 64 + static_cast<uint32_t>(__builtin_ctzll(~bitmap_[word]));
        mark(page, 1, true);
        single_hint_ = page + 1;
        ++pages_used_;
        pages_high_ = std::max(pages_high_, pages_used_);
        return page + 1;
    }
    return 0;
}

void Arena::give_back(uint32_t page, uint32_t pages) {
    pages_[page].size_class = kNoClass;
    mark(page, pages, false);
    pages_used_ -= pages;
    single_hint_ = std::min(single_hint_, page);
    run_hint_ = std::max(run_hint_, page + pages);
}

bool Arena::may_take(uint32_t pages, Use use) const {
    const uint64_t left = page_count_ - pages_used_;
    return left >= pages + (use == Use::kNormal ? reserve_ : 0);
}

void Arena::mark(uint32_t page, uint32_t pages, bool used) {
    for (uint32_t i = page; i < page + pages; ++i) {
        const uint64_t bit = uint64_t{1} << (i % 64);
        MQTTD_ASSERT(taken(i) != used);
        bitmap_[i / 64] ^= bit;
    }
}

bool Arena::taken(uint32_t page) const {
    return (bitmap_[page / 64] >> (page % 64) & 1) != 0;
}

void Arena::link_partial(uint32_t index, ClassState& state) {
    Page& page = pages_[index];
    page.prev = 0;
    page.next = state.first_partial;
    if (page.next != 0) pages_[page.next - 1].prev = index + 1;
    state.first_partial = index + 1;
}

void Arena::unlink_partial(uint32_t index, ClassState& state) {
    Page& page = pages_[index];
    if (page.next != 0) pages_[page.next - 1].prev = page.prev;
    if (page.prev != 0) {
        pages_[page.prev - 1].next = page.next;
    } else {
        MQTTD_ASSERT(state.first_partial == index + 1);
        state.first_partial = page.next;
    }
    page.next = page.prev = 0;
}

size_t Arena::room(const void* object) const {
    const Page& page = pages_[page_of(object)];
    if (page.size_class == kRunHead) return size_t{page.run_pages} * kPageBytes;
    return kSizes[page.size_class];
}

void Arena::trim(void* run, size_t bytes) {
    const uint32_t index = page_of(run);
    Page& page = pages_[index];
    if (page.size_class != kRunHead) return;
    const auto keep =
        static_cast<uint32_t>(std::max<size_t>(1, (bytes + kPageBytes - 1) / kPageBytes));
    if (keep >= page.run_pages) return;
    const uint32_t spare = page.run_pages - keep;
    page.run_pages = keep;
    bytes_used_ -= uint64_t{spare} * kPageBytes;
    give_back(index + keep, spare);
}

Arena::Pressure Arena::pressure() const {
    // What is left above the reserve, which is more than a 64th of a small arena.
    const uint64_t left = page_count_ - pages_used_;
    const uint64_t room = left > reserve_ ? left - reserve_ : 0;
    if (room * 64 > page_count_ * uint64_t{11}) return Pressure::kNone;
    if (room * 64 > page_count_ * uint64_t{7}) return Pressure::kGrowth;
    if (room * 64 > page_count_ * uint64_t{3}) return Pressure::kConnections;
    if (room * 64 > page_count_) return Pressure::kQos0;
    return Pressure::kSlowReaders;
}

Arena::ClassStats Arena::class_stats(uint32_t index) const {
    MQTTD_ASSERT(index < kClassCount);
    ClassStats stats;
    stats.size = kSizes[index];
    const ClassState& state = classes_[index];
    stats.in_use = state.in_use;
    stats.high = state.high;
    stats.free = state.pages * (kPageBytes / stats.size) - state.in_use;
    return stats;
}

}  // namespace mqttd
