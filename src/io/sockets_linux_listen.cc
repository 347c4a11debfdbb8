// Sockets on Linux: opening listening sockets, at start and at reload.

#include "io/sockets.h"
#include "io/sockets_errno.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cstddef>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace mqttd {

namespace {

// Seconds after which a silent client is accepted all the same: one repeated SYN-ACK.
constexpr int kDeferSeconds = 1;

struct SocketAddress {
    sockaddr_storage storage = {};
    socklen_t size = 0;

    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

template <size_t N>
bool copy_text(char (&to)[N], std::string_view from) {
    if (from.size() >= N) return false;
    memcpy(to, from.data(), from.size());
    to[from.size()] = '\0';
    return true;
}

// The numeric address, or size 0 if it is none.
SocketAddress parse_address(std::string_view text, uint16_t port, ListenOptions::Domain domain) {
    SocketAddress result;
    char buffer[INET6_ADDRSTRLEN];
    if (text.empty()) text = domain == ListenOptions::Domain::kIpv6 ? "::" : "0.0.0.0";
    if (!copy_text(buffer, text)) return result;
    sockaddr_in in = {};
    sockaddr_in6 in6 = {};
    if (inet_pton(AF_INET, buffer, &in.sin_addr) == 1) {
        in.sin_family = AF_INET;
        in.sin_port = htons(port);
        memcpy(&result.storage, &in, sizeof(in));
        result.size = sizeof(in);
    } else if (inet_pton(AF_INET6, buffer, &in6.sin6_addr) == 1) {
        in6.sin6_family = AF_INET6;
        in6.sin6_port = htons(port);
        memcpy(&result.storage, &in6, sizeof(in6));
        result.size = sizeof(in6);
    }
    return result;
}

bool is_of(const SocketAddress& address, ListenOptions::Domain domain) {
    if (domain == ListenOptions::Domain::kAny) return true;
    return (domain == ListenOptions::Domain::kIpv6) == (address.storage.ss_family == AF_INET6);
}

// 0 or the errno.
int bind_to_device(int fd, std::string_view name) {
    char buffer[IFNAMSIZ];
    if (!copy_text(buffer, name)) return ENAMETOOLONG;
    const auto size = static_cast<socklen_t>(name.size() + 1);
    return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, buffer, size) == 0 ? 0 : errno;
}

uint16_t bound_port(int fd) {
    sockaddr_storage address = {};
    socklen_t size = sizeof(address);
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
    in_port_t port = 0;  // at the same place in both families
    static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
    memcpy(
        &port, reinterpret_cast<char*>(&address) + offsetof(sockaddr_in, sin_port), sizeof(port));
    return ntohs(port);
}

bool set_option(int fd, int level, int option, uint32_t value) {
    const int as_int = static_cast<int>(std::min<uint32_t>(value, 0x7fffffff));
    return setsockopt(fd, level, option, &as_int, sizeof(as_int)) == 0;
}

// What connections inherit from the socket that accepted them.  Tuning that the kernel refuses is
// no reason not to serve.
void set_inherited(int fd, const ListenOptions& options, bool tcp) {
    // Before listen(): the window scale is agreed on in the handshake.
    if (options.recbuf_bytes != 0) set_option(fd, SOL_SOCKET, SO_RCVBUF, options.recbuf_bytes);
    if (options.sndbuf_bytes != 0) set_option(fd, SOL_SOCKET, SO_SNDBUF, options.sndbuf_bytes);
    if (!tcp) return;
    set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    if (options.nodelay) set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (options.defer_accept) set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, kDeferSeconds);
}

// Is the file at `path` a socket that nobody listens on any more?
bool is_stale(const SocketAddress& address, const char* path) {
    struct stat info = {};
    if (lstat(path, &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
    const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0) return false;
    const bool refused =
        ::connect(probe, address.get(), address.size) != 0 && errno == ECONNREFUSED;
    ::close(probe);
    return refused;
}

bool is_no_socket(const char* path) {
    struct stat info = {};
    return lstat(path, &info) == 0 && !S_ISSOCK(info.st_mode);
}

}  // namespace

Error Sockets::fail(const char* what, int code) {
    snprintf(detail_, sizeof(detail_), "%s: %s", what, strerror(code));
    return error_of_errno(code);
}

Result<Sockets::Opened> Sockets::listen(const ListenOptions& options) {
    return options.unix_path.empty() ? listen_tcp(options) : listen_unix(options);
}

Result<Sockets::Opened> Sockets::listen_tcp(const ListenOptions& options) {
    const SocketAddress address = parse_address(options.address, options.port, options.domain);
    if (address.size == 0) return fail("not a numeric address", EINVAL);
    if (!is_of(address, options.domain)) return fail("an address of the other domain", EINVAL);
    const int family = address.storage.ss_family;
    const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return fail("socket", errno);
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    // The IPv4 half of a pair has a socket of its own.
    if (family == AF_INET6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    set_inherited(fd, options, true);
    if (!options.bind_interface.empty()) {
        // Before bind: a link-local IPv6 address means something on one device only.
        const int code = bind_to_device(fd, options.bind_interface);
        if (code != 0) {
            ::close(fd);
            char what[64];
            snprintf(what,
                     sizeof(what),
                     "bind_interface %.*s",
                     static_cast<int>(std::min<size_t>(options.bind_interface.size(), 40)),
                     options.bind_interface.data());
            return fail(what, code);
        }
    }
    const char* failed = nullptr;
    if (::bind(fd, address.get(), address.size) != 0) {
        failed = "bind";
    } else if (::listen(fd, static_cast<int>(std::min<uint32_t>(options.backlog, 65'535))) != 0) {
        failed = "listen";
    }
    if (failed != nullptr) {
        const Error error = fail(failed, errno);
        ::close(fd);
        return error;
    }
    return Opened{fd, bound_port(fd)};
}

Result<Sockets::Opened> Sockets::listen_unix(const ListenOptions& options) {
    sockaddr_un un = {};
    un.sun_family = AF_UNIX;
    if (!copy_text(un.sun_path, options.unix_path)) return fail("socket path", ENAMETOOLONG);
    SocketAddress address;
    memcpy(&address.storage, &un, sizeof(un));
    address.size = sizeof(un);

    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return fail("socket", errno);
    set_inherited(fd, options, false);
    const mode_t mode = options.unix_mode & 0777;
    // Before bind: the file is born with this mode (and the umask), never wider than asked.
    ::fchmod(fd, mode);
    const char* failed = nullptr;
    int code = 0;
    if (::bind(fd, address.get(), address.size) != 0) {
        code = errno;
        failed = "bind";
        if (code == EADDRINUSE && is_stale(address, un.sun_path) && ::unlink(un.sun_path) == 0) {
            failed = ::bind(fd, address.get(), address.size) != 0 ? "bind" : nullptr;
            code = errno;
        }
    }
    if (failed == nullptr) {
        ::chmod(un.sun_path, mode);
        if (::listen(fd, static_cast<int>(std::min<uint32_t>(options.backlog, 65'535))) != 0) {
            code = errno;
            failed = "listen";
        }
    }
    if (failed != nullptr) {
        const bool foreign = code == EADDRINUSE && is_no_socket(un.sun_path);
        const Error error = fail(foreign ? "a file that is no socket lies there" : failed, code);
        ::close(fd);
        return error;
    }
    return Opened{fd, 0};
}

void Sockets::remove_path(std::string_view path) {
    sockaddr_un un = {};
    if (copy_text(un.sun_path, path)) ::unlink(un.sun_path);
}

}  // namespace mqttd
