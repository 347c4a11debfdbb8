#pragma once

// Kernel: sockets and epoll as net may meet them, in one process and without waiting.
//
// It stands behind the class Sockets (io/sockets.h), which sockets_sim.cc binds to it at link time.
// What Linux may do at an awkward moment happens here at random, from the world's seed:
//
//   - An edge is told once. Whoever does not read to the end is not told again; whoever forgets to
//     ask for EPOLLOUT never hears of room.
//   - Bytes arrive in pieces of any size, together with the end of the stream or before it.
//   - A write takes less than it was given and is only told of room when a third of the buffer is
//     free; reads of Unix sockets stop at the borders of the writes.
//   - Connections are reset with data under way; descriptors run out; accept fails; an event is
//     about nothing, or about a socket of the past.
//
// A Wire is one connection with both of its ends:
//
//     client ── write ──▶ up ── move ──▶ inbox ── receive ──▶ server
//     client ◀── take ── down ◀──────────────────── send ──── server
//
// `up` is on its way, `inbox` the server's receive buffer, `down` its send buffer and all behind
// it.

#include "mqttd/result.h"
#include "mqttd/stream.h"

#include "base/prng.h"
#include "io/sockets.h"
#include "sim/byte_queue.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

namespace mqttd::sim {

// How bad the network is. Chances are in 1000.
struct Weather {
    uint32_t chunk_max = 0;       // bytes that arrive at once: 1 … this; 0 = all
    uint32_t delay = 0;           // nothing arrives in this step
    uint32_t send_room = 65'536;  // of the send buffer, bytes
    uint32_t short_write = 0;     // a write takes a part though there is room
    uint32_t idle_edge = 0;       // an edge about nothing, per wire and step
    uint32_t stale_event = 0;     // an event about a socket that was closed, per close
    uint32_t urgent = 0;          // urgent data among the others, per wire and step
    uint32_t accept_failure = 0;  // a connection is lost in accept, or the system is short
};

struct Wire {
    uint32_t id = 0;
    int fd = -1;  // the server's descriptor; -1 before accept and after close
    bool unix_socket = false;

    ByteQueue up;
    bool up_fin = false;  // the client's FIN is behind `up`
    ByteQueue inbox;
    std::deque<uint32_t> borders;  // sizes of what arrived at once; Unix sockets
    bool fin = false;              // … has arrived
    ByteQueue down;
    bool down_fin = false;     // the server's FIN is behind `down`
    bool reset = false;        // broken, as the server sees it
    bool error_told = false;   // … and has been told so
    bool lost = false;         // broken, as the client sees it
    bool client_gone = false;  // the client has closed: whatever comes is answered with a reset
    bool server_gone = false;
    bool accepted = false;

    // epoll
    uint64_t token = 0;
    bool watched = false;
    bool wants_writable = false;
    bool no_room = false;  // a write came short and room has not been told of since
    bool urgent = false;   // urgent data came and has not been told of
    bool queued = false;   // in Kernel::edges_

    uint64_t taken = 0;  // bytes the client has read, ever

    bool closed() const { return server_gone && client_gone; }
};

class Kernel {
  public:
    Kernel(Prng& dice, uint32_t files_limit);
    ~Kernel();
    Kernel(const Kernel&) = delete;
    Kernel& operator=(const Kernel&) = delete;

    // The one that Sockets talks to.
    static Kernel& current();

    Weather weather;

    // ---- The clients' side
    // -----------------------------------------------------------------------

    // A new connection; nullptr: refused, nobody listens or the backlog is full.
    Wire* dial(bool unix_socket);

    void write(Wire& wire, std::string_view bytes) { wire.up.append(bytes); }

    void finish(Wire& wire);   // shutdown for writing
    void hang_up(Wire& wire);  // close
    void cut(Wire& wire);      // reset, now
    // Reads at most `most` bytes.
    uint32_t take(Wire& wire, std::string& to, uint32_t most);
    // Nothing more will come: the server has finished and all is read, or it is broken.
    static bool at_end(const Wire& wire);

    // Lets what is under way arrive, as the weather allows. True if anything did.
    bool move(Wire& wire);
    // The server is gone at once and has lost whatever it held; of what it had sent each client
    // gets a part.
    void lose_server();
    // The client is done with it.
    void release(Wire& wire);

    bool edges_waiting() const { return !edges_.empty() || !ghosts_.empty() || listener_edge_; }

    uint32_t open_files() const { return open_; }

    uint64_t calls() const { return calls_; }

    // ---- The server's side: what Sockets asks for
    // ------------------------------------------------

    uint32_t wait(std::span<Sockets::Event> events);
    Result<int> listen(bool unix_socket);
    void watch_listener(int fd, uint64_t token);
    uint32_t waiting(int fd) const;
    Result<Sockets::Accepted> accept(int fd);
    Result<int> open_reserve();
    Error watch(int fd, uint64_t token);
    Error want_writable(int fd, uint64_t token);
    Result<uint32_t> receive(int fd, uint8_t* to, uint32_t room);
    Result<uint64_t> send(int fd, std::span<const Piece> pieces);
    Error take_error(int fd);
    void shutdown_write(int fd);
    void close(int fd);

  private:
    struct File {
        enum class Kind : uint8_t { kFree, kWire, kListener, kOther };
        Kind kind = Kind::kFree;
        Wire* wire = nullptr;
        uint8_t listener = 0;
    };

    struct ListeningSocket {
        int fd = -1;
        uint64_t token = 0;
        bool edge = false;
        std::deque<Wire*> backlog;
    };

    bool chance(uint32_t permille) { return permille != 0 && dice_.below(1000) < permille; }

    int open_file(File file);
    Wire& wire_of(int fd);
    void edge(Wire& wire);
    void break_wire(Wire& wire);

    Prng& dice_;
    std::vector<File> files_;
    uint32_t open_ = 0;
    uint64_t calls_ = 0;
    ListeningSocket listeners_[2];  // TCP, Unix
    bool listener_edge_ = false;
    std::deque<Wire*> edges_;
    std::vector<uint64_t> ghosts_;  // tokens of sockets that are closed
    std::vector<std::unique_ptr<Wire>> wires_;
    std::vector<Wire*> free_wires_;
    uint32_t next_id_ = 0;
};

}  // namespace mqttd::sim
