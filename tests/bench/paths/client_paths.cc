// Clients that come and go, subscribe and leave, ping, or are silent.

#include "bench/engine/people.h"
#include "bench/paths/paths.h"
#include "support/packets.h"

#include <string>
#include <vector>

namespace mqttd::bench {

namespace {

// 64 clients come in one turn and go in another.
void come_and_go(Meter& meter, Speech speech, bool clean) {
    constexpr uint32_t kClients = 64;
    Engine engine({.clients = kClients});
    std::vector<std::string> hellos;
    for (uint32_t i = 0; i < kClients; ++i)
        hellos.push_back(connect(speech, {"client" + std::to_string(i), clean}));
    const std::string bye = disconnect();
    std::vector<int> lines(kClients);
    meter.count(4, 20, kClients, [&] {
        for (uint32_t i = 0; i < kClients; ++i) {
            lines[i] = engine.kernel.dial();
            engine.kernel.feed(lines[i], hellos[i]);
        }
        engine.settle();
        for (const int line : lines) {
            engine.kernel.feed(line, bye);
            engine.kernel.hang_up(line);
        }
        engine.settle();
    });
    meter.expect(engine.stats().clients_connected_max == kClients && engine.stats().links == 0,
                 "not everybody came and went");
    meter.expect(engine.stats().sessions_resumed == (clean ? 0 : 23 * kClients),
                 "sessions were not taken up as they should be");
}

void connect_v3(Meter& meter) {
    come_and_go(meter, Speech::k3, true);
}

void connect_v5(Meter& meter) {
    come_and_go(meter, Speech::k5, true);
}

void resume_v3(Meter& meter) {
    come_and_go(meter, Speech::k3, false);
}

// 100 filters, one SUBSCRIBE each, and then as many UNSUBSCRIBEs.
void subscribe_and_leave(Meter& meter, Speech speech, const char* behind) {
    Engine engine({.clients = 1});
    const int line = engine.join(connect(speech, {"client"}));
    std::string wishes;
    std::string leaves;
    for (uint32_t i = 0; i < 100; ++i) {
        const std::string filter = "home/" + std::to_string(i) + behind;
        wishes += subscribe(speech, filter, 1);
        leaves += unsubscribe(speech, filter);
    }
    const Stats& stats = engine.stats();
    meter.count(2, 20, 100, [&] {
        engine.say(line, wishes);
        engine.say(line, leaves);
    });
    meter.expect(stats.packets_sent[9] == 2'200 && stats.packets_sent[11] == 2'200,
                 "not everything was answered");
}

void subscribe_v3(Meter& meter) {
    subscribe_and_leave(meter, Speech::k3, "/state");
}

void subscribe_v5(Meter& meter) {
    subscribe_and_leave(meter, Speech::k5, "/state");
}

void subscribe_wildcard(Meter& meter) {
    subscribe_and_leave(meter, Speech::k3, "/+/state");
}

// 1000 clients ping once each.
void ping(Meter& meter) {
    constexpr uint32_t kClients = 1'000;
    Engine engine({.clients = kClients});
    std::vector<int> lines;
    for (uint32_t i = 0; i < kClients; ++i)
        lines.push_back(engine.join(connect(Speech::k3, {"client" + std::to_string(i)})));
    const std::string pingreq = packets::pingreq();
    meter.count(2, 10, kClients, [&] {
        for (const int line : lines)
            engine.kernel.feed(line, pingreq);
        engine.settle();
    });
    meter.expect(engine.stats().packets_sent[13] == 12 * kClients, "a ping was not answered");
}

void empty_turn(Meter& meter) {
    Engine engine({.clients = 1});
    meter.count(10, 1'000, 1, [&] { engine.turn(); });
}

// 100 000 clients that ping every 60 s: what a tick of 64 ms costs in which nobody says anything.
// Each of them is looked at once in 90 s.
void idle_tick(Meter& meter) {
    constexpr uint32_t kClients = 100'000;
    constexpr Duration kTick = 64;
    constexpr uint32_t kTicks = 60'000 / kTick;  // of one round of pings
    Engine engine({.clients = kClients});
    std::vector<int> lines;
    const std::string pingreq = packets::pingreq();
    uint32_t next = 0;
    const auto some_ping = [&] {
        const Uncounted uncounted;
        for (uint32_t i = 0; i < kClients / kTicks + 1; ++i, ++next)
            engine.kernel.feed(lines[next % kClients], pingreq);
        engine.settle();
    };
    for (uint32_t tick = 0; lines.size() < kClients; ++tick) {
        std::vector<std::string> hellos;
        hellos.reserve(kClients / kTicks + 1);  // they are borrowed: none may move
        for (uint32_t i = 0; i < kClients / kTicks + 1 && lines.size() < kClients; ++i) {
            const std::string id = "client" + std::to_string(lines.size());
            hellos.push_back(connect(Speech::k3, {.client_id = id, .keep_alive_s = 60}));
            lines.push_back(engine.kernel.dial());
            engine.kernel.feed(lines.back(), hellos.back());
        }
        engine.turn(kTick);
        engine.settle();
    }
    meter.count(kTicks, 100, 1, [&] {
        some_ping();
        engine.turn(kTick);
    });
    meter.expect(engine.stats().clients_connected == kClients, "somebody was taken for silent");
}

}  // namespace

std::span<const Path> client_paths() {
    static constexpr Path kPaths[] = {
        {"connect_v3",         connect_v3        },
        {"connect_v5",         connect_v5        },
        {"resume_v3",          resume_v3         },
        {"subscribe_v3",       subscribe_v3      },
        {"subscribe_v5",       subscribe_v5      },
        {"subscribe_wildcard", subscribe_wildcard},
        {"ping",               ping              },
        {"empty_turn",         empty_turn        },
        {"idle_tick_100k",     idle_tick         },
    };
    return kPaths;
}

}  // namespace mqttd::bench
