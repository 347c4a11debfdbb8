#include "bench/million/census.h"

#include <cstdio>

namespace mqttd::bench {

void Census::look() {
    for (uint32_t i = 0; i < Arena::kClassCount; ++i)
        in_use_[i] = arena_.class_stats(i).in_use;
    bytes_ = arena_.bytes_used();
}

double Census::report(std::span<const Kind> kinds, uint32_t clients) {
    double rest = static_cast<double>(static_cast<int64_t>(arena_.bytes_used() - bytes_)) / clients;
    const double sum = rest;
    const auto line = [](const char* name, double bytes) {
        std::printf("  %-34s%9.1f\n", name, bytes);
    };
    for (const Kind& kind : kinds) {
        uint32_t i = 0;
        while (i + 1 < Arena::kClassCount && arena_.class_stats(i).size < kind.bytes)
            ++i;
        const Arena::ClassStats stats = arena_.class_stats(i);
        const auto more = static_cast<double>(static_cast<int64_t>(stats.in_use - in_use_[i]));
        line(kind.name, more * stats.size / clients);
        rest -= more * stats.size / clients;
    }
    if (rest > 0.05 || rest < -0.05) line("  tables", rest);
    look();
    return sum;
}

}  // namespace mqttd::bench
