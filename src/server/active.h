#pragma once

// Active: a configuration in force, and the options that borrow from it.
//
// The core and net keep views of texts and lists that live here, so an Active stays where it is
// made and outlives the time until both are given another one's (Broker::reconfigure,
// Net::set_limits).

#include "mqttd/broker.h"

#include "config/config.h"
#include "net/net.h"

#include <vector>

namespace mqttd {

class Active {
  public:
    explicit Active(Config config);
    Active(const Active&) = delete;
    Active& operator=(const Active&) = delete;

    const Config& config() const { return config_; }

    // All but the hash key.
    const BrokerOptions& broker() const { return broker_; }

    // What net is told about each listener; the index is that of Config::listeners.
    const std::vector<ListenerLimits>& limits() const { return limits_; }

  private:
    const Config config_;
    std::vector<ListenerOptions> listeners_;
    std::vector<TopicPriority> priorities_;
    std::vector<std::vector<AccessRule>> access_;  // by listener
    std::vector<ListenerLimits> limits_;
    BrokerOptions broker_;
};

}  // namespace mqttd
