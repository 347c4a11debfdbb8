#pragma once

// The format of the journal: one endless sequence of bytes, cut into files of the same size.
//
// A byte's *position* is its place in that sequence, from 0; it never changes and is never used
// again. File n holds the positions n × file_bytes … (n + 1) × file_bytes; everything is
// little-endian.
//
//     file    | head 64 | record | record | … | nothing |
//
//     head    0 magic "mqttdlog"   8 version   12 file_bytes   16 journal (8)   24 number (8)
//             32 part   36 zero   40 from (8)   48 zeros   60 checksum of 0 … 59
//     record  0 checksum   4 size of the body   8 type   9 flags   10 zeros   16 body, zeros to a
//             multiple of 8
//
// A record's checksum covers its position too, so what an earlier life of a recycled file left
// behind never verifies. Fewer than kLeastRoom bytes at the end of a file hold nothing.
//
// What has to be there as a whole or not at all is a *unit*: a body of more than kChunkBytes is cut
// into several records (kMore), and records that count only together are joined (kJoined). All but
// the first record of a unit say so (kInside), so that a reader who comes in behind damage knows
// where the next unit begins.
//
// The records of the journal itself:
//   kStart   the first record of a start, which always begins a file: where the life before ended
//   (8) kBatch   begins what was handed to the scribe at once: up to where all was durable then
//   (8).  It
//            tells damage from a torn tail.
//
// A file whose writing or syncing failed is never written again. Its rest is written to another
// file, *part* 1, 2 … of the same number, whose head says from which position on it counts.
//
// On disk; do not renumber.

#include "mqttd/bytes.h"
#include "mqttd/result.h"

#include <cstdint>

namespace mqttd {

using Position = uint64_t;

constexpr uint32_t kJournalVersion = 1;
constexpr uint32_t kFileHeadBytes = 64;
constexpr uint32_t kRecordHeadBytes = 16;
constexpr uint32_t kRecordAlign = 8;
constexpr uint32_t kLeastRoom = kRecordHeadBytes + kRecordAlign;
constexpr uint32_t kChunkBytes = 64 * 1024;
constexpr uint32_t kFileBytesMin = 4 * 1024;  // a power of two
constexpr uint32_t kFileBytesMax = 1u << 30;

enum class RecordType : uint8_t {
    kNone = 0,  // never written: zeros are no record
    kStart = 1,
    kBatch = 2,
    kFirstOfBroker = 16,  // from here on the broker's (include/mqttd/journal.h)
};

enum RecordFlags : uint8_t {
    kMore = 1,    // the body goes on in the next record
    kJoined = 2,  // the unit goes on with another body
    kInside = 4,  // not the first record of its unit
    kAllFlags = 7,
};

// What is the same for all files of a journal.
struct JournalShape {
    uint32_t file_bytes = 16u << 20;  // a power of two, kFileBytesMin … kFileBytesMax
    uint64_t id = 0;                  // chosen at random when it was made

    uint64_t number_of(Position position) const { return position / file_bytes; }

    Position begin_of(uint64_t number) const { return number * file_bytes; }

    // Where the file of a position ends.
    Position end_after(Position position) const { return begin_of(number_of(position) + 1); }
};

struct FileHead {
    JournalShape shape;
    uint64_t number = 0;
    uint32_t part = 0;
    Position from = 0;
};

void encode_file_head(uint8_t* out, const FileHead& head);

// Errors: kInvalid (none, or damaged), kUnsupportedVersion (undamaged, but not kJournalVersion).
Result<FileHead> decode_file_head(Bytes bytes);

struct RecordHead {
    uint32_t checksum = 0;
    uint32_t size = 0;  // of the body, at most kChunkBytes
    RecordType type = RecordType::kNone;
    uint8_t flags = 0;

    // Head, body and the zeros behind it.
    uint32_t total() const {
        return (kRecordHeadBytes + size + kRecordAlign - 1) / kRecordAlign * kRecordAlign;
    }
};

// Where the next record goes if the log ends at `tail`, and how much of a body of which `left`
// bytes are left goes there.
struct RecordPlace {
    Position at = 0;    // of the record's head
    uint32_t body = 0;  // bytes
};

RecordPlace next_place(const JournalShape& shape, Position tail, uint64_t left);

// Everything but the checksum.
void encode_record_head(uint8_t* out, const RecordHead& head);

// Errors: kInvalid if it cannot be one, whatever its body.
Result<RecordHead> decode_record_head(Bytes bytes);

// Of a record at `position` whose encoded head is `head`; the body's bytes are added with crc32c.
uint32_t begin_checksum(Position position, const uint8_t* head);

}  // namespace mqttd
