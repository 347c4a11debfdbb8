#include "base/outbox.h"

#include "base/prng.h"
#include "support/arena_memory.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <string>
#include <vector>

using namespace mqttd;

namespace {

// An outbox in an arena, beside the plain string of bytes it should hold.
struct Box {
    explicit Box(size_t bytes = size_t{16} << 20) : test(bytes) {
        outbox = test.arena.make<Outbox>(Arena::Use::kNormal);
    }

    ~Box() {
        outbox->clear(test.arena);
        test.arena.destroy(outbox);
    }

    // A segment full of bytes that tell their place.
    Segment* segment(uint32_t size, bool shared) {
        Segment* made = Segment::make(test.arena, size);
        REQUIRE(made != nullptr);
        for (uint32_t i = 0; i < size; ++i)
            made->data()[i] = static_cast<uint8_t>(prng.next());
        made->used = size;
        made->shared = shared;
        return made;
    }

    bool append(Segment* from, uint32_t begin, uint32_t end) {
        const bool taken = outbox->append(test.arena, Range{from, begin, end});
        if (taken) model.append(reinterpret_cast<char*>(from->data()) + begin, end - begin);
        return taken;
    }

    bool copy(const std::string& text) {
        const bool taken = outbox->copy(test.arena, as_bytes(text));
        if (taken) model += text;
        return taken;
    }

    std::string content() const {
        std::vector<Piece> pieces(Outbox::kRangesMax + 10);
        const uint32_t count = outbox->gather(pieces);
        std::string all;
        for (uint32_t i = 0; i < count; ++i) {
            all.append(static_cast<const char*>(pieces[i].data), pieces[i].size);
        }
        return all;
    }

    void drain(uint64_t bytes) {
        outbox->drain(test.arena, bytes);
        model.erase(0, bytes);
    }

    void check() const {
        REQUIRE(outbox->pending() == model.size());
        REQUIRE(outbox->empty() == model.empty());
        const bool same = content() == model;
        REQUIRE(same);
    }

    TestArena test;
    Prng prng{99};
    Outbox* outbox;
    std::string model;
};

std::string text_of(uint32_t size, char first) {
    std::string text(size, first);
    for (uint32_t i = 0; i < size; ++i)
        text[i] = static_cast<char>(first + static_cast<char>(i % 26));
    return text;
}

}  // namespace

