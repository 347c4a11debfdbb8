#pragma once

// Net: moves bytes between sockets and the protocol. It knows no MQTT.
//
// The loop calls its pieces in the order of the turn (DESIGN §2):
//
//     collect(timeout)    wait; events only mark connections and put them on the ready list
//     begin_turn(now)     time goes on: lingerers, pauses and listeners whose deadline has come
//     accept()            batches per listener; what is new is ready at once
//     serve_ready()       each ready connection: write what was blocked, read, give to receive;
//     then
//                         again those whose share of the budget was too short, while there is some
//       ... the core's timers and jobs ...
//     flush()             gathered writes of what is dirty, within shares
//     reap()              tell the handler who is gone, free what closed
//
// Nothing is freed between collect and reap, and `closed` is only ever told in reap. What a share
// cuts off stays on its list and is first in the next turn; `idle` is false until then. A turn
// reads at most `turn_read_max` (a read costs at least kReadCost of it, so that a thousand tiny
// reads end a turn, too) and writes 1024 units of answers and 256 of deliveries (1 + one per 8 KiB
// each).
//
// Handles. An event carries (generation << 32 | descriptor). The table says whose descriptor that
// is and what its generation is now: an event about a socket of the past, which the kernel goes on
// telling while a duplicate is open somewhere, is counted and ignored.
//
// Memory. Connections, pending input and lingerers come from the arena and every refusal has an
// answer: a connection that cannot be made is closed, one whose input or output cannot be kept ends
// with kNoMemory. The inbound segment and the table are taken at the start and must be had.
//
// Reading is in reading.cc, its rates in pacing.cc, writing in writing.cc, accepting in
// accepting.cc, ending in closing.cc.

#include "mqttd/host_stats.h"
#include "mqttd/stream.h"
#include "mqttd/time.h"

#include "base/arena.h"
#include "base/log.h"
#include "base/outbox.h"
#include "io/sockets.h"
#include "net/connection.h"
#include "net/listener.h"
#include "net/pause_ring.h"
#include "net/range_histogram.h"

#include <cstdint>

namespace mqttd {

struct NetOptions {
    uint32_t files_limit = 1024;       // descriptors of the process; the table has 8 bytes for each
    uint32_t files_reserve = 32;       // of them for everything but connections
    int64_t max_connections = -1;      // over all listeners; -1 = what the files allow
    uint32_t refusal_slots = 16;       // connections above a cap that still get an answer
    uint32_t read_max = 192 * 1024;    // bytes one visit of one link reads
    uint32_t turn_read_max = 1 << 20;  // bytes one turn reads
    Duration linger_time = 2 * kSecond;
    uint32_t linger_bytes = 1 << 20;  // input discarded while lingering
};

// What HostStats has no place for.  The last two count since `start_interval`.
struct NetCounters {
    uint64_t descriptors_refused = 0;    // reads of Unix sockets that brought one along
    uint64_t closed_no_memory = 0;       // connections ended because the arena refused
    uint64_t accept_no_memory = 0;       // closed at once for the same reason
    uint64_t linger_cut = 0;             // lingerers closed before the peer did
    uint64_t accept_refused_access = 0;  // closed at once: their network may not come in
    uint64_t rate_pauses = 0;            // times a connection was above its rate and not read
    uint64_t read_again = 0;             // reads that found nothing (EAGAIN)
    uint64_t write_again = 0;            // writes that found no room at all (EAGAIN)
    uint64_t events_max = 0;             // told by one wait
    RangeHistogram write_ranges;         // ranges per write
};

class Net final : public Transport {
  public:
    static constexpr uint32_t kListenersMax = 256;
    static constexpr uint32_t kWatchedMax = 32;
    static constexpr uint32_t kInboundBytes =
        384 * 1024;                                      // of the shared segment, its head included
    static constexpr uint32_t kInboundRoom = 64 * 1024;  // least room a read finds
    static constexpr uint32_t kReadCost = 1024;
    static constexpr uint32_t kRounds = 8;      // visits of one link per turn
    static constexpr uint32_t kReapMax = 1024;  // connections freed per turn
    static constexpr uint32_t kReapMin = 8;     // told even when the turn's units are used up
    static constexpr uint32_t kReplyUnits = 1024;
    static constexpr uint32_t kDeliveryUnits = 256;
    static constexpr uint32_t kUnitBytes = 8192;
    static constexpr uint32_t kWakeMax = 1024;  // paused connections made ready per turn

