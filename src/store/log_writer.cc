#include "store/log_writer.h"

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/little_endian.h"

namespace mqttd {

namespace {

constexpr uint32_t kBatchBody = 8;

uint64_t size_of(std::span<const Bytes> parts) {
    uint64_t size = 0;
    for (const Bytes part : parts)
        size += part.size();
    return size;
}

// The next `size` bytes of several parts, one contiguous piece after the other.
class PartReader {
  public:
    explicit PartReader(std::span<const Bytes> parts) : parts_(parts) {}

    template <class Visit>
    void take(uint64_t size, Visit visit) {
        while (size > 0) {
            while (rest_.empty()) {
                rest_ = parts_.front();
                parts_ = parts_.subspan(1);
            }
            const size_t n = std::min<uint64_t>(size, rest_.size());
            visit(rest_.first(n));
            rest_ = rest_.subspan(n);
            size -= n;
        }
    }

  private:
    std::span<const Bytes> parts_;
    Bytes rest_;
};

}  // namespace

LogWriter::LogWriter(const Ring& ring, const JournalShape& shape, Position begin, Position ended)
    : ring_(ring), shape_(shape), tail_(begin) {
    MQTTD_ASSERT(begin % shape.file_bytes == 0 && ended <= begin);
    MQTTD_ASSERT((ring.bytes & (ring.bytes - 1)) == 0);
    ring_.head->tail.store(begin, std::memory_order_relaxed);
    ring_.head->durable.store(begin, std::memory_order_release);
    uint8_t body[8];
    store_le<uint64_t>(body, ended);
    const Bytes whole(body);
    place_all(RecordType::kStart, {&whole, 1}, 0);
    in_batch_ = true;  // it is the batch's head
}

uint64_t LogWriter::cost(uint64_t size) const {
    Position at = tail_;
    if (!in_batch_) {
        const RecordPlace place = next_place(shape_, at, kBatchBody);
        at = place.at + RecordHead{.size = place.body}.total();
    }
    uint64_t left = size;
    do {
        const RecordPlace place = next_place(shape_, at, left);
        at = place.at + RecordHead{.size = place.body}.total();
        left -= place.body;
    } while (left > 0);
    return at - tail_;
}

uint64_t LogWriter::room() const {
    return ring_.bytes - (tail_ - durable());
}

Position LogWriter::append(RecordType type, std::span<const Bytes> parts, bool joined) {
    MQTTD_DCHECK(cost(size_of(parts)) <= room());
    if (!in_batch_) begin_batch();
    const uint8_t flags = static_cast<uint8_t>((joined ? kJoined : 0) | (in_unit_ ? kInside : 0));
    in_unit_ = joined;
    return place_all(type, parts, flags);
}

void LogWriter::begin_batch() {
    uint8_t body[kBatchBody];
    store_le<uint64_t>(body, durable());
    const Bytes whole(body);
    place_all(RecordType::kBatch, {&whole, 1}, 0);
    in_batch_ = true;
}

// Lays out a body as one record or several.
Position LogWriter::place_all(RecordType type, std::span<const Bytes> parts, uint8_t flags) {
    PartReader reader(parts);
    uint64_t left = size_of(parts);
    Position name = 0;
    bool first = true;
    do {
        const RecordPlace place = next_place(shape_, tail_, left);
        if (place.at != tail_) {
            const bool at_begin = tail_ % shape_.file_bytes == 0;
            const Position begin = at_begin ? tail_ : shape_.end_after(tail_);
            ring_.zero(tail_, begin - tail_);
            open_file(begin);
        }
        left -= place.body;
        RecordHead head;
        head.size = place.body;
        head.type = type;
        head.flags = static_cast<uint8_t>(flags | (left > 0 ? kMore : 0) | (first ? 0 : kInside));
        uint8_t encoded[kRecordHeadBytes];
        encode_record_head(encoded, head);
        uint32_t checksum = begin_checksum(place.at, encoded);
        Position to = place.at + kRecordHeadBytes;
        reader.take(place.body, [&](Bytes piece) {
            checksum = crc32c(checksum, piece);
            ring_.put(to, piece);
            to += piece.size();
        });
        store_le<uint32_t>(encoded, checksum);
        ring_.put(place.at, Bytes(encoded));
        tail_ = place.at + head.total();
        ring_.zero(to, tail_ - to);
        if (first) name = place.at;
        first = false;
    } while (left > 0);
    return name;
}

void LogWriter::open_file(Position at) {
    uint8_t head[kFileHeadBytes];
    encode_file_head(head, {shape_, shape_.number_of(at), 0, at});
    ring_.put(at, Bytes(head));
}

bool LogWriter::hand_over() {
    MQTTD_ASSERT(!in_unit_);
    in_batch_ = false;
    if (ring_.head->tail.load(std::memory_order_relaxed) == tail_) return false;
    ring_.head->tail.store(tail_, std::memory_order_release);
    return true;
}

}  // namespace mqttd
