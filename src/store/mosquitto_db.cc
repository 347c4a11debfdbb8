#include "store/mosquitto_db.h"

#include "base/assert.h"
#include "store/mosquitto_chunk.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace mqttd {
namespace {

constexpr uint8_t kMagic[15] = {
    0x00, 0xb5, 0x00, 'm', 'o', 's', 'q', 'u', 'i', 't', 't', 'o', ' ', 'd', 'b'};
constexpr size_t kVersionAt = sizeof(kMagic) + 4;
constexpr size_t kHeaderSize = kVersionAt + 4;

constexpr uint32_t kVersionFirst = 2;  // that was ever written
constexpr uint32_t kVersionOurFirst = 5;
constexpr uint32_t kVersionLast = 6;

constexpr uint32_t kVotingChunks = 1000;
constexpr uint32_t kTypesToCome = 256;  // a larger one is damage rather than something new

constexpr const char* kFileErrors[] = {
    "is a mosquitto.db",
    "is empty",
    "is not a mosquitto.db",
    "ends within its header",
    "has a format of mosquitto before 1.6: start mosquitto 1.6 or later on it once, and stop it",
    "has a format version that is not known here (5 and 6 are)",
    "has store ids of a size that is not known here",
};
static_assert(std::size(kFileErrors) == static_cast<size_t>(MosquittoFileError::kCount));

constexpr const char* kChunks[] = {
    "chunks of unknown type",
    "configurations",
    "messages",
    "client messages",
    "retained messages",
    "subscriptions",
    "clients",
};
static_assert(std::size(kChunks) == static_cast<size_t>(MosquittoChunk::kCount));

constexpr const char* kDamages[] = {
    "is whole",
    "is cut off by the end of the file",
    "has lengths that disagree",
    "has an unknown type",
    "has a client id that is none",
    "has a topic that is none",
    "has a number that cannot be",
    "has properties that no PUBLISH may carry",
};
static_assert(std::size(kDamages) == static_cast<size_t>(MosquittoDamage::kCount));

}  // namespace

const char* mosquitto_file_error_text(MosquittoFileError error) {
    return kFileErrors[static_cast<size_t>(error)];
}

const char* mosquitto_chunk_text(MosquittoChunk kind) {
    return kChunks[static_cast<size_t>(kind)];
}

const char* mosquitto_damage_text(MosquittoDamage damage) {
    return kDamages[static_cast<size_t>(damage)];
}

MosquittoDb::MosquittoDb(Bytes file) : file_(file) {
    error_ = read_header();
    if (error_ == MosquittoFileError::kNone) form_.big_endian = looks_big_endian();
}

MosquittoFileError MosquittoDb::read_header() {
    if (file_.empty()) return MosquittoFileError::kEmpty;
    const size_t magic = std::min(file_.size(), sizeof(kMagic));
    if (std::memcmp(file_.data(), kMagic, magic) != 0) return MosquittoFileError::kNotMosquitto;
    if (file_.size() < kHeaderSize) return MosquittoFileError::kHeaderCut;
    for (size_t i = kVersionAt; i < kHeaderSize; ++i)
        form_.version = form_.version << 8 | file_[i];
    if (form_.version < kVersionFirst || form_.version > kVersionLast) {
        return MosquittoFileError::kUnknownVersion;
    }
    if (form_.version < kVersionOurFirst) return MosquittoFileError::kOldVersion;

    report_.offset = kHeaderSize;
    form_.packed = looks_packed();
    MosquittoChunkHeader first;
    if (!read_header_at(kHeaderSize, first) || first.kind() != MosquittoChunk::kConfig) {
        return MosquittoFileError::kNone;
    }
    const Bytes config = file_.subspan(kHeaderSize + MosquittoChunkHeader::kSize);
    const bool known = mosquitto_id_size_known(config);
    return known ? MosquittoFileError::kNone : MosquittoFileError::kIdSize;
}

// The first chunk tells: a config without padding, and another chunk right behind it.
bool MosquittoDb::looks_packed() {
    form_.packed = true;
    MosquittoChunkHeader first;
    return read_header_at(kHeaderSize, first) && first.kind() == MosquittoChunk::kConfig &&
           stands(kHeaderSize) && stands(kHeaderSize + MosquittoChunkHeader::kSize + first.length);
}

bool MosquittoDb::looks_big_endian() const {
    int votes = 0;
    uint64_t at = kHeaderSize;
    MosquittoChunkHeader header;
    for (uint32_t i = 0; i < kVotingChunks && read_header_at(at, header); ++i) {
        const Bytes rest = file_.subspan(at + MosquittoChunkHeader::kSize);
        if (header.length > rest.size()) break;
        if (mosquitto_chunk_lengths(header.kind(), rest, form_).have(header.length)) {
            votes += big_endian_votes(header.kind(), rest);
        }
        at += MosquittoChunkHeader::kSize + header.length;
    }
    return votes > 0;
}

