#pragma once

// A Net on real sockets with a small scripted protocol behind it, and clients to talk to it.
//
// The protocol: packets of `| total size, 4 bytes, big endian | body |`, so that the need of an
// unfinished packet is unknown for three bytes and then known. A test scripts what happens on a
// packet with `handler.on_packet`. Time is the test's (`world.now`); nothing sleeps, `until` runs
// turns that wait at most a millisecond each, within a bound.

#include "net/net.h"

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <cstring>
#include <errno.h>
#include <fcntl.h>
#include <functional>
#include <memory>
#include <netinet/in.h>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace mqttd::net_test {

inline std::string packet(const std::string& body) {
    const auto size = static_cast<uint32_t>(body.size() + 4);
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8)
        bytes += static_cast<char>(size >> shift & 0xff);
    return bytes + body;
}

constexpr int kBuffer = 128 * 1024;  // of sockets, in the direction to the client

struct Link {
    Outbox* outbox = nullptr;
    Arrival arrival;
    std::vector<std::string> packets;
    std::string all;                      // the bodies one after the other
    StopReason stop = StopReason::kNone;  // what `receive` answers before a packet
    uint32_t allowance = 0xffffffff;      // packets until then
    uint32_t receives = 0;
    uint32_t progresses = 0;
    uint32_t writables = 0;
    uint32_t closes = 0;
    Error why = Error::kNone;
};

class Handler final : public StreamHandler {
  public:
    std::vector<std::unique_ptr<Link>> links;
    std::function<void(Link&, const Range&)> on_packet;  // the range of the body
    std::function<void(Link&)> on_open;
    std::function<void(Link&)> on_writable;
    std::function<void(uint32_t)> on_share;
    uint32_t units = 0xffffffff;  // packets left in this turn
    bool refuse = false;
    bool in_receive = false;
    bool keep_text = true;

    void* opened(Outbox& outbox, const Arrival& arrival) override {
        if (refuse) return nullptr;
        links.push_back(std::make_unique<Link>());
        links.back()->outbox = &outbox;
        links.back()->arrival = arrival;
        if (on_open) on_open(*links.back());
        return links.back().get();
    }

    Consumed receive(void* object, Range input) override {
        Link& link = *static_cast<Link*>(object);
        in_receive = true;
        ++link.receives;
        Consumed taken;
        for (;;) {
            const Bytes rest = bytes_of(input).subspan(taken.bytes);
            if (rest.size() < 4) break;
            const uint32_t size = uint32_t{rest[0]} << 24 | uint32_t{rest[1]} << 16 |
                                  uint32_t{rest[2]} << 8 | rest[3];
            if (rest.size() < size) {
                taken.need = size;
                break;
            }
            if (link.allowance == 0 && link.stop != StopReason::kNone) {
                taken.stop = link.stop;
                break;
            }
            if (units == 0) {
                taken.stop = StopReason::kBudget;
                break;
            }
            --link.allowance;
            --units;
            const std::string body(as_text(rest.subspan(4, size - 4)));
            if (keep_text) link.all += body;
            if (keep_text) link.packets.push_back(body);
            const uint32_t begin = input.begin + taken.bytes;
            taken.bytes += size;
            if (on_packet) on_packet(link, Range{input.segment, begin + 4, begin + size});
        }
        in_receive = false;
        return taken;
    }

    void progress(void* object) override { ++static_cast<Link*>(object)->progresses; }

    void writable(void* object) override {
        Link& link = *static_cast<Link*>(object);
        REQUIRE(link.outbox->empty());
        ++link.writables;
        if (on_writable) on_writable(link);
    }

    void closed(void* object, Error why) override {
        Link& link = *static_cast<Link*>(object);
        REQUIRE(!in_receive);
        ++link.closes;
        REQUIRE(link.closes == 1);
        link.why = why;
        link.outbox = nullptr;
    }

    bool budget_left() const override { return units > 0; }

    void share_rest(uint32_t cut) override {
        if (on_share) on_share(cut);
    }
};

