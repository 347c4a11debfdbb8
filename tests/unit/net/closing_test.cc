#include "unit/net/world.h"

#include <netinet/tcp.h>

namespace mqttd {

using namespace net_test;

TEST_CASE("a closed link's last bytes reach a peer that is still sending", "[net][close]") {
    // close() with unread input would send a reset, which overtakes the reason. So it lingers.
    World world;
    world.listen();
    Client client = world.join();
    world.handler.on_packet = [&](Link& link, const Range&) {
        world.say(link, "go away");
        world.net.close(*link.outbox, Error::kPacketTooLarge);
    };
    const std::string noise(20'000, 'n');
    client.send(packet("first") + noise);
    world.turn(1);
    REQUIRE(world.until([&] { return world.link(0).closes == 1; }));
    CHECK(world.link(0).why == Error::kPacketTooLarge);
    CHECK(world.link(0).packets.size() == 1);
    for (int i = 0; i < 20; ++i) {
        REQUIRE(client.send(noise) > 0);
        world.turn(1);
    }
    CHECK(client.read() == "go away");
    CHECK(client.over);
    CHECK(client.error == 0);
    CHECK(world.net.stats().lingering == 1);
    client.close();
    REQUIRE(world.until([&] { return world.net.connections() == 0; }));
    CHECK(world.net.counters().linger_cut == 0);
}

TEST_CASE("lingering ends after its time", "[net][close]") {
    // A peer that neither reads nor closes keeps its descriptor for two seconds, no longer.
    World world;
    world.listen();
    Client client = world.join();
    world.net.close(*world.link(0).outbox, Error::kKeepAliveTimeout);
    world.turn();
    REQUIRE(world.link(0).closes == 1);
    world.settle();
    CHECK(world.net.idle());
    CHECK(world.net.next_deadline() == world.now + 2000);
    world.now += 1999;
    world.turn();
    CHECK(world.net.connections() == 1);
    world.now += 1;
    world.turn();
    CHECK(world.net.connections() == 0);
    CHECK(world.net.next_deadline() == kNever);
    CHECK(world.net.counters().linger_cut == 1);
}

TEST_CASE("the user timeout is set when closing begins, not before", "[net][close]") {
    // In use it would cut a reader that pauses: it counts a shut window, too.
    for (const uint32_t timeout_ms : {0u, 1u, 12'345u}) {
        World world;
        ListenOptions options;
        options.user_timeout_ms = timeout_ms;
        world.listen({.index = 3}, options);
        Client client = world.join();
        const int fd = World::connection(world.link(0)).fd;
        const auto value = [&] {
            uint32_t milliseconds = ~0u;
            socklen_t size = sizeof(milliseconds);
            ::getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, &size);
            return milliseconds;
        };
        CHECK(value() == 0);
        world.net.close(*world.link(0).outbox, Error::kAdministrative);
        world.turn();
        REQUIRE(world.net.connections() == 1);
        CHECK(value() == timeout_ms);
    }
}

TEST_CASE("lingering ends after its bytes", "[net][close]") {
    // A peer that sends for ever is cut off after 1 MiB.
    World world;
    world.listen();
    Client client = world.join();
    world.net.close(*world.link(0).outbox, Error::kProtocolError);
    world.turn();
    size_t sent = 0;
    REQUIRE(world.until([&] {
        sent += client.send(std::string(50'000, 'x'));
        return world.net.connections() == 0;
    }));
    CHECK(sent >= 1u << 20);
    CHECK(world.net.counters().linger_cut == 1);
}

TEST_CASE("an outbox that does not leave bounds the closing, too", "[net][close]") {
    // Two seconds in all, blocked or not; and what leaves in time arrives.
    for (const bool reads : {false, true}) {
        World world;
        world.listen();
        Client client = world.join();
        const std::string text(2u << 20, 't');
        for (size_t at = 0; at < text.size(); at += 32'768) {
            world.say(world.link(0), text.substr(at, 32'768));
        }
        world.net.close(*world.link(0).outbox, Error::kAdministrative);
        world.turn();
        CHECK(world.link(0).closes == 1);
        if (reads) {
            std::string got;
            REQUIRE(world.until([&] {
                got += client.read();
                return client.over || client.error != 0;
            }));
            CHECK((got == text));
            client.close();
            REQUIRE(world.until([&] { return world.net.connections() == 0; }));
        } else {
            world.settle();
            CHECK(world.net.connections() == 1);
            world.now += 2000;
            world.turn();
            CHECK(world.net.connections() == 0);
        }
    }
}

TEST_CASE("a peer that said good-bye is closed without lingering", "[net][close]") {
    // The common case, a DISCONNECT: what is in the outbox leaves, then the socket closes.
    World world;
    world.listen();
    Client client = world.join();
    world.handler.on_packet = [&](Link& link, const Range&) {
        world.say(link, "ack");
        world.net.close(*link.outbox, Error::kEndOfFile);
    };
    client.send(packet("bye"));
    REQUIRE(world.until([&] { return world.net.connections() == 0; }));
    CHECK(client.read() == "ack");
    CHECK(client.over);
    CHECK(world.net.stats().lingering == 0);
}

TEST_CASE("what a peer that said good-bye has not read yet still leaves", "[net][close]") {
    World world;
    world.listen();
    Client client = world.join();
    const std::string text(2u << 20, 't');
    for (size_t at = 0; at < text.size(); at += 32'768) {
        world.say(world.link(0), text.substr(at, 32'768));
    }
    world.net.close(*world.link(0).outbox, Error::kNone);
    std::string got;
    REQUIRE(world.until([&] {
        got += client.read();
        return client.over || client.error != 0;
    }));
    CHECK((got == text));
}

TEST_CASE("no input is processed after close, and closed is told once", "[net][close]") {
    // Not from within receive; the handler's REQUIREs see to it.
    World world;
    world.listen();
    Client client = world.join();
    world.handler.on_packet = [&](Link& link, const Range&) {
        world.net.close(*link.outbox, Error::kProtocolError);
        world.net.close(*link.outbox, Error::kAdministrative);
        world.net.resume(*link.outbox);
    };
    client.send(packet("bad"));
    REQUIRE(world.until([&] { return world.link(0).closes == 1; }));
    client.send(packet("more"));
    client.close();
    REQUIRE(world.until([&] { return world.net.connections() == 0; }));
    CHECK(world.link(0).packets.size() == 1);
    CHECK(world.link(0).why == Error::kProtocolError);
}

TEST_CASE("a link may be closed while another is served, or while it is opened", "[net][close]") {
    World world;
    world.listen();
    Client a = world.join();
    Client b = world.join();
    world.handler.on_packet = [&](Link&, const Range&) {
        for (auto& link : world.handler.links) {
            if (link->outbox != nullptr) world.net.close(*link->outbox, Error::kSessionTakenOver);
        }
    };
    a.send(packet("x"));
    b.send(packet("x"));
    REQUIRE(world.until([&] { return world.link(0).closes + world.link(1).closes == 2; }));
    CHECK(world.link(0).packets.size() + world.link(1).packets.size() == 1);

    world.handler.on_open = [&](Link& link) { world.net.close(*link.outbox, Error::kServerBusy); };
    Client c;
    REQUIRE(c.connect(world.port));
    REQUIRE(world.until([&] { return c.read().empty() && c.over; }));
    CHECK(world.link(2).closes == 1);

    world.handler.on_open = nullptr;
    world.handler.refuse = true;
    Client d;
    REQUIRE(d.connect(world.port));
    REQUIRE(world.until([&] { return d.read().empty() && d.over; }));
    CHECK(world.handler.links.size() == 3);
}

TEST_CASE("lingerers are bounded and the oldest goes first", "[net][close]") {
    // 5 % of the descriptors.
    World world(NetOptions{.files_limit = 200});
    world.listen();
    std::vector<Client> clients;
    for (int i = 0; i < 14; ++i)
        clients.push_back(world.join());
    for (size_t i = 0; i < 14; ++i) {
        world.net.close(*world.link(i).outbox, Error::kAdministrative);
        world.turn();
    }
    CHECK(world.net.connections() == 10);
    CHECK(world.net.counters().linger_cut == 4);
    for (size_t i = 0; i < 4; ++i)
        CHECK(clients[i].send("x") + clients[i].send("y") >= 1);
}

TEST_CASE("close_all ends every link, sliced", "[net][close]") {
    World world;
    world.listen();
    std::vector<Client> clients;
    for (int i = 0; i < 20; ++i)
        clients.push_back(world.join());
    CHECK(world.net.open_links() == 20);
    world.net.stop_listening();
    CHECK(world.net.close_all(Error::kShuttingDown));
    world.turn();
    CHECK(world.net.open_links() == 0);
    for (size_t i = 0; i < 20; ++i)
        CHECK(world.link(i).why == Error::kShuttingDown);
    clients.clear();
    CHECK(world.until([&] { return world.net.connections() == 0; }));
    Client late;
    late.connect(world.port);
    late.read();
    CHECK(late.error == ECONNREFUSED);
}

}  // namespace mqttd
