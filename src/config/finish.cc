#include "config/finish.h"

#include "config/address.h"
#include "config/messages.h"
#include "config/values.h"

#include <algorithm>
#include <string>
#include <utility>

namespace mqttd {

namespace {

class Finisher {
  public:
    Finisher(Config& config, std::string_view file_name) : config_(config), file_(file_name) {}

    std::vector<ConfigProblem> run(const Options& options) {
        choose_listeners(options.ports);
        for (size_t i = 0; i < config_.listeners.size(); ++i) {
            check_listener(config_.listeners[i]);
            check_collisions(i);
        }
        name_listeners();
        read_sync();
        if (!config_.allow_anonymous_is_set) {
            config_.allow_anonymous = config_.local_only;
        }
        if (config_.max_inflight_messages == 0) {
            config_.max_inflight_messages = 65535;
        }
        if (options.quiet) {
            config_.log_types = 0;
        } else if (options.verbose) {
            config_.log_types = kLogAll;
        }
        return std::move(problems_);
    }

  private:
    void choose_listeners(const std::vector<uint16_t>& ports);
    void check_listener(const ListenerConfig& listener);
    void check_collisions(size_t index);
    void name_listeners();
    void read_sync();

    // About the listener, whose line is 0 if -p made it.
    void report(Severity severity, const ListenerConfig& listener, std::string message) {
        const std::string file = listener.file.empty() ? std::string(file_) : listener.file;
        problems_.push_back({severity, file, listener.line, "listener", std::move(message)});
    }

    void report(Severity severity, const char* key, std::string message) {
        problems_.push_back({severity, std::string(file_), 0, key, std::move(message)});
    }

