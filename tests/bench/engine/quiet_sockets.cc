// Sockets of the benchmarks: every call goes to the quiet kernel, and none of it is counted.

#include "bench/engine/counting.h"
#include "bench/engine/quiet_kernel.h"
#include "io/sockets.h"

namespace mqttd {

using bench::Aside;
using bench::QuietKernel;

Sockets::~Sockets() = default;

Error Sockets::open() {
    return Error::kNone;
}

Error Sockets::add(int fd, uint64_t token) {
    const Aside aside;
    QuietKernel::current().watch(fd, token);
    return Error::kNone;
}

Error Sockets::want_writable(int fd, uint64_t token) {
    (void)fd;
    (void)token;
    return Error::kNone;
}

Error Sockets::add_listener(int fd, uint64_t token) {
    (void)fd;
    QuietKernel::current().watch_listener(token);
    return Error::kNone;
}

Error Sockets::add_watched(int fd, uint64_t token) {
    (void)fd;
    (void)token;
    return Error::kNone;
}

void Sockets::remove(int fd) {
    (void)fd;
}

uint32_t Sockets::wait(std::span<Event> events, Duration timeout) {
    const Aside aside;
    (void)timeout;
    return QuietKernel::current().wait(events);
}

Result<Sockets::Opened> Sockets::listen(const ListenOptions& options) {
    return Opened{QuietKernel::current().listen(), options.port};
}

Result<Sockets::Accepted> Sockets::accept(int listener) {
    const Aside aside;
    (void)listener;
    return QuietKernel::current().accept();
}

uint32_t Sockets::waiting(int listener) {
    const Aside aside;
    (void)listener;
    return QuietKernel::current().waiting();
}

Result<int> Sockets::open_reserve() {
    return 5;
}

void Sockets::remove_path(std::string_view path) {
    (void)path;
}

Result<uint32_t> Sockets::receive(int fd, uint8_t* to, uint32_t room) {
    const Aside aside;
    return QuietKernel::current().receive(fd, to, room);
}

Result<Sockets::Received> Sockets::receive_unix(int fd, uint8_t* to, uint32_t room) {
    const Result<uint32_t> got = receive(fd, to, room);
    if (!got) return got.error();
    return Received{*got, false};
}

Result<uint64_t> Sockets::send(int fd, std::span<const Piece> pieces) {
    const Aside aside;
    return QuietKernel::current().send(fd, pieces);
}

Error Sockets::take_error(int fd) {
    (void)fd;
    return Error::kNone;
}

void Sockets::set_user_timeout(int fd, uint32_t milliseconds) {
    (void)fd;
    (void)milliseconds;
}

void Sockets::shutdown_write(int fd) {
    (void)fd;
}

void Sockets::close(int fd) {
    const Aside aside;
    QuietKernel::current().close(fd);
}

}  // namespace mqttd
