// Sockets in the simulator: every call goes to the simulated kernel.

#include "io/sockets.h"
#include "sim/crossing.h"
#include "sim/kernel.h"

namespace mqttd {

using sim::Crossing;
using sim::Kernel;

Sockets::~Sockets() = default;

Error Sockets::open() {
    return Error::kNone;
}

Error Sockets::add(int fd, uint64_t token) {
    const Crossing out(Crossing::kWorld);
    return Kernel::current().watch(fd, token);
}

Error Sockets::want_writable(int fd, uint64_t token) {
    const Crossing out(Crossing::kWorld);
    return Kernel::current().want_writable(fd, token);
}

Error Sockets::add_listener(int fd, uint64_t token) {
    const Crossing out(Crossing::kWorld);
    Kernel::current().watch_listener(fd, token);
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

// Virtual time: nobody waits here.  The world knows when the next thing happens.
uint32_t Sockets::wait(std::span<Event> events, Duration timeout) {
    const Crossing out(Crossing::kWorld);
    (void)timeout;
    return Kernel::current().wait(events.first(std::min<size_t>(events.size(), kEventsMax)));
}

Result<Sockets::Opened> Sockets::listen(const ListenOptions& options) {
    const Crossing out(Crossing::kWorld);
    const Result<int> fd = Kernel::current().listen(!options.unix_path.empty());
    if (!fd) return fd.error();
    return Opened{*fd, options.port};
}

Result<Sockets::Accepted> Sockets::accept(int listener) {
    const Crossing out(Crossing::kWorld);
    return Kernel::current().accept(listener);
}

uint32_t Sockets::waiting(int listener) {
    const Crossing out(Crossing::kWorld);
    return Kernel::current().waiting(listener);
}

Result<int> Sockets::open_reserve() {
    const Crossing out(Crossing::kWorld);
    return Kernel::current().open_reserve();
}

void Sockets::remove_path(std::string_view path) {
    (void)path;
}

Result<uint32_t> Sockets::receive(int fd, uint8_t* to, uint32_t room) {
    const Crossing out(Crossing::kWorld);
    return Kernel::current().receive(fd, to, room);
}

Result<Sockets::Received> Sockets::receive_unix(int fd, uint8_t* to, uint32_t room) {
    const Crossing out(Crossing::kWorld);
    const Result<uint32_t> got = Kernel::current().receive(fd, to, room);
    if (!got) return got.error();
    return Received{*got, false};
}

Result<uint64_t> Sockets::send(int fd, std::span<const Piece> pieces) {
    const Crossing out(Crossing::kWorld);
    return Kernel::current().send(fd, pieces);
}

Error Sockets::take_error(int fd) {
    const Crossing out(Crossing::kWorld);
    return Kernel::current().take_error(fd);
}

// Nothing is ever lost on the way here without a reset.
void Sockets::set_user_timeout(int fd, uint32_t milliseconds) {
    (void)fd;
    (void)milliseconds;
}

void Sockets::shutdown_write(int fd) {
    const Crossing out(Crossing::kWorld);
    Kernel::current().shutdown_write(fd);
}

void Sockets::close(int fd) {
    const Crossing out(Crossing::kWorld);
    Kernel::current().close(fd);
}

}  // namespace mqttd
