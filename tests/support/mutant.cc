#include "base/mutant.h"

#include <cstdlib>

#if defined(MQTTD_MUTANTS) && MQTTD_MUTANTS

namespace mqttd {

int chosen_mutant() {
    static const int chosen = [] {
        const char* text = std::getenv("MQTTD_MUTANT");
        return text != nullptr ? std::atoi(text) : 0;
    }();
    return chosen;
}

}  // namespace mqttd

#endif
