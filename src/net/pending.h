#pragma once

// Pending input: what a link left of its input, in a block of its own.
//
// Nothing of an unfinished packet stays in the shared inbound segment, or an idle link would pin
// it. What is kept is one Segment whose data starts with two numbers:
//
//     | begin need | taken ... | bytes kept ...          | room          |
//       8 bytes    8           begin                     used            capacity
//
// `need` says when it is worth giving to the protocol again (bytes from `begin`):
//
//     0            at once, as it lies: the link had stopped and goes on
//     kUnknown     when something was added; up to kPrependMax bytes or while the need is unknown
//     it small        is put in front of the next read, so that the packet is parsed whole, in
//     place large        when all of it is there: later reads go straight into this block
//     (assembly). The
//                  block grows with what has arrived, by doubling, never to what `need` claims, and
//                  the complete packet is handed over in it, uncopied.

#include "base/segment.h"

#include <cstdint>
#include <cstring>

namespace mqttd {

struct PendingHead {
    static constexpr uint32_t kUnknown = ~uint32_t{0};
    static constexpr uint32_t kPrependMax = 4096;

    uint32_t begin = sizeof(PendingHead);
    uint32_t need = 0;
};

static_assert(sizeof(PendingHead) == 8);

inline PendingHead& pending_head(Segment& block) {
    return *reinterpret_cast<PendingHead*>(block.data());
}

inline uint32_t pending_size(Segment& block) {
    return block.used - pending_head(block).begin;
}

// Is it worth giving to the protocol as it is?
inline bool pending_complete(Segment& block) {
    return pending_size(block) >= pending_head(block).need;
}

// Do reads go into the block itself, rather than behind a copy of it?
inline bool pending_assembles(Segment& block) {
    return pending_head(block).need != PendingHead::kUnknown &&
           pending_size(block) > PendingHead::kPrependMax;
}

}  // namespace mqttd
