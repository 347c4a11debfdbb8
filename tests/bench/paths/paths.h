#pragma once

// The paths whose instructions are counted.
//
// A path is a fixed conversation of clients with the real core and net. It prepares its clients,
// then plays the same round again and again: first some rounds that nobody counts, so that pools
// and caches are as they are in a broker that runs, then those that count. What is reported is the
// instructions of the broker's turns, divided by what the rounds moved.
//
// Every path looks at the end at what came out, so that one that has stopped doing its work does
// not shine.

#include "bench/engine/counting.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

namespace mqttd::bench {

class Meter {
  public:
    explicit Meter(const char* name) : name_(name) {}

    // Plays `round`, which moves so many items, `warm` times and then `rounds` times counted.
    template <class Round>
    void count(uint32_t warm, uint32_t rounds, uint64_t items, Round&& round) {
        for (uint32_t i = 0; i < warm; ++i)
            round();
        Counting::begin();
        for (uint32_t i = 0; i < rounds; ++i)
            round();
        Counting::end(name_);
        std::printf("%s %llu\n", name_, static_cast<unsigned long long>(rounds * items));
        std::fflush(stdout);
    }

    void expect(bool fact, const char* words) const {
        if (fact) return;
        std::fprintf(stderr, "%s: %s\n", name_, words);
        std::exit(1);
    }

  private:
    const char* name_;
};

struct Path {
    const char* name;
    void (*play)(Meter&);
};

std::span<const Path> publish_paths();  // messages on their way
std::span<const Path> waiting_paths();  // messages that wait: retained, queued
std::span<const Path> client_paths();   // clients that come, go, subscribe, are silent
std::span<const Path> growth_paths();   // only if they are named, see growth_paths.cc

}  // namespace mqttd::bench
