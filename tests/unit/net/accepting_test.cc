#include "unit/net/world.h"

#include <sys/resource.h>

namespace mqttd {

using namespace net_test;

namespace {

// Lets this process open `count` more descriptors, for the life of this object.
class FileLimit {
  public:
    explicit FileLimit(rlim_t count) {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        std::vector<int> free;
        for (rlim_t i = 0; i <= count; ++i)
            free.push_back(::dup(0));
        rlimit lowered = before_;
        lowered.rlim_cur = static_cast<rlim_t>(free.back());
        for (const int fd : free)
            ::close(fd);
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &lowered) == 0);
    }

    ~FileLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

  private:
    rlimit before_ = {};
};

}  // namespace

TEST_CASE("a listener cut by its batch goes on without a further edge", "[net][accept]") {
    World world;
    world.listen({.accept_batch = 4});
    std::vector<Client> clients(10);
    for (Client& client : clients)
        REQUIRE(client.connect(world.port));
    REQUIRE(world.until([&] { return !world.handler.links.empty(); }));
    CHECK(world.handler.links.size() == 4);
    CHECK(!world.net.idle());
    const uint64_t events = world.net.stats().events;
    world.net.begin_turn(world.now);
    world.net.accept();
    CHECK(world.handler.links.size() == 8);
    world.net.accept();
    CHECK(world.handler.links.size() == 10);
    CHECK(world.net.stats().events == events);
}

TEST_CASE("where the number of waiting clients is known none is accepted in vain",
          "[net][accept]") {
    // An accept that finds nobody costs more than one that does not look; and who comes later
    // brings an edge, whatever was counted before.
    World world;
    world.listen({.accept_batch = 4});
    for (size_t round = 1; round <= 3; ++round) {
        std::vector<Client> clients(5);
        for (Client& client : clients)
            REQUIRE(client.connect(world.port));
        REQUIRE(world.until([&] { return world.handler.links.size() == 5 * round; }));
        world.settle();
        CHECK(world.net.stats().accepts == 5 * round);
    }
    // On a Unix socket nobody says how many: the last try finds nothing.
    const std::string path = world.listen_unix({.index = 1});
    std::vector<Client> clients;
    for (size_t i = 0; i < 3; ++i) {
        clients.emplace_back(AF_UNIX);
        REQUIRE(clients.back().connect(path));
    }
    REQUIRE(world.until([&] { return world.handler.links.size() == 18; }));
    CHECK(world.net.stats().accepts == 19);
}

TEST_CASE("where a connection comes from is known", "[net][accept]") {
    World world;
    world.listen({.index = 7});
    Client client = world.join();
    const Peer peer = world.link(0).arrival.peer;
    CHECK(world.link(0).arrival.listener == 7);
    CHECK(peer.family == Peer::kIpv4);
    CHECK((peer.address[0] == 127 && peer.address[3] == 1));
    sockaddr_in name = {};
    socklen_t size = sizeof(name);
    ::getsockname(client.fd, reinterpret_cast<sockaddr*>(&name), &size);
    CHECK(peer.port == ntohs(name.sin_port));
    CHECK(world.net.peer(*world.link(0).outbox).port == peer.port);
}

TEST_CASE("above a cap there are refusal slots, above those the door closes", "[net][accept]") {
    // The protocol can answer "server busy" to a few; a flood costs accept and close.
    World world(NetOptions{.refusal_slots = 1});
    world.listen({.max_connections = 2});
    Client a = world.join();
    Client b = world.join();
    CHECK(!world.link(1).arrival.refused);
    Client c = world.join();
    CHECK(world.link(2).arrival.refused);
    Client d;
    REQUIRE(d.connect(world.port));
    REQUIRE(world.until([&] { return d.read().empty() && (d.over || d.error != 0); }));
    CHECK(world.net.stats().accept_refused == 1);
    CHECK(world.handler.links.size() == 3);

    a.close();
    c.close();
    REQUIRE(world.until([&] { return world.net.connections() == 1; }));
    Client e = world.join();
    CHECK(!world.link(3).arrival.refused);
    Client f = world.join();
    CHECK(world.link(4).arrival.refused);
}

