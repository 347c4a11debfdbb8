#include "store/scribe.h"

#include "base/assert.h"

#include <algorithm>

namespace mqttd {

namespace {

constexpr uint32_t kZerosAtOnce = 64 * 1024;
constexpr uint8_t kZeros[kZerosAtOnce] = {};

// What there is in the folder.
struct Folder {
    uint64_t oldest = ~uint64_t{0};  // number of the oldest file
    uint32_t oldest_part = 0;        // the first of its parts
    bool failed_once = false;        // it has more than one
    uint32_t parts = 0;              // of the file asked for
    uint64_t number = 0;             // the file asked for
    uint32_t spares = 0;
    NameText a_spare;

    static void visit(void* context, std::string_view text, uint64_t) {
        auto& folder = *static_cast<Folder*>(context);
        if (is_spare(text) && text.size() < sizeof folder.a_spare.text) {
            ++folder.spares;
            folder.a_spare = {};
            std::copy(text.begin(), text.end(), folder.a_spare.text);
        }
        const auto name = parse_name(text);
        if (!name) return;
        if (name->number < folder.oldest) {
            folder.oldest = name->number;
            folder.oldest_part = name->part;
            folder.failed_once = false;
        }
        if (name->number == folder.oldest) {
            folder.oldest_part = std::min(folder.oldest_part, name->part);
            folder.failed_once = folder.failed_once || name->part > 0;
        }
        if (name->number == folder.number) folder.parts = std::max(folder.parts, name->part + 1);
    }
};

}  // namespace

Error Scribe::step(bool syncs, Position sync_to) {
    const Position tail = ring_.head->tail.load(std::memory_order_acquire);
    Position at = ring_.head->durable.load(std::memory_order_relaxed);
    Error error = Error::kNone;
    while (at < tail && error == Error::kNone) {
        const Position end = std::min(tail, shape_.end_after(at));
        error = write_some(at, end, syncs);
        if (error != Error::kNone) break;
        at = end;
        ring_.head->durable.store(at, std::memory_order_release);
    }
    if (error == Error::kNone && unsynced_ && (syncs || sync_to > synced_)) {
        error = sync_file();
        synced_ = at;
    }
    ring_.head->error.store(static_cast<uint32_t>(error), std::memory_order_relaxed);
    return error;
}

// Up to `end`, all in one file, and syncs it.
Error Scribe::write_some(Position at, Position end, bool syncs) {
    if (file_ < 0 || name_.number != shape_.number_of(at)) {
        if (unsynced_) {
            const Error error = sync_file();
            if (error != Error::kNone) return error;
        }
        const Error error = begin_file(at);
        if (error != Error::kNone) return error;
    }
    Error error = Error::kNone;
    Position from = at;
    // The head in the ring is that of part 0.
    if (name_.part > 0 && at == shape_.begin_of(name_.number)) from += kFileHeadBytes;
    while (from < end && error == Error::kNone) {
        const std::span<uint8_t> piece = ring_.piece(from, end - from);
        error = disk_.write(file_, from - shape_.begin_of(name_.number), piece);
        from += piece.size();
    }
    ring_.head->written_bytes.fetch_add(end - at, std::memory_order_relaxed);
    unsynced_ = true;
    if (error == Error::kNone && syncs) return sync_file();
    if (error != Error::kNone) close_file();
    return error;
}

Error Scribe::sync_file() {
    const Error error = disk_.sync(file_);
    ring_.head->syncs.fetch_add(1, std::memory_order_relaxed);
    unsynced_ = false;
    if (error != Error::kNone) close_file();
    return error;
}

// Makes the file of a position, or another part of it.
Error Scribe::begin_file(Position at) {
    close_file();
    const uint64_t number = shape_.number_of(at);
    Folder folder;
    folder.number = number;
    const Error listed = disk_.list(Folder::visit, &folder);
    if (listed != Error::kNone) return listed;
    // What there is of this file may look whole and not be safe: its sync may have failed.
    name_ = {number, folder.parts};
    const uint32_t part = name_.part;
    const NameText name = name_of(name_);
    const bool reused = folder.spares > 0 && disk_.rename(folder.a_spare, name) == Error::kNone;
    Error error = open_new(name, !reused);
    if (error == Error::kNone && part > 0) {
        uint8_t head[kFileHeadBytes];
        encode_file_head(head, {shape_, number, part, at});
        error = disk_.write(file_, 0, Bytes(head));
    }
    if (error == Error::kNone) error = disk_.sync(file_);
    if (error == Error::kNone) error = disk_.sync_names();
    if (error == Error::kNone) return error;
    // It holds nothing yet; what cannot be removed is left behind, and the next part comes after
    // it.
    close_file();
    (void)disk_.remove(name);
    return error;
}

// Opens what was a spare, or makes a file, mostly of full length.
Error Scribe::open_new(const NameText& name, bool make) {
    const Result<int> opened = disk_.open(name, make);
    if (!opened) return opened.error();
    file_ = *opened;
    Error error = Error::kNone;
    for (uint64_t at = 0; make && fills_ && at < shape_.file_bytes && error == Error::kNone;) {
        const auto size = std::min<uint64_t>(kZerosAtOnce, shape_.file_bytes - at);
        error = disk_.write(file_, at, Bytes(kZeros, size));
        at += size;
    }
    return error;
}

void Scribe::close_file() {
    if (file_ >= 0) disk_.close(file_);
    file_ = -1;
    unsynced_ = false;
}

// One after the other, each for good before the next: so a gap between files is always damage.
Error Scribe::tidy(uint32_t most) {
    const Position oldest = ring_.head->oldest.load(std::memory_order_acquire);
    if (oldest < tidied_ + shape_.file_bytes) return Error::kNone;
    if (unsynced_) {  // what they held has been written again, and may be there only
        const Error error = sync_file();
        if (error != Error::kNone) return error;
    }
    while (true) {
        Folder folder;
        Error error = disk_.list(Folder::visit, &folder);
        if (error != Error::kNone) return error;
        if (folder.oldest == ~uint64_t{0} || shape_.begin_of(folder.oldest + 1) > oldest) break;
        if (most-- == 0) return Error::kWouldBlock;
        const FileName file{folder.oldest, folder.oldest_part};
        const bool open = file_ >= 0 && name_.number == file.number;
        if (open) close_file();
        const bool keep = folder.spares < kSpares && !folder.failed_once;
        error = keep ? disk_.rename(name_of(file), spare_name(file.number))
                     : disk_.remove(name_of(file));
        if (error == Error::kNone) error = disk_.sync_names();
        if (error != Error::kNone) return error;
    }
    tidied_ = oldest / shape_.file_bytes * shape_.file_bytes;
    return Error::kNone;
}

}  // namespace mqttd
