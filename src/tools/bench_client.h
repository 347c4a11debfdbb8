#pragma once

// Connections: many of them on one thread, in batches, cheaper than the broker on the other side.
//
// A Client is a non-blocking socket with what belongs to its stream: the beginning of a packet that
// has not arrived whole (`rest`), a batch that is being written (`batch`, its owner patches the
// messages in place and never resizes it during a run), and small answers behind it (`out`). Reads
// go into one large buffer that all clients share; what is whole in it is parsed where it lies.
//
//     read 512 KiB → packets → callbacks        batch, out → one writev a turn
//
// A connection that ends during a measurement ends the program with a sentence: a figure with a
// client missing would mean nothing.
//
// This room makes its own system calls: it is a program beside the broker, not part of it, and a
// load generator that shared the broker's socket code would share its mistakes and its speed.

#include "tools/bench_options.h"
#include "tools/bench_packet.h"

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace mqttd::bench {

[[noreturn]] void die(const std::string& what);
[[noreturn]] void die_errno(const std::string& what);  // with errno's text
uint64_t now_ns();                                     // CLOCK_MONOTONIC

// Set by SIGINT and SIGTERM: a phase ends early and the report is printed.
bool interrupted();
void catch_signals();
void raise_file_limit();
uint64_t file_limit();

struct Client {
    int fd = -1;
    bool wants_write = false;  // EPOLLOUT is in the mask
    std::vector<uint8_t> rest;
    std::vector<uint8_t> batch;
    size_t batch_begin = 0;
    size_t batch_end = 0;
    std::vector<uint8_t> out;
    size_t out_begin = 0;
    uint16_t receive_maximum = 65535;  // what the CONNACK allows to be unacknowledged

    bool writes_pending() const { return batch_begin < batch_end || out_begin < out.size(); }

    void append(const uint8_t* bytes, size_t count) { out.insert(out.end(), bytes, bytes + count); }

    void append(const std::string& bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

    void acknowledge(uint8_t first, uint16_t id) {
        const uint8_t packet[4] = {
            first, 2, static_cast<uint8_t>(id >> 8), static_cast<uint8_t>(id)};
        append(packet, sizeof packet);
    }
};

// Writes what is pending, as far as the socket takes it.
void flush(Client& client);
// DISCONNECT and close. Nobody minds if the broker is gone already.
void leave(Client& client);

class Poller {
  public:
    Poller();
    ~Poller();
    Poller(const Poller&) = delete;
    Poller& operator=(const Poller&) = delete;

    void add(Client& client, uint64_t tag);
    void remove(Client& client);
    // The mask follows what the client has pending.
    void update(Client& client, uint64_t tag);
    // Events' data.u64 is the tag. A negative wait has no end.
    std::span<epoll_event> wait(int64_t wait_ns);

  private:
    int fd_;
    std::vector<epoll_event> events_;
};

class ReadBuffer {
  public:
    explicit ReadBuffer(size_t packet_bytes_max = 0);

    // Reads until the socket is empty or a turn's share is used. on_packet(first byte, Frame).
    // Returns the bytes read.
    template <class OnPacket>
    size_t read_packets(Client& client, OnPacket&& on_packet) {
        constexpr int kRounds = 4;
        size_t total = 0;
        for (int round = 0; round < kRounds; ++round) {
            const size_t kept = client.rest.size();
            if (kept != 0) memcpy(bytes_.data(), client.rest.data(), kept);
            const size_t asked = bytes_.size() - kept;
            const size_t got = read_some(client, bytes_.data() + kept, asked);
            if (got == 0) break;
            total += got;
            const size_t used = parse({bytes_.data(), kept + got}, on_packet);
            client.rest.assign(bytes_.data() + used, bytes_.data() + kept + got);
            if (got < asked) break;
        }
        return total;
    }

    // Packets that had arrived together with an earlier answer.
    template <class OnPacket>
    void parse_rest(Client& client, OnPacket&& on_packet) {
        const size_t used = parse(client.rest, on_packet);
        client.rest.erase(client.rest.begin(), client.rest.begin() + static_cast<long>(used));
    }

  private:
    template <class OnPacket>
    static size_t parse(std::span<const uint8_t> bytes, OnPacket&& on_packet) {
        const uint8_t* at = bytes.data();
        const uint8_t* const end = at + bytes.size();
        for (;;) {
            const Frame frame = next_frame(at, static_cast<size_t>(end - at));
            if (frame.malformed) die("the broker sent something that is not MQTT");
            if (frame.whole == 0) return static_cast<size_t>(at - bytes.data());
            on_packet(*at, frame);
            at += frame.whole;
        }
    }

    // 0 when there is nothing to read; the end of the stream ends the program.
    static size_t read_some(Client& client, uint8_t* to, size_t bytes);

    std::vector<uint8_t> bytes_;
};

// ---- Opening ----

// What a client says first, and how many SUBACKs answer it.
struct Hello {
    std::string bytes;
    uint32_t subacks = 0;
};

struct OpenPlan {
    uint64_t count = 1;
    uint64_t parallel = 64;
    uint64_t first_index = 0;  // decides the source address
    bool spread = false;       // a new source address each time, see bench_open.cc
    std::function<Hello(uint64_t)> hello;
    std::function<void(uint64_t, Client&&, bool session_present)> opened;
    std::function<bool()> go_on;  // asked before each; may be empty
};

// Opens `count` clients, `parallel` at a time: connect, CONNECT and SUBSCRIBE in one write,
// CONNACK, SUBACKs. Whatever fails ends the program with a sentence. Packets behind the last SUBACK
// are left in the client's `rest`.
void open_clients(const Options& options, const OpenPlan& plan);

// One client, at once.
Client open_client(const Options& options, const Hello& hello, bool* session_present = nullptr);

Hello make_hello(const Options& options,
                 const std::string& client_id,
                 const std::vector<std::string>& filters = {},
                 bool durable = false);

// "mb4711" or what --prefix says: ids and topics of one run begin with it.
std::string run_prefix(const Options& options);

}  // namespace mqttd::bench
