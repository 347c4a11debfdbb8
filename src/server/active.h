#pragma once

// Active: a configuration in force, and the options that borrow from it.
//
// The core keeps views of texts and lists that live here, so an Active stays where it is made and
// outlives the last `reconfigure` that was given its options (broker.h).

#include "mqttd/broker.h"

#include "config/config.h"

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

  private:
    const Config config_;
    std::vector<ListenerOptions> listeners_;
    std::vector<TopicPriority> priorities_;
    BrokerOptions broker_;
};

}  // namespace mqttd
