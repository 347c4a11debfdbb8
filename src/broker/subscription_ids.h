#pragma once

// SubscriptionIds: the Subscription Identifiers of a delivery that waits or may be repeated.
//
// Kept as they go out, encoded properties one behind the other. A delivery without any, nearly
// every one, has none of this.   MQTT 5.0 §3.3.2.3.8

#include "mqttd/bytes.h"

#include "base/arena.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>

namespace mqttd {

struct alignas(16) SubscriptionIds {
    uint32_t size = 0;  // bytes behind the struct

    // nullptr if the arena refused.
    static SubscriptionIds* make(Arena& arena, Bytes encoded) {
        const size_t bytes = sizeof(uint32_t) + encoded.size();
        void* memory = arena.allocate(std::max(bytes, sizeof(SubscriptionIds)));
        if (memory == nullptr) return nullptr;
        auto* ids = new (memory) SubscriptionIds;
        ids->size = static_cast<uint32_t>(encoded.size());
        std::memcpy(reinterpret_cast<uint8_t*>(ids) + sizeof(uint32_t), encoded.data(), ids->size);
        return ids;
    }

    Bytes encoded() const {
        return {reinterpret_cast<const uint8_t*>(this) + sizeof(uint32_t), size};
    }
};

// Of none: nothing.
inline Bytes encoded_ids(const SubscriptionIds* ids) {
    return ids != nullptr ? ids->encoded() : Bytes{};
}

}  // namespace mqttd
