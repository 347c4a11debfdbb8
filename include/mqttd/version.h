#pragma once

// The version of this build, as `mqttd --version` and `$SYS/broker/version` print it.

namespace mqttd {

constexpr const char* kVersion = "0.1.0";

}  // namespace mqttd
