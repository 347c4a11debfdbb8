#include "store/mosquitto_db.h"

#include "support/alloc_guard.h"
#include "unit/store/mosquitto_lines.h"

#include <catch2/catch.hpp>

namespace mqttd {
namespace {

using namespace test;

using Texts = std::vector<std::string>;

constexpr char kAllProperties[] =
    "03000a746578742f706c61696e"                     // content type text/plain
    "090002017f"                                     // correlation data
    "0101"                                           // payload format
    "08000c616e73776572732f68657265"                 // response topic answers/here
    "26000566697273740001312600067365636f6e640000";  // user properties first=1, second=

void must_be_whole(const Walk& walk, const Bytes& file) {
    REQUIRE(walk.error == MosquittoFileError::kNone);
    REQUIRE(walk.form.version == 6);
    REQUIRE_FALSE(walk.form.big_endian);
    REQUIRE_FALSE(walk.form.packed);
    REQUIRE(walk.report.end == MosquittoEnd::kWhole);
    REQUIRE(walk.report.offset == file.size());
    REQUIRE(walk.lines.left == Texts{});
}

}  // namespace

// What mosquitto 2.0.11 wrote is read as what was done to it (make_fixtures tells).
TEST_CASE("a file without any state has its configuration only", "[store][mosquitto]") {
    const auto file = fixture("empty.db");
    const Walk read = walk(file);
    must_be_whole(read, file);
    REQUIRE(read.lines.taken == Texts{"config last=52 shutdown"});
}

TEST_CASE("retained messages of a real file", "[store][mosquitto]") {
    const auto file = fixture("retained.db");
    const Walk read = walk(file);
    must_be_whole(read, file);
    const Texts expected{
        "config last=61 shutdown",
        "message 59 q1 retain properties/all={} by auto id 1 expires with " +
            std::string(kAllProperties),
        "message 58 q1 retain large=3000 by auto id 1",
        "message 57 q0 retain /empty//levels/=256 by auto",
        "message 56 q0 retain räume/küche=21 °C by with-name as alice",
        "message 55 q2 retain retained/2=qos 2 by source id 1",
        "message 54 q1 retain retained/1=qos 1 by source id 1",
        "message 53 q0 retain retained/0=qos 0 by source",
        "retained 53",
        "retained 54",
        "retained 55",
        "retained 56",
        "retained 57",
        "retained 58",
        "retained 59",
    };
    REQUIRE(read.lines.taken == expected);
    REQUIRE(read.report.of(MosquittoChunk::kMessage).taken == 7);
    REQUIRE(read.report.of(MosquittoChunk::kRetained).taken == 7);
    REQUIRE(read.report.of(MosquittoChunk::kConfig).taken == 1);
}

// mosquitto 2.0 keeps what waits in the queue of a shared subscription (work/1), but not the shared
// subscription.
TEST_CASE("sessions, subscriptions and queues of a real file", "[store][mosquitto]") {
    const auto file = fixture("sessions.db");
    const Walk read = walk(file);
    must_be_whole(read, file);
    const Texts expected{
        "config last=102 shutdown",
        "message 95 q2 $SYS/broker/messages/received=35 by  within expires",
        "message 57 q1 work/1=shared by auto id 1",
        "message 56 q1 kept/1= by auto id 1",
        "message 55 q2 retain queue/1=three by auto id 1",
        "message 54 q2 queue/2=two by source as bob id 1",
        "message 53 q1 queue/1=one by auto id 1 expires with " + std::string(kAllProperties),
        "client plain as '' last=6 interval=never",
        "to plain 53 id 1 q1 state 11",
        "to plain 54 id 3 q2 state 11",
        "to plain 55 id 5 q2 state 11",
        "client five as '' last=4 interval=1000000 expires",
        "to five 53 id 1 q1 state 11 by subscription 7",
        "to five 55 id 2 q1 state 11 by subscription 7",
        "to five 56 id 3 q1 state 11",
        "to five 57 id 4 q1 state 11",
        "client forever as '' last=1 interval=never",
        "to forever 54 id 1 q2 state 11",
        "client system as '' last=2 interval=never",
        "to system 95 id 2 q1 state 11",
        "plain has queue/# q1",
        "plain has queue/+ q2",
        "five has queue/1 q1 number 7",
        "forever has queue/2 q2",
        "plain has zero q0",
        "five has own/# q2 no-local number 268435455",
        "five has kept/# q1 as-published",
        "five has late/# q0 number 128",
        "system has $SYS/broker/messages/received q1",
        "retained 55",
    };
    REQUIRE(read.lines.taken == expected);
}

// mosquitto 2.0.11 writes 256 bytes from behind "u" as the name of the session that has none.
TEST_CASE("a user name that is none does not cost the session", "[store][mosquitto]") {
    const auto file = fixture("names.db");
    const Walk read = walk(file);
    must_be_whole(read, file);
    const Texts expected{
        "config last=53 shutdown",
        "message 53 q1 a/b=to both by auto id 1",
        "client named as 'u' last=1 interval=never",
        "to named 53 id 1 q1 state 11",
        "client nameless as '' last=1 interval=never",
        "to nameless 53 id 1 q1 state 11",
        "named has a/b q2",
        "nameless has a/b q1",
    };
    REQUIRE(read.lines.taken == expected);
}

TEST_CASE("messages in flight of a real file", "[store][mosquitto]") {
    const auto file = fixture("inflight.db");
    const Walk read = walk(file);
    must_be_whole(read, file);
    const Texts expected{
        "config last=61",  // written while it was running
        "message 61 q2 again=again 1 by auto id 1",
        "message 60 q1 again=again 0 by auto id 1",
        "message 59 q2 out/2=two 2 by auto id 1",
        "message 58 q1 out/1=one 2 by auto id 1",
        "message 57 q2 out/2=two 1 by auto id 1",
        "message 56 q1 out/1=one 1 by auto id 1",
        "message 55 q2 out/2=two 0 by auto id 1",
        "message 54 q1 out/1=one 0 by auto id 1",
        "message 53 q2 in/2=not released by in id 261",
        "client in as '' last=0 interval=never",
        "from in 53 id 261 q2 state 7",
        "client one as '' last=3 interval=never",
        "to one 54 id 1 q1 state 3 dup",
        "to one 56 id 2 q1 state 3 dup",
        "to one 58 id 3 q1 state 11",
        "client two as '' last=3 interval=never",
        "to two 55 id 1 q2 state 9 dup",
        "to two 57 id 2 q2 state 5 dup",
        "to two 59 id 3 q2 state 11",
        "client again as '' last=2 interval=never",
        "to again 60 id 1 q1 state 3 dup",
        "to again 61 id 2 q2 state 5 dup",
        "client brief as '' last=0 interval=0",
        "one has out/1 q1",
        "two has out/2 q2",
        "again has again q2",
    };
    REQUIRE(read.lines.taken == expected);
}

TEST_CASE("a file of version 5 has shorter clients", "[store][mosquitto]") {
    Wire file = file_header(5);
    file.raw(config_chunk())
        .raw(MessageBytes{.block = Wire().block(Wire().byte(1).byte(1))}.chunk());
    file.raw(ClientBytes{.version = 5, .expires_s = 1'800'000'000}.chunk());
    file.raw(ClientMessageBytes{}.chunk()).raw(SubscriptionBytes{}.chunk()).raw(retained_chunk());
    const Walk read = walk(file);
    REQUIRE(read.error == MosquittoFileError::kNone);
    REQUIRE(read.form.version == 5);
    REQUIRE(read.report.end == MosquittoEnd::kWhole);
    REQUIRE(read.lines.left == Texts{});
    const Texts expected{
        "config last=100 shutdown",
        "message 7 q1 a/b=payload by source as user id 258 with 0101",
        "client client as '' last=1286 interval=3600 expires nowhere",
        "to client 7 id 772 q1 state 3",
        "client has a/# q1",
        "retained 7",
    };
    REQUIRE(read.lines.taken == expected);
}

TEST_CASE("what is no file of ours is refused by name", "[store][mosquitto]") {
    using E = MosquittoFileError;
    REQUIRE(walk(Bytes()).error == E::kEmpty);
    REQUIRE(walk(as_bytes("password_file /etc/passwd")).error == E::kNotMosquitto);
    REQUIRE(walk(as_bytes("x")).error == E::kNotMosquitto);
    for (uint32_t version : {0u, 1u, 7u, 8u, 0x06000000u, 0xffffffffu}) {
        const Walk read = walk(file_header(version).raw(config_chunk()));
        REQUIRE(read.error == E::kUnknownVersion);
        REQUIRE(read.form.version == version);
    }
    for (uint32_t version : {2u, 3u, 4u}) {
        REQUIRE(walk(file_header(version).raw(config_chunk())).error == E::kOldVersion);
    }
    for (uint32_t version : {5u, 6u}) {
        for (unsigned size : {0u, 4u, 7u, 9u, 255u}) {
            const Wire file = file_header(version).raw(config_chunk(1, size));
            REQUIRE(walk(file).error == E::kIdSize);
        }
        REQUIRE(walk(file_header(version).raw(config_chunk())).error == E::kNone);
    }
    const Wire header = file_header(6);
    for (size_t size = 1; size < header.size(); ++size) {
        REQUIRE(walk(Bytes(header).first(size)).error == E::kHeaderCut);
    }
    REQUIRE(walk(header).error == E::kNone);
    REQUIRE(walk(header).report.end == MosquittoEnd::kWhole);
}

TEST_CASE("the checksum of the header is not looked at", "[store][mosquitto]") {
    auto file = fixture("empty.db");
    file[15] = file[18] = 0xff;
    REQUIRE(walk(file).report.end == MosquittoEnd::kWhole);
}

TEST_CASE("a walk takes no memory", "[store][mosquitto]") {
    for (const std::string& name : fixture_names()) {
        const auto file = fixture(name);

        struct Nobody final : MosquittoVisitor {
        } nobody;

        const AllocGuard guard;
        MosquittoDb db(file);
        while (db.step(nobody)) {
        }
        REQUIRE(guard.allocations() == 0);
        REQUIRE(db.report().end == MosquittoEnd::kWhole);
    }
}

}  // namespace mqttd
