#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace mqttd {

void assertion_failed(const char* fact, const char* file, int line) {
    std::fprintf(stderr, "mqttd: assertion failed: %s (%s:%d)\n", fact, file, line);
    std::abort();
}

}  // namespace mqttd
