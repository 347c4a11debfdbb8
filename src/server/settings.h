#pragma once

// What the configuration means for the other rooms: Config → their own options.
//
// Pure functions; the rooms stay ignorant of each other and of the file's words.

#include "mqttd/broker.h"

#include "config/config.h"
#include "io/log_sink.h"
#include "net/net.h"

#include <cstdint>
#include <string>
#include <vector>

namespace mqttd {

// `config` outlives the broker: the options borrow its texts.  The hash key and the lists of
// listeners and priorities are the caller's to add (server/active.h).
BrokerOptions options_to_broker(const Config& config);

// What one listener decides about its clients; and those of all of them, by index.
ListenerOptions listener_options(const Config& config, const ListenerConfig& listener);
std::vector<ListenerOptions> listeners_of(const Config& config);

// Priorities of topics, if queues are kept by them.
std::vector<TopicPriority> priorities_of(const Config& config);

// Where log lines go and how they begin.
LogSink::Options log_sink_options(const Config& config);

// `files`: RLIMIT_NOFILE; `files_open`: how many are open before net opens its own.
NetOptions net_options(const Config& config, uint64_t files, uint64_t files_open);

// The address and port are the caller's to choose (bind_addresses); the path of a Unix socket is
// there already, borrowed from `listener`.
ListenOptions listen_options(const ListenerConfig& listener);
// Without its access rules, which are a list of their own (server/active.h).
ListenerLimits listener_limits(const ListenerConfig& listener, uint16_t index);
std::vector<AccessRule> access_rules(const ListenerConfig& listener);

constexpr uint64_t kArenaLeast = uint64_t{8} << 20;
constexpr uint64_t kArenaMost = uint64_t{32} << 30;  // what 32-bit distances span (base/ptr32.h)

// Bytes of address space for the arena: what `memory_limit` says, within the two bounds above.
// -1 stands for 80 % of what the machine has (`available`; 0 = not known: 1 GiB), 0 for no limit.
uint64_t arena_bytes(int64_t memory_limit, uint64_t available);

// The kinds of lines `log_type` wants, as bits for Log.
uint32_t log_kinds(uint32_t log_types);

// How many clients at once there are descriptors for.
uint64_t clients_allowed(const NetOptions& options);

// What the machine allows; see io/host.h.  0 = not known.
struct MachineLimits {
    uint64_t files = 0;    // RLIMIT_NOFILE
    uint64_t clients = 0;  // clients_allowed
    uint64_t somaxconn = 0;
    uint64_t file_max = 0;
    uint64_t local_ports = 0;
};

// One sentence for each of somaxconn, file-max and the local port range that is smaller than what
// the listeners' backlogs or the number of clients ask for.
std::vector<std::string> tight_limits(const Config& config, const MachineLimits& machine);

}  // namespace mqttd
