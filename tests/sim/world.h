#pragma once

// World: broker and net as they are, on a simulated kernel, in virtual time, with clients around
// them and the model beside them.
//
//     clients ── Kernel ── Net ── Tap ── Broker
//                                  └──── Model
//
// The Tap sits on the edge between net and broker and tells the model what the broker took, in the
// order in which it did. Turns are run as the server runs them: only when an event waits, a list is
// not empty or a deadline has come. A broker that forgets to say that it has work is not woken.
//
// Everything follows from the seed: one number replays a day.

#include "mqttd/broker.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/outbox.h"
#include "base/prng.h"
#include "net/net.h"
#include "sim/archive.h"
#include "sim/client.h"
#include "sim/kernel.h"
#include "sim/model.h"
#include "sim/plan.h"
#include "support/arena_memory.h"

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace mqttd::sim {

// What a run of a world came to.
struct Outcome {
    std::string failure;   // empty: all held
    uint64_t applied = 0;  // publications the broker took
    uint64_t read = 0;     // messages the clients read
    uint64_t turns = 0;
    Duration time = 0;  // virtual
    uint32_t clients = 0;
    uint32_t cuts = 0;   // lives that ended with a power cut
    uint32_t kills = 0;  // … otherwise
};

class World final : public StreamHandler, public Transport, public Host {
  public:
    explicit World(const Plan& plan);
    ~World();

    // Plays the actions, lets everything come to rest, looks at what is left.
    Outcome run();

    // A line per thing that happens.
    bool loud = false;

    // The tap: StreamHandler, Transport, Host
    void* opened(Outbox& outbox, const Arrival& arrival) override;
    Consumed receive(void* link, Range input) override;
    void progress(void* link) override;
    void writable(void* link) override;
    void closed(void* link, Error why) override;
    bool budget_left() const override;
    void share_rest(uint32_t links) override;
    void resume(Outbox& outbox) override;
    bool input_waiting(const Outbox& outbox) const override;
    void close(Outbox& outbox, Error why) override;
    uint32_t flush(Outbox& outbox) override;
    Peer peer(const Outbox& outbox) const override;
    void sample(HostStats& out) override;

  private:
    void check_silence(Conn& conn);
    Consumed hand_on(Conn& conn, Range input);
    void act(const Action& action);
    void connect(Client& client, Prng& dice);
    void begin_life();
    void end_life(bool power, Prng& dice);
    uint64_t drops(Drop drop) const;
    void step();
    void turns();
    void turn();
    bool turn_is_due() const;
    void tend_journal();
    void stamp();
    void reap();
    void advance(Duration ms);
    void take(Conn& conn, uint64_t packets, const Stats& before);
    void settle();
    void check_rest();
    void check_drops();
    void check_journal();
    void check_end();
    bool come_to_rest(uint32_t steps);

    using Causes = std::array<uint64_t, 6>;
    Causes causes() const;
    bool quiet() const;

    bool failed() const { return !model_.failure().empty() || model_.lost_track(); }

    void say(const char* format, ...) __attribute__((format(printf, 2, 3)));

    const Plan& plan_;
    BrokerOptions options_;  // as reloaded last
    Prng dice_;
    Vocabulary words_;
    std::deque<Message> messages_;
    std::optional<TestArena> memory_;  // of this life, like all that is in it
    std::optional<Dirty> dirty_;
    Log log_;
    Kernel kernel_;
    std::unique_ptr<Archive> archive_;  // null: nothing outlives the process
    Model model_;
    Instant now_ = 1'000'000;
    int64_t wall_s_ = 1'700'000'000;
    Duration wall_rest_ = 0;  // of a second
    uint64_t turn_ = 0;
    uint64_t live_before_ = 0;
    std::unique_ptr<Net> net_;
    std::unique_ptr<Broker> broker_;
    Street street_;
    std::deque<Client> clients_;
    std::unordered_map<const Outbox*, Conn*> by_outbox_;
    std::unordered_map<uint16_t, Conn*> by_port_;
    Conn* receiving_ = nullptr;
    std::vector<std::pair<Conn*, Error>> closes_;  // told while it was receiving
    bool calm_ = false;
    uint64_t allocations_before_ = 0;
    uint32_t cuts_ = 0;
    uint32_t kills_ = 0;
    bool refused_before_ = false;                      // memory, in an earlier life
    std::array<uint64_t, kDropCount> drops_before_{};  // in earlier lives
};

}  // namespace mqttd::sim
