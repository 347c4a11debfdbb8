#pragma once

// BareLoop: the least that can run a Broker.
//
// Where World is made to look at everything, this is made to be out of the way: no strings, no
// allocation after construction, output is drained into nothing (or looked at by `on_output`). For
// what counts allocations, bytes or nanoseconds.
//
//     BareLoop loop(World::test_options(), 64 << 20, 2);
//     loop.feed(0, bytes);   // one read of link 0
//     loop.turn();           // jobs, then every write

#include "mqttd/broker.h"

#include "base/log.h"
#include "base/outbox.h"
#include "base/segment.h"
#include "support/arena_memory.h"

#include <cstring>
#include <string_view>
#include <vector>

namespace mqttd {

class BareLoop final : public Transport, public Host {
  public:
    BareLoop(const BrokerOptions& options, size_t memory_bytes, uint32_t links)
        : arena_(memory_bytes),
          outboxes_(size_t{links} * sizeof(Outbox) * 2 + (size_t{1} << 20)),
          log_([](void*, LogKind, std::string_view) {}, nullptr, 0),
          broker_(arena_.arena, *this, *this, dirty_, log_, options, now_),
          inbound_(Segment::make(arena_.arena, kInbound, Arena::Use::kReserve)) {
        inbound_->shared = true;
        broker_.begin_turn(now_, 0);
        for (uint32_t i = 0; i < links; ++i) {
            links_.push_back({outboxes_.arena.make<Outbox>(Arena::Use::kNormal), nullptr});
        }
    }

    ~BareLoop() {
        for (Place& place : links_) {
            if (place.link != nullptr) hang_up(place);
            outboxes_.arena.destroy(place.outbox);
        }
        inbound_->drop(arena_.arena);
    }

    BareLoop(const BareLoop&) = delete;
    BareLoop& operator=(const BareLoop&) = delete;

    void open(uint32_t i) { links_[i].link = broker_.opened(*links_[i].outbox, Arrival{}); }

    void hang_up(uint32_t i) { hang_up(links_[i]); }

    // One read; the broker must take it whole.
    void feed(uint32_t i, std::string_view bytes) {
        const Consumed taken = offer(i, bytes);
        complete_ = complete_ && taken.bytes == bytes.size();
    }

    // One read; returns what the broker took of it.
    Consumed offer(uint32_t i, std::string_view bytes) {
        if (inbound_->refs == 1) inbound_->used = 0;
        if (inbound_->room() < bytes.size()) turn();
        const uint32_t begin = inbound_->used;
        std::memcpy(inbound_->end(), bytes.data(), bytes.size());
        inbound_->used += static_cast<uint32_t>(bytes.size());
        return broker_.receive(links_[i].link, {inbound_, begin, inbound_->used});
    }

    // A packet of `bytes` in a segment of its own: all behind its beginning is left as the system
    // gave it, so that the largest one costs no memory.
    void feed_large(uint32_t i, std::string_view beginning, uint32_t bytes) {
        Segment* segment = Segment::make(arena_.arena, bytes);
        std::memcpy(segment->data(), beginning.data(), beginning.size());
        segment->used = bytes;
        const Consumed taken = broker_.receive(links_[i].link, {segment, 0, bytes});
        complete_ = complete_ && taken.bytes == bytes;
        segment->drop(arena_.arena);
    }

    void turn() {
        broker_.tick();
        while (Outbox* outbox = dirty_.take())
            write(*outbox);
        if (inbound_->refs == 1) inbound_->used = 0;
        now_ += 1;
        broker_.begin_turn(now_, 0);
    }

    // As a server would: turns, until the broker says that it has nothing more to do.
    void sleep() {
        do {
            turn();
        } while (!broker_.idle());
    }

    // Whether every feed was taken whole.
    bool complete() const { return complete_; }

    Instant now() const { return now_; }

    uint64_t written() const { return written_; }

    Arena& arena() { return arena_.arena; }

    Broker& broker() { return broker_; }

    const Stats& stats() const { return broker_.stats(); }

    void resume(Outbox&) override {}

    bool input_waiting(const Outbox&) const override { return false; }

    void close(Outbox&, Error) override { complete_ = false; }

    uint32_t flush(Outbox& outbox) override {
        write(outbox);
        return 1;
    }

    Peer peer(const Outbox&) const override { return {}; }

    void sample(HostStats&) override {}

  private:
    static constexpr uint32_t kInbound = 256 * 1024 - sizeof(Segment);

    struct Place {
        Outbox* outbox;
        void* link;
    };

    void write(Outbox& outbox) {
        Piece pieces[64];
        while (!outbox.empty()) {
            const uint32_t count = outbox.gather(pieces);
            uint64_t bytes = 0;
            for (uint32_t i = 0; i < count; ++i)
                bytes += pieces[i].size;
            outbox.drain(arena_.arena, bytes);
            written_ += bytes;
        }
    }

    void hang_up(Place& place) {
        dirty_.remove(*place.outbox);
        broker_.closed(place.link, Error::kEndOfFile);
        dirty_.remove(*place.outbox);
        place.outbox->clear(arena_.arena);
        place.link = nullptr;
    }

    TestArena arena_;
    TestArena outboxes_;
    Dirty dirty_;
    Log log_;
    Instant now_ = 1'000'000;
    Broker broker_;
    Segment* inbound_;
    std::vector<Place> links_;
    uint64_t written_ = 0;
    bool complete_ = true;
};

}  // namespace mqttd
