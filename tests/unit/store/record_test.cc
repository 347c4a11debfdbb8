#include "store/record.h"

#include "base/little_endian.h"
#include "catch2/catch.hpp"

#include <vector>

using namespace mqttd;

namespace {

std::vector<uint8_t> some_head() {
    std::vector<uint8_t> bytes(kFileHeadBytes);
    FileHead head;
    head.shape.file_bytes = 1u << 20;
    head.shape.id = 0x1122334455667788;
    head.number = 7;
    head.part = 2;
    head.from = (7u << 20) + 4096;
    encode_file_head(bytes.data(), head);
    return bytes;
}

}  // namespace

TEST_CASE("a file's head says what it was told, and nothing if a bit is wrong", "[store]") {
    std::vector<uint8_t> bytes = some_head();
    const Result<FileHead> head = decode_file_head(Bytes(bytes));
    REQUIRE(head.ok());
    CHECK(head->shape.file_bytes == 1u << 20);
    CHECK(head->shape.id == 0x1122334455667788);
    CHECK(head->number == 7);
    CHECK(head->part == 2);
    CHECK(head->from == (7u << 20) + 4096);
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
        CHECK(decode_file_head(Bytes(bytes)).error() == Error::kInvalid);
        bytes[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
    }
    for (size_t size = 0; size < bytes.size(); ++size)
        CHECK_FALSE(decode_file_head(Bytes(bytes).first(size)).ok());
}

TEST_CASE("a record's checksum depends on where it lies", "[store]") {
    // What an earlier life of a recycled file left behind must not verify at another position.
    uint8_t head[kRecordHeadBytes];
    encode_record_head(head, {.size = 5, .type = RecordType::kBatch});
    const uint32_t here = begin_checksum(64, head);
    CHECK(here == begin_checksum(64, head));
    for (Position other = 72; other < 64 * 1024; other += 8)
        CHECK(begin_checksum(other, head) != here);
}

TEST_CASE("heads that cannot be a record's are seen without reading a body", "[store]") {
    uint8_t head[kRecordHeadBytes];
    const auto fresh = [&] {
        encode_record_head(head, {.size = kChunkBytes, .type = RecordType::kStart, .flags = 7});
    };
    fresh();
    const Result<RecordHead> decoded = decode_record_head(Bytes(head));
    REQUIRE(decoded.ok());
    CHECK(decoded->size == kChunkBytes);
    CHECK(decoded->type == RecordType::kStart);
    CHECK(decoded->flags == kAllFlags);
    CHECK(decoded->total() == kRecordHeadBytes + kChunkBytes);
    CHECK_FALSE(decode_record_head(Bytes(head).first(kRecordHeadBytes - 1)).ok());
    store_le<uint32_t>(head + 4, kChunkBytes + 1);  // too long
    CHECK_FALSE(decode_record_head(Bytes(head)).ok());
    fresh();
    head[8] = 0;  // no type
    CHECK_FALSE(decode_record_head(Bytes(head)).ok());
    fresh();
    head[9] = 8;  // an unknown flag
    CHECK_FALSE(decode_record_head(Bytes(head)).ok());
    for (size_t at = 10; at < kRecordHeadBytes; ++at) {  // must be zero
        fresh();
        head[at] = 1;
        CHECK_FALSE(decode_record_head(Bytes(head)).ok());
    }
    const uint8_t zeros[kRecordHeadBytes] = {};
    CHECK_FALSE(decode_record_head(Bytes(zeros)).ok());
}

TEST_CASE("records take whole steps of eight bytes", "[store]") {
    CHECK(RecordHead{.size = 0}.total() == 16);
    CHECK(RecordHead{.size = 1}.total() == 24);
    CHECK(RecordHead{.size = 8}.total() == 24);
    CHECK(RecordHead{.size = 9}.total() == 32);
}
