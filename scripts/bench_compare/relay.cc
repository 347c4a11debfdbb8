// The floor a broker is measured against: a relay that understands nothing of MQTT.
//
//   relay PORT
//
// It answers CONNECT and SUBSCRIBE with canned bytes. After that, every byte a publisher sends is
// written to every subscriber of its topic (that of its first PUBLISH; filters are compared as
// text): one read of at most 64 KiB, one write per subscriber. No parsing, no checks, no counting:
// what this costs, moving the bytes costs. Only QoS 0 makes sense through it.

#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr size_t kReadBytes = 64 * 1024;

struct Connection {
    int fd = -1;
    bool closed = false;
    bool five = false;                                // speaks MQTT 5.0
    std::string early;                                // what came before its role was known
    std::string late;                                 // what a socket did not take
    std::vector<Connection*>* subscribers = nullptr;  // a publisher's
};

int poller = -1;
std::map<std::string, std::vector<Connection*>> topics;

[[noreturn]] void die(const char* what) {
    perror(what);
    exit(1);
}

void watch(Connection& connection, int operation, uint32_t events) {
    epoll_event event{events, {.ptr = &connection}};
    epoll_ctl(poller, operation, connection.fd, &event);
}

void send_bytes(Connection& to, const char* bytes, size_t count) {
    if (to.closed) return;
    if (to.late.empty()) {
        const ssize_t n = write(to.fd, bytes, count);
        if (n == static_cast<ssize_t>(count)) return;
        if (n < 0 && errno != EAGAIN) return;
        bytes += n > 0 ? n : 0;
        count -= n > 0 ? static_cast<size_t>(n) : 0;
        watch(to, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    to.late.append(bytes, count);
}

void send_late(Connection& to) {
    const ssize_t n = write(to.fd, to.late.data(), to.late.size());
    if (n > 0) to.late.erase(0, static_cast<size_t>(n));
    if (to.late.empty()) watch(to, EPOLL_CTL_MOD, EPOLLIN);
}

// The string whose two length bytes are at `at`.
std::string text_at(const std::string& bytes, size_t at) {
    const auto high = static_cast<uint8_t>(bytes[at]), low = static_cast<uint8_t>(bytes[at + 1]);
    return bytes.substr(at + 2, static_cast<size_t>(high << 8 | low));
}

// The packets before the first PUBLISH; from there on a publisher's bytes are only copied.
void take_early(Connection& from) {
    while (from.subscribers == nullptr && from.early.size() >= 2) {
        size_t length = 0, header = 1;
        for (int shift = 0;; shift += 7, ++header) {
            if (header >= from.early.size()) return;
            const auto byte = static_cast<uint8_t>(from.early[header]);
            length |= static_cast<size_t>(byte & 0x7f) << shift;
            if ((byte & 0x80) == 0) break;
        }
        ++header;
        const auto type = static_cast<uint8_t>(from.early[0]) >> 4;
        if (type == 3) {
            if (from.early.size() < header + 2 ||
                from.early.size() < header + 2 + static_cast<uint8_t>(from.early[header + 1])) {
                return;
            }
            from.subscribers = &topics[text_at(from.early, header)];
            for (Connection* to : *from.subscribers)
                send_bytes(*to, from.early.data(), from.early.size());
            from.early.clear();
            return;
        }
        if (from.early.size() < header + length) return;
        if (type == 1) {
            from.five = from.early[header + 6] == 5;
            from.five ? send_bytes(from, "\x20\x03\0\0\0", 5) : send_bytes(from, "\x20\x02\0\0", 4);
        } else if (type == 8) {
            const char id[2] = {from.early[header], from.early[header + 1]};
            topics[text_at(from.early, header + (from.five ? 3 : 2))].push_back(&from);
            std::string answer = from.five ? std::string("\x90\x04", 2) : std::string("\x90\x03", 2);
            answer.append(id, 2).append(from.five ? 2 : 1, '\0');
            send_bytes(from, answer.data(), answer.size());
        }
        from.early.erase(0, header + length);
    }
}

void close_connection(Connection& connection) {
    close(connection.fd);
    connection.closed = true;  // never freed: a relay lives as long as one measurement
}

void read_from(Connection& from) {
    static char bytes[kReadBytes];
    const ssize_t n = read(from.fd, bytes, sizeof bytes);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return close_connection(from);
    if (n < 0) return;
    if (from.subscribers == nullptr) {
        from.early.append(bytes, static_cast<size_t>(n));
        return take_early(from);
    }
    for (Connection* to : *from.subscribers)
        send_bytes(*to, bytes, static_cast<size_t>(n));
}

void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        auto* connection = new Connection;
        connection->fd = fd;
        watch(*connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        fputs("usage: relay PORT\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(atoi(argv[1])));
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("bind");
    if (listen(listener, 1024) != 0) die("listen");
    poller = epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{EPOLLIN, {.ptr = nullptr}};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    std::vector<epoll_event> events(512);
    for (;;) {
        const int n = epoll_wait(poller, events.data(), static_cast<int>(events.size()), -1);
        for (int i = 0; i < n; ++i) {
            auto* connection = static_cast<Connection*>(events[static_cast<size_t>(i)].data.ptr);
            if (connection == nullptr) {
                accept_all(listener);
                continue;
            }
            const uint32_t what = events[static_cast<size_t>(i)].events;
            if ((what & EPOLLOUT) != 0 && !connection->closed) send_late(*connection);
            if ((what & ~static_cast<uint32_t>(EPOLLOUT)) != 0 && !connection->closed) {
                read_from(*connection);
            }
        }
    }
}
