// Every allocation of 5.0 can be refused: aliases, identifiers, properties put together anew, mount
// points, codes of an UNSUBACK.

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

struct SmallWorld {
    explicit SmallWorld(const BrokerOptions& options) : world(options, size_t{16} << 20) {}

    void open(const std::string& name, bool clean, const std::string& properties) {
        FakeConnection& connection = world.connection();
        connection.speak_v5();
        all[name] = &connection;
        Connect fields{.client_id = name, .clean = clean, .properties = properties};
        fields.will_topic = "will/" + name;
        fields.will_payload = "gone";
        fields.will_properties = user("w", "1") + expiry(7) + user("w", "2");
        connection.send(connect(fields));
    }

    void send(const std::string& name, const std::string& bytes) { all[name]->send(bytes); }

    // Everything that allocates in 5.0 and not in 3.1.1, twice over.
    void run() {
        const std::string stays = property(P::kSessionExpiryInterval, 50);
        const std::string aliases = property(P::kTopicAliasMaximum, 2);
        const std::string limits = property(P::kMaximumPacketSize, 200);
        for (int round = 0; round < 2; ++round) {
            open("alias", false, stays + aliases);
            open("small", true, limits + aliases);
            open("plain", true, "");
            send("alias",
                 subscribe(1,
                           Filters{
                               {"t/#", 2},
                               {"t/+", 1}
            },
                           identifier(300)));
            send("small", sub("t/#", 2, identifier(1)));
            send("plain", sub("t/#", 2 | kNoLocal | kRetainAsPublished));
            open("p", true, "");
            send("p", pub("t/1", "a", alias(1) + user("k", "v")) + pub("", "b", alias(1)));
            send("p", pub("t/2", "c", user("a", "1") + expiry(5) + user("b", "2")));
            send("p", pub("t/3", "d", 1, 1, expiry(9) + user("b", "2")));
            send("p", pub("t/3", std::string(5'000, 'x'), 2, 2, user("b", "2") + alias(2)));
            send("p", ack(PacketType::kPubrel, 2));
            send("p", keep("t/kept", "e", user("a", "1") + alias(3) + user("b", "2")));
            send("small", sub("t/kept", 1, identifier(2)));
            for (const char* name : {"alias", "small", "plain"}) {
                send(name,
                     ack(PacketType::kPuback, 1) + ack(PacketType::kPubrec, 2) +
                         ack(PacketType::kPubcomp, 2));
            }
            all["alias"]->hang_up(Error::kReset);
            send("p", pub("t/4", "f", 1, 3) + pub("t/5", "g", 2, 4, expiry(1)));
            world.advance(2'000);
            send("p", ack(PacketType::kPubrel, 4));
            open("alias", false, stays + aliases);
            send("alias", unsubscribe(4, {"t/#", "t/+", "none"}));
            send("plain", pub("t/own", "h", 1, 5));
            all["small"]->hang_up(Error::kReset);
        }
        send("p", disconnect(4));
        world.settle();
    }

    World world;
    std::map<std::string, FakeConnection*> all;
};

}  // namespace

// Whichever one it is, the broker goes on, a bystander is served as ever, and nothing leaks.
TEST_CASE("any one allocation of aliases, identifiers and properties may be refused",
          "[wire][v5][memory]") {
    for (const bool merged : {false, true}) {
        for (const uint32_t slice : {4'096u, 1u}) {
            for (const char* mount : {"", "mount/"}) {
                BrokerOptions options = World::test_options();
                options.allow_duplicate_messages = !merged;
                options.fanout_slice = slice;
                options.max_inflight_messages = 4;
                options.listener.mount_point = mount;
                for (uint64_t nth = 1;; ++nth) {
                    INFO("merged " << merged << " slice " << slice << " mount " << mount << " nth "
                                   << nth);
                    SmallWorld small(options);
                    auto& bystander = small.world.client5({.client_id = "bystander"});
                    bystander.send(sub("quiet", 1, identifier(4)));
                    bystander.take_output();
                    small.world.arena().refuse_nth(nth);
                    small.run();
                    const bool refused = small.world.arena().refused() > 0;
                    small.world.arena().refuse_nth(0);
                    small.world.advance(3'000);  // who waited for memory goes on
                    bystander.send(pub("quiet", "x", 1, 1));
                    REQUIRE(bystander.received().find("PUBLISH(quiet,x,q1,id1){sub=4}") !=
                            std::string::npos);
                    REQUIRE(small.world.end() == 0);
                    if (!refused) {
                        REQUIRE(nth > 150);
                        break;
                    }
                }
            }
        }
    }
}
