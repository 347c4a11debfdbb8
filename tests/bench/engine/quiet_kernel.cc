#include "bench/engine/quiet_kernel.h"

#include "base/assert.h"

#include <algorithm>
#include <cstring>

namespace mqttd::bench {

namespace {

QuietKernel* the_kernel = nullptr;  // the one whose engine runs

constexpr int kListener = 4;

}  // namespace

QuietKernel::QuietKernel(uint32_t lines_max) : lines_(lines_max), outputs_(lines_max) {
    use();
    free_.reserve(lines_max);
    backlog_.reserve(1'024);
    edges_.reserve(lines_max);
    for (uint32_t i = lines_max; i > 0; --i)
        free_.push_back(kFirstLine + static_cast<int>(i) - 1);
}

QuietKernel::~QuietKernel() {
    if (the_kernel == this) the_kernel = nullptr;
}

void QuietKernel::use() {
    the_kernel = this;
}

QuietKernel& QuietKernel::current() {
    MQTTD_ASSERT(the_kernel != nullptr);
    return *the_kernel;
}

int QuietKernel::dial() {
    MQTTD_ASSERT(!free_.empty());
    const int line = free_.back();
    free_.pop_back();
    Line& made = at(line);
    made = Line{};
    made.used = true;
    backlog_.push_back(line);
    listener_edge_ = true;
    return line;
}

void QuietKernel::feed(int line, std::string_view bytes) {
    MQTTD_ASSERT(at(line).used && at(line).input.empty());
    at(line).input = bytes;
    edge(line);
}

void QuietKernel::hang_up(int line) {
    MQTTD_ASSERT(at(line).used);
    at(line).fin = true;
    edge(line);
}

void QuietKernel::hang_up_all() {
    for (size_t i = 0; i < lines_.size(); ++i)
        if (lines_[i].used) hang_up(kFirstLine + static_cast<int>(i));
}

std::string QuietKernel::take(int line) {
    std::string taken = std::move(outputs_[index(line)]);
    outputs_[index(line)].clear();
    return taken;
}

void QuietKernel::edge(int line) {
    Line& each = at(line);
    if (each.edge || !each.watched) return;
    each.edge = true;
    edges_.push_back(line);
}

uint32_t QuietKernel::wait(std::span<Sockets::Event> events) {
    uint32_t count = 0;
    if (listener_edge_) {
        listener_edge_ = false;
        events[count++] = {.token = listener_token_, .readable = true};
    }
    while (count < events.size() && edge_head_ < edges_.size()) {
        Line& line = at(edges_[edge_head_++]);
        if (!line.edge) continue;  // closed meanwhile
        line.edge = false;
        events[count++] = {.token = line.token, .readable = true, .hangup = line.fin};
    }
    if (edge_head_ == edges_.size()) {
        edges_.clear();
        edge_head_ = 0;
    }
    return count;
}

int QuietKernel::listen() {
    return kListener;
}

Result<Sockets::Accepted> QuietKernel::accept() {
    if (backlog_head_ == backlog_.size()) return Error::kWouldBlock;
    const int line = backlog_[backlog_head_++];
    if (backlog_head_ == backlog_.size()) {
        backlog_.clear();
        backlog_head_ = 0;
    }
    Sockets::Accepted accepted{line, {}};
    accepted.peer.family = Peer::kIpv4;
    accepted.peer.address[0] = 10;
    accepted.peer.address[1] = static_cast<uint8_t>(line >> 16);
    accepted.peer.address[2] = static_cast<uint8_t>(line >> 8);
    accepted.peer.address[3] = static_cast<uint8_t>(line);
    accepted.peer.port = 40'000;
    return accepted;
}

void QuietKernel::watch(int fd, uint64_t token) {
    at(fd).token = token;
    at(fd).watched = true;
}

Result<uint32_t> QuietKernel::receive(int fd, uint8_t* to, uint32_t room) {
    Line& line = at(fd);
    const auto size = static_cast<uint32_t>(std::min<size_t>(line.input.size(), room));
    if (size == 0) {
        if (line.fin) return uint32_t{0};
        return Error::kWouldBlock;
    }
    std::memcpy(to, line.input.data(), size);
    line.input.remove_prefix(size);
    return size;
}

uint64_t QuietKernel::send(int fd, std::span<const Piece> pieces) {
    const bool keeps = at(fd).keeps;
    uint64_t bytes = 0;
    for (const Piece& piece : pieces) {
        bytes += piece.size;
        if (keeps) outputs_[index(fd)].append(static_cast<const char*>(piece.data), piece.size);
    }
    written_ += bytes;
    return bytes;
}

void QuietKernel::close(int fd) {
    if (fd < kFirstLine) return;
    at(fd) = Line{};
    outputs_[index(fd)].clear();
    free_.push_back(fd);
}

}  // namespace mqttd::bench
