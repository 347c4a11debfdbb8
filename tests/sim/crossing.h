#pragma once

// Crossing: the border between the world and the product, for the count of allocations.
//
// The world's own code takes memory from the heap as it likes; broker and net must not, from their
// first turn to their last: what they need comes from the arena.  Both run in one process and call
// each other, so whoever crosses the border says so:
//
//     const Crossing in(Crossing::kProduct);      the turn
//     const Crossing out(Crossing::kWorld);       … which calls a socket, the log, the tap
//
// In a sanitized build the heap is not ours to count: there it is always 0.

#include <cstdint>

namespace mqttd::sim {

class Crossing {
  public:
    enum Side : bool { kWorld, kProduct };

    explicit Crossing(Side to);
    ~Crossing();
    Crossing(const Crossing&) = delete;
    Crossing& operator=(const Crossing&) = delete;

    // By the product, since the process began.
    static uint64_t allocations();

  private:
    Side from_;
};

}  // namespace mqttd::sim
