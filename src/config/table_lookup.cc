#include "config/rates.h"
#include "config/table.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace mqttd {

namespace {

// Edits that turn `a` into `b`: insert, delete or replace a letter, or swap two neighbours. Three
// rows of memory; names whose lengths alone differ by more than `limit` are not looked at.
size_t edit_distance(std::string_view a, std::string_view b, size_t limit) {
    if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) > limit) {
        return limit + 1;
    }
    std::vector<size_t> before(b.size() + 1);
    std::vector<size_t> above(b.size() + 1);
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j < row.size(); ++j) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.size(); ++i) {
        std::swap(before, above);
        std::swap(above, row);
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({replaced, above[j] + 1, row[j - 1] + 1});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                row[j] = std::min(row[j], before[j - 2] + 1);
            }
        }
    }
    return row[b.size()];
}

std::string join_words(std::string_view words) {
    std::string text = "one of ";
    for (const char c : words) {
        text += c;
        if (c == ' ') {
            text.insert(text.size() - 1, ",");
        }
    }
    return text;
}

}  // namespace

std::string_view section_title(Section section) {
    constexpr std::string_view kTitles[kSectionCount] = {
        "Listeners",
        "Who may connect",
        "Sizes",
        "Windows and queues of one client",
        "Subscriptions",
        "Retained messages",
        "The process",
        "Logging",
        "Persistence",
        "TLS",
        "Bridges",
        "Plugins",
        "Words of emqttd and of older mosquittos",
    };
    return kTitles[static_cast<size_t>(section)];
}

const ConfigKey* find_config_key(std::string_view name) {
    for (const ConfigKey& key : config_keys()) {
        const bool prefix = key.name.ends_with('*');
        const std::string_view stem = key.name.substr(0, key.name.size() - (prefix ? 1 : 0));
        if (prefix ? name.size() > stem.size() && name.starts_with(stem) : name == key.name) {
            return &key;
        }
    }
    return nullptr;
}

const ConfigKey& resolve_alias(const ConfigKey& key) {
    return key.verdict == Verdict::kAlias ? *find_config_key(key.target) : key;
}

std::string_view nearest_config_key(std::string_view name) {
    size_t best = std::clamp<size_t>(name.size() / 3, 1, 3);
    std::string_view nearest;
    for (const ConfigKey& key : config_keys()) {
        const size_t distance = edit_distance(name, key.name, best);
        if (distance < best || (distance == best && nearest.empty())) {
            best = distance;
            nearest = key.name;
        }
    }
    return nearest;
}

std::string describe_values(const ConfigKey& key) {
    switch (key.kind) {
        case Kind::kBool:
            return "true or false";
        case Kind::kInt:
        case Kind::kHours:
        case Kind::kMinutes:
            return "a whole number from " + std::to_string(key.min) + " to " +
                   std::to_string(key.max);
        case Kind::kOctal:
            return "permission bits in octal, from 0000 to 0777";
        case Kind::kDuration:
            return "a number and its unit (s, h, d, w, m or y), from 1s to 100y";
        case Kind::kShare:
            return "a share from 0 to 1, with at most three decimals";
        case Kind::kRate:
            return "bytes per second from 1 to " + std::to_string(key.max) +
                   ", K and M allowed, or off";
        case Kind::kRateLimit:
            return "BURST,RATE in KB and KB/s, each from 1 to " + std::to_string(kRateKibMax) +
                   ", or off";
        case Kind::kWord:
        case Kind::kLogTypes:
            return join_words(key.words);
        case Kind::kWords:
            return "one or more of " + join_words(key.words).substr(7);
        case Kind::kLogDest:
            return "one of none, stdout, stderr, syslog, file PATH";
        case Kind::kListener:
            return "PORT, PORT ADDRESS or 0 PATH";
        case Kind::kAddressRule:
            return "allow or deny, then all, an address or ADDRESS/BITS";
        case Kind::kTopicRank:
            return "a topic filter and a number from 0 to 255";
        case Kind::kIncludeDir:
            return "the path of a directory";
        case Kind::kTopicName:
            return "at most " + std::to_string(key.max) + " bytes of UTF-8 without + and #";
        case Kind::kText:
            return "at most " + std::to_string(key.max) + " bytes of UTF-8";
        case Kind::kAnything:
            return "anything";
    }
    return {};
}

}  // namespace mqttd
