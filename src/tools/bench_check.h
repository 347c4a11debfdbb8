#pragma once

// What a subscriber may expect of the payloads: nothing lost, nothing twice, nothing out of order.
//
// Every payload begins with a mark of sixteen bytes (eight where a payload has no room for more):
//
//     | publisher (20 bits) · sequence (44 bits) | time of sending, ns |  filler …
//
// in the machine's byte order, for both ends are this program. A Stream is what one subscriber has
// seen of one publisher: the next sequence number, and a bit for each of the 64 before it, so that
// a latecomer can be told from a copy. The usual case, the number expected, is a compare, an add
// and a shift.
//
// `step` is how far apart the numbers are that this subscriber gets (a publisher that visits ten
// subscribers in turn: 10). With step 0 the numbers only have to rise: in a shared group nobody
// knows who gets what, and what is lost is found by counting.

#include <cstdint>
#include <cstring>

namespace mqttd::bench {

struct Mark {
    static constexpr uint32_t kSequenceBits = 44;
    static constexpr uint64_t kSequenceMask = (uint64_t{1} << kSequenceBits) - 1;
    static constexpr size_t kBytes = 16;        // with the time
    static constexpr size_t kNumbersBytes = 8;  // without
    static constexpr uint32_t kPublishersMax = 1u << 20;

    static uint64_t pack(uint32_t publisher, uint64_t sequence) {
        return uint64_t{publisher} << kSequenceBits | (sequence & kSequenceMask);
    }

    static uint32_t publisher(uint64_t word) {
        return static_cast<uint32_t>(word >> kSequenceBits);
    }

    static uint64_t sequence(uint64_t word) { return word & kSequenceMask; }
};

inline uint64_t load_word(const uint8_t* from) {
    uint64_t word = 0;
    memcpy(&word, from, sizeof word);
    return word;
}

inline void store_word(uint8_t* to, uint64_t word) {
    memcpy(to, &word, sizeof word);
}

enum class Verdict : uint8_t {
    kNext,       // the number that was due
    kGap,        // a later one: what lies between is lost, or late
    kLate,       // one that a gap had left out
    kDuplicate,  // seen before, or so old that it cannot be told
};

class Stream {
  public:
    explicit Stream(uint32_t step = 1, uint64_t first = 0) : next_(first), step_(step) {}

    Verdict see(uint64_t sequence) {
        if (sequence == next_) {
            next_ += step_ != 0 ? step_ : 1;
            seen_ = seen_ << 1 | 1;
            return Verdict::kNext;
        }
        return see_other(sequence);
    }

    // How many numbers the last kGap left out.
    uint64_t gap() const { return gap_; }

    uint64_t next() const { return next_; }

    uint32_t step() const { return step_; }

  private:
    Verdict see_other(uint64_t sequence) {
        const uint64_t step = step_ != 0 ? step_ : 1;
        if (sequence > next_) {
            gap_ = (sequence - next_) / step;
            next_ = sequence + step;
            seen_ = gap_ + 1 < 64 ? seen_ << (gap_ + 1) | 1 : 1;
            return step_ != 0 ? Verdict::kGap : Verdict::kNext;
        }
        const uint64_t back = (next_ - sequence) / step - 1;  // 0 is the newest
        if (back >= 64 || (seen_ >> back & 1) != 0) return Verdict::kDuplicate;
        seen_ |= uint64_t{1} << back;
        return Verdict::kLate;
    }

    uint64_t next_;
    uint64_t seen_ = 0;  // bit i: next - (i + 1) steps was seen
    uint64_t gap_ = 0;
    uint32_t step_;
};

// What went wrong in a run.
struct Faults {
    uint64_t lost = 0;
    uint64_t duplicates = 0;
    uint64_t disordered = 0;  // came, but after a later one
    uint64_t foreign = 0;     // not of this run: a retained message, another publisher

    bool any() const { return lost + duplicates + disordered + foreign != 0; }
};

}  // namespace mqttd::bench
