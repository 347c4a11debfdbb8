#include "store/file_name.h"

#include <charconv>
#include <cinttypes>
#include <cstdio>

namespace mqttd {

namespace {

constexpr std::string_view kSuffix = ".log";
constexpr std::string_view kSpare = "spare-";
constexpr size_t kDigits = 16;

// The whole text as a number.
template <class T>
bool parse(std::string_view text, T& number, int base) {
    const char* end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, number, base);
    return error == std::errc{} && at == end && !text.empty();
}

}  // namespace

NameText name_of(const FileName& file) {
    NameText name;
    if (file.part == 0) {
        std::snprintf(name.text, sizeof name.text, "%016" PRIx64 ".log", file.number);
    } else {
        std::snprintf(name.text, sizeof name.text, "%016" PRIx64 ".%u.log", file.number, file.part);
    }
    return name;
}

NameText spare_name(uint64_t number) {
    NameText name;
    std::snprintf(name.text, sizeof name.text, "spare-%" PRIu64 ".log", number);
    return name;
}

std::optional<FileName> parse_name(std::string_view name) {
    FileName file;
    if (!name.ends_with(kSuffix) || name.size() < kDigits + kSuffix.size()) return std::nullopt;
    name.remove_suffix(kSuffix.size());
    if (!parse(name.substr(0, kDigits), file.number, 16)) return std::nullopt;
    name.remove_prefix(kDigits);
    if (name.empty()) return file;
    if (name[0] != '.' || !parse(name.substr(1), file.part, 10) || file.part == 0) {
        return std::nullopt;
    }
    return file;
}

bool is_spare(std::string_view name) {
    return name.starts_with(kSpare) && name.ends_with(kSuffix);
}

}  // namespace mqttd
