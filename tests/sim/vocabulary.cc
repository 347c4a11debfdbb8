#include "sim/vocabulary.h"

namespace mqttd::sim {

namespace {

std::string_view next_level(std::string_view& rest) {
    const size_t end = rest.find('/');
    const std::string_view level = rest.substr(0, end);
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
    return level;
}

}  // namespace

bool matches(std::string_view filter, std::string_view topic) {
    if (topic[0] == '$' && (filter[0] == '+' || filter[0] == '#')) return false;
    for (;;) {
        const bool last_filter = filter.find('/') == filter.npos;
        const bool last_topic = topic.find('/') == topic.npos;
        const std::string_view want = next_level(filter);
        const std::string_view have = next_level(topic);
        if (want == "#") return true;
        if (want != "+" && want != have) return false;
        if (last_topic) return last_filter || filter == "#";
        if (last_filter) return false;
    }
}

void Vocabulary::add_filter(std::string_view text) {
    Filter filter;
    filter.text = text;
    std::string_view rest = text;
    const auto skip = [&](std::string_view prefix) {
        if (!rest.starts_with(prefix)) return false;
        rest.remove_prefix(prefix.size());
        return true;
    };
    const bool named = skip("$share/");
    if (named) rest = rest.substr(rest.find('/') + 1);
    if (named || skip("$queue/")) filter.group = static_cast<uint32_t>(filters.size()) + 1;
    for (const std::string& topic : topics)
        filter.matches.push_back(matches(rest, topic));
    filters.push_back(filter);
    filter_texts.emplace_back(text);
}

}  // namespace mqttd::sim
