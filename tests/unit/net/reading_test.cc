#include "unit/net/world.h"

namespace mqttd {

using namespace net_test;

TEST_CASE("data and FIN in one edge are both seen", "[net][edge]") {
    // The edge tells both at once and none follows: a short read must not end the visit.
    World world;
    world.listen();
    Client client = world.join();
    client.send(packet("last words"));
    client.close();
    REQUIRE(world.until([&] { return world.link(0).closes == 1; }));
    CHECK(world.link(0).packets == std::vector<std::string>{"last words"});
    CHECK(world.link(0).why == Error::kEndOfFile);
}

TEST_CASE("RDHUP with unread data: everything before the FIN is processed", "[net][edge]") {
    // RDHUP is a hint to read, never a reason to close, also when the input takes several visits.
    NetOptions options;
    options.read_max = 4096;
    World world(options);
    world.listen();
    Client client = world.join();
    std::string sent;
    while (sent.size() < 100'000) {
        const std::string body(777, static_cast<char>('a' + sent.size() % 26));
        REQUIRE(client.send(packet(body)) == body.size() + 4);
        sent += body;
    }
    client.close();
    REQUIRE(world.until([&] { return world.link(0).closes == 1; }));
    CHECK(world.link(0).all == sent);
    CHECK(world.link(0).why == Error::kEndOfFile);
}

TEST_CASE("an urgent byte in mid-stream hides nothing behind it", "[net][edge]") {
    // A read stops at the mark, which looks like "drained"; the urgent byte belongs to the stream.
    World world;
    world.listen();
    Client client = world.join();
    const std::string bytes = packet("0123456789abcdefghij");
    client.send(bytes.substr(0, 10));
    REQUIRE(client.send(bytes.substr(10, 1), MSG_OOB) == 1);
    client.send(bytes.substr(11));
    REQUIRE(world.until([&] { return world.link(0).packets.size() == 1; }));
    CHECK(world.link(0).all == "0123456789abcdefghij");
}

TEST_CASE("a descriptor passed along a Unix socket is closed and hides nothing", "[net][edge]") {
    // Its message ends a read early without a further edge; and nobody may fill our table.
    World world;
    const std::string path = world.listen_unix();
    Client client(AF_UNIX);
    REQUIRE(client.connect(path));
    REQUIRE(world.until([&] { return world.handler.links.size() == 1; }));
    world.settle();

    int ends[2];
    REQUIRE(::pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0);
    const std::string bytes = packet("0123456789abcdefghij0123456789");
    client.send(bytes.substr(0, 10));
    std::string middle = bytes.substr(10, 10);
    iovec piece = {middle.data(), middle.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &ends[1], sizeof(int));
    REQUIRE(::sendmsg(client.fd, &message, 0) == 10);
    client.send(bytes.substr(20));
    ::close(ends[1]);

    REQUIRE(world.until([&] { return world.link(0).packets.size() == 1; }));
    CHECK(world.link(0).all == "0123456789abcdefghij0123456789");
    CHECK(world.net.counters().descriptors_refused == 1);
    char byte = 0;
    CHECK(::read(ends[0], &byte, 1) == 0);  // no writer is left anywhere
    ::close(ends[0]);
}

TEST_CASE("an event about a closed socket that is open elsewhere is ignored", "[net][edge]") {
    // A duplicate keeps the old registration alive; its token must not reach the descriptor's heir.
    World world;
    world.listen();
    Client old_client = world.join();
    const int fd = World::connection(world.link(0)).fd;
    const int duplicate = ::dup(fd);
    REQUIRE(duplicate > fd);
    Client client;  // takes its own descriptor first, so that the next accept gets the freed one
    world.net.close(*world.link(0).outbox, Error::kNone);
    world.turn();
    REQUIRE(world.link(0).closes == 1);

    REQUIRE(client.connect(world.port));
    REQUIRE(world.until([&] { return world.handler.links.size() == 2; }));
    world.settle();
    REQUIRE(World::connection(world.link(1)).fd == fd);
    CHECK(world.net.stats().stale_events == 0);
    old_client.send(packet("to the dead"));
    REQUIRE(world.until([&] { return world.net.stats().stale_events > 0; }));
    world.settle();
    CHECK(world.link(1).receives == 0);
    client.send(packet("to the living"));
    REQUIRE(world.until([&] { return world.link(1).packets.size() == 1; }));
    ::close(duplicate);
}

TEST_CASE("a link cut off by the budget goes on without a further edge", "[net][edge]") {
    // The edge was told once; what the budget left must come by itself in the next turns.
    World world;
    world.listen();
    Client client = world.join();
    world.units_per_turn = 3;
    std::string all;
    std::string bytes;
    for (char c = 'a'; c < 'k'; ++c) {
        all += c;
        bytes += packet(std::string(1, c));
    }
    client.send(bytes);
    REQUIRE(world.until([&] { return !world.link(0).packets.empty(); }));
    const uint64_t events = world.net.stats().events;
    for (int turn = 0; turn < 3; ++turn) {
        CHECK(!world.net.idle());
        world.turn();
    }
    CHECK(world.link(0).all == all);
    CHECK(world.net.stats().events == events);
    world.settle();
    CHECK(world.net.stats().pending_input_bytes == 0);
}

TEST_CASE("a turn reads a bounded amount and the rest first in the next turn", "[net]") {
    // Fairness between links: FIFO, nobody is served twice before all were served once.
    NetOptions options;
    options.turn_read_max = 64 * 1024;
    options.read_max = 16 * 1024;
    World world(options);
    world.listen();
    std::vector<Client> clients;
    for (int i = 0; i < 8; ++i)
        clients.push_back(world.join());
    const std::string bytes = packet(std::string(1020, 'x'));
    for (Client& client : clients) {
        for (int i = 0; i < 40; ++i)
            client.send(bytes);
    }
    const uint64_t before = world.net.stats().read_bytes;
    world.turn();
    const uint64_t first = world.net.stats().read_bytes - before;
    CHECK(first <= 64 * 1024 + 16 * 1024);
    world.turn();
    for (size_t i = 0; i < clients.size(); ++i)
        CHECK(world.link(i).packets.size() >= 16);
    REQUIRE(world.until([&] {
        for (size_t i = 0; i < clients.size(); ++i) {
            if (world.link(i).packets.size() < 40) return false;
        }
        return true;
    }));
}

TEST_CASE("what links leave of their shares goes to the others in the same turn", "[net]") {
    // Many that have little to say must not make the one with much to say wait: it is visited again
    // once all have been visited, and only it.
    World world;
    world.listen();
    std::vector<Client> clients;
    for (int i = 0; i < 5; ++i)
        clients.push_back(world.join());
    std::vector<uint32_t> shares;
    const auto allow = [&](uint32_t packets) {
        for (const auto& link : world.handler.links) {
            link->stop = StopReason::kBudget;
            link->allowance = packets;
        }
    };
    world.handler.on_share = [&](uint32_t links) {
        shares.push_back(links);
        allow(links == 1 ? 4 : 2);
    };
    allow(1);
    std::string ten;
    for (int i = 0; i < 10; ++i)
        ten += packet("x");
    clients[1].send(ten);
    clients[3].send(packet("x") + packet("x") + packet("x"));
    for (const size_t i : {0u, 2u, 4u})
        clients[i].send(packet("x"));
    world.turn();
    // One packet each; then two more for both; then four at a time for what is left of the first.
    CHECK(shares == std::vector<uint32_t>{2, 1, 1});
    CHECK(world.link(1).packets.size() == 10);
    CHECK(world.link(3).packets.size() == 3);
    for (const size_t i : {0u, 2u, 4u}) {
        CHECK(world.link(i).packets.size() == 1);
        CHECK(world.link(i).receives == 1);
    }

    // Not for ever: the rest comes in the next turn, after new events have been looked for.
    world.handler.on_share = [&](uint32_t) { allow(1); };
    allow(1);
    clients[1].send(ten);
    world.turn();
    CHECK(world.link(1).packets.size() == 10 + Net::kRounds);
    CHECK(!world.net.idle());
    world.settle();
    CHECK(world.link(1).packets.size() == 20);

    // Nor past the turn's units.
    world.units_per_turn = 3;
    clients[1].send(ten);
    world.turn();
    CHECK(world.link(1).packets.size() == 23);
    world.units_per_turn = 0xffffffff;
    world.settle();
    CHECK(world.link(1).packets.size() == 30);
}

TEST_CASE("a stopped link is not read until it is resumed", "[net][edge]") {
    // Parked, journal and the like: input waits in order, its socket fills, no event is lost.
    World world;
    world.listen();
    Client client = world.join();
    Link& link = world.link(0);
    link.stop = StopReason::kParked;
    link.allowance = 1;
    client.send(packet("connect") + packet("one") + packet("two"));
    REQUIRE(world.until([&] { return link.packets.size() == 1; }));
    CHECK(world.net.stats().pending_input_bytes == 14);
    CHECK(world.net.input_waiting(*link.outbox));
    world.settle();
    const uint64_t reads = world.net.stats().reads;
    client.send(packet("three"));
    world.settle();
    CHECK(world.net.idle());
    CHECK(world.net.stats().reads == reads);
    CHECK(link.packets.size() == 1);

    link.allowance = 100;
    world.net.resume(*link.outbox);
    CHECK(!world.net.idle());
    world.turn();
    CHECK(link.all == "connectonetwothree");
    CHECK(world.net.stats().pending_input_bytes == 0);
    CHECK(!world.net.input_waiting(*link.outbox));
}

TEST_CASE("a link that stops again and again loses and repeats nothing", "[net]") {
    // One packet per resume, while more input arrives in odd pieces.
    World world;
    world.listen();
    Client client = world.join();
    Link& link = world.link(0);
    link.stop = StopReason::kRate;
    link.allowance = 0;
    std::string bytes;
    std::string all;
    for (int i = 0; i < 50; ++i) {
        const std::string body(static_cast<size_t>(i * 37 % 500), static_cast<char>('a' + i % 26));
        all += body;
        bytes += packet(body);
    }
    for (size_t at = 0; link.packets.size() < 50;) {
        at += client.send(bytes.substr(std::min(at, bytes.size()), 333));
        world.turn(0);
        link.allowance = 1;
        world.net.resume(*link.outbox);
        world.turn(1);
        REQUIRE(link.receives < 2000);
    }
    CHECK(link.all == all);
    CHECK(world.net.stats().pending_input_bytes == 0);
}

TEST_CASE("a peer that closes its writing side still gets its answer", "[net][edge]") {
    // Half-close: the end of file is met after the request was processed and answered.
    World world;
    world.listen();
    Client client = world.join();
    world.handler.on_packet = [&](Link& link, const Range&) { world.say(link, "answer"); };
    client.send(packet("question"));
    client.half_close();
    std::string got;
    REQUIRE(world.until([&] {
        got += client.read();
        return client.over;
    }));
    CHECK(got == "answer");
    CHECK(world.link(0).why == Error::kEndOfFile);
}

TEST_CASE("what a peer sent before its reset is processed", "[net][edge]") {
    // ERR and HUP are hints to read, too.
    World world;
    world.listen();
    Client client = world.join();
    client.send(packet("last words"));
    client.reset();
    REQUIRE(world.until([&] { return world.link(0).closes == 1; }));
    CHECK(world.link(0).all == "last words");
    CHECK(world.link(0).why == Error::kReset);
}

TEST_CASE("packets cut at every byte arrive whole and in place",
          "[net][MQTT-7.1.1-1][MQTT5-4.2-1]") {
    // The unfinished part is kept aside and put in front of the next read, for TCP and Unix
    // sockets.
    const std::string bytes =
        packet("") + packet("ab") + packet(std::string(40, 'c')) + packet("d");
    const std::string all = "ab" + std::string(40, 'c') + "d";
    for (const bool local : {false, true}) {
        World world;
        std::string path;
        if (local) {
            path = world.listen_unix();
        } else {
            world.listen();
        }
        for (size_t cut = 0; cut <= bytes.size(); ++cut) {
            Client client(local ? AF_UNIX : AF_INET);
            REQUIRE((local ? client.connect(path) : client.connect(world.port)));
            const size_t i = world.handler.links.size();
            REQUIRE(world.until([&] { return world.handler.links.size() > i; }));
            client.send(bytes.substr(0, cut));
            const uint64_t read = world.net.stats().read_bytes + cut;
            REQUIRE(world.until([&] { return world.net.stats().read_bytes == read; }));
            client.send(bytes.substr(cut));
            REQUIRE(world.until([&] { return world.link(i).packets.size() == 4; }));
            REQUIRE(world.link(i).all == all);
            REQUIRE(world.net.stats().pending_input_bytes == 0);
        }
    }
}

TEST_CASE("a stream sent byte by byte arrives", "[net]") {
    // Every boundary at once: the block kept aside is replaced by a longer one each time.
    World world;
    world.listen();
    Client client = world.join();
    const std::string bytes = packet("hello") + packet(std::string(20, 'x'));
    for (const char byte : bytes) {
        const uint64_t read = world.net.stats().read_bytes + 1;
        client.send(std::string(1, byte));
        REQUIRE(world.until([&] { return world.net.stats().read_bytes == read; }));
    }
    CHECK(world.link(0).all == "hello" + std::string(20, 'x'));
}

TEST_CASE("many links share one inbound segment and none pins it", "[net]") {
    // Each leaves half a packet; the tail is rewound because nobody kept a range.
    World world;
    world.listen();
    std::vector<Client> clients;
    for (int i = 0; i < 10; ++i)
        clients.push_back(world.join());
    const uint64_t pages = world.arena.pages_used();
    for (int round = 0; round < 20; ++round) {
        for (Client& client : clients)
            client.send(packet(std::string(3000, 'x')).substr(0, 2000));
        world.settle();
        for (Client& client : clients)
            client.send(packet(std::string(3000, 'x')).substr(2000));
        world.settle();
    }
    for (size_t i = 0; i < clients.size(); ++i)
        CHECK(world.link(i).packets.size() == 20);
    CHECK(world.arena.pages_used() <= pages + 2);
    CHECK(world.net.stats().pending_input_bytes == 0);
}

TEST_CASE("whole packets cost no allocation", "[net]") {
    // Steady state: the inbound segment is rewound, not replaced.
    World world;
    world.listen();
    Client client = world.join();
    world.handler.keep_text = false;
    const uint64_t before = world.arena.allocations();
    for (int i = 0; i < 40; ++i) {
        client.send(packet(std::string(4000, 'x')));
        const uint64_t read = 4004 * (static_cast<uint64_t>(i) + 1);
        REQUIRE(world.until([&] { return world.net.stats().read_bytes == read; }));
    }
    CHECK(world.link(0).receives == 40);
    CHECK(world.arena.allocations() == before);
}

TEST_CASE("a large packet is handed over in its own block, uncopied", "[net]") {
    // 10 MiB: the block grows with what has arrived, and never past twice that.
    World world;
    world.listen();
    Client client = world.join();
    world.handler.keep_text = false;
    const uint64_t before = world.arena.bytes_used();
    std::string body(10u << 20, '\0');
    for (size_t i = 0; i < body.size(); ++i)
        body[i] = static_cast<char>(i * 7 + (i >> 12));
    const std::string bytes = packet(body) + packet("next");
    std::vector<uint32_t> sizes;
    bool same = false;
    bool shared = true;
    world.handler.on_packet = [&](Link&, const Range& range) {
        sizes.push_back(range.size());
        if (range.size() < 100) return;
        same = as_text(bytes_of(range)) == body;
        shared = range.segment->shared;
    };
    size_t at = 0;
    uint64_t worst = 0;
    REQUIRE(world.until([&] {
        at += client.send(bytes.substr(at, 300'000));
        const uint64_t arrived = world.net.stats().pending_input_bytes;
        const uint64_t used = world.arena.bytes_used() - before;
        if (used > 2 * arrived) worst = std::max(worst, used - 2 * arrived);
        return sizes.size() == 2;
    }));
    CHECK(same);
    CHECK(!shared);
    CHECK(sizes[1] == 4);
    CHECK(worst <= 2 * Arena::kPageBytes);
    world.settle();
    CHECK(world.arena.bytes_used() - before < 4096);
}

TEST_CASE("bytes of a packet that is under way are told to the protocol", "[net]") {
    // Not what they are, only that they came: it must not take the peer for silent. What is read
    // behind a copy of the beginning goes to `receive` anyway.
    World world;
    world.listen();
    Client client = world.join();
    const std::string bytes = packet(std::string(20'000, 'x'));
    Link& link = world.link(0);
    size_t at = 0;
    const auto some = [&](size_t size) {
        client.send(bytes.substr(at, size));
        at += std::min(size, bytes.size() - at);
        const uint64_t pending = at < bytes.size() ? at : 0;
        REQUIRE(world.until([&] { return world.net.stats().pending_input_bytes == pending; }));
        world.settle();
    };
    some(2);
    some(4'000);
    some(2'000);
    CHECK(link.receives == 3);
    CHECK(link.progresses == 0);
    some(1);
    some(5'000);
    CHECK(link.receives == 3);
    CHECK(link.progresses >= 2);
    const uint32_t before = link.progresses;
    world.net.resume(*link.outbox);  // read in vain
    world.settle();
    CHECK(link.progresses == before);
    CHECK(link.receives == 3);
    some(20'000);
    CHECK(link.receives == 4);
    CHECK(link.packets.size() == 1);
}

TEST_CASE("a claimed length costs nothing", "[net]") {
    // Slow loris: 200 MB announced, 100 bytes sent.
    World world;
    world.listen();
    Client client = world.join();
    const uint64_t before = world.arena.bytes_used();
    std::string bytes(100, 'x');
    bytes.replace(0, 4, std::string("\x0b\xeb\xc2\x00", 4));
    client.send(bytes);
    REQUIRE(world.until([&] { return world.net.stats().pending_input_bytes == 100; }));
    world.settle();
    CHECK(world.arena.bytes_used() - before < 1024);
    client.send(std::string(10'000, 'x'));
    REQUIRE(world.until([&] { return world.net.stats().pending_input_bytes == 10'100; }));
    CHECK(world.arena.bytes_used() - before < 32 * 1024);
    client.close();
    REQUIRE(world.until([&] { return world.link(0).closes == 1; }));
    CHECK(world.net.stats().pending_input_bytes == 0);
}

TEST_CASE("a new connection is read in the turn that accepts it", "[net]") {
    // With deferred accept its first bytes are there already: no further wait.
    World world;
    ListenOptions options;
    options.defer_accept = true;
    world.listen({}, options);
    Client client;
    REQUIRE(client.connect(world.port));
    client.send(packet("hello"));
    REQUIRE(world.until([&] { return world.handler.links.size() == 1; }));
    CHECK(world.link(0).packets.size() == 1);
}

TEST_CASE("resume makes a silent link be read once more", "[net]") {
    // So that keep-alive is not judged while input lies in the socket.
    World world;
    world.listen();
    Client client = world.join();
    const uint64_t reads = world.net.stats().reads;
    world.net.resume(*world.link(0).outbox);
    CHECK(world.net.input_waiting(*world.link(0).outbox));
    world.turn();
    CHECK(world.net.stats().reads == reads + 1);
    CHECK(!world.net.input_waiting(*world.link(0).outbox));
    CHECK(world.net.idle());
}

}  // namespace mqttd
