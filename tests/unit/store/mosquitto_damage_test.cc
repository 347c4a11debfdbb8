#include "fuzz/mosquitto_db_walk.h"
#include "support/texts.h"
#include "unit/store/mosquitto_lines.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace mqttd {
namespace {

using namespace test;

using Texts = std::vector<std::string>;
using Kind = MosquittoChunk;

constexpr size_t kFirstChunk = 23;
constexpr size_t kIdSizeAt = kFirstChunk + 8 + 9;

// Where each chunk of an undamaged file begins, and where the last one ends.
std::vector<size_t> chunk_starts(Bytes file) {
    std::vector<size_t> starts{kFirstChunk};
    while (starts.back() < file.size()) {
        const Bytes at = file.subspan(starts.back());
        const size_t length =
            size_t{at[4]} << 24 | size_t{at[5]} << 16 | size_t{at[6]} << 8 | size_t{at[7]};
        starts.push_back(starts.back() + 8 + length);
    }
    return starts;
}

Wire file_of(std::initializer_list<Wire> chunks) {
    Wire file = file_header(6).raw(config_chunk());
    for (const Wire& chunk : chunks)
        file.raw(chunk);
    return file;
}

// A file with one chunk between two good ones.
Walk walk_one(const Wire& chunk) {
    return walk(file_of({retained_chunk(1), chunk, retained_chunk(2)}));
}

// The chunk is taken, and nothing else is lost.
void must_take(const Wire& chunk) {
    const Walk read = walk_one(chunk);
    REQUIRE(read.report.end == MosquittoEnd::kWhole);
    REQUIRE(read.lines.left == Texts{});
    REQUIRE(read.lines.taken.size() == 4);
}

// The chunk alone is skipped, with this reason.
void must_skip(const Wire& chunk, Kind kind, MosquittoDamage why) {
    const Walk read = walk_one(chunk);
    REQUIRE(read.report.end == MosquittoEnd::kWhole);
    const size_t at = kFirstChunk + config_chunk().size() + retained_chunk().size();
    const std::string line = std::string(mosquitto_chunk_text(kind)) + " at " + std::to_string(at);
    REQUIRE(read.lines.left == Texts{line + ' ' + mosquitto_damage_text(why)});
    REQUIRE(read.lines.taken == Texts{"config last=100 shutdown", "retained 1", "retained 2"});
    REQUIRE(read.report.of(kind).skipped == 1);
}

// How many of the lines of `whole` are not in `read`, in their order.
size_t lines_lost(const Texts& whole, const Texts& read) {
    // All that differs lies between a common front and a common back.
    size_t front = 0;
    while (front < whole.size() && front < read.size() && whole[front] == read[front])
        ++front;
    size_t back = 0;
    while (front + back < whole.size() && front + back < read.size() &&
           whole[whole.size() - 1 - back] == read[read.size() - 1 - back])
        ++back;
    return whole.size() - front - back;
}

// Turns the 64-bit numbers of a file as a big-endian machine has them.
std::vector<uint8_t> big_endian(std::vector<uint8_t> file) {
    const auto starts = chunk_starts(file);
    for (size_t i = 0; i + 1 < starts.size(); ++i) {
        const uint8_t type = file[starts[i] + 3];
        const auto number = file.begin() + static_cast<std::ptrdiff_t>(starts[i]) + 8;
        if (type != 5) std::reverse(number, number + 8);
        if (type == 2) std::reverse(number + 8, number + 16);
    }
    return file;
}

// The structs of i386 have no padding behind config and client.
std::vector<uint8_t> packed(const std::vector<uint8_t>& file) {
    std::vector<uint8_t> out(file.begin(), file.begin() + kFirstChunk);
    const auto starts = chunk_starts(file);
    for (size_t i = 0; i + 1 < starts.size(); ++i) {
        std::vector<uint8_t> chunk(file.begin() + static_cast<std::ptrdiff_t>(starts[i]),
                                   file.begin() + static_cast<std::ptrdiff_t>(starts[i + 1]));
        const std::ptrdiff_t padding = chunk[3] == 1 ? 8 + 12 : chunk[3] == 6 ? 8 + 20 : 0;
        if (padding != 0) {
            chunk.erase(chunk.begin() + padding, chunk.begin() + padding + 4);
            const size_t length = chunk.size() - 8;
            chunk[6] = static_cast<uint8_t>(length >> 8);
            chunk[7] = static_cast<uint8_t>(length);
        }
        out.insert(out.end(), chunk.begin(), chunk.end());
    }
    return out;
}

}  // namespace

