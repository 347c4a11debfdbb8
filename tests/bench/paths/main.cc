// paths [NAME]...: plays these paths, or all of them; `paths --list` names them.
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