TEST_CASE("max_connections of the process holds over all listeners", "[net][accept]") {
    World world(NetOptions{.max_connections = 2, .refusal_slots = 4});
    world.listen({.index = 0});
    Client a = world.join();
    world.listen({.index = 1});
    Client b = world.join();
    Client c = world.join();
    CHECK(!world.link(1).arrival.refused);
    CHECK(world.link(2).arrival.refused);
}

TEST_CASE("out of descriptors the loop idles and serves", "[net][accept]") {
    // No spinning on a listener that cannot be served; old clients are; and when one leaves, the
    // next one is let in.
    World world;
    world.listen();
    std::vector<Client> clients(5);
    FileLimit limit(2);
    for (size_t i = 0; i < 2; ++i)
        REQUIRE(clients[i].connect(world.port));
    REQUIRE(world.until([&] { return world.handler.links.size() == 2; }));
    REQUIRE(clients[2].connect(world.port));
    REQUIRE(world.until([&] { return world.net.stats().accept_no_files > 0; }));
    world.settle();
    CHECK(clients[2].read().empty());
    CHECK((clients[2].over || clients[2].error != 0));  // told by means of the reserve
    CHECK(world.log_lines == 1);

    const uint64_t accepts = world.net.stats().accepts;
    for (int turn = 0; turn < 20; ++turn) {
        CHECK(world.net.idle());
        world.turn();
    }
    CHECK(world.net.stats().accepts == accepts);
    CHECK(world.net.next_deadline() == kNever);
    clients[0].send(packet("still here"));
    REQUIRE(world.until([&] { return world.link(0).packets.size() == 1; }));

    clients[1].close();
    REQUIRE(world.until([&] { return world.net.connections() == 1; }));
    REQUIRE(clients[3].connect(world.port));
    REQUIRE(world.until([&] { return world.handler.links.size() == 3; }));
    clients[3].send(packet("new"));
    REQUIRE(world.until([&] { return world.link(2).packets.size() == 1; }));
}

TEST_CASE("a waiting client is let in when a descriptor is freed", "[net][accept]") {
    // No edge will bring the listener back. One of those who wait was told off with the reserve.
    World world;
    world.listen();
    std::vector<Client> clients(4);
    FileLimit limit(1);
    REQUIRE(clients[0].connect(world.port));
    REQUIRE(world.until([&] { return world.handler.links.size() == 1; }));
    for (size_t i = 1; i < 4; ++i)
        REQUIRE(clients[i].connect(world.port));
    REQUIRE(world.until([&] { return world.net.stats().accept_no_files > 0; }));
    world.settle();
    clients[0].send(packet("x"));
    clients[0].close();
    REQUIRE(world.until([&] { return world.handler.links.size() >= 2; }));
}

TEST_CASE("lingerers go first when descriptors are short", "[net][accept]") {
    World world;
    world.listen();
    std::vector<Client> clients(2);
    FileLimit limit(1);
    REQUIRE(clients[0].connect(world.port));
    REQUIRE(world.until([&] { return world.handler.links.size() == 1; }));
    world.net.close(*world.link(0).outbox, Error::kAdministrative);
    world.turn();
    REQUIRE(world.net.connections() == 1);
    REQUIRE(clients[1].connect(world.port));
    REQUIRE(world.until([&] { return world.handler.links.size() == 2; }));
    CHECK(world.net.counters().linger_cut == 1);
}

TEST_CASE("other descriptors of the loop are told by their id", "[net]") {
    World world;
    int ends[2];
    REQUIRE(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
    REQUIRE(world.net.watch(ends[0], 3) == Error::kNone);
    world.turn();
    CHECK(!world.net.take_watched(3));
    REQUIRE(::write(ends[1], "x", 1) == 1);
    world.turn(1000);
    CHECK(world.net.take_watched(3));
    CHECK(!world.net.take_watched(3));
    world.turn();
    CHECK(world.net.take_watched(3));  // as long as it is readable
    world.net.unwatch(ends[0]);
    world.turn();
    CHECK(!world.net.take_watched(3));
    ::close(ends[0]);
    ::close(ends[1]);
}

}  // namespace mqttd