// What is whole is kept, and the report says from which byte on something is missing.
TEST_CASE("a file cut anywhere gives every whole chunk", "[store][mosquitto]") {
    for (const std::string& name : fixture_names()) {
        const auto file = fixture(name);
        const auto starts = chunk_starts(file);
        const Texts whole = walk(file).lines.taken;
        REQUIRE(whole.size() == starts.size() - 1);
        for (size_t size = kFirstChunk; size <= file.size(); ++size) {
            const Walk read = walk(Bytes(file).first(size));
            const auto behind = std::upper_bound(starts.begin(), starts.end(), size);
            const auto chunks = static_cast<size_t>(behind - starts.begin()) - 1;
            const bool at_end = starts[chunks] == size;
            REQUIRE(read.error == MosquittoFileError::kNone);
            REQUIRE(read.lines.taken ==
                    Texts(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(chunks)));
            REQUIRE(read.report.end == (at_end ? MosquittoEnd::kWhole : MosquittoEnd::kCut));
            REQUIRE(read.report.offset == starts[chunks]);
            REQUIRE(read.skipped() == (at_end ? 0 : 1));
        }
    }
}

TEST_CASE("a wrong byte costs one chunk at most", "[store][mosquitto]") {
    for (const std::string& name : fixture_names()) {
        auto file = fixture(name);
        const Texts whole = walk(file).lines.taken;
        const size_t last = chunk_starts(file).end()[-2];
        for (size_t at = kFirstChunk; at < file.size(); ++at) {
            if (at == kIdSizeAt) continue;  // refuses the file
            for (const unsigned flip : {1u, 2u, 4u, 8u, 16u, 32u, 64u, 128u, 0xffu}) {
                file[at] ^= static_cast<uint8_t>(flip);
                const Walk read = walk(file);
                // Behind the last chunk, too long a length is like a file cut short.
                const bool cut = at >= last + 4 && at < last + 8 && file[at] > (file[at] ^ flip);
                const bool fine =
                    read.error == MosquittoFileError::kNone && read.skipped() <= 1 &&
                    read.report.end == (cut ? MosquittoEnd::kCut : MosquittoEnd::kWhole) &&
                    read.lines.taken.size() + read.skipped() == whole.size() &&
                    lines_lost(whole, read.lines.taken) <= 1;
                if (!fine) FAIL(name << ": byte " << at << " flipped by " << flip);
                file[at] ^= static_cast<uint8_t>(flip);
            }
        }
    }
}

TEST_CASE("a wrong byte in the header of the file refuses it or changes nothing",
          "[store][mosquitto]") {
    auto file = fixture("sessions.db");
    const Texts whole = walk(file).lines.taken;
    for (size_t at = 0; at < kFirstChunk; ++at) {
        for (unsigned flip = 1; flip < 256; ++flip) {
            file[at] ^= static_cast<uint8_t>(flip);
            const Walk read = walk(file);
            const bool in_checksum = at >= 15 && at < 19;
            REQUIRE((read.error == MosquittoFileError::kNone) ==
                    (in_checksum || (at == 22 && file[at] == 5)));
            if (in_checksum) REQUIRE(read.lines.taken == whole);
            file[at] ^= static_cast<uint8_t>(flip);
        }
    }
}

TEST_CASE("a file from a big-endian machine reads like any other", "[store][mosquitto]") {
    for (const std::string& name : fixture_names()) {
        const auto file = fixture(name);
        const Walk whole = walk(file);
        const Walk read = walk(big_endian(file));
        REQUIRE(read.form.big_endian);
        REQUIRE(read.report.end == MosquittoEnd::kWhole);
        REQUIRE(read.lines.left == Texts{});
        REQUIRE(read.lines.taken == whole.lines.taken);
    }
}

TEST_CASE("a file from i386 has two shorter structs", "[store][mosquitto]") {
    for (const std::string& name : fixture_names()) {
        const auto file = fixture(name);
        const Walk whole = walk(file);
        const Walk read = walk(packed(file));
        REQUIRE(read.form.packed);
        REQUIRE(read.report.end == MosquittoEnd::kWhole);
        REQUIRE(read.lines.left == Texts{});
        REQUIRE(read.lines.taken == whole.lines.taken);
    }
}

TEST_CASE("a configuration with a wrong length is not one of i386", "[store][mosquitto]") {
    auto file = fixture("sessions.db");
    file[kFirstChunk + 7] = 12;
    const Walk read = walk(file);
    REQUIRE_FALSE(read.form.packed);
    REQUIRE(read.lines.left == Texts{"configurations at 23 has lengths that disagree"});
    REQUIRE(read.report.end == MosquittoEnd::kWhole);
}

