#include "unit/net/world.h"

namespace mqttd {

using namespace net_test;

TEST_CASE("the classes of the range histogram cover 1 to 256 in order", "[net][counters]") {
    // Each value falls into the first class whose end is not below it.
    const uint32_t ends[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256};
    for (uint32_t ranges = 1; ranges <= 256; ++ranges) {
        uint32_t index = 0;
        while (ends[index] < ranges)
            ++index;
        REQUIRE(RangeHistogram::class_of(ranges) == index);
        REQUIRE(RangeHistogram::end_of(index) == ends[index]);
    }
    CHECK(RangeHistogram::class_of(257) == 15);
    CHECK(RangeHistogram::class_of(~uint32_t{0}) == 15);
}

TEST_CASE("a quantile is the class that so many do not exceed", "[net][counters]") {
    RangeHistogram histogram;
    CHECK(histogram.quantile(990) == 0);
    for (int i = 0; i < 98; ++i)
        histogram.add(1);
    histogram.add(60);
    histogram.add(256);
    CHECK(histogram.quantile(500) == 1);
    CHECK(histogram.quantile(980) == 1);
    CHECK(histogram.quantile(981) == 64);
    CHECK(histogram.quantile(990) == 64);
    CHECK(histogram.quantile(991) == 256);
    CHECK(histogram.quantile(1000) == 256);
    histogram.clear();
    CHECK(histogram.quantile(990) == 0);
}

TEST_CASE("a listener counts its connections and bytes over all its sockets", "[net][counters]") {
    // Two sockets of one index, and another listener that is not mixed in.
    World world;
    world.listen({.index = 5});
    const uint16_t first = world.port;
    world.listen({.index = 5});
    const uint16_t second = world.port;
    world.listen({.index = 6});
    const uint16_t other = world.port;
    std::vector<Client> clients(4);
    REQUIRE(clients[0].connect(first));
    REQUIRE(clients[1].connect(second));
    REQUIRE(clients[2].connect(second));
    REQUIRE(clients[3].connect(other));
    REQUIRE(world.until([&] { return world.handler.links.size() == 4; }));
    world.handler.on_packet = [&](Link& link, const Range&) { world.say(link, "1234567"); };
    clients[0].send(packet("a"));
    clients[1].send(packet("bb"));
    clients[3].send(packet("dddd"));
    REQUIRE(world.until([&] { return world.net.stats().write_bytes == 21; }));
    ListenerStats stats = world.net.listener_stats(5);
    CHECK(stats.connections == 3);
    CHECK(stats.maximum == 3);
    CHECK(stats.accepted == 3);
    CHECK(stats.bytes_received == 11);
    CHECK(stats.bytes_sent == 14);
    CHECK(world.net.listener_stats(6).bytes_received == 8);
    CHECK(world.net.listener_stats(6).bytes_sent == 7);
    CHECK(world.net.listener_stats(7).accepted == 0);
    CHECK(world.net.listener_stats(0xffff).accepted == 0);
    clients[0].close();
    clients[1].close();
    REQUIRE(world.until([&] { return world.net.connections() == 2; }));
    stats = world.net.listener_stats(5);
    CHECK(stats.connections == 1);
    CHECK(stats.maximum == 3);
    CHECK(stats.accepted == 3);
}

TEST_CASE("a cap is for all sockets of a listener, and who is above it is counted",
          "[net][counters]") {
    // At the cap less one, the cap, one more (told), and two more (closed at once).
    World world(NetOptions{.refusal_slots = 1});
    world.listen({.index = 3, .max_connections = 2});
    const uint16_t first = world.port;
    world.listen({.index = 3, .max_connections = 2});
    std::vector<Client> clients(4);
    const uint64_t refused[] = {0, 0, 1, 2};
    for (size_t i = 0; i < 4; ++i) {
        REQUIRE(clients[i].connect(i % 2 == 0 ? first : world.port));
        REQUIRE(world.until([&] {
            const ListenerStats stats = world.net.listener_stats(3);
            return stats.accepted + stats.refused_max == i + 1;
        }));
        CHECK(world.net.listener_stats(3).refused_max == refused[i]);
        CHECK(world.net.listener_stats(3).connections == std::min<size_t>(i + 1, 2));
    }
    CHECK(world.handler.links.size() == 3);
}

TEST_CASE("caps and batches can be changed while a listener serves", "[net][counters]") {
    // Lowered below what there is, nobody is cut; raised, the next one is let in.
    World world;
    world.listen({.max_connections = 1});
    Client a = world.join();
    Client b = world.join();
    CHECK(world.link(1).arrival.refused);
    REQUIRE(world.net.set_limits({.max_connections = 2}) == Error::kNone);
    Client c = world.join();
    CHECK(!world.link(2).arrival.refused);
    REQUIRE(world.net.set_limits({.max_connections = 0, .accept_batch = 0}) == Error::kNone);
    Client d = world.join();  // a batch of 0 is one of 1
    CHECK(world.link(3).arrival.refused);
    CHECK(world.link(0).closes + world.link(2).closes == 0);
    REQUIRE(world.net.set_limits({.max_connections = -1}) == Error::kNone);
    Client e = world.join();
    CHECK(!world.link(4).arrival.refused);
}

TEST_CASE("the cap of all listeners together can be changed", "[net][counters]") {
    World world(NetOptions{.files_limit = 60, .files_reserve = 30, .max_connections = 1});
    world.listen();
    Client a = world.join();
    Client b = world.join();
    CHECK(world.link(1).arrival.refused);
    world.net.set_max_connections(2);
    Client c = world.join();
    CHECK(!world.link(2).arrival.refused);
    Client d = world.join();
    CHECK(world.link(3).arrival.refused);
    world.net.set_max_connections(-1);  // what the files allow: 60 - 30 - 16
    std::vector<Client> more;
    for (int i = 3; i <= 14; ++i)
        more.push_back(world.join());
    CHECK(!world.handler.links.back()->arrival.refused);
    more.push_back(world.join());
    CHECK(world.handler.links.back()->arrival.refused);
}

TEST_CASE("who never said CONNECT is counted with its listener", "[net][counters]") {
    World world;
    world.listen({.index = 8});
    Client a = world.join();
    Client b = world.join();
    world.net.close(*world.link(0).outbox, Error::kConnectTimeout);
    world.net.close(*world.link(1).outbox, Error::kKeepAliveTimeout);
    world.turn();
    CHECK(world.net.listener_stats(8).handshake_timeout == 1);
}

TEST_CASE("reads and writes that find nothing to do are told from short ones", "[net][counters]") {
    World world;
    world.listen();
    Client client = world.join();
    const NetCounters& counters = world.net.counters();
    const uint64_t again = counters.read_again;
    world.net.resume(*world.link(0).outbox);
    world.turn();
    CHECK(counters.read_again == again + 1);
    CHECK(counters.write_ranges.quantile(990) == 0);
    world.say(world.link(0), "one range");
    world.turn();
    CHECK(counters.write_ranges.quantile(990) == 1);
    CHECK(counters.write_again == 0);
    CHECK(world.net.stats().short_writes == 0);
    const std::string text(30'000, 't');
    for (int i = 0; i < 200; ++i)
        world.say(world.link(0), text);
    world.turn();
    CHECK(world.link(0).outbox->blocked());
    CHECK(world.net.stats().short_writes + counters.write_again == 1);
    CHECK(counters.events_max >= 1);
    world.net.start_interval();
    CHECK(counters.events_max == 0);
    CHECK(world.net.stats().read_bytes_max == 0);
    CHECK(world.net.stats().write_ranges_max == 0);
    CHECK(counters.write_ranges.quantile(990) == 0);
}

TEST_CASE("links left to the next turn by a budget are told as they are now", "[net][counters]") {
    World world(NetOptions{.turn_read_max = 1024});
    world.listen();
    std::vector<Client> clients;
    for (int i = 0; i < 5; ++i)
        clients.push_back(world.join());
    for (Client& client : clients)
        client.send(packet("x"));
    world.turn(1);
    CHECK(world.net.stats().edges_pending == 4);
    world.settle();
    CHECK(world.net.stats().edges_pending == 0);
}

}  // namespace mqttd
