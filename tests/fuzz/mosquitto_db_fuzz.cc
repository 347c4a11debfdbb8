// libFuzzer harness over the reader of mosquitto.db; its corpus is what a real mosquitto wrote,
// tests/unit/store/fixtures.  `make fuzz HARNESS=mosquitto_db` builds and runs it.

#include "fuzz/mosquitto_db_walk.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    mqttd::fuzz::walk_mosquitto_db({data, size});
    return 0;
}
