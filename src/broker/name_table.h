#pragma once

// NameTable: from a number that is not 0 to a value; for a start, which looks up millions of them.
//
// Open addressing in ordinary memory, at most two thirds full; erasing moves later entries up, so
// no tombstones are left. A value's place is good until the next `make` or `erase`.

#include "base/assert.h"
#include "base/fetch.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace mqttd {

template <class T>
class NameTable {
  public:
    size_t size() const { return size_; }

    // nullptr if it is not there.
    T* find(uint64_t name) {
        if (size_ == 0 || name == 0) return nullptr;
        for (size_t i = home(name);; i = next(i)) {
            if (slots_[i].name == name) return &slots_[i].value;
            if (slots_[i].name == 0) return nullptr;
        }
    }

    // For who will look for it in a while: asks memory for its place.
    void fetch(uint64_t name) const {
        if (!slots_.empty()) mqttd::fetch(&slots_[home(name)]);
    }

    // Room for so many, while it is empty.
    void reserve(size_t count) {
        MQTTD_ASSERT(size_ == 0);
        slots_ = std::vector<Slot>(std::bit_ceil(std::max<size_t>(count * 3 / 2, kLeast)));
    }

    // The one that is there, or a fresh one.
    T& make(uint64_t name) {
        MQTTD_ASSERT(name != 0);
        if ((size_ + 1) * 3 > slots_.size() * 2) grow();
        size_t i = home(name);
        while (slots_[i].name != 0 && slots_[i].name != name)
            i = next(i);
        if (slots_[i].name == 0) {
            slots_[i].name = name;
            ++size_;
        }
        return slots_[i].value;
    }

    void erase(uint64_t name) {
        if (size_ == 0 || name == 0) return;
        size_t hole = home(name);
        for (; slots_[hole].name != name; hole = next(hole)) {
            if (slots_[hole].name == 0) return;
        }
        for (size_t i = next(hole); slots_[i].name != 0; i = next(i)) {
            const size_t wanted = home(slots_[i].name);
            const size_t mask = slots_.size() - 1;
            if (((i - wanted) & mask) < ((i - hole) & mask)) continue;
            slots_[hole] = std::move(slots_[i]);
            hole = i;
        }
        slots_[hole] = {};
        --size_;
    }

    // Calls visit(name, value) for all, in no order.
    template <class Visit>
    void for_each(Visit visit) {
        constexpr size_t kAhead = 16;
        for (size_t i = 0; i < slots_.size(); ++i) {
            if constexpr (std::is_pointer_v<T>) {
                if (i + kAhead < slots_.size()) mqttd::fetch(slots_[i + kAhead].value);
            }
            if (slots_[i].name != 0) visit(slots_[i].name, slots_[i].value);
        }
    }

    void clear() {
        slots_ = {};
        size_ = 0;
    }

  private:
    static constexpr size_t kLeast = 64;

    struct Slot {
        uint64_t name = 0;
        T value{};
    };

    // Both halves of a pair count, and of the product its upper bits, to which all have come.
    size_t home(uint64_t name) const {
        const uint64_t mixed = (name ^ name >> 32) * 0x9e3779b97f4a7c15u;
        return static_cast<size_t>(mixed >> 32) & (slots_.size() - 1);
    }

    size_t next(size_t i) const { return (i + 1) & (slots_.size() - 1); }

    void grow() {
        std::vector<Slot> old(slots_.empty() ? kLeast : slots_.size() * 2);
        old.swap(slots_);
        for (Slot& slot : old) {
            if (slot.name == 0) continue;
            size_t i = home(slot.name);
            while (slots_[i].name != 0)
                i = next(i);
            slots_[i] = std::move(slot);
        }
    }

    std::vector<Slot> slots_;
    size_t size_ = 0;
};

}  // namespace mqttd