// A peer: a plain socket that never waits, except in `read_all`.
class Client {
  public:
    explicit Client(int family = AF_INET) : fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        REQUIRE(fd >= 0);
        ::fcntl(fd, F_SETFL, O_NONBLOCK);
        // Fixed, or the kernel would grow it until nothing ever comes short.
        ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kBuffer, sizeof(kBuffer));
    }

    Client(Client&& other) noexcept : fd(other.fd) { other.fd = -1; }

    ~Client() { close(); }

    void close() {
        if (fd >= 0) ::close(fd);
        fd = -1;
    }

    // Ends with a reset instead of a FIN.
    void reset() {
        const linger hard = {1, 0};
        ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        close();
    }

    // `from`: the address to come from, one of 127.0.0.0/8.
    bool connect(uint16_t port, const char* from = nullptr) {
        sockaddr_in address = {};
        if (from != nullptr) {
            address.sin_family = AF_INET;
            REQUIRE(inet_pton(AF_INET, from, &address.sin_addr) == 1);
            if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
                return false;
        }
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const int rc = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
        return rc == 0 || errno == EINPROGRESS;
    }

    bool connect(const std::string& path) {
        sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.data(), path.size());
        return ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    }

    // How much the kernel took.
    size_t send(const std::string& bytes, int flags = 0) {
        const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | flags);
        return n < 0 ? 0 : static_cast<size_t>(n);
    }

    // What is there now; `over` and `error` say how it ended.
    std::string read() {
        std::string bytes;
        char buffer[65536];
        for (;;) {
            const ssize_t n = ::recv(fd, buffer, sizeof(buffer), 0);
            if (n > 0) {
                bytes.append(buffer, static_cast<size_t>(n));
                continue;
            }
            if (n == 0) over = true;
            if (n < 0 && errno != EAGAIN) error = errno;
            return bytes;
        }
    }

    void half_close() { ::shutdown(fd, SHUT_WR); }

    int fd;
    bool over = false;
    int error = 0;
};

struct Memory {
    explicit Memory(size_t size) : bytes(size) {
        const size_t page = Arena::kPageBytes;
        whole = ::mmap(nullptr,
                       size + page,
                       PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1,
                       0);
        REQUIRE(whole != MAP_FAILED);
        const auto at = reinterpret_cast<uintptr_t>(whole);
        base = reinterpret_cast<void*>((at + page - 1) / page * page);
    }

    ~Memory() { ::munmap(whole, bytes + Arena::kPageBytes); }

    size_t bytes;
    void* whole = nullptr;
    void* base = nullptr;
};

struct World {
    static constexpr size_t kMemory = 64u << 20;

    explicit World(NetOptions options = {}, size_t bytes = kMemory)
        : memory(bytes),
          arena(memory.base, bytes),
          log(
              [](void* self, LogKind, std::string_view line) {
                  ++static_cast<World*>(self)->log_lines;
                  static_cast<World*>(self)->last_line = line;
              },
              this,
              ~0u),
          net(arena, dirty, log, options) {
        net.bind(handler);
        REQUIRE(net.open() == Error::kNone);
    }

    void listen(ListenerLimits limits = {}, ListenOptions options = {}) {
        options.address = "127.0.0.1";
        options.port = 0;
        options.sndbuf_bytes = kBuffer;
        Result<uint16_t> bound = net.listen(options, limits);
        REQUIRE(bound.ok());
        port = *bound;
    }

    std::string listen_unix(ListenerLimits limits = {}) {
        const std::string path = "/tmp/mqttd_net_test." + std::to_string(::getpid());
        ListenOptions options;
        options.unix_path = path;
        REQUIRE(net.listen(options, limits).ok());
        return path;
    }

    void turn(Duration timeout = 0) {
        net.collect(timeout);
        net.begin_turn(now);
        handler.units = units_per_turn;
        net.accept();
        net.serve_ready();
        net.flush();
        net.reap();
    }

    // Runs turns until `done`; false if it never is.
    bool until(const std::function<bool()>& done, int turns = 3000) {
        for (; turns > 0; --turns) {
            if (done()) return true;
            turn(1);
        }
        return done();
    }

    // Turns until nothing is left to do and nothing comes.
    void settle() {
        for (int quiet = 0; quiet < 3;) {
            const uint64_t events = net.stats().events;
            turn(1);
            quiet = net.idle() && net.stats().events == events ? quiet + 1 : 0;
        }
    }

    // A client whose link is open and whose socket was read empty.
    Client join() {
        Client client;
        const size_t before = handler.links.size();
        REQUIRE(client.connect(port));
        REQUIRE(until([&] { return handler.links.size() > before; }));
        settle();
        return client;
    }

    Link& link(size_t i) { return *handler.links.at(i); }

    void say(Link& to, const std::string& text) {
        REQUIRE(to.outbox->copy(arena, as_bytes(text)));
        dirty.add_reply(*to.outbox);
    }

    static Connection& connection(Link& link) { return static_cast<Connection&>(*link.outbox); }

    Memory memory;
    Arena arena;
    Dirty dirty;
    Log log;
    Handler handler;
    Net net;
    Instant now = 1000;
    uint16_t port = 0;
    uint32_t units_per_turn = 0xffffffff;
    uint32_t log_lines = 0;
    std::string last_line;
};

}  // namespace mqttd::net_test
