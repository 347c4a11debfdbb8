#pragma once

// The command line of mqttbench → Options, or what is wrong with it.
//
// In the manner of mqttd's own (config/options.h): one table row per option parses, bounds and
// documents it, words may be joined ("-p1884", "--qos=1"), counts take k and m ("100k"), and all
// wrong words are reported in one run; main prints them and exits with 2. The first word that is
// no option names the mode. An option that the mode would ignore is an error too: a figure must
// not look as if something had been measured that was not.

#include "tools/bench_packet.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd::bench {

enum class Mode : uint8_t {
    kThroughput,
    kLatency,
    kGrowth,
    kConnect,
    kReconnect,
    kIdle,
    kBacklog,
    kRetained,
};

enum class Layout : uint8_t {
    kShared,    // one topic for all
    kPairs,     // a topic per pair
    kWildcard,  // filters with + and #, each message matches one
    kGroup,     // one topic, the subscribers in shared groups
};

struct Options {
    Mode mode = Mode::kThroughput;
    // Where
    std::string host = "127.0.0.1";
    uint64_t port = 1883;
    uint64_t protocol = 4;  // Protocol
    std::string user;
    std::string password;
    std::string prefix;  // of client ids and topics; empty: made from the process id
    // What is sent
    uint64_t publishers = 1;
    uint64_t subscribers = 1;
    uint64_t layout = 0;  // Layout
    uint64_t filters = 1000;
    uint64_t groups = 1;
    uint64_t qos = 0;
    uint64_t payload = 64;
    uint64_t window = 256;
    uint64_t inflight = 0;
    uint64_t rate = 1000;
    uint64_t bystanders = 0;
    uint64_t other_filters = 0;
    bool spin = false;
    bool sleep = false;
    // How long
    uint64_t seconds = 5;
    uint64_t messages = 0;
    uint64_t warmup_ms = 500;
    uint64_t patience_s = 3;
    // Clients
    uint64_t clients = 1000;
    uint64_t parallel = 64;
    // What is said
    uint64_t broker_pid = 0;
    bool json = false;
    bool quiet = false;
    bool help = false;
    bool version = false;

    Protocol speech() const { return static_cast<Protocol>(protocol); }

    Layout shape() const { return static_cast<Layout>(layout); }

    uint8_t level() const { return static_cast<uint8_t>(qos); }
};

struct ParsedOptions {
    Options options;
    std::vector<std::string> problems;  // one sentence each; not empty = exit 2
};

// The words behind the program's name. Help and version do not hide a problem.
ParsedOptions parse_options(std::span<const char* const> words);

std::string usage_text();

std::string_view mode_name(Mode mode);

}  // namespace mqttd::bench
