#pragma once

// Secret randomness from the kernel, for the key of the hash tables.

#include "mqttd/result.h"

#include <cstdint>
#include <span>

namespace mqttd {

// Fills `out`.  May wait for entropy in the first moments of a machine's life, so it is for the
// start only.  kIo: the kernel has neither getrandom nor /dev/urandom.
Error random_bytes(std::span<uint8_t> out);

}  // namespace mqttd
