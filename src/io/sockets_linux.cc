// Sockets on Linux: events and traffic.  Opening listeners is in sockets_linux_listen.cc.

#include "io/sockets.h"
#include "io/sockets_errno.h"

#include <algorithm>
#include <cstddef>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace mqttd {

namespace {

static_assert(sizeof(Piece) == sizeof(iovec) && offsetof(Piece, size) == offsetof(iovec, iov_len));

constexpr uint32_t kConnectionMask = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET;

Error error_of_traffic(int code) {
    switch (code) {
        case EAGAIN:
            return Error::kWouldBlock;
        case ETIMEDOUT:
            return Error::kTimedOut;
        case EPIPE:  // also a reset behind a FIN
            return Error::kEndOfFile;
        default:
            return Error::kReset;
    }
}

Error error_of_accept(int code) {
    switch (code) {
        case EAGAIN:
            return Error::kWouldBlock;
        case EMFILE:
            return Error::kProcessFiles;
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            return Error::kSystemFiles;
        case EBADF:
        case EFAULT:
        case EINVAL:
        case ENOTSOCK:
            return Error::kIo;
        default:
            // ECONNABORTED, EPROTO, EPERM (a firewall), and the network errors that Linux passes on
            // from the new socket: this one is lost, the next may be fine.
            return Error::kReset;
    }
}

Peer peer_of(const sockaddr_storage& address) {
    Peer peer;
    if (address.ss_family == AF_INET) {
        sockaddr_in in;
        memcpy(&in, &address, sizeof(in));
        peer.family = Peer::kIpv4;
        peer.port = ntohs(in.sin_port);
        memcpy(peer.address, &in.sin_addr, 4);
    } else if (address.ss_family == AF_INET6) {
        sockaddr_in6 in6;
        memcpy(&in6, &address, sizeof(in6));
        peer.family = Peer::kIpv6;
        peer.port = ntohs(in6.sin6_port);
        memcpy(peer.address, &in6.sin6_addr, 16);
    }
    return peer;
}

// Repeats a call that a signal interrupted.
template <class Call>
auto retry(Call call) {
    for (;;) {
        const auto result = call();
        if (result >= 0 || errno != EINTR) return result;
    }
}

}  // namespace

Sockets::~Sockets() {
    if (epoll_ >= 0) ::close(epoll_);
}

Error Sockets::open() {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    return epoll_ >= 0 ? Error::kNone : fail("epoll_create1", errno);
}

// ---- Events
// ----------------------------------------------------------------------------------------

Error Sockets::control(int operation, int fd, uint32_t mask, uint64_t token) {
    epoll_event event = {};
    event.events = mask;
    event.data.u64 = token;
    return epoll_ctl(epoll_, operation, fd, &event) == 0 ? Error::kNone : error_of_errno(errno);
}

Error Sockets::add(int fd, uint64_t token) {
    return control(EPOLL_CTL_ADD, fd, kConnectionMask, token);
}

Error Sockets::want_writable(int fd, uint64_t token) {
    return control(EPOLL_CTL_MOD, fd, kConnectionMask | EPOLLOUT, token);
}

Error Sockets::add_listener(int fd, uint64_t token) {
    return control(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, token);
}

Error Sockets::add_watched(int fd, uint64_t token) {
    return control(EPOLL_CTL_ADD, fd, EPOLLIN, token);
}

void Sockets::remove(int fd) {
    control(EPOLL_CTL_DEL, fd, 0, 0);
}

uint32_t Sockets::wait(std::span<Event> events, Duration timeout) {
    constexpr Duration kLongest = 0x7fffffff;
    const int milliseconds = timeout == kNever ? -1 : static_cast<int>(std::min(timeout, kLongest));
    epoll_event told[kEventsMax];
    const int room = static_cast<int>(std::min<size_t>(events.size(), kEventsMax));
    const int count = epoll_wait(epoll_, told, room, milliseconds);
    if (count <= 0) return 0;  // nothing, or a signal: the caller's loop comes again
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
        const uint32_t mask = told[i].events;
        events[i].token = told[i].data.u64;
        events[i].readable = (mask & EPOLLIN) != 0;
        events[i].writable = (mask & EPOLLOUT) != 0;
        events[i].hangup = (mask & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        events[i].broken = (mask & EPOLLERR) != 0;
        events[i].urgent = (mask & EPOLLPRI) != 0;
    }
    return static_cast<uint32_t>(count);
}

// ---- Listening, once open
// --------------------------------------------------------------------------

Result<Sockets::Accepted> Sockets::accept(int listener) {
    sockaddr_storage address;
    address.ss_family = AF_UNIX;
    socklen_t size = sizeof(address);
    const int fd = retry([&] {
        return accept4(
            listener, reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    });
    if (fd < 0) return error_of_accept(errno);
    return Accepted{fd, peer_of(address)};
}

// A Unix socket, and a kernel that is none of Linus's, say nothing.
uint32_t Sockets::waiting(int listener) {
    tcp_info info;
    info.tcpi_state = 0;
    socklen_t size = offsetof(tcp_info, tcpi_sacked);
    if (getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 0;
    const bool told = size >= offsetof(tcp_info, tcpi_sacked) && info.tcpi_state == TCP_LISTEN;
    return told ? info.tcpi_unacked : 0;
}

Result<int> Sockets::open_reserve() {
    const int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0) return error_of_errno(errno);
    return fd;
}

// ---- Connections
// -----------------------------------------------------------------------------------

Result<uint32_t> Sockets::receive(int fd, uint8_t* to, uint32_t room) {
    const ssize_t got = retry([&] { return recv(fd, to, room, 0); });
    if (got < 0) return error_of_traffic(errno);
    return static_cast<uint32_t>(got);
}

Result<Sockets::Received> Sockets::receive_unix(int fd, uint8_t* to, uint32_t room) {
    iovec piece = {to, room};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    const ssize_t got = retry([&] { return recvmsg(fd, &message, 0); });
    if (got < 0) return error_of_traffic(errno);
    return Received{static_cast<uint32_t>(got), (message.msg_flags & MSG_CTRUNC) != 0};
}

Result<uint64_t> Sockets::send(int fd, std::span<const Piece> pieces) {
    ssize_t sent = 0;
    if (pieces.size() == 1) {
        sent = retry([&] { return ::send(fd, pieces[0].data, pieces[0].size, MSG_NOSIGNAL); });
    } else {
        msghdr message = {};
        message.msg_iov = reinterpret_cast<iovec*>(const_cast<Piece*>(pieces.data()));
        message.msg_iovlen = pieces.size();
        sent = retry([&] { return sendmsg(fd, &message, MSG_NOSIGNAL); });
    }
    if (sent < 0) return error_of_traffic(errno);
    return static_cast<uint64_t>(sent);
}

Error Sockets::take_error(int fd) {
    int code = 0;
    socklen_t size = sizeof(code);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0 || code == 0) return Error::kNone;
    return error_of_traffic(code);
}

void Sockets::set_user_timeout(int fd, uint32_t milliseconds) {
    const int value = static_cast<int>(std::min<uint32_t>(milliseconds, 0x7fffffff));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, sizeof(value));
}

void Sockets::shutdown_write(int fd) {
    ::shutdown(fd, SHUT_WR);
}

void Sockets::close(int fd) {
    ::close(fd);
}

}  // namespace mqttd
