#pragma once

// What of a new configuration can be in force without a restart.
//
// A pure function of the old and the new one. A listener is known by its port and address, or its
// path: those that are in both take their new options, one that is gone from the file is served on
// as it was, and one that is new there waits for a restart; so the number and order of listeners
// stay, and with them the indices that net and the core hold. Of all other keys the table says
// whether they can change (kReload); the rest keeps its old value.

#include "config/config.h"

#include <string>
#include <vector>

namespace mqttd {

struct ReloadPlan {
    Config config;  // to be put in force
    // One line for each key whose change waits for a restart.
    std::vector<std::string> needs_restart;
};

// Both are finished (config/finish.h).
ReloadPlan plan_reload(const Config& running, const Config& fresh);

}  // namespace mqttd
