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
}

}  // namespace mqttd
