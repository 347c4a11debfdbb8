#include "unit/net/world.h"

namespace mqttd {

using namespace net_test;

namespace {

// `size` bytes of which every position can be told from its neighbours.
std::string pattern(size_t size) {
    std::string text(size, '\0');
    for (size_t i = 0; i < size; ++i)
        text[i] = static_cast<char>(i * 31 + (i >> 8) * 7);
    return text;
}

// Reads at the client until `size` bytes are there.
std::string read_all(World& world, Client& client, size_t size) {
    std::string got;
    world.until([&] {
        got += client.read();
        return got.size() >= size || client.over || client.error != 0;
    });
    return got;
}

}  // namespace

TEST_CASE("however many messages a turn made, they leave in one write", "[net]") {
    World world;
    world.listen();
    Client client = world.join();
    for (int i = 0; i < 10; ++i)
        world.say(world.link(0), "message ");
    world.turn();
    CHECK(world.net.stats().writes == 1);
    CHECK((read_all(world, client, 80).size() == 80));
    CHECK(world.dirty.empty());
}

TEST_CASE("a short write costs one epoll_ctl in a connection's life", "[net][edge]") {
    // EPOLLOUT joins the mask at the first short write and stays; each edge finds the rest.
    World world;
    world.listen();
    Client client = world.join();
    Link& link = world.link(0);
    const uint64_t controls = world.net.stats().epoll_controls;
    const std::string text = pattern(3u << 20);
    for (uint32_t round = 1; round <= 3; ++round) {
        for (size_t at = 0; at < text.size(); at += 30'000) {
            world.say(link, text.substr(at, 30'000));
        }
        world.turn();
        CHECK(link.outbox->blocked());
        CHECK(world.net.stats().short_writes >= round);
        world.settle();
        const uint64_t writes = world.net.stats().writes;
        world.turn();
        CHECK(world.net.stats().writes == writes);  // it waits for its edge
        CHECK(world.net.idle());
        REQUIRE((read_all(world, client, text.size()) == text));
        REQUIRE(world.until([&] { return link.writables == round; }));
        CHECK(!link.outbox->blocked());
        CHECK(world.net.stats().epoll_controls == controls + 1);
    }
}

TEST_CASE("answers appended to a blocked outbox follow what is before them",
          "[net][MQTT-7.1.1-1][MQTT5-4.2-1]") {
    // They wait for the edge too, and `writable` comes when all have left.
    World world;
    world.listen();
    Client client = world.join();
    const std::string text = pattern(2u << 20);
    for (size_t at = 0; at < text.size(); at += 30'000) {
        world.say(world.link(0), text.substr(at, 30'000));
    }
    world.turn();
    REQUIRE(world.link(0).outbox->blocked());
    world.say(world.link(0), "pong");
    world.turn();
    CHECK(world.link(0).writables == 0);
    CHECK((read_all(world, client, text.size() + 4) == text + "pong"));
    REQUIRE(world.until([&] { return world.link(0).writables == 1; }));
}

TEST_CASE("a blocked link owns its bytes at the end of the turn", "[net]") {
    // Its ranges of the inbound segment are copied, so that nobody pins other people's memory.
    World world;
    world.listen();
    Client sender = world.join();
    Client reader = world.join();
    Link& receiver = world.link(1);
    const std::string text = pattern(2u << 20);
    for (size_t at = 0; at < text.size(); at += 30'000) {
        world.say(receiver, text.substr(at, 30'000));
    }
    world.turn();
    REQUIRE(receiver.outbox->blocked());

    Segment* inbound = nullptr;
    uint32_t held = 0;
    world.handler.on_packet = [&](Link&, const Range& range) {
        REQUIRE(receiver.outbox->append(world.arena, range));
        world.dirty.add_delivery(*receiver.outbox);
        inbound = range.segment;
        held = inbound->refs;
    };
    const std::string message = pattern(5000);
    sender.send(packet(message));
    REQUIRE(world.until([&] { return inbound != nullptr; }));
    CHECK(inbound->shared);
    CHECK(held == 2);
    CHECK(inbound->refs == 1);  // net's own
    CHECK((read_all(world, reader, text.size() + message.size()) == text + message));
}

TEST_CASE("a range that meets its first short write is copied in that turn", "[net]") {
    // The other moment at which a shared range could outlive its turn.
    World world;
    world.listen();
    Client sender = world.join();
    Client reader = world.join();
    Link& receiver = world.link(1);
    const std::string text = pattern(2u << 20);
    Segment* inbound = nullptr;
    world.handler.on_packet = [&](Link&, const Range& range) {
        for (size_t at = 0; at < text.size(); at += 30'000) {
            world.say(receiver, text.substr(at, 30'000));
        }
        REQUIRE(receiver.outbox->append(world.arena, range));
        inbound = range.segment;
    };
    const std::string message = pattern(5000);
    sender.send(packet(message));
    REQUIRE(world.until([&] { return inbound != nullptr; }));
    CHECK(receiver.outbox->blocked());
    CHECK(inbound->refs == 1);
    CHECK((read_all(world, reader, text.size() + message.size()) == text + message));
}

TEST_CASE("what a stopped link had left is shared memory, too", "[net]") {
    // A blocked receiver of one message would pin all the publisher's waiting input.
    World world;
    world.listen();
    Client sender = world.join();
    Link& publisher = world.link(0);
    publisher.stop = StopReason::kRate;
    publisher.allowance = 1;
    std::vector<bool> shared;
    world.handler.on_packet = [&](Link&, const Range& range) {
        shared.push_back(range.segment->shared);
    };
    for (int i = 0; i < 3; ++i)
        sender.send(packet(pattern(5000)));
    REQUIRE(world.until([&] { return shared.size() == 1; }));
    world.settle();
    publisher.allowance = 2;
    world.net.resume(*publisher.outbox);
    REQUIRE(world.until([&] { return shared.size() == 3; }));
    CHECK(shared == std::vector<bool>{true, true, true});
}

TEST_CASE("a range of the inbound segment leaves uncopied", "[net]") {
    // The fast path: two ranges that join are one piece of one write.
    World world;
    world.listen();
    Client sender = world.join();
    Client reader = world.join();
    world.handler.on_packet = [&](Link&, const Range& range) {
        const Range whole = {range.segment, range.begin - 4, range.end};
        REQUIRE(world.link(1).outbox->append(world.arena, whole));
        world.dirty.add_delivery(*world.link(1).outbox);
    };
    const std::string message = packet(pattern(2000));
    sender.send(message + message);
    CHECK((read_all(world, reader, 2 * message.size()) == message + message));
    CHECK(world.net.stats().write_ranges == 1);
}

TEST_CASE("deliveries past their share stay dirty, answers go first", "[net]") {
    // 300 receivers of one message: 256 writes in this turn; the ping does not wait behind them.
    World world(NetOptions{.files_limit = 4096});
    world.listen();
    std::vector<Client> clients;
    for (int i = 0; i < 300; ++i)
        clients.push_back(world.join());
    for (size_t i = 0; i < 299; ++i) {
        REQUIRE(world.link(i).outbox->copy(world.arena, as_bytes("news")));
        world.dirty.add_delivery(*world.link(i).outbox);
    }
    world.say(world.link(299), "pong");
    world.turn();
    CHECK(clients[299].read() == "pong");
    CHECK(world.net.stats().writes == 257);
    CHECK(world.dirty.backlog() == 43);
    CHECK(!world.net.idle());
    world.turn();
    CHECK(world.net.stats().writes == 300);
    CHECK(world.dirty.backlog() == 0);
    for (size_t i = 0; i < 299; ++i)
        CHECK(clients[i].read() == "news");
}

TEST_CASE("flush in mid-turn writes at once and the turn's flush finds nothing left", "[net]") {
    World world;
    world.listen();
    Client client = world.join();
    world.say(world.link(0), "now");
    world.net.flush(*world.link(0).outbox);
    CHECK(world.net.stats().writes == 1);
    world.turn();
    CHECK(world.net.stats().writes == 1);
    CHECK((read_all(world, client, 3) == "now"));
}

TEST_CASE("more ranges than one write takes leave in several", "[net]") {
    World world;
    world.listen();
    Client client = world.join();
    std::vector<Segment*> segments;
    std::string text;
    for (int i = 0; i < 300; ++i) {
        const std::string part(1100, static_cast<char>('a' + i % 26));
        Segment* segment = copy_to_segment(world.arena, as_bytes(part));
        const Range range = {segment, 0, segment->used};
        REQUIRE(world.link(0).outbox->append(world.arena, range));
        segment->drop(world.arena);
        text += part;
    }
    world.dirty.add_delivery(*world.link(0).outbox);
    CHECK((read_all(world, client, text.size()) == text));
    CHECK(world.net.stats().write_ranges_max == 256);
    CHECK(world.link(0).outbox->empty());
}

TEST_CASE("a write to a peer that has closed ends only the writing", "[net][edge]") {
    // It closed in good order and our answer met nobody: what it sent before its end is processed,
    // even if the link was stopped meanwhile; and nothing more is written.
    World world;
    world.listen();
    Client client = world.join();
    Link& link = world.link(0);
    link.stop = StopReason::kParked;
    link.allowance = 0;
    client.send(packet("one") + packet("two"));
    REQUIRE(world.until([&] { return link.receives == 1; }));
    client.send(packet("three"));
    world.settle();
    client.close();
    // The first answer brings a reset back, which is EPIPE behind a FIN.
    link.stop = StopReason::kFanout;  // of those who will go on by themselves
    link.allowance = 10;
    world.handler.on_packet = [&](Link& from, const Range&) {
        world.say(from, "to the wall");
        world.net.flush(*from.outbox);
    };
    world.net.resume(*link.outbox);
    REQUIRE(world.until([&] { return link.closes == 1; }));
    CHECK(link.all == "onetwothree");
    world.settle();
    CHECK(world.net.connections() == 0);
}

TEST_CASE("a reset drops what was kept of the input", "[net][edge]") {
    // Nobody is there to be answered. It is met by a write, or told by an event to a link that
    // waits for something and neither reads nor writes.
    for (const bool writes : {false, true}) {
        World world;
        world.listen();
        Client client = world.join();
        Link& link = world.link(0);
        link.stop = writes ? StopReason::kFanout : StopReason::kParked;
        link.allowance = 1;
        client.send(packet("one") + packet("two"));
        REQUIRE(world.until([&] { return link.receives == 1; }));
        client.send(packet("three"));
        world.settle();
        CHECK(world.net.stats().pending_input_bytes > 0);
        const uint64_t reads = world.net.stats().reads;
        const uint64_t written = world.net.stats().writes;
        client.reset();
        world.settle();
        if (writes) {
            REQUIRE(link.closes == 0);
            world.say(link, "to the wall");
            world.turn();
        }
        REQUIRE(link.closes == 1);
        CHECK(link.all == "one");
        CHECK(link.why == Error::kReset);
        CHECK(world.net.stats().reads == reads);
        CHECK(world.net.stats().writes == written + (writes ? 1 : 0));
        CHECK(world.net.stats().pending_input_bytes == 0);
        CHECK(world.net.connections() == 0);
    }
}

TEST_CASE("a reset met by a write in mid-turn ends the link at once", "[net][edge]") {
    // From within its own receive: the rest of the input is not given to it any more.
    World world;
    world.listen();
    Client client = world.join();
    Link& link = world.link(0);
    link.stop = StopReason::kFanout;
    link.allowance = 0;
    client.send(packet("one") + packet("two") + packet("three"));
    REQUIRE(world.until([&] { return link.receives == 1; }));
    world.settle();
    client.reset();
    world.settle();
    REQUIRE(link.closes == 0);
    link.allowance = 1;
    world.handler.on_packet = [&](Link& from, const Range&) {
        world.say(from, "to the wall");
        world.net.flush(*from.outbox);
        CHECK(from.closes == 0);  // the handler is told later
    };
    world.net.resume(*link.outbox);
    world.turn();
    CHECK(link.closes == 1);
    CHECK(link.all == "one");
    CHECK(link.why == Error::kReset);
    CHECK(world.net.stats().pending_input_bytes == 0);
}

TEST_CASE("a blocked link whose peer closed in good order is told and closed", "[net][edge]") {
    // It said FIN and then went without reading: stopped for draining, nobody else would resume the
    // link. What it sent is still processed, draining or parked.
    for (const StopReason stop : {StopReason::kDraining, StopReason::kParked}) {
        World world;
        world.listen();
        Client client = world.join();
        Link& link = world.link(0);
        link.stop = stop;
        link.allowance = 0;
        for (int i = 0; i < 400; ++i)
            world.say(link, pattern(30'000));
        client.send(packet("waits"));
        REQUIRE(world.until([&] { return link.receives == 1 && link.outbox->blocked(); }));
        client.half_close();
        world.settle();
        link.allowance = 10;
        client.close();
        world.settle();
        CHECK(link.writables == 1);
        if (stop == StopReason::kParked) {
            REQUIRE(link.closes == 0);
            world.net.resume(*link.outbox);
        }
        REQUIRE(world.until([&] { return link.closes == 1; }));
        CHECK(link.all == "waits");
        CHECK(world.net.connections() == 0);
    }
}

TEST_CASE("a blocked link whose peer resets is closed", "[net][edge]") {
    // Stopped for draining, nobody else would resume it.
    World world;
    world.listen();
    Client client = world.join();
    Link& link = world.link(0);
    link.stop = StopReason::kDraining;
    link.allowance = 0;
    for (int i = 0; i < 400; ++i)
        world.say(link, pattern(30'000));
    client.send(packet("waits"));
    REQUIRE(world.until([&] { return link.receives == 1 && link.outbox->blocked(); }));
    link.allowance = 10;
    client.reset();
    REQUIRE(world.until([&] { return link.closes == 1; }));
    CHECK(link.all.empty());
    CHECK(link.why == Error::kReset);
    CHECK(world.net.connections() == 0);
}

}  // namespace mqttd
