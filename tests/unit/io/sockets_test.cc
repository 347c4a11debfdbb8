#include "io/sockets.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace mqttd {

namespace {

std::string test_path() {
    return "/tmp/mqttd_sockets_test." + std::to_string(::getpid());
}

int connect_to(uint16_t port, int receive_buffer = 0) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer != 0) {
        ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    return fd;
}

int option(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof(value);
    REQUIRE(::getsockopt(fd, level, name, &value, &size) == 0);
    return value;
}

}  // namespace

TEST_CASE("connections inherit the options of their listener", "[sockets]") {
    // So that accepting one costs one system call.
    Sockets sockets;
    REQUIRE(sockets.open() == Error::kNone);
    ListenOptions options;
    options.address = "127.0.0.1";
    options.port = 0;
    options.user_timeout_ms = 12'345;
    options.recbuf_bytes = 50'000;
    options.sndbuf_bytes = 60'000;
    Result<Sockets::Opened> opened = sockets.listen(options);
    REQUIRE(opened.ok());
    const int client = connect_to(opened->port);
    Result<Sockets::Accepted> accepted = sockets.accept(opened->fd);
    REQUIRE(accepted.ok());
    const int fd = accepted->fd;
    CHECK(option(fd, IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(option(fd, SOL_SOCKET, SO_OOBINLINE) == 1);
    // It counts a shut window, too: on a connection in use it would cut a reader that pauses.
    CHECK(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 0);
    sockets.set_user_timeout(fd, options.user_timeout_ms);
    CHECK(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == 12'345);
    CHECK(option(fd, SOL_SOCKET, SO_RCVBUF) == 100'000);
    CHECK(option(fd, SOL_SOCKET, SO_SNDBUF) == 120'000);
    CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(sockets.accept(opened->fd).error() == Error::kWouldBlock);
    ::close(client);
    sockets.close(fd);
    sockets.close(opened->fd);
}

TEST_CASE("a TCP listener says how many wait, a Unix one that it does not know", "[sockets]") {
    Sockets sockets;
    ListenOptions options;
    options.address = "127.0.0.1";
    options.port = 0;
    Result<Sockets::Opened> opened = sockets.listen(options);
    REQUIRE(opened.ok());
    CHECK(sockets.waiting(opened->fd) == 0);
    int clients[3];
    for (uint32_t i = 0; i < 3; ++i) {
        clients[i] = connect_to(opened->port);
        CHECK(sockets.waiting(opened->fd) == i + 1);
    }
    Result<Sockets::Accepted> accepted = sockets.accept(opened->fd);
    REQUIRE(accepted.ok());
    CHECK(sockets.waiting(opened->fd) == 2);
    CHECK(sockets.waiting(accepted->fd) == 0);  // no listener: it has other numbers there
    for (const int client : clients)
        ::close(client);
    sockets.close(accepted->fd);
    sockets.close(opened->fd);

    const std::string path = test_path();
    options.unix_path = path;
    Result<Sockets::Opened> local = sockets.listen(options);
    INFO(sockets.detail());
    REQUIRE(local.ok());
    CHECK(sockets.waiting(local->fd) == 0);
    sockets.close(local->fd);
    sockets.remove_path(options.unix_path);
}

TEST_CASE("an address in use is an error with its text", "[sockets]") {
    Sockets sockets;
    ListenOptions options;
    options.address = "127.0.0.1";
    options.port = 0;
    Result<Sockets::Opened> first = sockets.listen(options);
    REQUIRE(first.ok());
    options.port = first->port;
    CHECK(sockets.listen(options).error() == Error::kAddressInUse);
    CHECK(std::string(sockets.detail()) == "bind: Address already in use");
    sockets.close(first->fd);
}

TEST_CASE("only numeric addresses are listened on", "[sockets]") {
    // Names would need a resolver, and the loop has none.
    Sockets sockets;
    ListenOptions options;
    options.port = 0;
    for (const char* text : {"localhost", "1.2.3", "::1::", "127.0.0.1 ", "no such thing at all"}) {
        options.address = text;
        CHECK(sockets.listen(options).error() == Error::kInvalid);
    }
    for (const char* text : {"127.0.0.1", "::1", "", "0.0.0.0", "::"}) {
        options.address = text;
        Result<Sockets::Opened> opened = sockets.listen(options);
        REQUIRE(opened.ok());
        CHECK(opened->port != 0);
        sockets.close(opened->fd);
    }
}

TEST_CASE("a listener of one address family takes addresses of that family only", "[sockets]") {
    using Domain = ListenOptions::Domain;

    struct Row {
        const char* address;
        Domain domain;
        bool fine;
    };

    const Row rows[] = {
        {"127.0.0.1", Domain::kIpv4, true },
        {"127.0.0.1", Domain::kIpv6, false},
        {"::1",       Domain::kIpv6, true },
        {"::1",       Domain::kIpv4, false},
        {"127.0.0.1", Domain::kAny,  true },
        {"::1",       Domain::kAny,  true },
        {"",          Domain::kIpv4, true },
        {"",          Domain::kIpv6, true },
    };
    Sockets sockets;
    for (const Row& row : rows) {
        INFO(row.address << " as " << static_cast<int>(row.domain));
        ListenOptions options;
        options.port = 0;
        options.address = row.address;
        options.domain = row.domain;
        Result<Sockets::Opened> opened = sockets.listen(options);
        CHECK(opened.ok() == row.fine);
        if (!opened.ok()) {
            CHECK(opened.error() == Error::kInvalid);
            CHECK(std::string(sockets.detail()) ==
                  "an address of the other domain: Invalid argument");
            continue;
        }
        sockaddr_storage name = {};
        socklen_t size = sizeof(name);
        REQUIRE(::getsockname(opened->fd, reinterpret_cast<sockaddr*>(&name), &size) == 0);
        if (row.domain != Domain::kAny) {
            CHECK((name.ss_family == AF_INET6) == (row.domain == Domain::kIpv6));
        }
        sockets.close(opened->fd);
    }
}

TEST_CASE("a listener may be bound to a device, and the error names it", "[sockets]") {
    Sockets sockets;
    ListenOptions options;
    options.port = 0;
    options.bind_interface = "lo";
    Result<Sockets::Opened> opened = sockets.listen(options);
    REQUIRE(opened.ok());
    char device[16] = {};
    socklen_t size = sizeof(device);
    REQUIRE(::getsockopt(opened->fd, SOL_SOCKET, SO_BINDTODEVICE, device, &size) == 0);
    CHECK(std::string(device) == "lo");
    ::close(connect_to(opened->port));
    sockets.close(opened->fd);

    options.bind_interface = "nosuchdevice012";  // 15 bytes, as long as they may be
    CHECK(sockets.listen(options).error() == Error::kNotFound);
    CHECK(std::string(sockets.detail()) == "bind_interface nosuchdevice012: No such device");
    options.bind_interface = "nosuchdevice0123";
    CHECK(sockets.listen(options).error() == Error::kInvalid);
    CHECK(std::string(sockets.detail()) == "bind_interface nosuchdevice0123: File name too long");
}

TEST_CASE("both wildcards can be listened on at one port", "[sockets]") {
    // The IPv6 socket is IPv6 only, or it would collide with its sibling.
    Sockets sockets;
    ListenOptions options;
    options.port = 0;
    Result<Sockets::Opened> v4 = sockets.listen(options);
    REQUIRE(v4.ok());
    options.address = "::";
    options.port = v4->port;
    Result<Sockets::Opened> v6 = sockets.listen(options);
    REQUIRE(v6.ok());
    sockets.close(v4->fd);
    sockets.close(v6->fd);
}

TEST_CASE("a Unix socket has its mode and is replaced only when nobody listens", "[sockets]") {
    Sockets sockets;
    const std::string path = test_path();
    ListenOptions options;
    options.unix_path = path;
    options.unix_mode = 0606;
    Result<Sockets::Opened> first = sockets.listen(options);
    REQUIRE(first.ok());
    struct stat info = {};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0606);

    CHECK(sockets.listen(options).error() == Error::kAddressInUse);
    sockets.close(first->fd);  // a crash leaves the file behind
    Result<Sockets::Opened> second = sockets.listen(options);
    REQUIRE(second.ok());
    sockets.close(second->fd);
    sockets.remove_path(path);
    CHECK(::stat(path.c_str(), &info) != 0);
}

TEST_CASE("a file that is no socket is never removed", "[sockets]") {
    Sockets sockets;
    const std::string path = test_path();
    ::close(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    ListenOptions options;
    options.unix_path = path;
    CHECK(sockets.listen(options).error() == Error::kAddressInUse);
    CHECK(::access(path.c_str(), F_OK) == 0);
    ::unlink(path.c_str());
    const std::string directory = path + "/not/there";
    options.unix_path = directory;
    CHECK(sockets.listen(options).error() == Error::kNotFound);
    const std::string long_path = "/tmp/" + std::string(103, 'x');
    options.unix_path = long_path;
    CHECK(sockets.listen(options).error() == Error::kInvalid);
}

TEST_CASE("reads and writes tell would-block, end and reset apart", "[sockets]") {
    Sockets sockets;
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    uint8_t buffer[16];
    CHECK(sockets.receive(pair[0], buffer, 16).error() == Error::kWouldBlock);
    CHECK(sockets.receive_unix(pair[0], buffer, 16).error() == Error::kWouldBlock);
    const Piece pieces[] = {
        {"abc",  3},
        {"defg", 4}
    };
    Result<uint64_t> sent = sockets.send(pair[1], pieces);
    REQUIRE(sent.ok());
    CHECK(*sent == 7);
    Result<uint32_t> got = sockets.receive(pair[0], buffer, 16);
    REQUIRE(got.ok());
    CHECK(std::string(buffer, buffer + *got) == "abcdefg");
    ::close(pair[1]);
    Result<Sockets::Received> end = sockets.receive_unix(pair[0], buffer, 16);
    CHECK((end.ok() && end->bytes == 0));
    CHECK(sockets.send(pair[0], {pieces, 1}).error() == Error::kEndOfFile);  // and no SIGPIPE
    CHECK(sockets.send(pair[0], pieces).error() == Error::kEndOfFile);
    ::close(pair[0]);
}

TEST_CASE("a peer that closed and one that reset are told apart by a write", "[sockets]") {
    // Behind a FIN there may be input worth reading; behind a reset nobody waits for an answer.
    for (const bool reset : {false, true}) {
        Sockets sockets;
        REQUIRE(sockets.open() == Error::kNone);
        ListenOptions options;
        options.address = "127.0.0.1";
        options.port = 0;
        Result<Sockets::Opened> opened = sockets.listen(options);
        REQUIRE(opened.ok());
        const int client = connect_to(opened->port);
        Result<Sockets::Accepted> accepted = sockets.accept(opened->fd);
        REQUIRE(accepted.ok());
        const linger hard = {1, 0};
        if (reset) ::setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        REQUIRE(::send(client, "before", 6, MSG_NOSIGNAL) == 6);
        ::close(client);
        CHECK(sockets.take_error(accepted->fd) == (reset ? Error::kReset : Error::kNone));
        const Piece piece = {"x", 1};
        Error error = Error::kNone;
        for (int i = 0; i < 3 && error == Error::kNone; ++i) {
            error = sockets.send(accepted->fd, {&piece, 1}).error();
        }
        CHECK(error == Error::kEndOfFile);  // the reset itself was told by take_error
        uint8_t buffer[16];
        Result<uint32_t> got = sockets.receive(accepted->fd, buffer, sizeof(buffer));
        CHECK((got.ok() && *got == 6));
        sockets.close(accepted->fd);
        sockets.close(opened->fd);
    }
}

TEST_CASE("a shut window is given up after the user timeout, as timed out", "[sockets]") {
    // What bounds a connection that is closing.
    Sockets sockets;
    REQUIRE(sockets.open() == Error::kNone);
    ListenOptions options;
    options.address = "127.0.0.1";
    options.port = 0;
    options.sndbuf_bytes = 20'000;
    Result<Sockets::Opened> opened = sockets.listen(options);
    REQUIRE(opened.ok());
    const int client = connect_to(opened->port, 10'000);
    Result<Sockets::Accepted> accepted = sockets.accept(opened->fd);
    REQUIRE(accepted.ok());
    REQUIRE(sockets.add(accepted->fd, 1) == Error::kNone);
    sockets.set_user_timeout(accepted->fd, 100);
    const std::string bytes(1 << 20, 'x');
    const Piece piece = {bytes.data(), bytes.size()};
    for (int i = 0; i < 100 && sockets.send(accepted->fd, {&piece, 1}).ok(); ++i) {
    }
    Sockets::Event event;
    bool broken = false;
    for (int i = 0; i < 20 && !broken; ++i)
        broken = sockets.wait({&event, 1}, 1000) == 1 && event.broken;
    CHECK(broken);
    CHECK(sockets.take_error(accepted->fd) == Error::kTimedOut);
    CHECK(sockets.take_error(accepted->fd) == Error::kNone);
    ::close(client);
    sockets.close(accepted->fd);
    sockets.close(opened->fd);
}

}  // namespace mqttd