    // All references outlive it.  Asserts that the arena has room for the fixed parts
    // (384 KiB + 8 bytes per file).
    Net(Arena& arena, Dirty& dirty, const Log& log, const NetOptions& options);
    ~Net();
    Net(const Net&) = delete;
    Net& operator=(const Net&) = delete;

    // Before anything else: who is given the input; then the epoll instance and the reserve.
    void bind(StreamHandler& handler) { handler_ = &handler; }

    Error open();

    // Starts to listen; returns the port really bound (0 for a Unix socket).  Errors as
    // Sockets::listen, and kInvalid above kListenersMax; `detail` says more.
    Result<uint16_t> listen(const ListenOptions& options, const ListenerLimits& limits);

    const char* detail() const { return sockets_.detail(); }

    // Changes what a listener with such an index allows, from now on: who is connected stays, and
    // one that waits for its rate waits to the end of its pause.  Errors: kNotFound.
    Error set_limits(const ListenerLimits& limits);

    // The same for all listeners together; -1 = what the files allow.
    void set_max_connections(int64_t most);

    // Zeros for an index that has no listener.
    ListenerStats listener_stats(uint16_t index) const;

    // Closes all listeners and removes the files of Unix sockets.
    void stop_listening();

    // Another descriptor of the loop (signalfd, eventfd, a pipe): told as `id` < kWatchedMax, in
    // every turn in which it is readable.
    Error watch(int fd, uint32_t id);

    void unwatch(int fd) { sockets_.remove(fd); }

    bool take_watched(uint32_t id);

    // ---- The pieces of a turn, in order
    // ----------------------------------------------------------

    // Waits at most `timeout` ms (kNever: for ever), not at all unless idle; returns how many
    // events there were.
    uint32_t collect(Duration timeout);
    void begin_turn(Instant now);
    void accept();
    void serve_ready();
    void flush();
    void reap();

    // No list holds anything: it may sleep until `next_deadline`.
    bool idle() const;

    // Connections whose turn it is, as of now.
    uint32_t ready_links() const { return ready_.size(); }

    Instant next_deadline() const;

    // ---- Transport
    // -------------------------------------------------------------------------------

    void resume(Outbox& outbox) override;
    bool input_waiting(const Outbox& outbox) const override;
    // With kNone or kEndOfFile the peer has said good-bye: no lingering once the outbox has left.
    void close(Outbox& outbox, Error why) override;
    uint32_t flush(Outbox& outbox) override;
    Peer peer(const Outbox& outbox) const override;

    // ---- For the shutdown
    // ------------------------------------------------------------------------

    // Closes up to 1024 more open links; true when none is left to close.
    bool close_all(Error why);

    uint32_t connections() const { return connections_; }  // sockets, lingering ones included

    uint32_t open_links() const { return open_links_; }  // not yet told of their end

    HostStats& stats() { return stats_; }

    const NetCounters& counters() const { return counters_; }

    // The largest reads, writes and waits of the last interval begin anew.
    void start_interval();

  private:
    // Tokens with these in place of a generation are not about connections.
    static constexpr uint32_t kListenerToken = ~uint32_t{0};
    static constexpr uint32_t kWatchedToken = kListenerToken - 1;
    static constexpr uint32_t kGenerations = kListenerToken - 2;

    struct Slot {
        Ptr32<Connection> connection;
        uint32_t generation;
    };

    using Queue = IntrusiveList<Connection, &Connection::queue>;
    using Listeners = IntrusiveList<Listener, &Listener::ready>;
    using Lingerers = IntrusiveList<Linger, &Linger::hook>;

