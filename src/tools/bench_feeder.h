#pragma once

// Storing and fetching: the two halves of the modes in which nobody listens while messages come.
//
// `feed` publishes a number of messages through some publishers, a window at a time, and returns
// when the broker has taken every one: at QoS 1 and 2 when the last is acknowledged, at QoS 0 when
// a PINGREQ behind the last is answered. `fetch` reads what one client is sent, acknowledging as it
// goes, until the caller has all it waits for or nothing comes for --patience.

#include "tools/bench_client.h"
#include "tools/bench_options.h"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace mqttd::bench {

struct FeedPlan {
    uint64_t count = 0;
    uint64_t publishers = 1;
    std::string topic;      // a prefix if `numbered`
    bool numbered = false;  // message i goes to "topic/0000i"
    bool retain = false;
    size_t payload = 0;     // below 8: no mark
    std::string_view what;  // for the progress line
};

// Message i carries Mark(publisher i mod publishers, i / publishers). A message the broker refuses
// is done with, too: whoever fetches will miss it.
void feed(const Options& options, const FeedPlan& plan);

// take(message) → whether that was the last one.
void fetch(const Options& options,
           Client& client,
           std::string_view what,
           const std::function<bool(const Arrived&)>& take);

}  // namespace mqttd::bench
