#include "tools/bench_client.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <signal.h>
#include <sys/resource.h>
#include <sys/uio.h>

namespace mqttd::bench {

namespace {

volatile sig_atomic_t g_interrupted = 0;

void on_signal(int) {
    if (g_interrupted != 0) _exit(1);  // the second one means it
    g_interrupted = 1;
}

bool would_block(int error) {
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

}  // namespace

// ---- The process ----

void die(const std::string& what) {
    fprintf(stderr, "mqttbench: %s\n", what.c_str());
    exit(1);
}

void die_errno(const std::string& what) {
    die(what + ": " + strerror(errno));
}

uint64_t now_ns() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec);
}

bool interrupted() {
    return g_interrupted != 0;
}

void catch_signals() {
    struct sigaction action {};

    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);
}

void raise_file_limit() {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

uint64_t file_limit() {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    return files.rlim_cur;
}

// ---- Clients ----

void flush(Client& client) {
    while (client.writes_pending()) {
        iovec parts[2];
        int count = 0;
        if (client.batch_begin < client.batch_end) {
            parts[count++] = {client.batch.data() + client.batch_begin,
                              client.batch_end - client.batch_begin};
        }
        if (client.out_begin < client.out.size()) {
            parts[count++] = {client.out.data() + client.out_begin,
                              client.out.size() - client.out_begin};
        }
        const ssize_t written = count == 1 ? write(client.fd, parts[0].iov_base, parts[0].iov_len)
                                           : writev(client.fd, parts, count);
        if (written < 0) {
            if (would_block(errno)) return;
            die_errno("the broker closed a connection that was being written to");
        }
        auto left = static_cast<size_t>(written);
        const size_t of_batch = std::min(left, client.batch_end - client.batch_begin);
        client.batch_begin += of_batch;
        client.out_begin += left - of_batch;
        if (client.out_begin == client.out.size()) {
            client.out.clear();
            client.out_begin = 0;
        }
    }
}

void leave(Client& client) {
    if (client.fd < 0) return;
    const std::string goodbye = disconnect_packet();
    // In the middle of a packet it would be part of that.
    if (!client.writes_pending() && write(client.fd, goodbye.data(), goodbye.size()) < 0) {
        // The connection ends either way.
    }
    close(client.fd);
    client.fd = -1;
}

// ---- Poller ----

Poller::Poller() : fd_(epoll_create1(EPOLL_CLOEXEC)), events_(1024) {
    if (fd_ < 0) die_errno("epoll_create1");
}

Poller::~Poller() {
    ::close(fd_);
}

void Poller::add(Client& client, uint64_t tag) {
    client.wants_write = client.writes_pending();
    epoll_event event{.events = EPOLLIN | (client.wants_write ? EPOLLOUT : 0u), .data{.u64 = tag}};
    if (epoll_ctl(fd_, EPOLL_CTL_ADD, client.fd, &event) != 0) die_errno("epoll_ctl");
}

void Poller::remove(Client& client) {
    epoll_ctl(fd_, EPOLL_CTL_DEL, client.fd, nullptr);
}

void Poller::update(Client& client, uint64_t tag) {
    const bool wanted = client.writes_pending();
    if (wanted == client.wants_write) return;
    client.wants_write = wanted;
    epoll_event event{.events = EPOLLIN | (wanted ? EPOLLOUT : 0u), .data{.u64 = tag}};
    if (epoll_ctl(fd_, EPOLL_CTL_MOD, client.fd, &event) != 0) die_errno("epoll_ctl");
}

std::span<epoll_event> Poller::wait(int64_t wait_ns) {
    timespec limit{};
    limit.tv_sec = wait_ns / 1'000'000'000;
    limit.tv_nsec = wait_ns % 1'000'000'000;
    const int n = epoll_pwait2(fd_,
                               events_.data(),
                               static_cast<int>(events_.size()),
                               wait_ns < 0 ? nullptr : &limit,
                               nullptr);
    if (n < 0 && errno != EINTR) die_errno("epoll_pwait2");
    return {events_.data(), static_cast<size_t>(std::max(n, 0))};
}

// ---- Reading ----

ReadBuffer::ReadBuffer(size_t packet_bytes_max)
    : bytes_(std::max<size_t>(512 * 1024, packet_bytes_max + 256 * 1024)) {}

size_t ReadBuffer::read_some(Client& client, uint8_t* to, size_t bytes) {
    const ssize_t n = read(client.fd, to, bytes);
    if (n > 0) return static_cast<size_t>(n);
    if (n < 0 && would_block(errno)) return 0;
    if (n < 0) die_errno("the broker broke off a connection");
    die("the broker closed a connection");
}

}  // namespace mqttd::bench
