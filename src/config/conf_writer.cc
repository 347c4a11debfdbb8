#include "config/conf_writer.h"

#include "config/table.h"

#include <algorithm>

namespace mqttd {

namespace {

constexpr size_t kColumnMax = 100;
constexpr size_t kDocColumn = 40;  // of the short entries

constexpr std::string_view kHead =
    "# mqttd.conf: every key, commented out at its default. Written by 'mqttd --print-config'.\n"
    "#\n"
    "# One 'key value' per line. A comment has its '#' in the first column; there is no comment\n"
    "# behind a value. Most mosquitto.conf files work as they are: keys mqttd does not need are\n"
    "# ignored with a warning, keys it does not have yet, or will not have, stop the start with a\n"
    "# reason. 'mqttd -t -c FILE' checks a file and reports all that is wrong in it at once.\n"
    "#\n"
    "# Keys under 'listener' apply to the listener line above them. With no listener at all mqttd\n"
    "# serves this machine only, without passwords; conf/minimal.conf opens it to the network.\n"
    "#\n"
    "# SIGHUP reads the file again: a wrong one changes nothing, a good one holds at once and for\n"
    "# whoever is connected, but for new listeners and what is said to need a restart.\n";

// `text` as comment lines of at most kColumnMax columns.
std::string comment(std::string_view text) {
    std::string out;
    size_t column = 0;
    while (!text.empty()) {
        const size_t end = text.find(' ');
        const std::string_view word = text.substr(0, end);
        if (column == 0 || column + 1 + word.size() > kColumnMax) {
            out += column == 0 ? "#" : "\n#";
            column = 1;
        }
        out += ' ';
        out += word;
        column += 1 + word.size();
        text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    }
    return out + '\n';
}

std::string first_off(const ConfigKey& row) {
    return std::string(row.off.substr(0, row.off.find('|')));
}

// What follows the doc in brackets: bounds and unit.
std::string bounds(const ConfigKey& row) {
    switch (row.kind) {
        case Kind::kInt:
        case Kind::kHours:
        case Kind::kMinutes:
            return std::to_string(row.min) + " to " + std::to_string(row.max) +
                   (row.unit.empty() ? "" : " " + std::string(row.unit));
        case Kind::kText:
        case Kind::kTopicName:
        case Kind::kAnything:
        case Kind::kListener:
        case Kind::kIncludeDir:
            return {};
        default:
            return describe_values(row);
    }
}

// A stand-in for a value where the default is "unset".
std::string placeholder(const ConfigKey& row) {
    switch (row.kind) {
        case Kind::kBool:
            return "true|false";
        case Kind::kWord:
            return std::string(row.words);
        case Kind::kText:
        case Kind::kTopicName:
        case Kind::kListener:
        case Kind::kDuration:
        case Kind::kAddressRule:
        case Kind::kTopicRank:
        case Kind::kIncludeDir:
            return row.unit.empty() ? "VALUE" : std::string(row.unit);
        default:
            return "NUMBER";
    }
}

std::string entry(const ConfigKey& row) {
    std::string text(row.doc);
    if (const std::string range = bounds(row); !range.empty()) {
        text += " [" + range + "]";
    }
    if ((row.flags & kReload) == 0) {
        text += " A change needs a restart.";
    }
    for (const ConfigKey& other : config_keys()) {
        if (other.verdict == Verdict::kAlias && other.target == row.name) {
            text += " Also written " + std::string(other.name) + ".";
        }
    }
    std::string out = comment(text);
    // A stand-in is set off by a blank: only real `#key value` lines can be switched on as they
    // are.
    if (row.kind == Kind::kLogTypes) {
        for (size_t at = 0; at < row.fallback.size();) {
            const size_t end = std::min(row.fallback.find(' ', at), row.fallback.size());
            out += "#" + std::string(row.name) + ' ' +
                   std::string(row.fallback.substr(at, end - at)) + '\n';
            at = end + 1;
        }
        return out + '\n';
    }
    if (!row.shipped.empty()) {
        return out + std::string(row.name) + ' ' + std::string(row.shipped) + "\n\n";
    }
    const bool has_default = !row.fallback.empty();
    out += has_default ? "#" : "# ";
    out += row.name;
    return out + ' ' + (has_default ? std::string(row.fallback) : placeholder(row)) + "\n\n";
}

// One line for a key whose value changes nothing in this version.
std::string short_entry(const ConfigKey& row) {
    std::string line = "#   " + std::string(row.name);
    line += row.off.empty() ? "" : " " + first_off(row);
    line.resize(line.size() < kDocColumn ? kDocColumn : line.size() + 1, ' ');
    if (row.verdict == Verdict::kAlias) {
        return line + "The same as " + std::string(row.target) + ".\n";
    }
    const bool refused = row.verdict == Verdict::kRefused && row.off.empty();
    return line + std::string(refused ? row.reason : row.doc) + '\n';
}

// The keys of a section that get one of two verdicts, under a title. Empty if there is none.
std::string short_list(Section section, std::string_view title, Verdict first, Verdict second) {
    std::string out;
    for (const ConfigKey& row : config_keys()) {
        const Verdict verdict = resolve_alias(row).verdict;
        if (row.section == section && (verdict == first || verdict == second)) {
            out += short_entry(row);
        }
    }
    return out.empty() ? out : comment(title) + out + '\n';
}

std::string section_text(Section section) {
    std::string out = "\n# ---- " + std::string(section_title(section)) + " ----\n\n";
    for (const ConfigKey& row : config_keys()) {
        if (row.section == section && row.verdict == Verdict::kBuilt) {
            out += entry(row);
        }
    }
    out += short_list(section,
                      "Not built in this version; the value shown, if there is one, is accepted:",
                      Verdict::kComing,
                      Verdict::kInert);
    out += short_list(section,
                      "Refused without 'make TLS=1', but for the value shown:",
                      Verdict::kTls,
                      Verdict::kTls);
    out += short_list(section,
                      "Refused for good, but for the value shown:",
                      Verdict::kRefused,
                      Verdict::kRefused);
    out += short_list(section, "Accepted, without effect:", Verdict::kIgnored, Verdict::kIgnored);
    out.pop_back();
    return out;
}

}  // namespace

std::string write_default_config() {
    std::string out(kHead);
    for (size_t i = 0; i < kSectionCount; ++i) {
        out += section_text(static_cast<Section>(i));
    }
    return out;
}

}  // namespace mqttd