// Store ids of mosquitto 2.1 are made of the time, so that no byte of them is zero for sure.
TEST_CASE("the order of 64-bit numbers is what most of them say", "[store][mosquitto]") {
    const uint64_t id = uint64_t{150'000'000} << 23 | 0x00;  // reads as smaller from the other end
    Wire file = file_header(6).raw(config_chunk(id + 0x101));
    file.raw(MessageBytes{.store_id = id}.chunk());
    file.raw(MessageBytes{.store_id = id + 0x81}.chunk()).raw(retained_chunk(id + 0x81));
    const Walk read = walk(file);
    REQUIRE_FALSE(read.form.big_endian);
    REQUIRE(read.lines.taken.back() == "retained " + std::to_string(id + 0x81));
}

TEST_CASE("numbers of a chunk at their bounds", "[store][mosquitto]") {
    using D = MosquittoDamage;
    for (unsigned qos = 0; qos < 256; ++qos) {
        const Wire message = MessageBytes{.qos = qos}.chunk();
        const Wire client_message = ClientMessageBytes{.qos = qos}.chunk();
        const Wire subscription = SubscriptionBytes{.qos = qos}.chunk();
        if (qos <= 2) {
            must_take(message);
            must_take(client_message);
            must_take(subscription);
        } else {
            must_skip(message, Kind::kMessage, D::kValue);
            must_skip(client_message, Kind::kClientMessage, D::kValue);
            must_skip(subscription, Kind::kSubscription, D::kValue);
        }
    }
    for (unsigned byte = 0; byte < 256; ++byte) {
        const Wire state = ClientMessageBytes{.state = byte}.chunk();
        const bool state_known = byte >= 1 && byte <= 11;
        state_known ? must_take(state) : must_skip(state, Kind::kClientMessage, D::kValue);
        const Wire direction = ClientMessageBytes{.direction = byte}.chunk();
        byte <= 1 ? must_take(direction) : must_skip(direction, Kind::kClientMessage, D::kValue);
        const Wire flags = ClientMessageBytes{.retain_dup = byte}.chunk();
        const bool flags_known = (byte & 15) <= 1 && byte >> 4 <= 1;
        flags_known ? must_take(flags) : must_skip(flags, Kind::kClientMessage, D::kValue);
        const Wire retain = MessageBytes{.retain = byte}.chunk();
        byte <= 1 ? must_take(retain) : must_skip(retain, Kind::kMessage, D::kValue);
        must_take(SubscriptionBytes{.options = byte}.chunk());
    }
    must_take(SubscriptionBytes{.identifier = 268'435'455}.chunk());
    must_skip(SubscriptionBytes{.identifier = 268'435'456}.chunk(), Kind::kSubscription, D::kValue);
    const uint64_t latest = uint64_t(-1) >> 1;
    must_take(MessageBytes{.expires_s = latest}.chunk());
    must_skip(MessageBytes{.expires_s = latest + 1}.chunk(), Kind::kMessage, D::kValue);
    must_take(ClientBytes{.expires_s = latest}.chunk());
    must_skip(ClientBytes{.expires_s = latest + 1}.chunk(), Kind::kClient, D::kValue);
    must_skip(config_chunk(1, 4), Kind::kConfig, D::kValue);
}

TEST_CASE("flags and options arrive where they belong", "[store][mosquitto]") {
    const auto line = [](const Wire& chunk) { return walk_one(chunk).lines.taken.at(2); };
    const std::string to = "to client 7 id 772 q1 state 3";
    REQUIRE(line(ClientMessageBytes{}.chunk()) == to);
    REQUIRE(line(ClientMessageBytes{.retain_dup = 0x10}.chunk()) == to + " retain");
    REQUIRE(line(ClientMessageBytes{.retain_dup = 0x01}.chunk()) == to + " dup");
    REQUIRE(line(ClientMessageBytes{.direction = 0}.chunk()) == "from client 7 id 772 q1 state 3");
    REQUIRE(line(SubscriptionBytes{.options = 0x04}.chunk()) == "client has a/# q1 no-local");
    REQUIRE(line(SubscriptionBytes{.options = 0x08}.chunk()) == "client has a/# q1 as-published");
    REQUIRE(line(SubscriptionBytes{.options = 0x33}.chunk()) == "client has a/# q1");
    REQUIRE(line(SubscriptionBytes{.identifier = 5}.chunk()) == "client has a/# q1 number 5");
    REQUIRE(line(SubscriptionBytes{.filter = "$share/g/a"}.chunk()) == "client has $share/g/a q1");
    REQUIRE(line(ClientBytes{.interval_s = 0xfffffffe}.chunk()) ==
            "client client as 'user' last=1286 interval=4294967294");
    // Two identifiers: the first, and both as bytes.
    const Wire both = Wire().block(Wire().byte(11).byte(3).byte(11).byte(0x80).byte(1));
    REQUIRE(line(ClientMessageBytes{.block = both}.chunk()) == to + " by subscription 3");
}

