#pragma once

// World: the real Broker in virtual time, with connections that are strings.
//
// It stands where net and the kernel stand: gives input in pieces, keeps what the broker did not
// take, honours stops and resumes, writes outboxes into each connection's `output` as far as its
// "kernel" has room, and tells the broker when one drained or went. Nothing sleeps; `advance` moves
// the time.
//
//     World world;
//     auto& a = world.client("a");                  // connected; its CONNACK was checked
//     a.send(packets::subscribe(1, {{"t", 1}}));
//     REQUIRE(a.received() == "SUBACK(1,1)");

#include "mqttd/broker.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/outbox.h"
#include "support/arena_memory.h"
#include "support/fake_journal.h"
#include "support/packets.h"
#include "support/packets5.h"

#include <deque>
#include <memory>
#include <string>
#include <string_view>

namespace mqttd {

class World;

class alignas(16) FakeConnection : public Outbox {
  public:
    // Bytes the broker gets, and then turns until nothing moves any more.
    void send(std::string_view bytes);

    // Puts bytes into the socket without running the broker.
    void push(std::string_view bytes) {
        input_ += bytes;
        unfinished_ = false;
    }

    // What was received since the last call, described packet by packet, in the version of the
    // CONNECT that World::client sent.
    std::string received();

    // The same as raw bytes.
    std::string take_output();

    // The peer goes: end of file or reset.
    void hang_up(Error why = Error::kEndOfFile);

    // How many more bytes the kernel takes from the broker; unlimited at first.
    void set_room(uint64_t bytes) { room_ = bytes; }

    // False once the broker has closed it, or it hung up.
    bool open() const { return link_ != nullptr && !closing_; }

    void speak_v5() { v5_ = true; }

    Error close_reason() const { return why_; }

    StopReason stopped() const { return stop_; }

    uint64_t unread() const { return input_.size(); }

  private:
    friend class World;

    World* world_ = nullptr;
    void* link_ = nullptr;
    std::string input_;
    std::string output_;
    uint64_t room_ = ~uint64_t{0};
    StopReason stop_ = StopReason::kNone;
    bool ready_ = false;       // resumed, or to be read once more
    bool unfinished_ = false;  // its input is the beginning of one packet
    bool closing_ = false;     // Transport::close was called
    bool gone_ = false;        // the peer hung up
    bool v5_ = false;
    Error why_ = Error::kNone;
};

class World final : public Transport, public Host {
  public:
    // With a journal: what that holds is there at once.
    explicit World(const BrokerOptions& options = test_options(),
                   size_t memory_bytes = size_t{64} << 20,
                   FakeJournal* journal = nullptr);

    explicit World(FakeJournal& journal, const BrokerOptions& options = test_options())
        : World(options, size_t{64} << 20, &journal) {}

    ~World();

    // Anonymous clients, no $SYS, fixed hash key.
    static BrokerOptions test_options();

    // A connection that has sent nothing yet.
    FakeConnection& connection(bool refused = false);

    // A connection that has sent CONNECT and got CONNACK 0 (checked).
    FakeConnection& client(std::string_view client_id, bool clean = true);
    FakeConnection& client(const packets::Connect& fields);
    FakeConnection& client5(const packets5::Connect& fields);

    // All other peers go at once.
    void hang_up_all_but(const FakeConnection& one);

    void turn();
    void settle();  // turns until nothing moves
    void advance(Duration ms);

    // What a receive call may get at once; 0 = everything.
    void set_cut(uint32_t bytes) { cut_ = bytes; }

    // By which listener connections come from now on.
    void set_listener(uint16_t listener) { listener_ = listener; }

    // The wall clock says so much more than the broker's from now on.
    void set_wall_ahead(int64_t seconds) { wall_ahead_s_ = seconds; }

    // How many outboxes a turn writes; the rest is backlog.
    void set_writes_per_turn(uint32_t writes) { writes_per_turn_ = writes; }

    const Stats& stats() const { return broker_->stats(); }

    Broker& broker() { return *broker_; }

    Arena& arena() { return arena_.arena; }

    const std::string& log_text() const { return log_text_; }

    uint64_t turns() const { return turns_; }

    const RestoreReport& restored() const { return restored_; }

    // What the shell has to say when the broker samples it.
    HostStats host;

    // Ends the broker and every connection; afterwards nothing may be left in the arena.
    uint64_t end();

    // Transport, Host
    void resume(Outbox& outbox) override;
    bool input_waiting(const Outbox& outbox) const override;
    void close(Outbox& outbox, Error why) override;
    uint32_t flush(Outbox& outbox) override;
    Peer peer(const Outbox& outbox) const override;
    void sample(HostStats& out) override;

  private:
    int64_t wall_s() const { return static_cast<int64_t>(now_ / 1000) + wall_ahead_s_; }

    bool read(FakeConnection& connection);
    void write(FakeConnection& connection);
    bool reap();

    TestArena arena_;
    Dirty dirty_;
    std::string log_text_;
    Log log_;
    Instant now_ = 1'000'000;
    int64_t wall_ahead_s_ = 0;
    uint64_t turns_ = 0;
    uint32_t cut_ = 0;
    uint16_t listener_ = 0;
    uint32_t writes_per_turn_ = 4'096;
    TestArena connection_memory_;  // near the broker's arena: outboxes are ends of Ptr32 links
    std::deque<FakeConnection*> connections_;
    FakeJournal* journal_ = nullptr;
    RestoreReport restored_;
    std::unique_ptr<Broker> broker_;
};

}  // namespace mqttd
