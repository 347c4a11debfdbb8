#pragma once

// Crowd: very many clients of one broker, brought in step by step.
//
//     arrive ─▶ greet ─▶ subscribe ─▶ … ─▶ leave ─▶ expire
//
// The steps go over all clients in batches of one accept (64), a turn or more each, so that every
// step can be measured by itself. Each client speaks 5.0, has an identifier of 28 bytes, a
// keep-alive of 60 s, a session that outlives the connection by an hour, and one subscription to a
// topic of its own, of 16 bytes. These are the sizes for which limits.h sums up what one costs.

#include "bench/engine/engine.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mqttd::bench {

class Crowd {
  public:
    static constexpr uint32_t kBatch = 64;
    static constexpr uint32_t kKeepAlive_s = 60;
    static constexpr uint32_t kExpiry_s = 3'600;

    explicit Crowd(uint32_t clients);

    void arrive();         // sockets, nothing said yet
    void greet();          // CONNECT, in any order, spread evenly over a keep-alive interval
    void subscribe_own();  // to `c/…`, each to its own
    void subscribe_all();  // to `all`, everybody
    void leave();          // they go without a word; their sessions stay
    void expire();         // until the last session has ended

    // The next `count` clients ping, in the order in which they came.
    void ping(uint32_t count);

    // One message at QoS 0, with all its turns; `between` is called before each of them.
    template <class Between>
    void publish(const std::string& topic, Between&& between) {
        const std::string packet = packet_of(topic);
        engine.kernel.feed(writer_, packet);
        do {
            between();
            engine.turn(0);
        } while (engine.kernel.pending() || !engine.net.idle() || !engine.broker.idle());
    }

    void publish(const std::string& topic) {
        publish(topic, [] {});
    }

    static std::string topic_of(uint32_t client);

    uint32_t size() const { return clients_; }

    Engine engine;

  private:
    // step(i) for all, a batch and its turns of `ms` at a time.
    template <class Step>
    void in_batches(Duration ms, Step&& step);

    void shuffle();
    static std::string packet_of(const std::string& topic);

    uint32_t clients_;
    int writer_ = -1;
    uint32_t next_ping_ = 0;
    std::vector<int> lines_;
    std::vector<std::string> said_;  // of the batch under way: borrowed by the kernel
};

}  // namespace mqttd::bench