TEST_CASE("texts are texts, and topics are topics", "[store][mosquitto]") {
    using D = MosquittoDamage;
    for (const std::string& text : bad_texts()) {
        must_skip(MessageBytes{.topic = text}.chunk(), Kind::kMessage, D::kTopic);
        must_skip(SubscriptionBytes{.filter = text}.chunk(), Kind::kSubscription, D::kTopic);
        must_skip(SubscriptionBytes{.client = text}.chunk(), Kind::kSubscription, D::kClientId);
        must_skip(ClientMessageBytes{.client = text}.chunk(), Kind::kClientMessage, D::kClientId);
        must_skip(ClientBytes{.client = text}.chunk(), Kind::kClient, D::kClientId);
        // These are only told along.
        const auto line = [](const Wire& chunk) { return walk_one(chunk).lines.taken.at(2); };
        REQUIRE(line(ClientBytes{.user = text}.chunk()) ==
                "client client as '' last=1286 interval=3600");
        REQUIRE(line(MessageBytes{.source = text, .user = text}.chunk()) ==
                "message 7 q1 a/b=payload by  id 258");
    }
    for (const char* name : {"", "#", "a/+", "a/#/b"})
        must_skip(MessageBytes{.topic = name}.chunk(), Kind::kMessage, D::kTopic);
    for (const char* filter : {"", "a#", "#/a", "a/+b"})
        must_skip(SubscriptionBytes{.filter = filter}.chunk(), Kind::kSubscription, D::kTopic);
    must_skip(SubscriptionBytes{.client = ""}.chunk(), Kind::kSubscription, D::kClientId);
    must_skip(ClientMessageBytes{.client = ""}.chunk(), Kind::kClientMessage, D::kClientId);
    must_skip(ClientBytes{.client = ""}.chunk(), Kind::kClient, D::kClientId);
    must_take(MessageBytes{.source = "", .user = "", .payload = ""}.chunk());
    must_take(ClientBytes{.user = ""}.chunk());
}

TEST_CASE("properties are those that a PUBLISH may carry", "[store][mosquitto]") {
    using D = MosquittoDamage;
    const Wire format = Wire().byte(1).byte(1);
    must_take(MessageBytes{.block = Wire().block(format)}.chunk());
    must_skip(MessageBytes{.block = Wire().block(Wire())}.chunk(), Kind::kMessage, D::kLengths);
    const Wire bad[] = {
        Wire(format).raw(format),           // twice
        Wire().byte(1).byte(2),             // no such format
        Wire().byte(0x11).u32(60),          // of CONNECT
        Wire().byte(0x7f),                  // of nobody
        Wire().byte(3).u16(5).raw("text"),  // cut short
        Wire().byte(3).text("\xff"),        // no text
        Wire().byte(8).text("a/#"),         // no topic name
        Wire().byte(0x26).text("name"),     // no value
    };
    for (const Wire& block : bad) {
        const Wire with_length = Wire().block(block);
        must_skip(MessageBytes{.block = with_length}.chunk(), Kind::kMessage, D::kProperties);
        must_skip(
            ClientMessageBytes{.block = with_length}.chunk(), Kind::kClientMessage, D::kProperties);
    }
    // A client's message has subscription identifiers and nothing else.
    must_skip(ClientMessageBytes{.block = Wire().block(format)}.chunk(),
              Kind::kClientMessage,
              D::kProperties);
    must_skip(ClientMessageBytes{.block = Wire().block(Wire().byte(11).byte(0))}.chunk(),
              Kind::kClientMessage,
              D::kProperties);
    // A length in more bytes than it takes.
    must_skip(MessageBytes{.block = Wire().byte(0x82).byte(0).raw(format)}.chunk(),
              Kind::kMessage,
              D::kProperties);
}

