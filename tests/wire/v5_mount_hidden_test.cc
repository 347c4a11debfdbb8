// What stands at a mount point, or begins with `$` behind it, and what filters see of that.

#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>
#include <string>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

using P = Property;

// Listener 0 has no mount point, listener 1 has.
struct Mounted {
    explicit Mounted(std::string_view mount = "m/") {
        listeners[0] = listeners[1] = options.listener;
        listeners[1].mount_point = mount;
        options.listeners = listeners;
    }

    ListenerOptions listeners[2];
    BrokerOptions options = World::test_options();
};

struct Row {
    const char* filter;   // of a client behind the mount point
    const char* visible;  // what it sees of all topics
};

// Every way a message takes.
enum class Way { kLive, kLive1, kRetained, kQueued, kMerged, kJob, kMergedJob, kShared };

std::string seen_by(const Row& row, Way way, std::string_view mount) {
    Mounted mounted(mount);
    BrokerOptions& options = mounted.options;
    options.allow_duplicate_messages = way != Way::kMerged && way != Way::kMergedJob;
    if (way == Way::kJob || way == Way::kMergedJob) options.fanout_slice = 2;
    World world(options);
    auto& outside = world.client5({.client_id = "outside"});
    if (way == Way::kJob || way == Way::kMergedJob) {
        for (const char* id : {"x", "y", "z"})
            world.client(id).send(sub3("#", 0));
    }
    world.set_listener(1);
    const Connect durable{
        .client_id = "in", .clean = false, .properties = property(P::kSessionExpiryInterval, 60)};
    const int qos = way == Way::kQueued || way == Way::kLive1 ? 1 : 0;
    const std::string filter =
        way == Way::kShared ? "$share/g/" + std::string(row.filter) : row.filter;
    FakeConnection* inside = &world.client5(durable);
    const std::string twice = filter == "#" ? "+/#" : filter;
    const bool merged = way == Way::kMerged || way == Way::kMergedJob;
    const std::string subscribes =
        sub(filter, qos, identifier(1)) + (merged ? sub(twice, qos, identifier(1)) : "");
    if (way != Way::kRetained) inside->send(subscribes);
    inside->take_output();
    if (way == Way::kQueued) inside->hang_up();
    for (const char* topic : {"m", "m/", "m//", "m/a", "m/$a", "m/$a/b", "ma", "m/a/$b", "n/a"}) {
        Publish publish{.topic = topic, .payload = "x", .qos = qos, .packet_id = 1};
        publish.retain = way == Way::kRetained;
        outside.send(packets5::publish(publish));
    }
    if (way == Way::kRetained) inside->send(subscribes);
    if (way == Way::kQueued) {
        inside = &world.connection();
        inside->speak_v5();
        inside->send(connect(durable));
    }
    std::string seen;
    const std::string got = inside->received();
    for (size_t at = 0; (at = got.find("PUBLISH(", at)) != std::string::npos;) {
        at += 8;
        seen += (seen.empty() ? "" : " ") + got.substr(at, got.find(',', at) - at);
    }
    CHECK(world.end() == 0);
    return seen;
}

}  // namespace

// `#` behind the mount point `m/` is `m/#` to the index, which matches `m` and `m/`; its client can
// be told neither, for nothing is left of them. And `m/$a` is to it a topic that begins with `$`.
// All that is simply no match: nothing is dropped.
TEST_CASE("what is not below a mount point is not seen there",
          "[wire][v5][mount][MQTT5-4.7.3-1][MQTT5-4.7.2-1]") {
    const Row rows[] = {
        {"#",    "/ a a/$b"},
        {"+",    "a"       },
        {"+/#",  "/ a a/$b"},
        {"+/+",  "/ a/$b"  },
        {"$a/#", "$a $a/b" },
        {"$a/+", "$a/b"    },
        {"$a",   "$a"      },
        {"a",    "a"       },
        {"a/#",  "a a/$b"  },
        {"/#",   "/"       },
    };
    for (const Row& row : rows) {
        for (const Way way : {Way::kLive,
                              Way::kLive1,
                              Way::kRetained,
                              Way::kQueued,
                              Way::kMerged,
                              Way::kJob,
                              Way::kMergedJob,
                              Way::kShared}) {
            CAPTURE(row.filter, static_cast<int>(way));
            CHECK(seen_by(row, way, "m/") == row.visible);
        }
    }
}

// A mount point need not end a level.
TEST_CASE("a mount point that is no whole level is a prefix", "[wire][v5][mount][MQTT5-4.7.3-1]") {
    const Row rows[] = {
        {"/#",  "/ // /a /$a /$a/b /a/$b"},
        {"/+",  "/ /a /$a"               },
        {"a",   "a"                      },
        {"a/#", "a"                      },
    };
    for (const Row& row : rows) {
        CAPTURE(row.filter);
        CHECK(seen_by(row, Way::kLive, "m") == row.visible);
    }
}

// A group has members on both sides: what one of them cannot be told goes to another.
TEST_CASE("a message that a mounted member cannot see goes to another member",
          "[wire][v5][mount][shared]") {
    Mounted mounted;
    World world(mounted.options);
    auto& outside = world.client5({.client_id = "outside"});
    outside.send(sub("$share/g/m/#", 0));
    outside.take_output();
    world.set_listener(1);
    auto& inside = world.client5({.client_id = "inside"});
    inside.send(sub("$share/g/#", 0));
    inside.take_output();
    auto& w = world.client5({.client_id = "w"});
    for (int i = 0; i < 4; ++i) {
        w.send(pub("$a", "x"));
        CHECK(inside.received().empty());
        CHECK(outside.received() == "PUBLISH(m/$a,x,q0)");
    }
    CHECK(world.end() == 0);
}

// A session that comes back by another listener finds what waited for it under its whole name
// where no mount point can be cut off, never under none.
TEST_CASE("a topic is never empty for a session from another listener",
          "[wire][v5][mount][MQTT5-4.7.3-1]") {
    Mounted mounted;
    World world(mounted.options);
    auto& first = world.client("c", false);
    first.send(sub3("#", 1));
    first.hang_up();
    auto& w = world.client("w");
    for (const char* topic : {"m/", "m", "m/a", "n"})
        w.send(packets::publish({.topic = topic, .payload = "x", .qos = 1, .packet_id = 1}));
    world.set_listener(1);
    auto& back = world.connection();
    back.send(packets::connect("c", false));
    CHECK(back.received() ==
          "CONNACK(0,present) PUBLISH(m/,x,q1,id1) PUBLISH(m,x,q1,id2) PUBLISH(a,x,q1,id3) "
          "PUBLISH(n,x,q1,id4)");
    CHECK(world.end() == 0);
}
