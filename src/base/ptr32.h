#pragma once

// Ptr32<T>: a pointer in four bytes.
//
// Objects of the arena are 16-byte aligned and the arena is at most 32 GiB, so the distance between
// two of them fits 32 bits when counted in 16-byte granules. A Ptr32 stores that distance from its
// own place: no base address is needed to follow it, which a global would otherwise have to hold.
// An idle client costs half a kilobyte because of this: a link and a session are mostly pointers.
//
// Distance 0 is null (nothing points into its own granule). Both ends must live in one arena, or
// near each other in a test. Copying re-computes the distance; the bytes of an object that holds
// one must not be moved with memcpy.

#include "base/assert.h"

#include <cstdint>

namespace mqttd {

template <class T>
class Ptr32 {
  public:
    Ptr32() = default;

    Ptr32(T* to) { set(to); }

    Ptr32(const Ptr32& other) { set(other.get()); }

    Ptr32& operator=(const Ptr32& other) {
        set(other.get());
        return *this;
    }

    Ptr32& operator=(T* to) {
        set(to);
        return *this;
    }

    T* get() const {
        if (distance_ == 0) return nullptr;
        return reinterpret_cast<T*>((here() + static_cast<uint64_t>(int64_t{distance_})) << 4);
    }

    T* operator->() const { return get(); }

    T& operator*() const { return *get(); }

    operator T*() const { return get(); }

    explicit operator bool() const { return distance_ != 0; }

  private:
    uint64_t here() const { return reinterpret_cast<uintptr_t>(this) >> 4; }

    void set(const T* to) {
        if (to == nullptr) {
            distance_ = 0;
            return;
        }
        const uint64_t there = reinterpret_cast<uintptr_t>(to);
        const int64_t distance = static_cast<int64_t>((there >> 4) - here());
        MQTTD_DCHECK((there & 15) == 0 && distance != 0);
        MQTTD_ASSERT(distance == static_cast<int32_t>(distance));  // both ends in one arena
        distance_ = static_cast<int32_t>(distance);
    }

    int32_t distance_ = 0;
};

}  // namespace mqttd