// The header says that it ends before its properties: what follows is no chunk, what follows the
// properties is one.
TEST_CASE("a length that leaves the properties out is a wrong one", "[store][mosquitto]") {
    const Wire block = Wire().block(Wire().byte(11).byte(0x80).byte(1));  // 4 bytes
    const Wire whole = ClientMessageBytes{.block = block}.chunk();
    std::vector<uint8_t> bytes(Bytes(whole).begin(), Bytes(whole).end());
    bytes[7] = static_cast<uint8_t>(bytes[7] - 4);
    must_skip(Wire().raw(as_text(bytes)), Kind::kClientMessage, MosquittoDamage::kLengths);
}

TEST_CASE("a chunk of a type to come is skipped by its length", "[store][mosquitto]") {
    for (uint32_t type : {7u, 8u, 255u, 256u, 0x10000u, 0xffffffffu, 0u}) {
        for (const char* body : {"", "short", "a chunk that nobody knows"})
            must_skip(chunk(type, Wire().raw(body)), Kind::kUnknown, MosquittoDamage::kUnknownType);
    }
    // Two of them in a row: a type that may be.
    const Wire news = chunk(7, Wire().raw("first")).raw(chunk(255, Wire().raw("second")));
    const Walk read = walk_one(news);
    REQUIRE(read.report.end == MosquittoEnd::kWhole);
    REQUIRE(read.report.of(Kind::kUnknown).skipped == 2);
    REQUIRE(read.report.of(Kind::kRetained).taken == 2);
}

// A walk that has lost its way does not wander on through payloads.
TEST_CASE("behind damage with no chunk in sight the walk ends", "[store][mosquitto]") {
    const Wire fake = retained_chunk(666);
    const Wire trap = MessageBytes{.payload = as_text(fake)}.chunk();
    for (const uint32_t type : {0u, 256u, 0x20202020u}) {
        // Garbage, behind which nothing stands; the payload of the next chunk looks like one.
        const Wire garbage = Wire().u32(type).u32(3).raw("1234567");
        const Walk read = walk_one(Wire(garbage).raw(trap));
        REQUIRE(read.report.end == MosquittoEnd::kLost);
        REQUIRE(read.report.offset == kFirstChunk + 24 + 16);
        REQUIRE(read.lines.taken == Texts{"config last=100 shutdown", "retained 1"});
        REQUIRE(read.report.of(Kind::kUnknown).skipped == 1);
    }
    // Two damaged headers in a row.
    std::vector<uint8_t> bytes = fixture("sessions.db");
    const auto starts = chunk_starts(bytes);
    bytes[starts[3] + 7] ^= 1;
    bytes[starts[4] + 7] ^= 1;
    const Walk read = walk(bytes);
    REQUIRE(read.report.end == MosquittoEnd::kLost);
    REQUIRE(read.report.offset == starts[3]);
    REQUIRE(read.lines.taken.size() == 3);
    REQUIRE(read.skipped() == 1);
}

TEST_CASE("every damage, kind and error has a text of its own", "[store][mosquitto]") {
    Texts texts;
    for (int i = 0; i < static_cast<int>(MosquittoDamage::kCount); ++i)
        texts.emplace_back(mosquitto_damage_text(static_cast<MosquittoDamage>(i)));
    for (int i = 0; i < static_cast<int>(Kind::kCount); ++i)
        texts.emplace_back(mosquitto_chunk_text(static_cast<Kind>(i)));
    for (int i = 0; i < static_cast<int>(MosquittoFileError::kCount); ++i)
        texts.emplace_back(mosquitto_file_error_text(static_cast<MosquittoFileError>(i)));
    std::sort(texts.begin(), texts.end());
    REQUIRE(std::adjacent_find(texts.begin(), texts.end()) == texts.end());
    REQUIRE(!texts.front().empty());
}

// Replays the fuzzer's corpus: each file, each cut of it, and each of its bytes replaced.
TEST_CASE("hostile files keep the walk's promises", "[store][mosquitto][fuzz]") {
    for (const std::string& name : fixture_names()) {
        auto file = fixture(name);
        REQUIRE(!file.empty());
        for (size_t size = 0; size <= file.size(); ++size)
            fuzz::walk_mosquitto_db(Bytes(file).first(size));
        for (size_t at = 0; at < file.size(); ++at) {
            const uint8_t was = file[at];
            for (const unsigned byte : {0x00u, 0x01u, 0x7fu, 0x80u, 0xffu, was ^ 0x20u}) {
                file[at] = static_cast<uint8_t>(byte);
                fuzz::walk_mosquitto_db(file);
            }
            file[at] = was;
        }
    }
}

}  // namespace mqttd
