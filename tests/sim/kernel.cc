#include "sim/kernel.h"

#include "base/assert.h"

#include <algorithm>

namespace mqttd::sim {

namespace {

Kernel* the_kernel = nullptr;

constexpr uint32_t kFirstFile = 5;
constexpr uint32_t kBacklog = 4'096;

}  // namespace

Kernel& Kernel::current() {
    MQTTD_ASSERT(the_kernel != nullptr);
    return *the_kernel;
}

Kernel::Kernel(Prng& dice, uint32_t files_limit) : dice_(dice), files_(files_limit) {
    MQTTD_ASSERT(the_kernel == nullptr);
    the_kernel = this;
}

Kernel::~Kernel() {
    the_kernel = nullptr;
}

// ---- The clients' side
// -----------------------------------------------------------------------------

Wire* Kernel::dial(bool unix_socket) {
    ListeningSocket& listener = listeners_[unix_socket];
    if (listener.fd < 0 || listener.backlog.size() >= kBacklog) return nullptr;
    Wire* wire = nullptr;
    if (free_wires_.empty()) {
        wires_.push_back(std::make_unique<Wire>());
        wire = wires_.back().get();
    } else {
        wire = free_wires_.back();
        free_wires_.pop_back();
        *wire = Wire{};
    }
    wire->id = ++next_id_;
    wire->unix_socket = unix_socket;
    listener.backlog.push_back(wire);
    listener.edge = listener_edge_ = true;
    return wire;
}

void Kernel::finish(Wire& wire) {
    wire.up_fin = true;
}

void Kernel::hang_up(Wire& wire) {
    // Closing with unread input is answered with a reset, as by Linux.
    if (!wire.down.empty() && !wire.server_gone) {
        cut(wire);
        return;
    }
    wire.up_fin = true;
    wire.client_gone = true;
}

void Kernel::cut(Wire& wire) {
    wire.client_gone = true;
    wire.up.clear();
    if (wire.server_gone) return;
    break_wire(wire);
}

// What the server has not read yet is lost, too.
void Kernel::break_wire(Wire& wire) {
    wire.reset = true;
    wire.inbox.clear();
    wire.borders.clear();
    wire.down.clear();
    edge(wire);
}

uint32_t Kernel::take(Wire& wire, std::string& to, uint32_t most) {
    const size_t size = std::min<size_t>(wire.down.size(), most);
    to.append(wire.down.view().substr(0, size));
    wire.down.drop(size);
    wire.taken += size;
    return static_cast<uint32_t>(size);
}

bool Kernel::at_end(const Wire& wire) {
    return wire.lost || (wire.down.empty() && (wire.down_fin || wire.server_gone || wire.reset));
}

bool Kernel::move(Wire& wire) {
    if (wire.server_gone) {
        // Nobody reads what still comes: it is answered with a reset.
        if (!wire.up.empty() && !wire.lost) {
            wire.lost = true;
            if (chance(500)) wire.down.clear();
        }
        wire.up.clear();
        return false;
    }
    if (!wire.accepted || wire.reset) return false;
    bool moved = false;
    if (wire.no_room && wire.down.size() <= weather.send_room * 2 / 3) {
        wire.no_room = false;
        if (wire.wants_writable) edge(wire);
        moved = true;
    }
    if (wire.client_gone && !wire.down.empty()) {
        break_wire(wire);
        return true;
    }
    if (chance(weather.idle_edge)) edge(wire);
    if (chance(weather.urgent)) {
        wire.urgent = true;
        edge(wire);
    }
    if (wire.fin || (wire.up.empty() && !wire.up_fin)) return moved;
    if (chance(weather.delay)) return true;  // it will
    size_t size = wire.up.size();
    if (weather.chunk_max != 0) size = std::min<size_t>(size, 1 + dice_.below(weather.chunk_max));
    if (size > 0) {
        wire.inbox.append(wire.up.view().substr(0, size));
        if (wire.unix_socket) wire.borders.push_back(static_cast<uint32_t>(size));
        wire.up.drop(size);
    }
    // The end of the stream comes with its last bytes, or a little later.
    if (wire.up.empty() && wire.up_fin && (size == 0 || chance(500))) wire.fin = true;
    edge(wire);
    return true;
}

void Kernel::release(Wire& wire) {
    MQTTD_ASSERT(wire.closed() && !wire.queued);
    free_wires_.push_back(&wire);
}

void Kernel::lose_server() {
    edges_.clear();
    ghosts_.clear();
    listener_edge_ = false;
    for (ListeningSocket& listener : listeners_)
        listener = {};
    std::fill(files_.begin(), files_.end(), File{});
    open_ = 0;
    for (const auto& wire : wires_) {
        wire->fd = -1;
        wire->queued = wire->watched = false;
        if (wire->server_gone) continue;
        wire->server_gone = wire->accepted = true;
        wire->up.clear();
        wire->inbox.clear();
        wire->borders.clear();
        wire->down.keep(dice_.below(static_cast<uint32_t>(wire->down.size()) + 1));
    }
}

// ---- epoll
// -----------------------------------------------------------------------------------------

void Kernel::edge(Wire& wire) {
    if (!wire.watched || wire.queued) return;
    wire.queued = true;
    edges_.push_back(&wire);
}

uint32_t Kernel::wait(std::span<Sockets::Event> events) {
    ++calls_;
    uint32_t count = 0;
    for (ListeningSocket& listener : listeners_) {
        if (!listener.edge || listener.token == 0 || count == events.size()) continue;
        listener.edge = false;
        events[count] = {};
        events[count].token = listener.token;
        events[count++].readable = true;
    }
    listener_edge_ = listeners_[0].edge || listeners_[1].edge;
    while (!ghosts_.empty() && count < events.size()) {
        events[count] = {};
        events[count].token = ghosts_.back();
        events[count].readable = events[count].hangup = true;
        ++count;
        ghosts_.pop_back();
    }
    while (!edges_.empty() && count < events.size()) {
        Wire& wire = *edges_.front();
        edges_.pop_front();
        wire.queued = false;
        Sockets::Event& event = events[count++];
        event = {};
        event.token = wire.token;
        event.readable = !wire.inbox.empty() || wire.fin || wire.reset;
        event.writable = wire.wants_writable && (wire.reset || !wire.no_room);
        event.hangup = wire.fin || wire.reset;
        event.broken = wire.reset && !wire.error_told;
        event.urgent = wire.urgent;
        wire.urgent = false;
    }
    return count;
}

Error Kernel::watch(int fd, uint64_t token) {
    ++calls_;
    Wire& wire = wire_of(fd);
    wire.token = token;
    wire.watched = true;
    if (!wire.inbox.empty() || wire.fin || wire.reset) edge(wire);
    return Error::kNone;
}

Error Kernel::want_writable(int fd, uint64_t token) {
    ++calls_;
    Wire& wire = wire_of(fd);
    wire.token = token;
    wire.wants_writable = true;
    if (wire.reset || !wire.no_room) edge(wire);
    return Error::kNone;
}

// ---- Files
// -----------------------------------------------------------------------------------------

// -1: EMFILE.
int Kernel::open_file(File file) {
    for (uint32_t fd = kFirstFile; fd < files_.size(); ++fd) {
        if (files_[fd].kind != File::Kind::kFree) continue;
        files_[fd] = file;
        ++open_;
        return static_cast<int>(fd);
    }
    return -1;
}

Wire& Kernel::wire_of(int fd) {
    MQTTD_ASSERT(fd >= 0 && static_cast<size_t>(fd) < files_.size());
    File& file = files_[static_cast<size_t>(fd)];
    MQTTD_ASSERT(file.kind == File::Kind::kWire);
    return *file.wire;
}

Result<int> Kernel::listen(bool unix_socket) {
    ListeningSocket& listener = listeners_[unix_socket];
    if (listener.fd >= 0) return Error::kAddressInUse;
    File file;
    file.kind = File::Kind::kListener;
    file.listener = unix_socket;
    listener.fd = open_file(file);
    if (listener.fd < 0) return Error::kProcessFiles;
    return listener.fd;
}

void Kernel::watch_listener(int fd, uint64_t token) {
    const File& file = files_[static_cast<size_t>(fd)];
    MQTTD_ASSERT(file.kind == File::Kind::kListener);
    listeners_[file.listener].token = token;
}

// Only TCP knows it.
uint32_t Kernel::waiting(int fd) const {
    const File& listening = files_[static_cast<size_t>(fd)];
    MQTTD_ASSERT(listening.kind == File::Kind::kListener);
    const bool unix_socket = listening.listener == 1;
    return unix_socket ? 0 : static_cast<uint32_t>(listeners_[0].backlog.size());
}

Result<Sockets::Accepted> Kernel::accept(int fd) {
    ++calls_;
    const File& listening = files_[static_cast<size_t>(fd)];
    MQTTD_ASSERT(listening.kind == File::Kind::kListener);
    ListeningSocket& listener = listeners_[listening.listener];
    if (listener.backlog.empty()) return Error::kWouldBlock;
    Wire& wire = *listener.backlog.front();
    if (chance(weather.accept_failure)) {
        if (chance(500)) return Error::kSystemFiles;
        listener.backlog.pop_front();
        wire.lost = wire.server_gone = wire.accepted = true;
        return Error::kReset;
    }
    File file;
    file.kind = File::Kind::kWire;
    file.wire = &wire;
    wire.fd = open_file(file);
    if (wire.fd < 0) return Error::kProcessFiles;
    listener.backlog.pop_front();
    wire.accepted = true;
    Sockets::Accepted accepted;
    accepted.fd = wire.fd;
    accepted.peer.family = wire.unix_socket ? Peer::kUnix : Peer::kIpv4;
    accepted.peer.address[0] = 127;
    accepted.peer.address[3] = 1;
    accepted.peer.port = static_cast<uint16_t>(wire.id);
    return accepted;
}

Result<int> Kernel::open_reserve() {
    File file;
    file.kind = File::Kind::kOther;
    const int fd = open_file(file);
    if (fd < 0) return Error::kProcessFiles;
    return fd;
}

void Kernel::close(int fd) {
    ++calls_;
    MQTTD_ASSERT(fd >= 0 && files_[static_cast<size_t>(fd)].kind != File::Kind::kFree);
    File file = files_[static_cast<size_t>(fd)];
    files_[static_cast<size_t>(fd)] = {};
    --open_;
    if (file.kind == File::Kind::kListener) {
        ListeningSocket& listener = listeners_[file.listener];
        for (Wire* wire : listener.backlog)
            wire->lost = wire->server_gone = wire->accepted = true;
        listener = {};
    }
    if (file.kind != File::Kind::kWire) return;
    Wire& wire = *file.wire;
    if (wire.queued) std::erase(edges_, &wire);
    wire.queued = wire.watched = false;
    if (chance(weather.stale_event)) ghosts_.push_back(wire.token);
    wire.fd = -1;
    wire.server_gone = true;
    // With unread input it is a reset, which may overtake what was sent before.
    if (!wire.inbox.empty() && !wire.reset) {
        wire.lost = true;
        if (chance(500)) wire.down.clear();
    }
    if (wire.reset) wire.lost = true;
}

// ---- Traffic
// ---------------------------------------------------------------------------------------

Result<uint32_t> Kernel::receive(int fd, uint8_t* to, uint32_t room) {
    ++calls_;
    Wire& wire = wire_of(fd);
    if (wire.reset) {
        if (wire.error_told) return uint32_t{0};
        wire.error_told = true;
        return Error::kReset;
    }
    if (wire.inbox.empty()) {
        if (wire.fin) return uint32_t{0};
        return Error::kWouldBlock;
    }
    uint32_t size = static_cast<uint32_t>(std::min<size_t>(room, wire.inbox.size()));
    if (wire.unix_socket) {
        size = std::min(size, wire.borders.front());
        wire.borders.front() -= size;
        if (wire.borders.front() == 0) wire.borders.pop_front();
    }
    std::memcpy(to, wire.inbox.view().data(), size);
    wire.inbox.drop(size);
    return size;
}

Result<uint64_t> Kernel::send(int fd, std::span<const Piece> pieces) {
    ++calls_;
    Wire& wire = wire_of(fd);
    if (wire.reset) {
        if (wire.error_told) return Error::kEndOfFile;
        wire.error_told = true;
        return Error::kReset;
    }
    MQTTD_ASSERT(!wire.down_fin);
    uint64_t wanted = 0;
    for (const Piece& piece : pieces)
        wanted += piece.size;
    MQTTD_ASSERT(wanted > 0);
    const uint64_t room = wire.no_room || wire.down.size() >= weather.send_room
                              ? 0
                              : weather.send_room - wire.down.size();
    uint64_t size = std::min(room, wanted);
    if (size > 0 && chance(weather.short_write)) {
        size = dice_.below(static_cast<uint32_t>(std::min<uint64_t>(size, 1u << 30)));
    }
    uint64_t left = size;
    for (const Piece& piece : pieces) {
        const size_t part = std::min<uint64_t>(left, piece.size);
        if (part == 0) break;
        wire.down.append({static_cast<const char*>(piece.data), part});
        left -= part;
    }
    if (size < wanted) wire.no_room = true;
    if (size == 0) return Error::kWouldBlock;
    return size;
}

Error Kernel::take_error(int fd) {
    ++calls_;
    Wire& wire = wire_of(fd);
    if (!wire.reset || wire.error_told) return Error::kNone;
    wire.error_told = true;
    return Error::kReset;
}

void Kernel::shutdown_write(int fd) {
    ++calls_;
    wire_of(fd).down_fin = true;
}

}  // namespace mqttd::sim
