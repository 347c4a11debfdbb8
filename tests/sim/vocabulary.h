#pragma once

// Texts of the world: topics, filters, and which matches which.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd::sim {

struct Vocabulary {
    struct Filter {
        std::string text;           // as subscribed
        uint32_t group = 0;         // 0: not shared; else a number for its (group, filter)
        std::vector<bool> matches;  // by topic
    };

    std::vector<std::string> topics;
    std::vector<Filter> filters;
    std::vector<std::string> filter_texts;

    void add_filter(std::string_view text);
};

// Whether a topic matches a filter, level by level.
bool matches(std::string_view filter, std::string_view topic);

}  // namespace mqttd::sim
