#pragma once

// SplitMix64: small seeded randomness for choices that need no secrecy (shared-group members, test
// worlds).  The seed comes from outside, so that a run can be replayed.

#include <cstdint>

namespace mqttd {

class Prng {
  public:
    explicit Prng(uint64_t seed) : state_(seed) {}

    uint64_t next() {
        uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }

    // 0 ≤ result < bound; bound > 0.
    uint32_t below(uint32_t bound) {
        return static_cast<uint32_t>((uint64_t{static_cast<uint32_t>(next())} * bound) >> 32);
    }

  private:
    uint64_t state_;
};

}  // namespace mqttd
