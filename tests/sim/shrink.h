#pragma once

// Shrink: makes a failing world smaller by leaving actions out, as long as it goes on failing.

#include "sim/plan.h"

#include <functional>

namespace mqttd::sim {

//   fails   plays a plan and says whether it still fails; called a few hundred times
Plan shrink(Plan plan, const std::function<bool(const Plan&)>& fails);

}  // namespace mqttd::sim
