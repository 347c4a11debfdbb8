#pragma once

// Engine: the real core and the real net on a quiet kernel, in virtual time.
//
// What server/ wires together, without a clock or a signal; log lines are made and thrown away. The
// turn is the one of Server::turn, in the same order; it is what Counting counts.
//
//     Engine engine({.options = engine_options(), .clients = 2});
//     const int reader = engine.join(packets::connect("r"));
//     engine.say(reader, packets::subscribe(1, {{"t", 0}}));
//     engine.kernel.feed(writer, bytes);
//     engine.settle();

#include "mqttd/broker.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/outbox.h"
#include "bench/engine/counting.h"
#include "bench/engine/quiet_kernel.h"
#include "net/net.h"
#include "support/arena_memory.h"

#include <cstdint>
#include <string_view>

namespace mqttd::bench {

// Anonymous clients, no $SYS, a fixed hash key, the wide limits of a broker that is measured.
inline BrokerOptions engine_options() {
    BrokerOptions options;
    options.hash_key[0] = 1;
    options.hash_key[1] = 2;
    options.listener.allow_anonymous = true;
    options.sys_interval_s = 0;
    options.max_inflight_messages = 256;
    options.max_awaiting_rel = 256;
    options.max_queued_messages = 100'000;
    return options;
}

class Engine final : public Host {
  public:
    struct Size {
        uint32_t clients = 2;
        size_t memory = size_t{256} << 20;
        BrokerOptions options = engine_options();
    };

    explicit Engine(const Size& size)
        : kernel(size.clients + 8),
          memory_(size.memory),
          log_([](void*, LogKind, std::string_view) {}, nullptr, kLogged),
          net(memory_.arena, dirty_, log_, net_options(size.clients)),
          broker(memory_.arena, net, *this, dirty_, log_, size.options, now_) {
        net.bind(broker);
        MQTTD_ASSERT(net.open() == Error::kNone);
        MQTTD_ASSERT(net.listen({}, {}).ok());
        turn();
    }

    // Everybody goes, so that core and net end as they do in the server.
    ~Engine() {
        kernel.use();
        kernel.hang_up_all();
        while (net.connections() > 0)
            turn();
    }

    // One turn of the loop; it takes `ms` of virtual time.
    void turn(Duration ms = 1) {
        kernel.use();
        const Counted counted;
        net.collect(0);
        now_ += ms;
        broker.begin_turn(now_, 0, net.ready_links());
        net.begin_turn(now_);
        net.accept();
        net.serve_ready();
        broker.tick();
        net.flush();
        net.reap();
    }

    // Turns until nothing is left to do now.
    void settle() {
        do {
            turn();
        } while (kernel.pending() || !net.idle() || !broker.idle());
    }

    // A client that has sent this and was answered; its line.
    int join(std::string_view connect) {
        const int line = kernel.dial();
        say(line, connect);
        return line;
    }

    void say(int line, std::string_view bytes) {
        kernel.feed(line, bytes);
        settle();
    }

    Instant now() const { return now_; }

    Arena& arena() { return memory_.arena; }

    const Stats& stats() const { return broker.stats(); }

    void sample(HostStats&) override {}

    QuietKernel kernel;

  private:
    // What the server writes unless configured otherwise, so that making the lines counts.
    static constexpr uint32_t kLogged = Log::bit(LogKind::kError) | Log::bit(LogKind::kWarning) |
                                        Log::bit(LogKind::kNotice) |
                                        Log::bit(LogKind::kInformation);

    static NetOptions net_options(uint32_t clients) {
        NetOptions options;
        options.files_limit = clients + 128;
        return options;
    }

    // What core and net leave behind when they have ended: nothing.
    struct Balance {
        const Arena& arena;

        ~Balance() { MQTTD_ASSERT(arena.live() == 0); }
    };

    TestArena memory_;
    Balance balance_{memory_.arena};
    Dirty dirty_;
    Log log_;
    Instant now_ = 1'000'000;

  public:
    Net net;
    Broker broker;
};

}  // namespace mqttd::bench
