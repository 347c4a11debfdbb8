#include "mqttd/limits.h"

#include "support/bare_loop.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <map>

using namespace mqttd;
using namespace mqttd::packets;

namespace {

using Outputs = std::map<std::string, std::string>;

// A long conversation with everything in it, the same for every budget.  The script waits for rest
// after each step, so that only the order inside a step is left to the broker.
Outputs conversation(const BrokerOptions& options) {
    World world(options);
    Outputs outputs;
    std::map<std::string, FakeConnection*> clients;
    const auto note = [&](const std::string& name) {
        outputs[name] += clients[name]->take_output();
    };
    for (int i = 0; i < 12; ++i) {
        const std::string name = "c" + std::to_string(i);
        clients[name] = &world.connection();
        Connect fields;
        fields.client_id = name;
        fields.clean = i % 3 != 0;
        if (i % 4 == 0) {
            fields.will_topic = "will/" + name;
            fields.will_payload = "gone";
            fields.will_qos = 1;
            fields.will_retain = true;
        }
        clients[name]->push(connect(fields));
        clients[name]->push(subscribe(1,
                                      {
                                          {"a/" + std::to_string(i % 5), i % 3},
                                          {"b/#",                        1    }
        }));
    }
    clients["all"] = &world.connection();
    clients["all"]->push(connect("all") + subscribe(1,
                                                    {
                                                        {"#", 2}
    }));
    world.settle();
    for (int step = 0; step < 30; ++step) {
        const std::string name = "c" + std::to_string(step % 12);
        FakeConnection& client = *clients[name];
        const auto n = static_cast<uint16_t>(step + 1);
        std::string input;
        for (int k = 0; k < 5; ++k) {
            input +=
                publish({.topic = "a/" + std::to_string(step % 5), .payload = std::to_string(k)});
        }
        input += publish({.topic = "b/x/" + std::to_string(step),
                          .payload = "one",
                          .qos = 1,
                          .packet_id = n,
                          .retain = step % 2 == 0});
        input += publish({.topic = "b/y",
                          .payload = "two",
                          .qos = 2,
                          .packet_id = static_cast<uint16_t>(n + 100)});
        input += pubrel(static_cast<uint16_t>(n + 100)) + pingreq();
        if (step % 7 == 3)
            input += subscribe(n,
                               {
                                   {"b/x/+", 1},
                                   {"d/+",   0}
            });
        if (step % 7 == 5) input += unsubscribe(n, {"b/#", "none"});
        client.send(input);
        if (step == 20) {
            note("c3");
            clients["c3"]->hang_up();
        }
        if (step == 22) {
            clients["c3"] = &world.connection();
            clients["c3"]->send(connect("c3", false));
        }
        // The window of everybody is served: acknowledge what came.
        for (auto& [who, connection] : clients) {
            const std::string bytes = connection->take_output();
            outputs[who] += bytes;
            std::string acks;
            for (size_t at = 0; at < bytes.size();) {
                const std::string_view packet =
                    std::string_view(bytes).substr(at, packet_size(bytes.substr(at)));
                const int qos = static_cast<uint8_t>(packet[0]) >> 1 & 3;
                const int type = static_cast<uint8_t>(packet[0]) >> 4;
                if (type == 3 && qos > 0) {
                    const size_t topic = 2 + static_cast<size_t>(packet[3]) + 2;
                    const std::string id(packet.substr(topic, 2));
                    acks += raw(qos == 1 ? 0x40 : 0x50, id);
                    if (qos == 2) acks += raw(0x70, id);
                }
                at += packet.size();
            }
            connection->push(acks);
        }
        world.settle();
        for (const auto& [who, connection] : clients)
            note(who);
    }
    for (const auto& [who, connection] : clients) {
        REQUIRE(connection->open());
        note(who);
    }
    REQUIRE(world.stats().inflight_out == 0);
    REQUIRE(world.end() == 0);
    return outputs;
}

// Packets of one client's output, those of each kind and topic in their order.
std::string by_topic(const std::string& output) {
    std::map<std::string, std::string> sorted;
    for (size_t at = 0; at < output.size();) {
        const std::string packet = output.substr(at, packet_size(output.substr(at)));
        std::string words = describe(packet);
        const int qos = static_cast<uint8_t>(packet[0]) >> 1 & 3;
        std::string key =
            words.substr(0, words.find(packet[0] >> 4 == 3 ? ',' : '(')) + std::to_string(qos);
        // Identifiers are given in the order of sending, which may differ between topics.
        if (const size_t id = words.find(",id"); id != std::string::npos) {
            words.erase(id, words.find_first_of(",)", id + 1) - id);
        }
        if (words.starts_with("PUBREL")) words = "PUBREL";
        sorted[key] += words + " ";
        at += packet.size();
    }
    std::string all;
    for (const auto& [key, words] : sorted)
        all += words + "\n";
    return all;
}

}  // namespace

