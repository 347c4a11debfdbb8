#include "mqttd/topic.h"

#include "unit/mqtt/wire.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace mqttd {
namespace {

using test::Exact;
using test::text_of;

using Levels = std::vector<std::string>;

Levels split(const std::string& topic) {
    Levels levels(1);
    for (const char c : topic) {
        if (c == '/') {
            levels.emplace_back();
        } else {
            levels.back() += c;
        }
    }
    return levels;
}

bool slow_filter_valid(const std::string& filter) {
    if (filter.empty()) return false;
    const Levels levels = split(filter);
    for (size_t i = 0; i < levels.size(); ++i) {
        const std::string& level = levels[i];
        if (level.find('+') != std::string::npos && level != "+") return false;
        if (level.find('#') == std::string::npos) continue;
        if (level != "#" || i + 1 != levels.size()) return false;
    }
    return true;
}

bool slow_name_valid(const std::string& name) {
    return !name.empty() && name.find_first_of("+#") == std::string::npos;
}

bool slow_levels_match(const Levels& filter, size_t f, const Levels& name, size_t n) {
    if (f == filter.size()) return n == name.size();
    if (filter[f] == "#") return true;  // also the parent: then n is the end
    if (n == name.size()) return false;
    return (filter[f] == "+" || filter[f] == name[n]) &&
           slow_levels_match(filter, f + 1, name, n + 1);
}

bool slow_matches(const std::string& filter, const std::string& name) {
    const Levels levels = split(filter);
    if (name[0] == '$' && (levels[0] == "+" || levels[0] == "#")) return false;
    return slow_levels_match(levels, 0, split(name), 0);
}

// All strings of 0 to `longest` characters over `alphabet`.
std::vector<std::string> all_strings(const std::string& alphabet, size_t longest) {
    std::vector<std::string> strings = {""};
    size_t begin = 0;
    for (size_t size = 1; size <= longest; ++size) {
        const size_t end = strings.size();
        for (size_t i = begin; i < end; ++i) {
            for (const char c : alphabet) {
                strings.push_back(strings[i] + c);
            }
        }
        begin = end;
    }
    return strings;
}

TEST_CASE("filters and names are told legal from illegal",
          "[MQTT-4.7.1-1][MQTT-4.7.1-2][MQTT-4.7.1-3][MQTT-4.7.3-1][MQTT5-4.7.0-1]"
          "[MQTT5-4.7.1-1][MQTT5-4.7.1-2][MQTT5-4.7.3-1]") {
    // Exhaustive: all strings of up to six characters of which the rules speak.
    for (const std::string& text : all_strings("a/+#$", 6)) {
        const Exact exact(as_bytes(text));
        const bool filter = slow_filter_valid(text);
        const bool name = slow_name_valid(text);
        const bool wild = text.find_first_of("+#") != std::string::npos;
        const bool right = topic_filter_valid(exact) == filter && topic_name_valid(exact) == name &&
                           has_wildcard(exact) == wild &&
                           level_count(exact) == split(text).size() &&
                           (topic_filter_check(exact) == Error::kNone) == filter &&
                           (topic_name_check(exact) == Error::kNone) == name;
        if (!right) FAIL(text);
    }
}

TEST_CASE("a filter matches what the standard says",
          "[MQTT-4.7.2-1][MQTT-3.3.2-3][MQTT5-4.7.2-1][MQTT5-3.3.2-3]") {
    // Exhaustive: every legal filter against every legal name of up to six characters.
    const std::vector<std::string> strings = all_strings("a/+#$", 6);
    const std::vector<std::string> names = all_strings("a/$", 6);
    for (const std::string& filter : strings) {
        if (!slow_filter_valid(filter)) continue;
        const Levels levels = split(filter);
        for (const std::string& name : names) {
            if (name.empty()) continue;
            const bool hidden = name[0] == '$' && (levels[0] == "+" || levels[0] == "#");
            const bool want = !hidden && slow_levels_match(levels, 0, split(name), 0);
            if (topic_matches(as_bytes(filter), as_bytes(name)) != want)
                FAIL(filter << " " << name);
        }
    }
}

TEST_CASE("the standard's own examples of matching hold", "[MQTT-3.3.2-3][MQTT5-3.3.2-3]") {
    const auto matches = [](std::string_view filter, std::string_view name) {
        CHECK(slow_matches(std::string(filter), std::string(name)) ==
              topic_matches(as_bytes(filter), as_bytes(name)));
        return topic_matches(as_bytes(filter), as_bytes(name));
    };
    CHECK(matches("sport/tennis/player1/#", "sport/tennis/player1"));
    CHECK(matches("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"));
    CHECK(matches("sport/#", "sport"));
    CHECK(matches("sport/+", "sport/"));
    CHECK_FALSE(matches("sport/+", "sport"));
    CHECK(matches("+/+", "/finance"));
    CHECK(matches("/+", "/finance"));
    CHECK_FALSE(matches("+", "/finance"));
    CHECK_FALSE(matches("#", "$SYS/uptime"));
    CHECK_FALSE(matches("+/monitor/Clients", "$SYS/monitor/Clients"));
    CHECK(matches("$SYS/#", "$SYS/uptime"));
    CHECK(matches("a/+", "a/$b"));
    CHECK_FALSE(matches("ACCOUNTS", "Accounts"));
    CHECK_FALSE(matches("a//b", "a/b"));
}

TEST_CASE("a wildcard is found at every place of every length", "[MQTT-3.3.2-2][MQTT5-3.3.2-2]") {
    // Names are scanned in words of eight; the last word overlaps the one before.
    for (const char* middle : {"+", "#"}) {
        for (size_t before = 0; before < 20; ++before) {
            for (size_t after = 0; after < 20; ++after) {
                const std::string name =
                    std::string(before, 'a') + middle + std::string(after, 'b');
                const std::string foreign = name + "\xc3\xa9";
                if (topic_name_check(Exact(as_bytes(name))) != Error::kTopicNameInvalid ||
                    topic_name_check(Exact(as_bytes(foreign))) != Error::kTopicNameInvalid) {
                    FAIL(name);
                }
            }
        }
    }
}

TEST_CASE("every byte but three may stand in an ASCII name", "[MQTT-4.7.3-2][MQTT5-4.7.3-2]") {
    // One bit apart from `+` and `#` there are other characters; none of them may suffer.
    for (unsigned byte = 0; byte < 0x80; ++byte) {
        for (const size_t size : {1u, 3u, 5u, 8u, 13u}) {
            const std::string name(size, static_cast<char>(byte));
            const Error want = byte == 0                    ? Error::kMalformedPacket
                               : byte == '+' || byte == '#' ? Error::kTopicNameInvalid
                                                            : Error::kNone;
            CHECK(topic_name_check(Exact(as_bytes(name))) == want);
        }
    }
}

TEST_CASE("levels come off one by one, empty ones too", "[A20]") {
    for (const std::string& text : all_strings("a/", 8)) {
        Levels levels;
        const Exact exact(as_bytes(text));
        Bytes rest = exact;
        bool more = true;
        while (more) {
            levels.push_back(text_of(next_level(rest, more)));
        }
        if (levels != split(text)) FAIL(text);
    }
}

TEST_CASE("a topic may have 65,535 bytes", "[MQTT-4.7.3-3][MQTT5-4.7.3-3]") {
    // The longest the length field can say, and one wildcard at its very end.
    std::string name(65'535, '/');
    CHECK(topic_name_check(as_bytes(name)) == Error::kNone);
    CHECK(topic_filter_check(as_bytes(name)) == Error::kNone);
    CHECK(level_count(as_bytes(name)) == 65'536);
    CHECK(topic_matches(as_bytes(name), as_bytes(name)));
    name.back() = '#';
    CHECK(topic_name_check(as_bytes(name)) == Error::kTopicNameInvalid);
    CHECK(topic_filter_check(as_bytes(name)) == Error::kNone);
}

}  // namespace
}  // namespace mqttd
