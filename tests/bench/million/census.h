#pragma once

// Census: what the arena holds, by size of object, and what one more step of a crowd added to it.
//
// The arena knows sizes, not kinds; but between two looks at a crowd only a few kinds were made,
// and those of one step have sizes of their own. So a step names what it is expected to make, and
// what is left over (tables of hashes, which are runs of pages) is named as well.

#include "base/arena.h"

#include <cstdint>
#include <span>

namespace mqttd::bench {

class Census {
  public:
    // What a step makes: one for each client.
    struct Kind {
        const char* name;
        uint32_t bytes;  // of the object; the arena may round it up
    };

    explicit Census(const Arena& arena) : arena_(arena) { look(); }

    // Prints a line for each kind and for the rest, since the last look; returns the bytes.
    double report(std::span<const Kind> kinds, uint32_t clients);

    // Pages taken since the first look, in bytes.
    uint64_t page_bytes() const { return (arena_.pages_used() - first_pages_) * Arena::kPageBytes; }

  private:
    void look();

    const Arena& arena_;
    uint64_t in_use_[Arena::kClassCount] = {};
    uint64_t bytes_ = 0;
    uint64_t first_pages_ = arena_.pages_used();
};

}  // namespace mqttd::bench
