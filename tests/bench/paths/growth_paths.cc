// How what one delivery costs grows with how many get it, how many stand by, and how many filters
// there are: `make growth`.  Not among the paths that are compared: some take a while to prepare.

#include "bench/engine/people.h"
#include "bench/paths/paths.h"

#include <string>

namespace mqttd::bench {

namespace {

constexpr uint16_t kRun = 100;
constexpr size_t kMemory = size_t{2} << 30;

int reader_of(Engine& engine, const std::string& id, const std::string& filter) {
    const int reader = engine.join(connect(Speech::k3, {id}));
    engine.say(reader, subscribe(Speech::k3, filter, 0));
    return reader;
}

// A burst, or one message, to so many receivers.
void receivers(Meter& meter, uint32_t count, uint16_t run = kRun) {
    Engine engine({.clients = count + 1, .memory = kMemory});
    const int writer = engine.join(connect(Speech::k3, {"writer"}));
    for (uint32_t i = 0; i < count; ++i)
        reader_of(engine, "r" + std::to_string(i), "some/topic");
    const std::string input = publishes(Speech::k3, "some/topic", 0, run);
    const uint64_t before = engine.stats().publish_sent;
    meter.count(2, 3, uint64_t{run} * count, [&] { engine.say(writer, input); });
    meter.expect(engine.stats().publish_sent - before == uint64_t{5} * run * count,
                 "somebody did not get everything");
}

void receivers_10(Meter& meter) {
    receivers(meter, 10);
}

void receivers_100(Meter& meter) {
    receivers(meter, 100);
}

void receivers_1000(Meter& meter) {
    receivers(meter, 1'000);
}

void receivers_10000(Meter& meter) {
    receivers(meter, 10'000);
}

void singles_10(Meter& meter) {
    receivers(meter, 10, 1);
}

void singles_100(Meter& meter) {
    receivers(meter, 100, 1);
}

void singles_10000(Meter& meter) {
    receivers(meter, 10'000, 1);
}

// One to one, one message in a read, among others.
void one_to_one(Meter& meter, uint32_t bystanders, uint32_t filters) {
    Engine engine({.clients = bystanders + 3, .memory = kMemory});
    const int writer = engine.join(connect(Speech::k3, {"writer"}));
    reader_of(engine, "reader", "some/topic");
    for (uint32_t i = 0; i < bystanders; ++i)
        reader_of(engine, "b" + std::to_string(i), "other/" + std::to_string(i));
    const int holder = engine.join(connect(Speech::k3, {"holder"}));
    for (uint32_t i = 0; i < filters; ++i)
        engine.say(holder, subscribe(Speech::k3, "f/" + std::to_string(i) + "/+", 0));
    const std::string input = publish(Speech::k3, "some/topic");
    const uint64_t before = engine.stats().publish_sent;
    meter.count(10, 1'000, 1, [&] { engine.say(writer, input); });
    meter.expect(engine.stats().publish_sent - before == 1'010, "a message went astray");
}

void alone(Meter& meter) {
    one_to_one(meter, 0, 0);
}

void bystanders_10000(Meter& meter) {
    one_to_one(meter, 10'000, 0);
}

void filters_1000000(Meter& meter) {
    one_to_one(meter, 0, 1'000'000);
}

}  // namespace

std::span<const Path> growth_paths() {
    static constexpr Path kPaths[] = {
        {"receivers_10",     receivers_10    },
        {"receivers_100",    receivers_100   },
        {"receivers_1000",   receivers_1000  },
        {"receivers_10000",  receivers_10000 },
        {"singles_10",       singles_10      },
        {"singles_100",      singles_100     },
        {"singles_10000",    singles_10000   },
        {"alone",            alone           },
        {"bystanders_10000", bystanders_10000},
        {"filters_1000000",  filters_1000000 },
    };
    return kPaths;
}

}  // namespace mqttd::bench
