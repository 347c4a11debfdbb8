#include "store/log_reader.h"

#include "base/crc32c.h"
#include "base/little_endian.h"

#include <algorithm>

namespace mqttd {

namespace {

constexpr size_t kWindowBytes = 512 * 1024;

bool same_file(const FileName& a, const FileName& b) {
    return a.number == b.number && a.part == b.part;
}

}  // namespace

LogReader::~LogReader() {
    if (file_ >= 0) disk_.close(file_);
}

// --- the files -----------------------------------------------------------------------------------

void LogReader::collect(void* context, std::string_view name, uint64_t) {
    const auto file = parse_name(name);
    if (file) static_cast<LogReader*>(context)->names_.push_back(*file);
}

Error LogReader::open(JournalShape& shape) {
    window_.resize(kWindowBytes);
    const Error listed = disk_.list(collect, this);
    if (listed != Error::kNone) return listed;
    std::sort(names_.begin(), names_.end(), [](const FileName& a, const FileName& b) {
        return a.number != b.number ? a.number < b.number : a.part < b.part;
    });
    shape_ = shape;
    const Error error = read_heads(shape);
    if (error != Error::kNone) return error;
    report_.files = names_.size();
    if (!names_.empty()) next_begin_ = shape_.begin_of(names_.back().number + 1);
    cut_lives();
    if (!extents_.empty()) at_ = extents_.front().from;
    report_.end = at_;
    return Error::kNone;
}

// Which file holds what.  A first part whose head is not there may hold records all the same; of a
// later one nobody knows where it begins.
Error LogReader::read_heads(JournalShape& shape) {
    bool known = false;
    for (const FileName& name : names_) {
        Extent whole{name, 0, 0, 0};
        const Result<FileHead> head = decode_file_head(view(whole, 0, kFileHeadBytes));
        if (!head && head.error() == Error::kUnsupportedVersion) return head.error();
        if (!head || head->number != name.number || head->part != name.part) continue;
        if (known && (head->shape.id != shape_.id || head->shape.file_bytes != shape_.file_bytes)) {
            return Error::kInvalid;
        }
        known = true;
        shape_ = head->shape;
        whole.from = head->from;
        extents_.push_back(whole);
    }
    shape = shape_;
    for (const FileName& name : names_) {
        const auto same = [&](const Extent& extent) { return same_file(extent.file, name); };
        if (std::any_of(extents_.begin(), extents_.end(), same)) continue;
        if (name.part == 0) extents_.push_back({name, shape_.begin_of(name.number), 0, 0});
    }
    std::sort(extents_.begin(), extents_.end(), [](const Extent& a, const Extent& b) {
        return a.file.number != b.file.number ? a.file.number < b.file.number
                                              : a.file.part < b.file.part;
    });
    for (size_t i = 0; i < extents_.size(); ++i) {
        Extent& extent = extents_[i];
        extent.until = shape_.begin_of(extent.file.number + 1);
        // A later part takes over where it begins, whoever else wrote there.
        for (size_t j = 0; j < i; ++j) {
            if (extents_[j].file.number == extent.file.number) {
                extents_[j].until = std::min(extents_[j].until, extent.from);
            }
        }
    }
    return Error::kNone;
}

// A start says where the life before it ended; nothing behind that counts.
void LogReader::cut_lives() {
    uint32_t life = 0;
    for (size_t i = 0; i < extents_.size(); ++i) {
        Extent& extent = extents_[i];
        Found found;
        const bool begins = extent.from == shape_.begin_of(extent.file.number);
        if (begins && find(extent.from + kFileHeadBytes, extent, found) &&
            found.head.type == RecordType::kStart && found.head.size == 8) {
            if (i > 0) ++life;
            const auto ended = load_le<uint64_t>(found.body);
            for (size_t j = 0; j < i; ++j)
                extents_[j].until = std::min(extents_[j].until, ended);
        }
        extent.life = life;
    }
    lives_ = life + 1;
    std::erase_if(extents_, [](const Extent& extent) { return extent.from >= extent.until; });
}

// --- what the kernel may have and the disk has not
// -----------------------------------------------

Error LogReader::secure() {
    const Position first = extents_.empty() ? report_.end : extents_.front().from;
    for (Position from = std::max(known_safe_, first); from < report_.end;) {
        FileName file{shape_.number_of(from), 0};
        for (const FileName& name : names_) {
            if (name.number == file.number) file.part = std::max(file.part, name.part + 1);
        }
        const Position until = std::min(report_.end, shape_.end_after(from));
        const Error error = copy(file, from, until);
        if (error != Error::kNone) return error;
        from = until;
    }
    return disk_.sync_names();
}

// Makes a part of what was read from `from` to `until`.
Position LogReader::oldest() const {
    return names_.empty() ? next_begin_ : shape_.begin_of(names_.front().number);
}

Error LogReader::copy(const FileName& file, Position from, Position until) {
    const Result<int> made = disk_.open(name_of(file), true);
    if (!made) return made.error();
    uint8_t head[kFileHeadBytes];
    encode_file_head(head, {shape_, file.number, file.part, from});
    Error error = disk_.write(*made, 0, Bytes(head));
    const Position begin = shape_.begin_of(file.number);
    for (const Extent& extent : extents_) {
        Position at = std::max({from, extent.from, begin + kFileHeadBytes});
        if (extent.file.number != file.number) continue;
        while (at < std::min(until, extent.until) && error == Error::kNone) {
            const uint64_t size =
                std::min<uint64_t>(kChunkBytes, std::min(until, extent.until) - at);
            const Bytes bytes = view(extent, at - begin, size);
            // A file need not be full: what is too little for a record was never written.
            if (bytes.empty()) {
                error = read_error_;
                break;
            }
            error = disk_.write(*made, at - begin, bytes);
            at += bytes.size();
        }
    }
    if (error == Error::kNone) error = disk_.sync(*made);
    disk_.close(*made);
    return error;
}

// --- the walk ------------------------------------------------------------------------------------

bool LogReader::next(LogRecord& out) {
    while (next_piece_ == pieces_.size()) {
        if (!read_unit()) return false;
    }
    const Piece& piece = pieces_[next_piece_++];
    out.type = piece.type;
    out.joined = piece.joined;
    out.position = piece.position;
    out.body = Bytes(bodies_).subspan(piece.begin, piece.size);
    if (piece.type == RecordType::kStart) {
        known_safe_ = shape_.begin_of(shape_.number_of(piece.position));
    }
    if (piece.type == RecordType::kBatch && piece.size == 8) {
        known_safe_ = std::max(known_safe_, load_le<uint64_t>(out.body.data()));
    }
    ++report_.records;
    return true;
}

// The next whole unit into `pieces_`; false at the end of the log.
bool LogReader::read_unit() {
    pieces_.clear();
    bodies_.clear();
    next_piece_ = 0;
    bool whole = false;
    bool body_open = false;
    Position unit = at_;
    uint32_t life = 0;
    while (!whole) {
        if (!seek()) {
            if (!pieces_.empty()) leave_unit(unit);
            return false;
        }
        const Extent& extent = extents_[extent_];
        if (!pieces_.empty() && extent.life != life) leave_unit(unit);
        if (pieces_.empty()) {
            unit = at_;
            life = extent.life;
            body_open = false;
        }
        Found found;
        if (!find(at_, extent, found)) {
            if (!skip_damage(unit)) return false;
            continue;
        }
        const RecordHead& head = found.head;
        const bool inside = (head.flags & kInside) != 0;
        if (inside == pieces_.empty()) {
            // The rest of a unit whose begin is lost, or a begin where a rest should be.
            if (!inside) {
                ++report_.damaged;
                report_.damaged_bytes += at_ - unit;
                pieces_.clear();
                bodies_.clear();
                continue;
            }
            if (!resuming_ && !first_) ++report_.damaged;
            if (!first_) report_.damaged_bytes += head.total();
            resuming_ = true;
            at_ += head.total();
            continue;
        }
        resuming_ = false;
        first_ = false;
        if (!body_open) {
            pieces_.push_back({head.type, false, at_, bodies_.size(), 0});
        }
        bodies_.insert(bodies_.end(), found.body, found.body + head.size);
        pieces_.back().size += head.size;
        pieces_.back().joined = (head.flags & kJoined) != 0;
        body_open = (head.flags & kMore) != 0;
        at_ += head.total();
        whole = (head.flags & (kMore | kJoined)) == 0;
    }
    report_.end = at_;
    return true;
}

// To where the next record should be; false behind the last one.
bool LogReader::seek() {
    while (extent_ < extents_.size()) {
        const Extent& extent = extents_[extent_];
        at_ = std::max(at_, extent.from);
        if (at_ % shape_.file_bytes == 0) at_ += kFileHeadBytes;
        const Position end = shape_.begin_of(extent.file.number + 1);
        if (at_ < extent.until && end - at_ >= kLeastRoom) return true;
        ++extent_;
        if (extent_ == extents_.size()) break;
        const Extent& next = extents_[extent_];
        const bool follows = next.from <= std::max(at_, extent.until);
        if (!follows && next.life == extent.life) {
            ++report_.damaged;  // a file is gone
            report_.damaged_bytes += next.from - extent.until;
            resuming_ = true;
        }
    }
    return false;
}

// Nothing verifies at at_, in a unit that began at `unit`: the life ended there, or it was damaged.
// False if that is the end of the log.
bool LogReader::skip_damage(Position unit) {
    const Extent& here = extents_[extent_];
    const uint32_t life = here.life;
    const bool last_life = life + 1 == lives_;
    const Position wrong = at_;
    size_t extent = extent_;
    Position at = wrong + kRecordAlign;
    Found found;
    const bool more = next_valid(at, extent, found) && extents_[extent].life == life;
    if (last_life && !was_safe(wrong, extent_)) {
        if (!pieces_.empty()) leave_unit(unit);
        extent_ = extents_.size();
        report_.end = unit;
        return false;
    }
    pieces_.clear();
    bodies_.clear();
    ++report_.damaged;
    resuming_ = true;
    if (more) {
        report_.damaged_bytes += at - unit;
        extent_ = extent;
        at_ = at;
        return true;
    }
    while (extent_ < extents_.size() && extents_[extent_].life == life) {
        report_.damaged_bytes += extents_[extent_].until - std::max(unit, extents_[extent_].from);
        unit = extents_[extent_].until;
        at_ = std::max(at_, extents_[extent_].until);
        ++extent_;
    }
    return extent_ < extents_.size();
}

// Whether a later record of the same life says that what lies at `at` had been synced.
bool LogReader::was_safe(Position at, size_t extent) {
    const uint32_t life = extents_[extent].life;
    Position from = at + kRecordAlign;
    Found found;
    while (next_valid(from, extent, found) && extents_[extent].life == life) {
        const bool batch = found.head.type == RecordType::kBatch && found.head.size == 8;
        const uint32_t size = found.head.total();
        const Position safe = batch ? load_le<uint64_t>(found.body) : 0;
        if (safe > at && !begins_unseen(safe)) return true;
        from += size;
    }
    return false;
}

// Whether a life may have begun there whose first record is lost: who says that all before it was
// safe may be of that one, and says nothing of the one before it.
bool LogReader::begins_unseen(Position at) {
    if (at % shape_.file_bytes != 0) return false;
    Found found;
    for (const Extent& extent : extents_) {
        if (extent.from == at && find(at + kFileHeadBytes, extent, found)) return false;
    }
    return true;
}

// The first record at or behind `at` that verifies.
bool LogReader::next_valid(Position& at, size_t& extent, Found& out) {
    for (; extent < extents_.size(); ++extent) {
        const Extent& there = extents_[extent];
        at = std::max(at, there.from);
        if (at % shape_.file_bytes == 0) at += kFileHeadBytes;
        for (; at < there.until && !ends_before(at, there); at += kRecordAlign) {
            if (find(at, there, out)) return true;
        }
    }
    return false;
}

// Whether its file is shorter, or is not there: whoever writes may take it away while it is read.
bool LogReader::ends_before(Position at, const Extent& extent) {
    const bool empty = view(extent, at - shape_.begin_of(extent.file.number), 1).empty();
    return empty && (file_ < 0 || read_error_ == Error::kNone);
}

// The unit that began there was never finished.
void LogReader::leave_unit(Position unit) {
    ++report_.torn;
    report_.end = unit;
    pieces_.clear();
    bodies_.clear();
}

// Whether a record at `at` verifies; its body is in the window until the next call.
bool LogReader::find(Position at, const Extent& extent, Found& out) {
    const Position begin = shape_.begin_of(extent.file.number);
    const Bytes front = view(extent, at - begin, kRecordHeadBytes);
    const Result<RecordHead> head = decode_record_head(front);
    if (!head || at + kRecordHeadBytes + head->size > begin + shape_.file_bytes) return false;
    const Bytes whole = view(extent, at - begin, kRecordHeadBytes + size_t{head->size});
    if (whole.size() < kRecordHeadBytes + size_t{head->size}) return false;
    const uint32_t checksum =
        crc32c(begin_checksum(at, whole.data()), whole.subspan(kRecordHeadBytes));
    if (checksum != head->checksum) return false;
    out.head = *head;
    out.body = whole.data() + kRecordHeadBytes;
    return true;
}

// Bytes of a file; fewer than `size` where it ends or cannot be read.
Bytes LogReader::view(const Extent& extent, uint64_t offset, size_t size) {
    if (file_ < 0 || !same_file(file_name_, extent.file)) {
        if (file_ >= 0) disk_.close(file_);
        file_ = -1;
        window_size_ = 0;
        const Result<int> opened = disk_.open(name_of(extent.file), false);
        read_error_ = opened.error();
        if (!opened) return {};
        file_ = *opened;
        file_name_ = extent.file;
    }
    if (offset < window_at_ || offset + size > window_at_ + window_size_) {
        const Result<size_t> got = disk_.read(file_, offset, window_);
        read_error_ = got.error();
        window_at_ = offset;
        window_size_ = got ? *got : 0;
    }
    if (offset >= window_at_ + window_size_) return {};
    const size_t begin = offset - window_at_;
    return Bytes(window_).subspan(begin, std::min(size, window_size_ - begin));
}

}  // namespace mqttd
