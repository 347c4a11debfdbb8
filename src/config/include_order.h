// Which files of include_dir are read, and in which order: mosquitto's rules.
#pragma once

#include <string_view>

namespace mqttd {

// "*.conf", but not a hidden file.
constexpr bool is_included(std::string_view name) {
    return name.size() > 5 && !name.starts_with('.') && name.ends_with(".conf");
}

// Alphabetical without regard to case; where only the case differs, capitals come first.
constexpr bool is_read_before(std::string_view a, std::string_view b) {
    const auto upper = [](char c) {
        return static_cast<unsigned char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    };
    for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
        if (upper(a[i]) != upper(b[i])) {
            return upper(a[i]) < upper(b[i]);
        }
        if (a[i] != b[i]) {
            return a[i] < b[i];
        }
    }
    return a.size() < b.size();
}

}  // namespace mqttd
