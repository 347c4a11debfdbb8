#include "store/bulk_writer.h"

#include <algorithm>
#include <bit>

namespace mqttd {

namespace {

constexpr uint64_t kRingLeast = uint64_t{8} << 20;

}  // namespace

BulkWriter::BulkWriter(Disk& disk, const JournalShape& shape, Position begin, uint64_t largest_unit)
    : memory_(std::bit_ceil(std::max(kRingLeast, largest_unit))),
      ring_{&head_, memory_.data(), memory_.size()},
      writer_(ring_, shape, begin, begin),
      scribe_(disk, ring_, shape, false) {}

bool BulkWriter::begin_unit(uint64_t cost) {
    if (writer_.room() < std::max(cost, ring_.bytes / 2)) write(false);
    return error_ == Error::kNone && writer_.room() >= cost;
}

Position BulkWriter::append(RecordType type, std::span<const Bytes> parts, bool joined) {
    return writer_.append(type, parts, joined);
}

Position BulkWriter::append(RecordType type, std::span<const Bytes> parts) {
    uint64_t size = 0;
    for (const Bytes part : parts)
        size += part.size();
    return begin_unit(Journal::cost(size)) ? writer_.append(type, parts, false) : 0;
}

Error BulkWriter::finish() {
    write(true);
    return error_;
}

void BulkWriter::write(bool syncs) {
    if (error_ != Error::kNone) return;
    writer_.hand_over();
    error_ = scribe_.step(syncs);
}

}  // namespace mqttd
