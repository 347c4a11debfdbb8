#include "server/active.h"

#include "server/settings.h"

#include <utility>

namespace mqttd {

Active::Active(Config config)
    : config_(std::move(config)),
      listeners_(listeners_of(config_)),
      priorities_(priorities_of(config_)),
      broker_(options_to_broker(config_)) {
    broker_.listeners = listeners_;
    broker_.priorities = priorities_;
    for (const ListenerConfig& listener : config_.listeners) {
        const auto index = static_cast<uint16_t>(limits_.size());
        limits_.push_back(listener_limits(listener, index));
        access_.push_back(access_rules(listener));
        limits_.back().access = access_.back();
    }
}

}  // namespace mqttd
