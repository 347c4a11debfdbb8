// paths [NAME]...: plays these paths, or all of them that are compared; `paths --list` names those,
// `paths --growth` the others.
//
// Prints a line "NAME ITEMS" for each. Under callgrind, the instructions are in the file that it
// writes with the name; scripts/instructions puts the two together.

#include "bench/paths/paths.h"

#include <cstring>

namespace {

using mqttd::bench::Path;

bool wanted(const char* name, int count, char** names) {
    if (count == 0) return true;
    for (int i = 0; i < count; ++i)
        if (std::strcmp(name, names[i]) == 0) return true;
    return false;
}

}  // namespace

int main(int argc, char** argv) {
    const bool list = argc == 2 && std::strcmp(argv[1], "--list") == 0;
    const bool list_growth = argc == 2 && std::strcmp(argv[1], "--growth") == 0;
    for (const Path& path : mqttd::bench::growth_paths()) {
        if (list_growth) std::puts(path.name);
        if (list_growth || argc == 1 || !wanted(path.name, argc - 1, argv + 1)) continue;
        mqttd::bench::Meter meter(path.name);
        path.play(meter);
    }
    if (list_growth) return 0;
    for (const auto paths : {mqttd::bench::publish_paths(),
                             mqttd::bench::waiting_paths(),
                             mqttd::bench::client_paths()}) {
        for (const Path& path : paths) {
            if (list) {
                std::puts(path.name);
            } else if (wanted(path.name, argc - 1, argv + 1)) {
                mqttd::bench::Meter meter(path.name);
                path.play(meter);
            }
        }
    }
    return 0;
}
