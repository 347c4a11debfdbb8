#pragma once

// QuietKernel: sockets that cost next to nothing, for what is counted and measured.
//
// The simulator's kernel is made to be awkward; this one is made to be out of the way. Input is
// borrowed and copied once, into the broker's segment, as a kernel would; output is counted, and
// kept only for those who ask; every edge is told once and nothing ever comes short.
//
//     const int line = kernel.dial();       // accepted in one of the next turns
//     kernel.feed(line, bytes);             // borrowed until it has been read
//     ... turns ...
//     kernel.take(line)                     // what came back, if keep_output(line)
//     kernel.hang_up(line)                  // end of file, behind what was fed
//
// A line is its descriptor. When the server closes it, it is free for another dial: a client that
// wants to know asks `open` before it dials again.

#include "io/sockets.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd::bench {

class QuietKernel {
  public:
    static constexpr int kFirstLine = 16;  // below: the listener, the reserve

    explicit QuietKernel(uint32_t lines_max);
    ~QuietKernel();
    QuietKernel(const QuietKernel&) = delete;
    QuietKernel& operator=(const QuietKernel&) = delete;

    // The one that Sockets talks to: that of the engine whose turn it is.
    static QuietKernel& current();
    void use();

    // ---- The clients' side
    // -----------------------------------------------------------------------

    int dial();
    void feed(int line, std::string_view bytes);
    void hang_up(int line);
    void hang_up_all();

    void keep_output(int line) { at(line).keeps = true; }

    std::string take(int line);

    bool open(int line) const { return lines_[index(line)].used; }

    // Bytes the server wrote, to all lines.
    uint64_t written() const { return written_; }

    // Something the next `wait` or `accept` will tell.
    bool pending() const { return edge_head_ < edges_.size() || listener_edge_; }

    // ---- The server's side: what Sockets asks for
    // ------------------------------------------------

    uint32_t wait(std::span<Sockets::Event> events);
    int listen();

    void watch_listener(uint64_t token) { listener_token_ = token; }

    uint32_t waiting() const { return static_cast<uint32_t>(backlog_.size() - backlog_head_); }

    Result<Sockets::Accepted> accept();
    void watch(int fd, uint64_t token);
    Result<uint32_t> receive(int fd, uint8_t* to, uint32_t room);
    uint64_t send(int fd, std::span<const Piece> pieces);
    void close(int fd);

  private:
    struct Line {
        uint64_t token = 0;
        std::string_view input;
        bool used = false;
        bool watched = false;
        bool fin = false;
        bool edge = false;  // in edges_
        bool keeps = false;
    };

    static size_t index(int line) { return static_cast<size_t>(line - kFirstLine); }

    Line& at(int line) { return lines_[index(line)]; }

    void edge(int line);

    std::vector<Line> lines_;
    std::vector<int> free_;
    std::vector<int> backlog_;
    size_t backlog_head_ = 0;
    std::vector<int> edges_;
    size_t edge_head_ = 0;
    std::vector<std::string> outputs_;  // by line
    uint64_t listener_token_ = 0;
    bool listener_edge_ = false;
    uint64_t written_ = 0;
};

}  // namespace mqttd::bench
