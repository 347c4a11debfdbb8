// What is encoded once for all receivers of one kind: as long as somebody may still be given it, it
// stays where it is.

#include "mqttd/limits.h"

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
