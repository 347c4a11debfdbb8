// What is encoded once for all receivers of one kind: as long as somebody may still be given it, it
// stays where it is.

#include "mqttd/limits.h"

#include "support/bare_loop.h"
#include "support/words5.h"
#include "support/world.h"

#include <catch2/catch.hpp>

using namespace mqttd;
using namespace mqttd::packets5;

namespace {

// User properties of so many bytes.
std::string much(size_t bytes) {
    std::string properties;
    while (properties.size() + 60'000 < bytes)
        properties += user("k", std::string(59'000, 'v'));
    return properties + user("k", std::string(bytes - properties.size() - 6, 'v'));
}

}  // namespace

// The bytes for 3.1.1 are copied to their first receiver, who has an answer waiting, so that no
// outbox holds them when the larger ones for 5.0 are encoded. These fit beside them, or need the
// whole of the scratch segment, or a larger one; then a second 3.1.1 receiver gets the first bytes.
TEST_CASE("an encoding outlives the next one", "[wire][v5][memory]") {
    const size_t whole = limits::kScratchBytes;
    std::vector<size_t> sizes{100, whole / 2, 300'000};
    for (size_t size = whole - 40; size <= whole + 8; ++size)
        sizes.push_back(size);
    for (const size_t size : sizes) {
        for (const uint32_t slice : {4'096u, 1u}) {
            CAPTURE(size, slice);
            BrokerOptions options = World::test_options();
            options.fanout_slice = slice;
            World world(options);
            auto& first = world.client("first");
            auto& five = world.client5({.client_id = "five"});
            auto& last = world.client("last");
            first.send(sub3("t", 0));
            five.send(sub("t", 0));
            last.send(sub3("t", 0));
            for (auto* each : {&first, &five, &last})
                each->take_output();
            auto& publisher = world.client5({.client_id = "w"});
            first.push(packets::pingreq());
            publisher.push(keep("t", "x", much(size)));
            world.settle();
            CHECK(first.received() == "PINGRESP PUBLISH(t,x,q0)");
            CHECK(last.received() == "PUBLISH(t,x,q0)");
            CHECK(five.take_output().size() > size);
            CHECK(world.end() == 0);
        }
    }
}

// The largest packet of 3.1.1 has no room for the length of properties that 5.0 adds: it is dropped
// for those receivers alone, and by name. One byte less and it just fits.
TEST_CASE("a packet too large for the other version is dropped for its receivers",
          "[wire][v5][MQTT5-3.1.2-25]") {
    for (const uint32_t short_of : {0u, 1u, 2u}) {
        CAPTURE(short_of);
        BrokerOptions options = World::test_options();
        options.max_packet_size = limits::kLargestPacket;
        BareLoop loop(options, size_t{600} << 20, 4);
        for (uint32_t i = 0; i < 4; ++i)
            loop.open(i);
        loop.feed(0, packets::connect("w"));
        loop.feed(1, connect({.client_id = "five"}) + sub("t", 0));
        loop.feed(2, packets::connect("three") + sub3("t", 0));
        loop.feed(3,
                  connect({.client_id = "small",
                           .properties = property(Property::kMaximumPacketSize, 1'000)}) +
                      sub("t", 0));
        loop.turn();
        const uint64_t written = loop.written();
        // Its remaining length is what four digits can say, or a little less.
        std::string beginning = "\x30\xff\xff\xff\x7f";
        beginning[1] = static_cast<char>(0xff - short_of);
        const uint32_t whole = limits::kLargestPacket - short_of;
        loop.feed_large(0, beginning + std::string("\0\1t", 3), whole);
        loop.turn();
        const uint64_t told = short_of == 0 ? 1 : 2;
        CHECK(loop.complete());
        CHECK(loop.stats().drops[static_cast<uint32_t>(Drop::kReceiverSize)] == 3 - told);
        CHECK(loop.stats().publish_sent == told);
        CHECK(loop.written() - written == told * whole + (told - 1));
        loop.feed(0, packets::publish({.topic = "t", .payload = "x"}));
        loop.turn();
        CHECK(loop.stats().publish_sent == told + 3);
    }
}