// A budget changes when something is done, never what is done: with one unit a turn everybody gets
// what they get without bounds, in the same order per topic and QoS.
TEST_CASE("a budget of one unit a turn gives the same outputs", "[wire][engine]") {
    const Outputs reference = conversation(World::test_options());
    REQUIRE(reference.at("all").size() > 2'000);
    for (const uint32_t fanout : {1u, 3u, 4'096u}) {
        for (const uint32_t turn : {1u, 2u, 7u, 16'384u}) {
            for (const uint32_t visit : {1u, 5u}) {
                CAPTURE(fanout, turn, visit);
                BrokerOptions options = World::test_options();
                options.fanout_slice = fanout;
                options.turn_units = turn;
                options.visit_units = visit;
                const Outputs got = conversation(options);
                for (const auto& [who, output] : reference) {
                    CAPTURE(who);
                    REQUIRE(by_topic(got.at(who)) == by_topic(output));
                }
            }
        }
    }
}

// Input alone may use up every turn's units: jobs have a share of their own, else a fan-out, and
// with it its publisher, would wait as long as others are busy.
TEST_CASE("jobs go on while input uses up every turn", "[wire][engine]") {
    BrokerOptions options = World::test_options();
    options.turn_units = 20;
    options.visit_units = 20;
    options.fanout_slice = 5;
    World world(options);
    auto& publisher = world.client("publisher");
    std::deque<FakeConnection*> all;
    for (int i = 0; i < 30; ++i) {
        all.push_back(&world.client("s" + std::to_string(i)));
        all.back()->send(subscribe(1,
                                   {
                                       {"t", 1}
        }));
        all.back()->take_output();
    }
    auto& busy = world.client("busy");
    std::string stream;
    for (int i = 0; i < 100; ++i)
        stream += publish({.topic = "nobody/" + std::to_string(i % 2)});
    publisher.push(publish({.topic = "t", .payload = "m", .qos = 1, .packet_id = 1}) + pingreq());
    uint32_t turns = 0;
    std::string got;
    while (turns < 200 && got.find("PINGRESP") == std::string::npos) {
        busy.push(stream);  // five turns' worth in every turn
        world.turn();
        got += publisher.received();
        ++turns;
    }
    REQUIRE(turns < 200);
    for (auto* each : all)
        REQUIRE(each->received() == "PUBLISH(t,m,q1,id1)");
    world.settle();
    REQUIRE(world.end() == 0);
}

// A publisher with many receivers is one ready link among those who acknowledge to it: its share of
// the turn is short, but what they do not need is its own, to the last unit of the turn.
TEST_CASE("a link gets what the others leave of the turn", "[wire][engine]") {
    BrokerOptions options = World::test_options();
    options.turn_units = 1'000;
    options.visit_units = 400;
    BareLoop loop(options, size_t{16} << 20, 2);
    for (uint32_t i = 0; i < 2; ++i) {
        loop.open(i);
        loop.feed(i, connect("c" + std::to_string(i)));
    }
    std::string input;
    for (int i = 0; i < 2'000; ++i)
        input += publish({.topic = "t/" + std::to_string(i % 2)});
    const auto size = static_cast<uint32_t>(input.size() / 2'000);
    Broker& broker = loop.broker();
    broker.begin_turn(loop.now(), 0, 10);
    uint32_t taken = 0;
    const auto more = [&](uint32_t link = 0) {
        const Consumed consumed = loop.offer(link, std::string_view(input).substr(taken));
        REQUIRE(consumed.stop == StopReason::kBudget);
        taken += consumed.bytes;
        return consumed.bytes / size;
    };
    REQUIRE(more() == 100);  // a tenth
    broker.share_rest(3);
    REQUIRE(more(1) == 300);  // a third of the other 900
    REQUIRE(more() == 300);
    broker.share_rest(1);
    REQUIRE(more() == 300);  // all that is left
    REQUIRE(!broker.budget_left());
    REQUIRE(more() == 0);
    broker.begin_turn(loop.now(), 0, 1);
    REQUIRE(more() == 400);  // never more than a visit may have
    broker.begin_turn(loop.now(), 0, 1'000'000);
    REQUIRE(more() == limits::kVisitUnitsMin);
}

// The writes of earlier turns come first: above backlog_max PUBLISH waits, a ping does not, and
// nothing is lost or reordered by it.
TEST_CASE("a backlog of writes stops PUBLISH but not PINGREQ", "[wire][engine]") {
    BrokerOptions options = World::test_options();
    options.backlog_max = 2;
    World world(options);
    world.set_writes_per_turn(1);
    std::deque<FakeConnection*> all;
    for (int i = 0; i < 10; ++i) {
        all.push_back(&world.client("s" + std::to_string(i)));
        all.back()->send(subscribe(1,
                                   {
                                       {"t", 0}
        }));
        all.back()->take_output();
    }
    auto& publisher = world.client("publisher");
    auto& counted = world.client("counted");
    publisher.push(publish({.topic = "t", .payload = "1"}));
    world.turn();
    publisher.push(publish({.topic = "t", .payload = "2"}));
    counted.push(publish({.topic = "t", .payload = "3", .qos = 1, .packet_id = 1}));
    auto& ping = world.client("ping");
    (void)ping;
    world.settle();
    for (auto* each : all) {
        const std::string got = each->received();
        CAPTURE(got);
        REQUIRE(got.find("PUBLISH(t,1,q0) PUBLISH(t,2,q0)") == 0);
        REQUIRE(got.find("PUBLISH(t,3,q0)") != std::string::npos);
    }
    REQUIRE(world.stats().stops[static_cast<uint32_t>(StopReason::kBacklog)] > 0);
    // Now by hand: in the turn after a fan-out of ten with one write a turn.
    publisher.push(publish({.topic = "t", .payload = "4"}));
    world.turn();
    publisher.push(publish({.topic = "t", .payload = "5"}));
    ping.push(pingreq());
    world.turn();
    REQUIRE(publisher.stopped() == StopReason::kBacklog);
    REQUIRE(publisher.unread() > 0);
    REQUIRE(ping.received() == "PINGRESP");
    world.settle();
    for (auto* each : all)
        REQUIRE(each->received() == "PUBLISH(t,4,q0) PUBLISH(t,5,q0)");
    REQUIRE(counted.received() == "PUBACK(1)");
    REQUIRE(world.end() == 0);
}

// A stop that has passed is forgotten: a client that was stopped for budget or backlog once and
// then falls silent is still judged by its keep-alive.
TEST_CASE("a client stopped for a moment is still subject to its keep-alive", "[wire][engine]") {
    BrokerOptions options = World::test_options();
    options.turn_units = 3;
    options.visit_units = 3;
    World world(options);
    Connect fields;
    fields.client_id = "silent";
    fields.keep_alive_s = 10;
    auto& silent = world.client(fields);
    Filters filters;
    for (int i = 0; i < 1'500; ++i)
        filters.emplace_back("f/" + std::to_string(i), 0);
    silent.send(subscribe(1, filters));
    REQUIRE(silent.take_output().size() > 1'500);
    world.advance(14'000);
    REQUIRE(silent.open());
    world.advance(2'000);
    REQUIRE_FALSE(silent.open());
    REQUIRE(silent.close_reason() == Error::kKeepAliveTimeout);
    REQUIRE(world.end() == 0);
}