TEST_CASE("a range that begins where the last one ended moves its end") {
    // A run of messages from one read is one iovec for each receiver, however many they are.
    Box box;
    Segment* inbound = box.segment(64 * 1024, true);
    for (uint32_t at = 0; at < 60'000; at += 30)
        box.append(inbound, at, at + 30);
    REQUIRE(box.outbox->ranges() == 1);
    REQUIRE(inbound->refs == 2);
    box.check();
    box.append(inbound, 0, 2000);  // does not continue
    REQUIRE(box.outbox->ranges() == 2);
    REQUIRE(inbound->refs == 3);
    box.check();
    box.outbox->clear(box.test.arena);
    box.model.clear();
    REQUIRE(inbound->refs == 1);
    inbound->drop(box.test.arena);
}

TEST_CASE("short ranges that join nothing are copied together, long ones are held") {
    // An iovec costs as much as copying half a kilobyte.
    Box box;
    Segment* inbound = box.segment(32 * 1024, true);
    for (uint32_t i = 0; i < 20; ++i)
        box.append(inbound, i * 100, i * 100 + 50);
    REQUIRE(inbound->refs == 2);  // the first one was taken as it is
    REQUIRE(box.outbox->ranges() < 5);
    box.check();
    box.append(inbound, 5000, 5000 + Outbox::kCopyMax);
    REQUIRE(inbound->refs == 3);
    box.append(inbound, 9000, 9000 + Outbox::kCopyMax - 1);
    REQUIRE(inbound->refs == 3);
    box.check();
    box.outbox->clear(box.test.arena);
    box.model.clear();
    inbound->drop(box.test.arena);
}

TEST_CASE("an empty range or copy changes nothing") {
    // A message without payload has an empty tail.
    Box box;
    Segment* inbound = box.segment(100, true);
    REQUIRE(box.append(inbound, 10, 10));
    REQUIRE(box.copy(""));
    REQUIRE(box.outbox->empty());
    REQUIRE(inbound->refs == 1);
    REQUIRE(box.outbox->ranges() == 0);
    inbound->drop(box.test.arena);
}

TEST_CASE("what is drained has been written, to the byte") {
    // "Has packet p left?" is a compare with written(), which decides about DUP.
    Box box;
    box.copy(text_of(100, 'a'));
    REQUIRE(box.outbox->appended() == 100);
    REQUIRE(box.outbox->written() == 0);
    box.drain(99);
    REQUIRE(box.outbox->written() == 99);
    box.copy("x");
    REQUIRE(box.outbox->appended() == 101);
    box.drain(2);
    REQUIRE(box.outbox->written() == 101);
    REQUIRE(box.outbox->empty());
    box.copy("more");
    box.outbox->clear(box.test.arena);  // never sent: not written
    box.model.clear();
    REQUIRE(box.outbox->written() == 101);
    REQUIRE(box.outbox->appended() == 101);
}

TEST_CASE("an outbox of mixed ranges drains right at every pair of cuts") {
    // A write may come short anywhere: inside a range, at its end, inside the next one.
    for (uint32_t first = 0; first <= 60; ++first) {
        for (uint32_t second = 0; first + second <= 60; ++second) {
            Box box(size_t{2} << 20);
            Segment* a = box.segment(20, true);
            Segment* b = box.segment(20, false);
            box.append(a, 0, 20);
            box.copy(text_of(20, 'A'));
            box.append(b, 0, 10);
            box.append(b, 10, 20);
            box.drain(first);
            box.check();
            box.drain(second);
            box.check();
            box.copy("tail");
            box.check();
            box.drain(box.model.size());
            box.check();
            REQUIRE(a->refs == 1);
            REQUIRE(b->refs == 1);
            a->drop(box.test.arena);
            b->drop(box.test.arena);
            REQUIRE(box.test.arena.live() == 1);  // the outbox itself
        }
    }
}

TEST_CASE("gather fills in no more pieces than it is given room for") {
    // net asks for as many as one writev takes.
    Box box;
    Segment* inbound = box.segment(30'000, true);
    for (uint32_t i = 0; i < 10; ++i)
        box.append(inbound, i * 3000, i * 3000 + 2000);
    REQUIRE(box.outbox->ranges() == 10);
    Piece pieces[4];
    REQUIRE(box.outbox->gather({pieces, 4}) == 4);
    for (const Piece& piece : pieces)
        REQUIRE(piece.size == 2000);
    box.outbox->clear(box.test.arena);
    box.model.clear();
    inbound->drop(box.test.arena);
}

TEST_CASE("room and commit append what was encoded in place") {
    // The encoder writes where the bytes will be sent from.
    Box box;
    for (uint32_t size : {1u, 10u, 239u, 240u, 3000u, 40'000u, 5u}) {
        uint8_t* at = box.outbox->room(box.test.arena, size);
        REQUIRE(at != nullptr);
        const std::string text = text_of(size, 'k');
        std::memcpy(at, text.data(), size);
        box.outbox->commit(size);
        box.model += text;
        box.check();
    }
    // Fewer bytes than asked for may be used.
    uint8_t* at = box.outbox->room(box.test.arena, 100);
    at[0] = 'z';
    box.outbox->commit(1);
    box.model += 'z';
    box.check();
}

TEST_CASE("an outbox never writes into a block that somebody else holds") {
    // A kept message's block may have room behind it; it is not ours.
    Box box;
    Segment* message = Segment::make(box.test.arena, 2000);
    std::memset(message->data(), 'm', 1100);
    message->used = 1100;
    REQUIRE(box.append(message, 0, 1100));  // refs 2: the store holds it too
    REQUIRE(box.copy("answer"));
    REQUIRE(message->used == 1100);
    box.check();
    message->drop(box.test.arena);
}

TEST_CASE("owning copies all that is shared and lets go of it") {
    // When a write comes short: no range of a shared segment may outlive the turn on a blocked
    // link.
    Box box;
    Segment* inbound = box.segment(100'000, true);
    Segment* message = box.segment(5000, false);
    box.append(inbound, 0, 70'000);
    box.copy("in between");
    box.append(message, 0, 5000);
    box.append(inbound, 80'000, 90'000);
    box.drain(17);
    REQUIRE(box.outbox->own(box.test.arena));
    box.check();
    REQUIRE(inbound->refs == 1);
    REQUIRE(message->refs == 2);               // a message is counted, not copied
    REQUIRE(box.outbox->own(box.test.arena));  // nothing left to do
    box.check();
    box.copy("and on");
    box.check();
    box.drain(box.model.size());
    box.check();
    inbound->drop(box.test.arena);
    message->drop(box.test.arena);
    REQUIRE(box.test.arena.live() == 1);
}

TEST_CASE("owning refused half way leaves everything as it was") {
    // Refuse each allocation in turn until it succeeds; nothing may be lost, leaked or changed.
    Box box;
    Segment* inbound = box.segment(200'000, true);
    Segment* message = box.segment(3000, false);
    box.append(inbound, 0, 66'000);
    box.append(message, 0, 3000);
    box.append(inbound, 100'000, 140'000);
    const uint64_t live = box.test.arena.live();
    int refusals = 0;
    for (uint64_t n = 1;; ++n) {
        box.test.arena.refuse_nth(n);
        if (box.outbox->own(box.test.arena)) break;
        ++refusals;
        REQUIRE(box.test.arena.live() == live);
        REQUIRE(inbound->refs == 3);
        REQUIRE(message->refs == 2);
        box.check();
    }
    box.test.arena.refuse_nth(0);
    REQUIRE(refusals >= 5);
    REQUIRE(inbound->refs == 1);
    REQUIRE(message->refs == 2);
    box.check();
    inbound->drop(box.test.arena);
    message->drop(box.test.arena);
}

TEST_CASE("a refused append, copy or room changes nothing") {
    // The caller counts a drop, and what was committed before still goes out whole.
    for (uint64_t n = 1; n < 60; ++n) {
        Box box;
        Segment* inbound = box.segment(64 * 1024, true);
        box.test.arena.refuse_nth(n);
        for (uint32_t i = 0; i < 30; ++i) {
            box.append(inbound, i * 2000, i * 2000 + 1500);
            box.check();
            box.copy(text_of(300, 'a'));
            box.check();
        }
        box.drain(box.model.size());
        REQUIRE(inbound->refs == 1);
        inbound->drop(box.test.arena);
        REQUIRE(box.test.arena.live() == 1);
    }
}

TEST_CASE("an outbox holds at most kRangesMax ranges behind the first") {
    // A bound on the ring; past it an append is refused like any other.
    Box box;
    Segment* inbound = box.segment(8000, true);
    uint32_t taken = 0;
    while (box.append(inbound, taken % 2 * 3000, taken % 2 * 3000 + 2000))
        ++taken;
    REQUIRE(taken == Outbox::kRangesMax + 1);
    REQUIRE(box.outbox->ranges() == taken);
    REQUIRE(inbound->refs == taken + 1);
    box.check();
    REQUIRE(box.outbox->own(box.test.arena));
    box.check();
    box.drain(box.model.size());
    inbound->drop(box.test.arena);
}

TEST_CASE("an outbox asks for a flush at either mark") {
    // 256 KiB, or 256 ranges behind the first.
    Box box;
    Segment* inbound = box.segment(200'000, true);
    box.append(inbound, 0, Outbox::kFlushBytes / 2);
    REQUIRE_FALSE(box.outbox->wants_flush());
    box.append(inbound, 0, Outbox::kFlushBytes / 2);
    REQUIRE(box.outbox->wants_flush());
    box.drain(1);
    REQUIRE_FALSE(box.outbox->wants_flush());
    box.drain(box.model.size());
    // A range and a small copy in turn: two ranges for little more than a kilobyte.
    while (box.outbox->ranges() <= Outbox::kFlushRanges) {
        REQUIRE_FALSE(box.outbox->wants_flush());
        REQUIRE(box.append(inbound, 0, Outbox::kCopyMax));
        REQUIRE(box.copy("answer"));
    }
    REQUIRE(box.outbox->pending() < Outbox::kFlushBytes);
    REQUIRE(box.outbox->wants_flush());
    box.outbox->clear(box.test.arena);
    box.model.clear();
    inbound->drop(box.test.arena);
}

TEST_CASE("random appending, copying, draining and owning agrees with a string", "[random]") {
    // With refusals in between; at the end all counts balance.
    const uint64_t seed = GENERATE(51u, 52u, 53u, 54u, 55u, 56u);
    INFO("seed " << seed);
    Box box;
    box.prng = Prng(seed);
    std::vector<Segment*> segments;
    for (int i = 0; i < 6; ++i)
        segments.push_back(box.segment(20'000, i % 2 == 0));
    Segment* last = segments[0];
    uint32_t last_end = 0;
    for (int step = 0; step < 8000; ++step) {
        const uint32_t choice = box.prng.below(100);
        if (box.prng.below(30) == 0) box.test.arena.refuse_nth(1 + box.prng.below(3));
        if (choice < 30) {
            last = segments[box.prng.below(6)];
            const uint32_t begin = box.prng.below(15'000);
            last_end = begin + box.prng.below(box.prng.below(2) == 0 ? 200u : 5000u);
            box.append(last, begin, last_end);
        } else if (choice < 50) {
            const uint32_t end = std::min(20'000u, last_end + box.prng.below(300));
            if (box.append(last, last_end, end)) last_end = end;
        } else if (choice < 75) {
            box.copy(text_of(box.prng.below(box.prng.below(10) == 0 ? 9000u : 100u), 'q'));
        } else if (choice < 80) {
            const std::string before = box.model;
            if (box.outbox->own(box.test.arena)) {
                for (int i = 0; i < 6; i += 2)
                    REQUIRE(segments[static_cast<size_t>(i)]->refs == 1);
            }
        } else if (!box.model.empty()) {
            const auto most = static_cast<uint32_t>(box.model.size());
            box.drain(box.prng.below(4) == 0 ? most : box.prng.below(most + 1));
        }
        if (box.model.size() > 500'000) box.drain(box.model.size() - box.prng.below(1000));
        box.check();
    }
    box.test.arena.refuse_nth(0);
    box.drain(box.model.size());
    for (Segment* segment : segments) {
        REQUIRE(segment->refs == 1);
        segment->drop(box.test.arena);
    }
    REQUIRE(box.test.arena.live() == 1);
}

TEST_CASE("replies are written before deliveries") {
    // So that a ping does not wait behind a fan-out to thousands.
    TestArena test;
    Outbox* boxes[4];
    for (Outbox*& box : boxes)
        box = test.arena.make<Outbox>(Arena::Use::kNormal);
    Dirty dirty;
    REQUIRE(dirty.empty());
    dirty.add_delivery(*boxes[0]);
    dirty.add_delivery(*boxes[1]);
    dirty.add_reply(*boxes[2]);
    dirty.add_delivery(*boxes[2]);  // a reply stays one
    dirty.add_reply(*boxes[1]);     // a delivery becomes one
    dirty.add_delivery(*boxes[0]);  // once is enough
    dirty.add_delivery(*boxes[3]);
    dirty.remove(*boxes[3]);
    dirty.remove(*boxes[3]);
    REQUIRE(dirty.size() == 3);
    REQUIRE(dirty.take() == boxes[2]);
    REQUIRE(dirty.take() == boxes[1]);
    dirty.note_backlog();
    REQUIRE(dirty.backlog() == 1);
    REQUIRE(dirty.take() == boxes[0]);
    REQUIRE(dirty.take() == nullptr);
    REQUIRE(dirty.empty());
}