bool MosquittoDb::read_header_at(uint64_t at, MosquittoChunkHeader& out) const {
    if (file_.size() < at || file_.size() - at < MosquittoChunkHeader::kSize) return false;
    out = read_chunk_header(file_.subspan(at));
    return true;
}

// Whether a chunk of a known kind begins there and its lengths agree, or the file ends.
bool MosquittoDb::stands(uint64_t at) const {
    if (at == file_.size()) return true;
    MosquittoChunkHeader header;
    if (!read_header_at(at, header)) return false;
    const Bytes rest = file_.subspan(at + MosquittoChunkHeader::kSize);
    return header.length <= rest.size() &&
           mosquitto_chunk_lengths(header.kind(), rest, form_).have(header.length);
}

// Where the chunk at hand ends: the nearest place that one of its lengths leads to and where a
// chunk or the end of the file is; 0 if there is none.  (A length too long may well lead to some
// later chunk: those of retained messages are 16 bytes apart.)  One that the file cuts off does not
// end where the file does.
uint64_t MosquittoDb::next_chunk(const MosquittoChunkHeader& header,
                                 const MosquittoChunkLengths& lengths) const {
    const uint64_t body = report_.offset + MosquittoChunkHeader::kSize;
    const bool cut = header.length > file_.size() - body;
    const Bytes rest = file_.subspan(body);
    uint64_t nearest = 0;
    for (const uint64_t length : {uint64_t{header.length}, lengths.bare, lengths.full}) {
        const uint64_t end = body + length;
        if (length == 0 || (cut && end == file_.size()) || !stands(end)) continue;
        // What the header leaves out must be properties, not the next header with a wrong byte.
        const bool left_out = header.length == lengths.bare && length > header.length;
        if (left_out && !is_property_block(rest.subspan(header.length, length - header.length))) {
            continue;
        }
        if (nearest == 0 || end < nearest) nearest = end;
    }
    return nearest;
}

bool MosquittoDb::step(MosquittoVisitor& visitor) {
    MQTTD_ASSERT(error_ == MosquittoFileError::kNone);
    if (report_.end != MosquittoEnd::kNotYet) return false;
    if (report_.offset == file_.size()) return finish(MosquittoEnd::kWhole);
    MosquittoChunkHeader header;
    if (!read_header_at(report_.offset, header)) {
        skip(visitor, MosquittoChunk::kUnknown, MosquittoDamage::kCut);
        return finish(MosquittoEnd::kCut);
    }
    const MosquittoChunk kind = header.kind();
    return kind == MosquittoChunk::kUnknown ? step_unknown(visitor, header)
                                            : step_known(visitor, header);
}

bool MosquittoDb::step_known(MosquittoVisitor& visitor, const MosquittoChunkHeader& header) {
    const MosquittoChunk kind = header.kind();
    const Bytes rest = file_.subspan(report_.offset + MosquittoChunkHeader::kSize);
    const bool cut = header.length > rest.size();
    const MosquittoChunkLengths lengths = mosquitto_chunk_lengths(kind, rest, form_);
    const uint64_t end = report_.offset + MosquittoChunkHeader::kSize + header.length;
    const uint64_t next = next_chunk(header, lengths);

    // With no chunk behind it, it is the next one that is damaged.
    if (!cut && lengths.have(header.length) && (next == end || next == 0)) {
        const MosquittoDamage damage = take_chunk(kind, rest.first(header.length), form_, visitor);
        if (damage == MosquittoDamage::kNone) {
            ++count(kind).taken;
        } else {
            skip(visitor, kind, damage);
        }
        report_.offset = end;
        return true;
    }
    skip(visitor, kind, cut && next == 0 ? MosquittoDamage::kCut : MosquittoDamage::kLengths);
    if (next == 0) return finish(cut ? MosquittoEnd::kCut : MosquittoEnd::kLost);
    report_.offset = next;
    return true;
}

bool MosquittoDb::step_unknown(MosquittoVisitor& visitor, const MosquittoChunkHeader& header) {
    const uint64_t body = report_.offset + MosquittoChunkHeader::kSize;
    const bool cut = header.length > file_.size() - body;
    skip(visitor,
         MosquittoChunk::kUnknown,
         cut ? MosquittoDamage::kCut : MosquittoDamage::kUnknownType);
    if (cut) return finish(MosquittoEnd::kCut);
    const bool may_be_new = header.type != 0 && header.type < kTypesToCome;
    if (!may_be_new && !stands(body + header.length)) return finish(MosquittoEnd::kLost);
    report_.offset = body + header.length;
    return true;
}

void MosquittoDb::skip(MosquittoVisitor& visitor, MosquittoChunk kind, MosquittoDamage why) {
    ++count(kind).skipped;
    visitor.skipped(kind, report_.offset, why);
}

bool MosquittoDb::finish(MosquittoEnd end) {
    report_.end = end;
    return false;
}

}  // namespace mqttd
