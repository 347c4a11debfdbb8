#include "tools/check_walk.h"

#include <algorithm>
#include <bit>

namespace mqttd::check {

namespace {

constexpr uint64_t kNoFile = ~uint64_t{0};

void find_oldest(void* context, std::string_view name, uint64_t) {
    const auto file = parse_name(name);
    auto& oldest = *static_cast<uint64_t*>(context);
    if (file) oldest = std::min(oldest, file->number);
}

// From where on a file counts: its head says so, if it has one.
Error begin_of_part(Disk& disk, const FileName& file, Position& from) {
    uint8_t bytes[kFileHeadBytes];
    const Result<int> opened = disk.open(name_of(file), false);
    if (!opened) return opened.error();
    const Result<size_t> got = disk.read(*opened, 0, bytes);
    disk.close(*opened);
    const Result<FileHead> head = decode_file_head(Bytes(bytes, got ? *got : 0));
    if (head) from = head->from;
    return Error::kNone;
}

}  // namespace

void Walk::collect(void* context, std::string_view name, uint64_t bytes) {
    auto& walk = *static_cast<Walk*>(context);
    const auto file = parse_name(name);
    if (!file) return;
    walk.parts_.push_back({*file, 0});
    walk.file_bytes_ += bytes;
    walk.largest_ = std::max(walk.largest_, bytes);
}

Error Walk::open() {
    const Error listed = disk_.list(collect, this);
    if (listed != Error::kNone) return listed;
    // Where no head can be read any more the files' size still says how they were cut.
    if (std::has_single_bit(largest_) && largest_ >= kFileBytesMin && largest_ <= kFileBytesMax) {
        shape_.file_bytes = static_cast<uint32_t>(largest_);
    }
    const Error opened = reader_.open(shape_);
    if (opened != Error::kNone) return opened;
    report_ = reader_.report();
    read_to_ = report_.end;
    for (Part& part : parts_) {
        part.from = shape_.begin_of(part.file.number);
        const Error error = begin_of_part(disk_, part.file, part.from);
        // One that the broker has just removed is missed by the walk; one that may not be read is
        // no damage.
        if (error != Error::kNone && error != Error::kNotFound) return error;
    }
    return Error::kNone;
}

bool Walk::next(LogRecord& out) {
    if (!in_unit_ && read_to_ >= stop_) return false;
    if (!reader_.next(out)) {
        look_for_damage(std::max(reader_.report().end, read_to_), true);
        report_ = reader_.report();
        return false;
    }
    if (out.position >= stop_) return false;
    look_for_damage(out.position, false);
    report_ = reader_.report();
    read_to_ = report_.end;
    in_unit_ = out.joined;
    return true;
}

void Walk::look_for_damage(Position until, bool at_end) {
    const LogReport& now = reader_.report();
    if (now.damaged == report_.damaged) return;
    damages_.push_back({read_to_, until, now.damaged_bytes - report_.damaged_bytes, at_end});
}

std::string Walk::place_of(Position position) const {
    const uint64_t number = shape_.number_of(position);
    FileName file{number, 0};
    for (const Part& part : parts_) {
        const bool holds = part.file.number == number && part.from <= position;
        if (holds && part.file.part >= file.part) file = part.file;
    }
    return std::string(name_of(file)) + "+" + std::to_string(position - shape_.begin_of(number));
}

Position end_now(Disk& disk) {
    Walk walk(disk);
    if (walk.open() != Error::kNone) return ~uint64_t{0};
    LogRecord record;
    while (walk.next(record)) {
    }
    return walk.report().end;
}

uint64_t oldest_number_now(Disk& disk) {
    uint64_t oldest = kNoFile;
    (void)disk.list(find_oldest, &oldest);
    return oldest;
}

bool holds_records(Disk& disk) {
    return oldest_number_now(disk) != kNoFile;
}

}  // namespace mqttd::check
