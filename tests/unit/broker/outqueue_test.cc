#include "broker/outqueue.h"

#include "base/prng.h"
#include "broker/session.h"
#include "support/arena_memory.h"

#include <catch2/catch.hpp>
#include <deque>

using namespace mqttd;

namespace {

struct Entry {
    Message* message;
    bool limited;
};

// The same, obvious and slow: the highest priority first, in the order of coming.
struct Model {
    std::deque<Entry> entries;

    size_t next() const {
        size_t best = 0;
        for (size_t i = 1; i < entries.size(); ++i)
            if (entries[i].message->priority > entries[best].message->priority) best = i;
        return best;
    }

    // entries.size(): none counts against the limits.
    size_t lowest() const {
        size_t best = entries.size();
        for (size_t i = 0; i < entries.size(); ++i) {
            if (!entries[i].limited) continue;
            if (best == entries.size() ||
                entries[i].message->priority < entries[best].message->priority) {
                best = i;
            }
        }
        return best;
    }

    Message* take(size_t i) {
        Message* message = entries[i].message;
        entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(i));
        return message;
    }
};

}  // namespace

// What goes next and what a full queue drops, whatever the mix: the latter takes only what counts
// against the limits, from between what does not.
TEST_CASE("a queue gives up the oldest of the lowest priority that counts", "[broker]") {
    for (uint64_t seed = 1; seed <= 60; ++seed) {
        CAPTURE(seed);
        Prng random(seed);
        const auto below = [&](uint64_t n) { return random.next() % n; };
        TestArena memory;
        Arena& arena = memory.arena;
        Stats stats;
        MessagePool pool(arena, stats);
        Message* messages[4];
        for (uint8_t i = 0; i < 4; ++i) {
            MessageParts parts;
            parts.priority = i == 0 ? 0 : static_cast<uint8_t>(50 * i + 100);
            messages[i] = pool.make(parts);
        }
        const uint64_t priorities = 1 + seed % 4;
        const uint64_t limited_of_8 = seed / 4 % 9;
        Outflow& outflow = *arena.make<Outflow>(Arena::Use::kNormal);
        OutQueue& queue = outflow.queue;
        Model model;
        for (int step = 0; step < 3'000; ++step) {
            const bool filling = step / 300 % 2 == 0;
            const uint64_t kind = below(8);
            if (kind < (filling ? 6u : 2u)) {
                const Entry entry{messages[below(priorities)], below(8) < limited_of_8};
                REQUIRE(
                    queue.push(arena, {entry.message, nullptr, 1, false, entry.limited, false}));
                model.entries.push_back(entry);
            } else if (kind % 2 == 0 && !model.entries.empty()) {
                REQUIRE(queue.front().message.get() == model.entries[model.next()].message);
                REQUIRE(queue.front().limited == model.entries[model.next()].limited);
                REQUIRE(queue.pop(arena).message == model.take(model.next()));
            } else if (model.lowest() < model.entries.size()) {
                const size_t lowest = model.lowest();
                REQUIRE(queue.lowest_priority() == model.entries[lowest].message->priority);
                Waiting taken;
                REQUIRE(queue.pop_lowest(arena, taken));
                REQUIRE(taken.limited);
                REQUIRE(taken.message == model.take(lowest));
            }
            uint32_t limited = 0;
            for (const Entry& entry : model.entries)
                limited += entry.limited;
            REQUIRE(queue.size() == model.entries.size());
            REQUIRE(queue.limited() == limited);
        }
        while (!queue.empty())
            REQUIRE(queue.pop(arena).message == model.take(model.next()));
        for (Message* message : messages)
            pool.drop(*message);
        arena.destroy(&outflow);
        REQUIRE(arena.live() == 0);
    }
}