    ListenerState& state_of(const Connection& connection) { return *states_[connection.listener]; }

    static Connection& of(Outbox& outbox) { return static_cast<Connection&>(outbox); }

    static const Connection& of(const Outbox& outbox) {
        return static_cast<const Connection&>(outbox);
    }

    uint64_t token_of(const Connection& connection) const;
    void on_event(const Sockets::Event& event);
    void on_connection_event(Connection& c, const Sockets::Event& event);
    bool ends_broken(Connection& c);
    bool wants_visit(const Connection& c) const;
    void make_ready(Connection& c);
    void unqueue(Connection& c);
    uint32_t serve_round(bool only_cut);
    void visit(Connection& c);

    // accepting.cc
    bool accept_batch(Listener& listener);
    void admit(Listener& listener, const Sockets::Accepted& accepted);
    bool above_cap(const Listener& listener);
    void use_reserve(Listener& listener);
    void restore_reserve();
    void starve(Listener& listener);
    void wake_starved();
    void complain(const char* what);

    // reading.cc
    void read(Connection& c);
    uint32_t read_in_place(Connection& c, uint32_t left);
    uint32_t read_assembly(Connection& c, uint32_t left);
    uint32_t receive_bytes(Connection& c, uint8_t* to, uint32_t room);
    void discard(Connection& c);
    Segment* inbound(uint32_t room);
    void feed(Connection& c, Range input, Segment* own);
    void feed_pending(Connection& c);
    Error keep(Connection& c, const Range& rest, const Consumed& taken);
    bool grow(Connection& c);
    void attach(Connection& c, Segment* block);
    Segment* detach(Connection& c);
    void drop_pending(Connection& c);

    // pacing.cc
    uint32_t within_rate(Connection& c, uint32_t wanted);
    bool charge(Connection& c, uint32_t bytes);
    void end_pauses();
    void drop_meter(Connection& c);

    // writing.cc
    uint32_t flush_list(uint32_t share, Outbox* (Dirty::*take)());
    uint32_t write(Connection& c);
    void write_ready(Connection& c);
    void block(Connection& c);
    void break_off(Connection& c, Error why);

    // closing.cc
    void end(Connection& c, Error why);
    void drop_input(Connection& c);
    void tell(Connection& c);
    void put_to_rest(Connection& c);
    void send_rest(Connection& c);
    bool begin_linger(Connection& c);
    void shut(Connection& c);
    bool drop_oldest_lingerer();
    bool drop_lingering_client();
    void release(Connection& c);

    Arena& arena_;
    Dirty& dirty_;
    const Log& log_;
    const NetOptions options_;
    StreamHandler* handler_ = nullptr;
    Sockets sockets_;

    // Of the wait under way; here, so that no turn begins with clearing them.
    Sockets::Event events_[Sockets::kEventsMax];
    Slot* slots_ = nullptr;       // by descriptor
    Segment* inbound_ = nullptr;  // never null
    Queue ready_;
    Queue ended_;
    Lingerers lingerers_;
    Listeners ready_listeners_;
    PauseRing pauses_;
    Listener* listeners_[kListenersMax] = {};
    uint32_t listener_count_ = 0;
    uint32_t starved_ = 0;                       // listeners that wait for a descriptor
    ListenerState* states_[kListenersMax] = {};  // by index; made when it first listens

    Instant now_ = 0;
    Instant retry_accept_at_ = kNever;
    Instant complain_again_at_ = 0;
    uint32_t watched_ = 0;  // bits: told and not yet taken
    uint32_t turn_left_ = 0;
    uint32_t close_cursor_ = 0;
    uint32_t connections_ = 0;
    uint32_t connections_max_ = 0;
    uint32_t lingerers_max_ = 0;
    uint32_t open_links_ = 0;
    uint32_t refused_ = 0;  // refusal slots in use
    int reserve_ = -1;
    HostStats stats_;
    NetCounters counters_;
};

}  // namespace mqttd