    Config& config_;
    std::string_view file_;
    std::vector<ConfigProblem> problems_;
};

void Finisher::choose_listeners(const std::vector<uint16_t>& ports) {
    if (!config_.listeners.empty()) {
        if (!ports.empty()) {
            report(Severity::kWarning,
                   "listener",
                   "-p " + std::to_string(ports.front()) +
                       " has no effect because the file has listeners: add one there");
        }
        return;
    }
    config_.local_only = true;
    ListenerConfig listener = config_.listener_defaults;
    listener.host = "localhost";
    for (const uint16_t port : ports) {
        listener.port = port;
        config_.listeners.push_back(listener);
    }
    if (ports.empty()) {
        config_.listeners.push_back(std::move(listener));
    }
}

void Finisher::check_listener(const ListenerConfig& listener) {
    if (listener.unix_path.size() > kUnixPathMax) {
        report(Severity::kError,
               listener,
               "the path '" + printable(listener.unix_path) + "' has " +
                   std::to_string(listener.unix_path.size()) +
                   " bytes: a Unix socket's path can have 107");
    }
    if (!listener.host.empty() && listener.host != "localhost" && !parse_address(listener.host)) {
        report(Severity::kError,
               listener,
               "listener address '" + printable(listener.host) +
                   "' is not numeric: mqttd resolves no names, so give an IPv4 or IPv6 address or "
                   "'localhost'");
    } else if (listener.unix_path.empty() && bind_addresses(listener).empty()) {
        report(Severity::kError,
               listener,
               "listener address '" + printable(listener.host) +
                   "' is not of the family that socket_domain asks for: remove one of the two");
    }
}

// always, none, or interval with a number and s or ms.
void Finisher::read_sync() {
    std::string_view rest = config_.sync;
    const std::string_view word = take_word(rest);
    const std::string_view time = take_word(rest);
    const bool alone = time.empty() && rest.empty();
    if (word == "always" && alone) return;
    config_.sync_when = word == "none" ? SyncWhen::kNone : SyncWhen::kInterval;
    if (word == "none" && alone) return;
    const bool ms = time.ends_with("ms");
    const bool seconds = !ms && time.ends_with('s');
    const Number number = parse_digits(time.substr(0,
                                                   time.size() - (ms        ? 2
                                                                  : seconds ? 1
                                                                            : 0)),
                                       10);
    constexpr int64_t kMost = 3'600'000;
    const int64_t value = ms || number.value > kMost ? number.value : number.value * 1'000;
    if (word != "interval" || !rest.empty() || (!ms && !seconds) ||
        number.error != NumberError::kNone || number.value > kMost || value < 1 || value > kMost) {
        report(Severity::kError,
               "sync",
               "sync '" + printable(config_.sync) +
                   "' is none of: always, none, interval TIME with TIME from 1ms to 3600s");
        return;
    }
    config_.sync_interval_ms = static_cast<uint64_t>(value);
}

void Finisher::name_listeners() {
    for (ListenerConfig& listener : config_.listeners) {
        const auto same_port =
            std::count_if(config_.listeners.begin(),
                          config_.listeners.end(),
                          [&listener](const ListenerConfig& other) {
                              return other.unix_path.empty() && other.port == listener.port;
                          });
        listener.name = std::to_string(listener.port);
        if (!listener.unix_path.empty()) {
            listener.name = listener.unix_path;
        } else if (same_port > 1) {
            listener.name = listener.host + ':' + listener.name;
        }
    }
}

// Two sockets on one port collide if they have the same address, or one is the family's wildcard.
bool collide(const BindAddress& a, const BindAddress& b) {
    const auto first = parse_address(a.host);
    const auto second = parse_address(b.host);
    if (!first || !second || first->is_v6 != second->is_v6) {
        return false;
    }
    return *first == *second || is_wildcard(*first) || is_wildcard(*second);
}

bool collide(const ListenerConfig& a, const ListenerConfig& b) {
    if (!a.unix_path.empty() || !b.unix_path.empty()) {
        return a.unix_path == b.unix_path;
    }
    if (a.port != b.port || a.port == 0) {  // 0: a line that the parser has refused already
        return false;
    }
    for (const BindAddress& first : bind_addresses(a)) {
        for (const BindAddress& second : bind_addresses(b)) {
            if (collide(first, second)) {
                return true;
            }
        }
    }
    return false;
}

std::string describe(const ListenerConfig& listener) {
    if (!listener.unix_path.empty()) {
        return printable(listener.unix_path);
    }
    return "port " + std::to_string(listener.port) +
           (listener.host.empty() ? "" : " on " + printable(listener.host));
}

void Finisher::check_collisions(size_t index) {
    const ListenerConfig& late = config_.listeners[index];
    for (size_t i = 0; i < index; ++i) {
        const ListenerConfig& early = config_.listeners[i];
        if (collide(early, late)) {
            const std::string place = early.line == 0
                                          ? "-p"
                                          : "the listener of line " + std::to_string(early.line) +
                                                (early.file == late.file ? ""
                                                 : early.file.empty() ? " of " + std::string(file_)
                                                                      : " of " + early.file);
            return report(Severity::kError,
                          late,
                          describe(late) + " is already taken by " + place + ", " +
                              describe(early) + ": remove one of the two");
        }
    }
}

}  // namespace

std::vector<BindAddress> bind_addresses(const ListenerConfig& listener) {
    if (!listener.unix_path.empty()) {
        return {};
    }
    const bool v4 = listener.domain != SocketDomain::kIpv6;
    const bool v6 = listener.domain != SocketDomain::kIpv4;
    std::vector<BindAddress> addresses;
    if (listener.host.empty() || listener.host == "localhost") {
        const bool all = listener.host.empty();
        if (v4) {
            addresses.push_back({all ? "0.0.0.0" : "127.0.0.1", true});
        }
        if (v6) {
            addresses.push_back({all ? "::" : "::1", !v4});
        }
    } else if (listener.host.find(':') == std::string::npos ? v4 : v6) {
        addresses.push_back({listener.host, true});
    }
    return addresses;
}

std::vector<ConfigProblem> finish_config(Config& config,
                                         const Options& options,
                                         std::string_view file_name) {
    return Finisher(config, file_name).run(options);
}

}  // namespace mqttd
