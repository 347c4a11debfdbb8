// What happens when nothing happens: keep-alive, CONNECT overdue, retries, releases overdue.

#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

std::string one(uint16_t packet_id, int qos = 1) {
    return publish({.topic = "t", .payload = "x", .qos = qos, .packet_id = packet_id});
}

FakeConnection& subscriber_of(World& world, int qos, int level = 4) {
    auto& subscriber = world.client({.client_id = "sub", .level = level});
    subscriber.send(subscribe(1,
                              {
                                  {"t", qos}
    }));
    subscriber.take_output();
    return subscriber;
}

}  // namespace

// A silent client lives for one and a half keep-alives, and not a second longer.
TEST_CASE("a silent client is closed after 1.5 keep-alives", "[wire][MQTT-3.1.2-24]") {
    for (const uint16_t keep_alive : {uint16_t{1}, uint16_t{10}, uint16_t{601}}) {
        World world;
        auto& client = world.client({.client_id = "c", .keep_alive_s = keep_alive});
        const Duration limit = keep_alive * 1'500u;
        world.advance(limit - 100);
        REQUIRE(client.open());
        world.advance(1'000);
        REQUIRE_FALSE(client.open());
        REQUIRE(client.close_reason() == Error::kKeepAliveTimeout);
        REQUIRE(world.stats().keep_alive_timeouts == 1);
        REQUIRE(world.end() == 0);
    }
}

// Keep-alive 0 means never.
TEST_CASE("a client without keep-alive may be silent for a day", "[wire]") {
    World world;
    auto& client = world.client("c");
    world.advance(24 * 3'600'000);
    REQUIRE(client.open());
    REQUIRE(world.end() == 0);
}

// Every packet is a sign of life; what we send is not.
TEST_CASE("any packet keeps a client alive, what it gets does not", "[wire][MQTT-3.1.2-24]") {
    const std::string packets[] = {
        pingreq(),
        publish({.topic = "t"}
        ),
        one(1),
        one(2, 2),
        puback(9),
        subscribe(1, {{"x", 0}    }
        ),
        unsubscribe(1, {"x"         }
        ),
        pubrel(4)
    };
    for (const std::string& packet : packets) {
        World world;
        auto& client = world.client({.client_id = "c", .keep_alive_s = 10});
        for (int i = 0; i < 5; ++i) {
            world.advance(14'000);
            client.send(packet);
            REQUIRE(client.open());
        }
        world.advance(14'900);
        REQUIRE(client.open());
        world.advance(1'100);
        REQUIRE_FALSE(client.open());
        REQUIRE(world.end() == 0);
    }
    World world;
    auto& client = world.client({.client_id = "c", .keep_alive_s = 10});
    client.send(subscribe(1,
                          {
                              {"t", 0}
    }));
    auto& publisher = world.client("pub");
    for (int i = 0; i < 10 && client.open(); ++i) {
        publisher.send(publish({.topic = "t"}));
        world.advance(2'500);
    }
    REQUIRE(client.close_reason() == Error::kKeepAliveTimeout);
    REQUIRE(world.end() == 0);
}

// Nobody can send a PINGREQ in the middle of a large packet, so its bytes count as they come; when
// they stop coming the time runs from the last one.
TEST_CASE("a packet that is under way keeps a client alive while it grows",
          "[wire][MQTT-3.1.2-24]") {
    const std::string packet =
        publish({.topic = "t", .payload = std::string(30'000, 'x'), .qos = 1, .packet_id = 1});
    World world;
    auto& client = world.client({.client_id = "c", .keep_alive_s = 10});
    SECTION("to its end") {
        for (size_t at = 0; at < packet.size(); at += 1'000) {
            client.push(packet.substr(at, 1'000));
            world.advance(1'000);
        }
        CHECK(client.received() == "PUBACK(1)");
        world.advance(13'000);
        CHECK(client.open());
        world.advance(3'000);
        CHECK_FALSE(client.open());
    }
    SECTION("byte by byte from its first") {
        for (size_t at = 0; at < 6; ++at) {
            client.push(packet.substr(at, 1));
            world.advance(14'000);
            REQUIRE(client.open());
        }
    }
    for (const size_t size : {size_t{1}, size_t{3}, size_t{20'000}, packet.size() - 1}) {
        DYNAMIC_SECTION("until it stops after " << size) {
            world.advance(10'000);
            client.push(packet.substr(0, size));
            world.advance(14'900);
            CHECK(client.open());
            world.advance(1'100);
            CHECK_FALSE(client.open());
            CHECK(client.close_reason() == Error::kKeepAliveTimeout);
            CHECK(world.stats().keep_alive_timeouts == 1);
        }
    }
    CHECK(world.end() == 0);
}

// A PINGREQ that lies in the socket when the time runs out counts: it came in time.
TEST_CASE("input that waits is read before a client is judged silent", "[wire]") {
    World world;
    auto& client = world.client({.client_id = "c", .keep_alive_s = 10});
    world.advance(14'950);
    client.push(pingreq());
    world.advance(10'000);
    REQUIRE(client.open());
    REQUIRE(client.received() == "PINGRESP");
    REQUIRE(world.end() == 0);
}

// A client that was stopped once, for a long request or a wide publish, is judged like others
// later.
TEST_CASE("keep-alive holds for a client that had been stopped", "[wire][MQTT-3.1.2-24]") {
    BrokerOptions options = World::test_options();
    options.fanout_slice = 1;
    options.visit_units = 10;
    World world(options);
    subscriber_of(world, 0);
    world.client("other").send(subscribe(1,
                                         {
                                             {"t", 0}
    }));
    auto& client = world.client({.client_id = "c", .keep_alive_s = 10});
    SECTION("by a long SUBSCRIBE") {
        Filters filters;
        for (int i = 0; i < 2'000; ++i)
            filters.push_back({"f" + std::to_string(i), 0});
        client.send(subscribe(1, filters));
        REQUIRE(client.take_output().size() > 2'000);
    }
    SECTION("by many packets in one read") {
        std::string pings;
        for (int i = 0; i < 100; ++i)
            pings += pingreq();
        client.send(pings);
        REQUIRE(client.take_output().size() == 200);
    }
    SECTION("by a publish to more than a slice") {
        client.send(one(1) + one(2));
        REQUIRE(client.received() == "PUBACK(1) PUBACK(2)");
    }
    SECTION("by answers that it did not read") {
        client.set_room(0);
        std::string pings;
        for (int i = 0; i < 100'000; ++i)
            pings += pingreq();
        client.send(pings);
        client.set_room(~uint64_t{0});
        world.settle();
        REQUIRE(client.take_output().size() == 200'000);
    }
    world.advance(14'000);
    REQUIRE(client.open());
    world.advance(3'000);
    REQUIRE_FALSE(client.open());
    REQUIRE(world.end() == 0);
}

// connect_timeout: a connection that does not say who it is, or only begins to.
TEST_CASE("a connection without CONNECT is closed after connect_timeout", "[wire]") {
    for (const std::string& begun : {std::string(),
                                     connect("c").substr(0, 1),
                                     connect("c").substr(0, connect("c").size() - 1)}) {
        World world;
        auto& silent = world.connection();
        silent.send(begun);
        auto& good = world.connection();
        world.advance(9'900);
        REQUIRE(silent.open());
        good.send(connect("good"));
        world.advance(1'000);
        REQUIRE_FALSE(silent.open());
        REQUIRE(silent.received().empty());
        REQUIRE(silent.close_reason() == Error::kConnectTimeout);
        world.advance(60'000);
        REQUIRE(good.open());
        REQUIRE(world.stats().connect_timeouts == 1);
        REQUIRE(world.end() == 0);
    }
}

// A CONNECT has connect_timeout in all, however it comes.
TEST_CASE("a CONNECT byte by byte gets no more time", "[wire]") {
    World world;
    auto& slow = world.connection();
    const std::string packet = connect("a-client-identifier-of-some-length");
    for (size_t at = 0; at < 11 && slow.open(); ++at) {
        slow.push(packet.substr(at, 1));
        world.advance(1'000);
    }
    CHECK(slow.close_reason() == Error::kConnectTimeout);
    CHECK(world.end() == 0);
}

// await_rel_timeout: the message is given up, counted, and its identifier free; one released in
// time is not touched.
TEST_CASE("a QoS 2 message without PUBREL is given up after await_rel_timeout", "[wire]") {
    for (const uint32_t retry : {0u, 7u, 600u}) {
        INFO("unack_retry_interval " << retry);
        BrokerOptions options = World::test_options();
        options.await_rel_timeout_s = 20;
        options.max_awaiting_rel = 3;
        options.unack_retry_interval_s = retry;
        World world(options);
        auto& watcher = world.client("watcher");
        watcher.send(subscribe(1,
                               {
                                   {"q", 0}
        }));
        watcher.take_output();
        auto& client = subscriber_of(world, 1);
        client.send(one(1));  // something in flight to the same client: another deadline
        client.take_output();
        const auto two = [](uint16_t id) {
            return publish(
                {.topic = "q", .payload = std::to_string(id), .qos = 2, .packet_id = id});
        };
        client.send(two(1) + two(2) + two(3));
        world.advance(19'000);
        client.send(pubrel(2));
        REQUIRE(watcher.received() == "PUBLISH(q,2,q0)");
        REQUIRE(world.stats().inflight_in == 2);
        world.advance(3'000);
        REQUIRE(world.stats().inflight_in == 0);
        REQUIRE(world.stats().drops[static_cast<int>(Drop::kRelTimeout)] == 2);
        client.take_output();
        client.send(pubrel(1));  // too late: answered, nothing delivered
        REQUIRE(client.received() == "PUBCOMP(1)");
        REQUIRE(watcher.received().empty());
        client.send(two(3) + pubrel(3));
        REQUIRE(watcher.received() == "PUBLISH(q,3,q0)");
        REQUIRE(world.end() == 0);
    }
}

// The same for a durable client that is away.
TEST_CASE("await_rel_timeout also runs while the client is away", "[wire]") {
    BrokerOptions options = World::test_options();
    options.await_rel_timeout_s = 20;
    World world(options);
    auto& client = world.client("c", false);
    client.send(one(1, 2));
    client.hang_up();
    world.advance(19'000);
    REQUIRE(world.stats().inflight_in == 1);
    world.advance(3'000);
    REQUIRE(world.stats().inflight_in == 0);
    REQUIRE(world.stats().messages_stored == 0);
    REQUIRE(world.end() == 0);
}

// Repeating PUBREL does not begin the wait for its PUBCOMP anew.
TEST_CASE("a PUBREL that is repeated is given up all the same", "[wire]") {
    BrokerOptions options = World::test_options();
    options.unack_retry_interval_s = 5;
    options.await_rel_timeout_s = 12;
    World world(options);
    auto& subscriber = subscriber_of(world, 2);
    auto& publisher = world.client("pub");
    publisher.send(one(1, 2) + pubrel(1));
    REQUIRE(subscriber.received() == "PUBLISH(t,x,q2,id1)");
    subscriber.send(pubrec(1));
    REQUIRE(subscriber.received() == "PUBREL(1)");
    world.advance(11'900);
    REQUIRE(subscriber.received() == "PUBREL(1) PUBREL(1)");
    REQUIRE(world.stats().inflight_out == 1);
    world.advance(400);
    REQUIRE(world.stats().inflight_out == 0);
    REQUIRE(world.stats().drops[static_cast<uint32_t>(Drop::kRelTimeout)] == 1);
    world.advance(20'000);
    REQUIRE(subscriber.received().empty());
    REQUIRE(world.end() == 0);
}

// unack_retry_interval: what was not acknowledged comes again with DUP, PUBREL as PUBREL, as often
// as needed; what was acknowledged does not.
TEST_CASE("an unacknowledged message is repeated after unack_retry_interval",
          "[wire][MQTT-3.3.1-1]") {
    BrokerOptions options = World::test_options();
    options.unack_retry_interval_s = 20;
    World world(options);
    auto& client = subscriber_of(world, 2);
    auto& publisher = world.client("pub");
    publisher.send(one(1) + one(2, 2) + pubrel(2) + one(3, 2) + pubrel(3) + one(4));
    client.send(puback(4) + pubrec(3));
    REQUIRE(client.received() ==
            "PUBLISH(t,x,q1,id1) PUBLISH(t,x,q2,id2) PUBLISH(t,x,q2,id3) "
            "PUBLISH(t,x,q1,id4) PUBREL(3)");
    world.advance(19'500);
    REQUIRE(client.received().empty());
    for (int i = 0; i < 3; ++i) {
        world.advance(i == 0 ? 2'000 : 21'000);
        REQUIRE(client.received() == "PUBLISH(t,x,q1,id1,dup) PUBLISH(t,x,q2,id2,dup) PUBREL(3)");
    }
    REQUIRE(world.stats().retries == 9);
    client.send(puback(1) + pubrec(2) + pubcomp(2) + pubcomp(3));
    client.take_output();
    world.advance(60'000);
    REQUIRE(client.received().empty());
    REQUIRE(world.end() == 0);
}

// What still lies in our own outbox, because the client does not read, is not repeated: it would
// only get there twice.
TEST_CASE("nothing is repeated that has not left yet", "[wire]") {
    BrokerOptions options = World::test_options();
    options.unack_retry_interval_s = 20;
    World world(options);
    auto& client = subscriber_of(world, 2);
    client.set_room(5);
    auto& publisher = world.client("pub");
    publisher.send(one(1));
    publisher.send(one(2));
    world.advance(120'000);
    REQUIRE(world.stats().retries == 0);
    client.set_room(~uint64_t{0});
    world.settle();
    REQUIRE(client.received() == "PUBLISH(t,x,q1,id1) PUBLISH(t,x,q1,id2)");
    REQUIRE(world.end() == 0);
}
