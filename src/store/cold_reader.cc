#include "store/cold_reader.h"

#include "base/crc32c.h"

#include <algorithm>

namespace mqttd {

void ColdReader::close() {
    if (file_ >= 0) disk_.close(file_);
    file_ = -1;
}

Position ColdReader::end_of(Position position, uint64_t size) const {
    uint64_t left = size;
    do {
        const RecordPlace place = next_place(shape_, position, left);
        position = place.at + RecordHead{.size = place.body}.total();
        left -= place.body;
    } while (left > 0);
    return position;
}

// A file that is open already may have got another part since, by a scribe that took over.
Error ColdReader::read(Position position, std::span<uint8_t> into) {
    const bool open = file_ >= 0;
    const Error error = read_body(position, into);
    return error != Error::kNone && open ? read_body(position, into) : error;
}

Error ColdReader::read_body(Position position, std::span<uint8_t> into) {
    Position tail = position;
    uint64_t done = 0;
    do {
        const RecordPlace place = next_place(shape_, tail, into.size() - done);
        const Error error = read_record(place, into.data() + done);
        if (error != Error::kNone) {
            close();
            return error;
        }
        done += place.body;
        tail = place.at + RecordHead{.size = place.body}.total();
    } while (done < into.size());
    return Error::kNone;
}

Error ColdReader::read_record(const RecordPlace& place, uint8_t* into) {
    const bool open = file_ >= 0 && place.at >= from_ && place.at < until_;
    const Error opened = open ? Error::kNone : open_for(place.at);
    if (opened != Error::kNone) return opened;
    const uint64_t offset = place.at - shape_.begin_of(name_.number);
    uint8_t encoded[kRecordHeadBytes];
    const Result<size_t> head_read = disk_.read(file_, offset, encoded);
    if (!head_read) return head_read.error();
    const Result<RecordHead> head = decode_record_head(Bytes(encoded, *head_read));
    if (!head || head->size != place.body) return Error::kInvalid;
    const std::span<uint8_t> body(into, place.body);
    const Result<size_t> got = disk_.read(file_, offset + kRecordHeadBytes, body);
    if (!got) return got.error();
    if (*got < body.size()) return Error::kInvalid;
    const uint32_t checksum = crc32c(begin_checksum(place.at, encoded), Bytes(body));
    return checksum == head->checksum ? Error::kNone : Error::kInvalid;
}

// The last part of its file that begins at or before the position (record.h).
Error ColdReader::open_for(Position position) {
    close();
    name_ = {shape_.number_of(position), 0};
    until_ = shape_.end_after(position);
    for (FileName next = name_;; ++next.part) {
        const Result<int> opened = disk_.open(name_of(next), false);
        if (!opened) {
            const bool end = opened.error() == Error::kNotFound && file_ >= 0;
            return end ? Error::kNone : opened.error();
        }
        uint8_t encoded[kFileHeadBytes];
        Position from = shape_.begin_of(next.number);
        if (next.part > 0) {
            const Result<size_t> got = disk_.read(*opened, 0, encoded);
            const Result<FileHead> head =
                got ? decode_file_head(Bytes(encoded, *got)) : Result<FileHead>(got.error());
            const bool good = head.ok() && head->part == next.part;
            if (!good || head->from > position) {
                if (good) until_ = std::min(until_, head->from);
                disk_.close(*opened);
                continue;
            }
            from = head->from;
        }
        close();
        file_ = *opened;
        name_ = next;
        from_ = from;
    }
}

}  // namespace mqttd
