#include "store/record.h"

#include "base/crc32c.h"
#include "base/little_endian.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace mqttd {

namespace {

constexpr char kMagic[8] = {'m', 'q', 't', 't', 'd', 'l', 'o', 'g'};
constexpr uint32_t kHeadChecksumAt = kFileHeadBytes - 4;

bool possible(uint32_t file_bytes) {
    return std::has_single_bit(file_bytes) && file_bytes >= kFileBytesMin &&
           file_bytes <= kFileBytesMax;
}

}  // namespace

void encode_file_head(uint8_t* out, const FileHead& head) {
    std::memset(out, 0, kFileHeadBytes);
    std::memcpy(out, kMagic, sizeof kMagic);
    store_le<uint32_t>(out + 8, kJournalVersion);
    store_le<uint32_t>(out + 12, head.shape.file_bytes);
    store_le<uint64_t>(out + 16, head.shape.id);
    store_le<uint64_t>(out + 24, head.number);
    store_le<uint32_t>(out + 32, head.part);
    store_le<uint64_t>(out + 40, head.from);
    store_le<uint32_t>(out + kHeadChecksumAt, crc32c(0, Bytes(out, kHeadChecksumAt)));
}

Result<FileHead> decode_file_head(Bytes bytes) {
    if (bytes.size() < kFileHeadBytes) return Error::kInvalid;
    const uint8_t* at = bytes.data();
    if (std::memcmp(at, kMagic, sizeof kMagic) != 0) return Error::kInvalid;
    if (load_le<uint32_t>(at + kHeadChecksumAt) != crc32c(0, bytes.first(kHeadChecksumAt))) {
        return Error::kInvalid;
    }
    if (load_le<uint32_t>(at + 8) != kJournalVersion) return Error::kUnsupportedVersion;
    FileHead head;
    head.shape.file_bytes = load_le<uint32_t>(at + 12);
    head.shape.id = load_le<uint64_t>(at + 16);
    head.number = load_le<uint64_t>(at + 24);
    head.part = load_le<uint32_t>(at + 32);
    head.from = load_le<uint64_t>(at + 40);
    if (!possible(head.shape.file_bytes)) return Error::kInvalid;
    return head;
}

void encode_record_head(uint8_t* out, const RecordHead& head) {
    std::memset(out, 0, kRecordHeadBytes);
    store_le<uint32_t>(out + 4, head.size);
    out[8] = static_cast<uint8_t>(head.type);
    out[9] = head.flags;
}

Result<RecordHead> decode_record_head(Bytes bytes) {
    if (bytes.size() < kRecordHeadBytes) return Error::kInvalid;
    const uint8_t* at = bytes.data();
    RecordHead head;
    head.checksum = load_le<uint32_t>(at);
    head.size = load_le<uint32_t>(at + 4);
    head.type = static_cast<RecordType>(at[8]);
    head.flags = at[9];
    const bool zeros = load_le<uint16_t>(at + 10) == 0 && load_le<uint32_t>(at + 12) == 0;
    if (head.type == RecordType::kNone || head.size > kChunkBytes || head.flags > kAllFlags ||
        !zeros) {
        return Error::kInvalid;
    }
    return head;
}

uint32_t begin_checksum(Position position, const uint8_t* head) {
    uint8_t place[sizeof position];
    store_le<uint64_t>(place, position);
    return crc32c(crc32c(0, place), Bytes(head + 4, kRecordHeadBytes - 4));
}

RecordPlace next_place(const JournalShape& shape, Position tail, uint64_t left) {
    const Position end = shape.end_after(tail);
    Position at = tail;
    if (at % shape.file_bytes == 0) at += kFileHeadBytes;
    if (end - at < kLeastRoom) at = end + kFileHeadBytes;
    const uint64_t rest = shape.end_after(at) - at - kRecordHeadBytes;
    const uint64_t body = std::min<uint64_t>({left, rest, kChunkBytes});
    return {at, static_cast<uint32_t>(body)};
}

}  // namespace mqttd
