// The outbox: to append a range that joins the last, a short one that is copied, a long one; to
// encode into it; and the way out, gathered and drained, alone and through net's flush.

#include "base/outbox.h"
#include "bench/engine/quiet_kernel.h"
#include "net/net.h"
#include "support/arena_memory.h"

#include <benchmark/benchmark.h>
#include <cstdlib>

namespace mqttd::bench {
namespace {

// Drains as a socket does that takes everything.
void drain_all(Arena& arena, Outbox& outbox) {
    Piece pieces[Sockets::kPiecesMax];
    while (!outbox.empty()) {
        const uint32_t count = outbox.gather(pieces);
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < count; ++i)
            bytes += pieces[i].size;
        outbox.drain(arena, bytes);
    }
}

struct Place {
    Place()
        : outbox(*memory.arena.make<Outbox>(Arena::Use::kNormal)),
          inbound(Segment::make(memory.arena, 256 * 1024 - sizeof(Segment))) {
        inbound->shared = true;
        inbound->used = inbound->capacity;
    }

    TestArena memory;
    Outbox& outbox;
    Segment* inbound;
};

constexpr uint32_t kAppends = 128;  // then the outbox is drained

// Ranges of `bytes` whose beginnings lie `stride` apart: those that touch join.
void outbox_append(benchmark::State& state, uint32_t bytes, uint32_t stride) {
    Place place;
    for (auto _ : state) {
        for (uint32_t i = 0; i < kAppends; ++i) {
            const uint32_t begin = i * stride;
            if (!place.outbox.append(place.memory.arena, {place.inbound, begin, begin + bytes}))
                std::abort();
        }
        drain_all(place.memory.arena, place.outbox);
    }
    state.SetItemsProcessed(state.iterations() * int64_t{kAppends});
}

BENCHMARK_CAPTURE(outbox_append, joining, 80, 80);
BENCHMARK_CAPTURE(outbox_append, short_copied, 80, 160);
BENCHMARK_CAPTURE(outbox_append, long_apart, 1'500, 1'600);

// A small packet is encoded where it will be written from.
void outbox_encode_into(benchmark::State& state) {
    Place place;
    for (auto _ : state) {
        for (uint32_t i = 0; i < kAppends; ++i) {
            uint8_t* to = place.outbox.room(place.memory.arena, 40);
            if (to == nullptr) std::abort();
            to[0] = 0x32;
            place.outbox.commit(36);
        }
        drain_all(place.memory.arena, place.outbox);
    }
    state.SetItemsProcessed(state.iterations() * int64_t{kAppends});
}

BENCHMARK(outbox_encode_into);

// A write came short: what is shared is copied to blocks of its own.
void outbox_own(benchmark::State& state) {
    Place place;
    const auto ranges = static_cast<uint32_t>(state.range(0));
    for (auto _ : state) {
        for (uint32_t i = 0; i < ranges; ++i) {
            if (!place.outbox.append(place.memory.arena,
                                     {place.inbound, i * 1'600, i * 1'600 + 1'500}))
                std::abort();
        }
        if (!place.outbox.own(place.memory.arena)) std::abort();
        drain_all(place.memory.arena, place.outbox);
    }
    state.SetItemsProcessed(state.iterations() * ranges);
}

BENCHMARK(outbox_own)->Arg(1)->Arg(100);

// So many links have one short range each: the turn's flush, through net and sockets that take all.
class Flusher final : public StreamHandler {
  public:
    explicit Flusher(uint32_t links)
        : kernel_(links), net_(memory_.arena, dirty_, log_, {.files_limit = links + 128}) {
        net_.bind(*this);
        if (net_.open() != Error::kNone || !net_.listen({}, {}).ok()) std::abort();
        for (uint32_t i = 0; i < links; ++i)
            kernel_.dial();
        while (outboxes_.size() < links) {
            net_.collect(0);
            net_.begin_turn(++now_);
            net_.accept();
            net_.serve_ready();
        }
    }

    void turn() {
        for (Outbox* outbox : outboxes_) {
            if (!outbox->copy(memory_.arena, as_bytes("a packet of forty-odd bytes on its way")))
                std::abort();
            dirty_.add_delivery(*outbox);
        }
        while (!dirty_.empty())
            net_.flush();
    }

    void* opened(Outbox& outbox, const Arrival&) override {
        outboxes_.push_back(&outbox);
        return this;
    }

    Consumed receive(void*, Range) override { return {}; }

    void progress(void*) override {}

    void writable(void*) override {}

    void closed(void*, Error) override {}

    bool budget_left() const override { return true; }

    void share_rest(uint32_t) override {}

  private:
    TestArena memory_;
    Dirty dirty_;
    Log log_;
    Instant now_ = 0;
    QuietKernel kernel_;
    Net net_;
    std::vector<Outbox*> outboxes_;
};

void outbox_flush(benchmark::State& state) {
    Flusher flusher(static_cast<uint32_t>(state.range(0)));
    for (auto _ : state)
        flusher.turn();
    state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(outbox_flush)->Arg(1)->Arg(100)->Arg(10'000);

}  // namespace
}  // namespace mqttd::bench
