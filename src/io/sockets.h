#pragma once

// Sockets: the only way net reaches the kernel.
//
// One epoll instance and the dozen calls a stream server needs, as plain functions with plain
// results. The class is not virtual: it is bound at link time, sockets_linux.cc in the server and
// another file in the simulator, which tells each edge once and cuts reads and writes short. So
// whatever is said here has to hold for both:
//
//   - Everything is non-blocking, and connections are edge-triggered: an edge is told once.
//   EPOLLOUT
//     is not in the mask until `want_writable`; it then stays there.
//   - `readable` is a hint to read and `hangup` (RDHUP, HUP, ERR) is one too: what came before the
//     end is still there, and only the result of a read says that it is over. `urgent` warns that a
//     read may stop at a mark in mid-stream with more behind it. `broken` (ERR) is for those who do
//     not read at the moment: `take_error` says what it is.
//   - A short read means "drained" only on TCP, and only without `hangup` and `urgent`.
//   - A descriptor that a peer sends along a Unix socket never enters this process: the kernel lets
//     go of it because no room for control data is offered. `receive_unix` says that it happened.
//   - An event may be about a socket that was closed (its description is open elsewhere). The token
//     tells: the caller puts a generation into it.
//
// No call waits but `wait`. EINTR is retried inside. What goes wrong is an Error; the text for a
// person is in `detail()`, which holds the last failure of `open` and `listen`.

#include "mqttd/result.h"
#include "mqttd/stream.h"
#include "mqttd/time.h"

#include "base/outbox.h"

#include <cstdint>
#include <span>
#include <string_view>

namespace mqttd {

// How a listening socket is made. The texts need to live during the call only.
struct ListenOptions {
    enum class Domain : uint8_t { kAny, kIpv4, kIpv6 };

    std::string_view address;      // numeric IPv4 or IPv6 address; empty: 0.0.0.0, or :: if kIpv6
    Domain domain = Domain::kAny;  // what `address` must be
    uint16_t port = 1883;          // 0: any free one
    std::string_view bind_interface;  // SO_BINDTODEVICE; empty: any
    std::string_view unix_path;       // not empty: a Unix socket instead, at most 107 bytes
    uint32_t unix_mode = 0660;        // permission bits of its file
    uint32_t backlog = 1024;          // cut to somaxconn by the kernel
    uint32_t recbuf_bytes = 0;        // SO_RCVBUF; 0 = the kernel's choice
    uint32_t sndbuf_bytes = 0;        // SO_SNDBUF; 0 = the kernel's choice
    uint32_t user_timeout_ms = 0;     // of connections that are closing: set_user_timeout; 0 = none
    bool nodelay = true;              // TCP_NODELAY
    bool defer_accept = false;        // TCP_DEFER_ACCEPT: accept when the first bytes are there
};

class Sockets {
  public:
    static constexpr uint32_t kEventsMax = 256;  // per wait
    static constexpr uint32_t kPiecesMax = 256;  // per send

    struct Event {
        uint64_t token = 0;
        bool readable = false;
        bool writable = false;
        bool hangup = false;  // RDHUP, HUP or ERR
        bool broken = false;  // ERR
        bool urgent = false;  // a read may stop at the urgent mark
    };

    struct Opened {
        int fd = -1;
        uint16_t port = 0;  // the one really bound; 0 for a Unix socket
    };

    struct Accepted {
        int fd = -1;
        Peer peer;
    };

    struct Received {
        uint32_t bytes = 0;       // 0: end of file
        bool descriptor = false;  // one or more came along and were let go
    };

    Sockets() = default;
    ~Sockets();
    Sockets(const Sockets&) = delete;
    Sockets& operator=(const Sockets&) = delete;

    // Makes the epoll instance; before anything else.  kNone, kProcessFiles, kSystemFiles.
    Error open();

    // Why the last `open` or `listen` failed, for the operator ("Address already in use").
    const char* detail() const { return detail_; }

    // ---- Events
    // ----------------------------------------------------------------------------------

    // A connection: edge-triggered for input.
    Error add(int fd, uint64_t token);
    // The same, for output too, from now on.  An edge follows if it is writable already.
    Error want_writable(int fd, uint64_t token);
    // A listening socket: edge-triggered.
    Error add_listener(int fd, uint64_t token);
    // Any other descriptor: told as long as it is readable (level-triggered).
    Error add_watched(int fd, uint64_t token);
    void remove(int fd);

    // Waits at most `timeout` ms (kNever: for ever) and fills in what happened; returns how many.
    uint32_t wait(std::span<Event> events, Duration timeout);

    // ---- Listening
    // -------------------------------------------------------------------------------

    // A listening socket.  The options are set on it and inherited by what it accepts, so that a
    // connection costs no further system call.  The file of a Unix socket is replaced if nobody
    // listens on it.  Errors: kAddressInUse, kPermission, kInvalid (not a numeric address, or not
    // of the domain; path or name of the interface too long), kNotFound (no such interface or
    // folder), kProcessFiles, kSystemFiles, kIo; `detail` says more.
    Result<Opened> listen(const ListenOptions& options);

    // Errors: kWouldBlock; kReset (this one connection failed: try the next); kProcessFiles
    // (EMFILE); kSystemFiles (ENFILE, ENOBUFS, ENOMEM); kIo (the listener is unusable).
    Result<Accepted> accept(int listener);

    // How many connections wait to be accepted; what comes after them brings an edge of its own.
    // 0: not known, or none.  An accept that finds nothing costs five times this question (the
    // kernel makes the new socket first).
    uint32_t waiting(int listener);

    // A descriptor held in reserve, to be closed when the last one is needed.
    Result<int> open_reserve();

    // Removes the file of a Unix socket.
    void remove_path(std::string_view path);

    // ---- Connections
    // -----------------------------------------------------------------------------

    // Up to `room` bytes; 0 at the end of file.  Errors: kWouldBlock, kReset, kTimedOut.
    Result<uint32_t> receive(int fd, uint8_t* to, uint32_t room);
    Result<Received> receive_unix(int fd, uint8_t* to, uint32_t room);

    // One gathered write of at most kPiecesMax pieces; returns the bytes taken, which may be fewer.
    // Errors: kWouldBlock; kReset, kTimedOut; kEndOfFile: the peer has closed and wants nothing any
    // more, what it sent before is still there to be read.  Raises no SIGPIPE.
    Result<uint64_t> send(int fd, std::span<const Piece> pieces);

    // What broke the connection, or kNone; the errors are those of `send`.  Told once.
    Error take_error(int fd);

    // TCP_USER_TIMEOUT: how long bytes may stay unacknowledged, or their receiver's window shut,
    // before the kernel gives the connection up.  The latter makes it no option for connections in
    // use: a reader may pause for as long as it likes.
    void set_user_timeout(int fd, uint32_t milliseconds);

    void shutdown_write(int fd);
    void close(int fd);

  private:
    Error fail(const char* what, int code);
    Error control(int operation, int fd, uint32_t mask, uint64_t token);
    Result<Opened> listen_unix(const ListenOptions& options);
    Result<Opened> listen_tcp(const ListenOptions& options);

    int epoll_ = -1;
    char detail_[160] = {};
};

}  // namespace mqttd
