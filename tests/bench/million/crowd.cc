#include "bench/million/crowd.h"

#include "base/prng.h"
#include "bench/engine/people.h"
#include "support/packets5.h"

#include <algorithm>
#include <cstdio>

namespace mqttd::bench {

namespace {

constexpr size_t kBytesPerClient = 2'048;  // of address space, generously

BrokerOptions crowd_options() {
    BrokerOptions options = engine_options();
    options.listener.connect_timeout_s = 600;
    options.turn_units = 16'384;
    return options;
}

std::string numbered(const char* format, uint32_t number) {
    char text[40];
    std::snprintf(text, sizeof text, format, number);
    return text;
}

std::string hello(const std::string& client_id) {
    return packets5::connect(
        {.client_id = client_id,
         .clean = false,
         .properties = packets5::property(Property::kSessionExpiryInterval, Crowd::kExpiry_s),
         .keep_alive_s = Crowd::kKeepAlive_s});
}

}  // namespace

Crowd::Crowd(uint32_t clients)
    : engine({.clients = clients + 1,
              .memory = (size_t{64} << 20) + clients * kBytesPerClient,
              .options = crowd_options()}),
      clients_(clients) {
    writer_ = engine.join(connect(Speech::k5, {"writer"}));
    // Tables and caches that are there for as long as the broker is.
    engine.say(writer_, subscribe(Speech::k5, "first", 0));
    publish("first");
    engine.say(writer_, unsubscribe(Speech::k5, "first"));
    lines_.reserve(clients);
    said_.resize(kBatch);
}

template <class Step>
void Crowd::in_batches(Duration ms, Step&& step) {
    for (uint32_t begin = 0; begin < clients_; begin += kBatch) {
        const uint32_t end = std::min(begin + kBatch, clients_);
        for (uint32_t i = begin; i < end; ++i)
            step(i, said_[i - begin]);
        engine.turn(ms);
        while (engine.kernel.pending() || !engine.net.idle() || !engine.broker.idle())
            engine.turn(0);
    }
}

void Crowd::arrive() {
    in_batches(0, [&](uint32_t, std::string&) { lines_.push_back(engine.kernel.dial()); });
}

// Not in the order of their places in memory, as it is after a while.
void Crowd::shuffle() {
    Prng prng(1);
    for (uint32_t i = clients_ - 1; i > 0; --i)
        std::swap(lines_[i], lines_[prng.below(i + 1)]);
}

void Crowd::greet() {
    shuffle();
    const Duration ms = std::max<Duration>(1, kKeepAlive_s * kSecond * kBatch / clients_);
    in_batches(ms, [&](uint32_t i, std::string& packet) {
        packet = hello(numbered("factory-7/hall-3/sensor-%05u", i));
        engine.kernel.feed(lines_[i], packet);
    });
}

std::string Crowd::topic_of(uint32_t client) {
    return numbered("c/%09u/cmd", client);
}

void Crowd::subscribe_own() {
    in_batches(0, [&](uint32_t i, std::string& packet) {
        packet = bench::subscribe(Speech::k5, topic_of(i), 0);
        engine.kernel.feed(lines_[i], packet);
    });
}

void Crowd::subscribe_all() {
    in_batches(0, [&](uint32_t i, std::string& packet) {
        packet = bench::subscribe(Speech::k5, "all", 0);
        engine.kernel.feed(lines_[i], packet);
    });
}

void Crowd::leave() {
    in_batches(0, [&](uint32_t i, std::string&) { engine.kernel.hang_up(lines_[i]); });
}

void Crowd::expire() {
    const Uncounted uncounted;
    engine.turn((kExpiry_s + 2) * kSecond);  // away is counted in whole seconds, rounded up
    engine.settle();
}

void Crowd::ping(uint32_t count) {
    static const std::string kPing = packets::pingreq();
    for (uint32_t i = 0; i < count; ++i) {
        engine.kernel.feed(lines_[next_ping_], kPing);
        if (++next_ping_ == clients_) next_ping_ = 0;
    }
    engine.turn(0);
    while (engine.kernel.pending() || !engine.net.idle())
        engine.turn(0);
}

std::string Crowd::packet_of(const std::string& topic) {
    return bench::publish(Speech::k5, topic);
}

}  // namespace mqttd::bench
