#include "config/messages.h"

#include "config/values.h"

namespace mqttd {

namespace {

// "remove the line" or "write 'max_qos 2'".
std::string way_out(const ConfigKey& row, std::string_view key) {
    if (row.off.empty()) {
        return "remove the line";
    }
    const std::string off(row.off.substr(0, row.off.find('|')));
    return "remove the line or write '" + printable(key) + ' ' + off + '\'';
}

}  // namespace

std::string printable(std::string_view text) {
    constexpr size_t kLengthMax = 64;
    std::string out;
    for (const char c : text.substr(0, kLengthMax)) {
        out += c >= ' ' && c <= '~' ? c : '?';
    }
    return text.size() > kLengthMax ? out + "..." : out;
}

std::string unknown_key(std::string_view key) {
    const std::string_view nearest = nearest_config_key(key);
    std::string text = "unknown key '" + printable(key) + '\'';
    if (nearest.empty()) {
        return text + ": 'mqttd --print-config' lists every key";
    }
    return text + ": did you mean '" + std::string(nearest) + "'?";
}

std::string empty_value(const ConfigKey& row, std::string_view key) {
    return printable(key) + " has no value: give " + describe_values(row);
}

std::string wrong_kind(const ConfigKey& row, std::string_view key, std::string_view word) {
    std::string text = printable(key) + " '" + printable(word) + "' ";
    switch (row.kind) {
        case Kind::kBool:
            text += "is neither true nor false";
            break;
        case Kind::kWord:
        case Kind::kWords:
        case Kind::kLogDest:
        case Kind::kLogTypes:
            text += "is not known";
            break;
        case Kind::kDuration:
            text += "is not a duration";
            break;
        case Kind::kOctal:
            text += "is not an octal number";
            break;
        case Kind::kText:
            text += "is not valid UTF-8";
            break;
        case Kind::kTopicName:
            text += is_utf8_text(word) ? "holds a wildcard" : "is not valid UTF-8";
            break;
        case Kind::kRate:
        case Kind::kRateLimit:
            text += "is no rate";
            break;
        default:
            text += "is not a number";
            break;
    }
    return text + ": give " + describe_values(row);
}

std::string out_of_range(const ConfigKey& row, std::string_view key, std::string_view word) {
    return printable(key) + ' ' + printable(word) +
           (is_text(row.kind) ? " is too long" : " is out of range") + ": give " +
           describe_values(row);
}

std::string trailing_text(std::string_view key, std::string_view word, std::string_view trailing) {
    return printable(key) + " is '" + printable(word) + "', and '" + printable(trailing) +
           "' behind it is ignored: a comment needs a line of its own";
}

std::string trailing_words(const ConfigKey& row,
                           std::string_view key,
                           std::string_view word,
                           std::string_view trailing) {
    return printable(key) + " is '" + printable(word) + "', and '" + printable(trailing) +
           "' behind it means nothing: give " + describe_values(row) + " and nothing else";
}

std::string repeated_value(std::string_view key, const std::string& place) {
    return printable(key) + " is already set in " + place + ": this line counts, remove one";
}

std::string ignored_key(const ConfigKey& row, std::string_view key) {
    return printable(key) + " has no effect: " + std::string(row.doc);
}

std::string not_served(const ConfigKey& row, std::string_view key, std::string_view value) {
    std::string text = printable(key) + ' ' + printable(value);
    switch (row.verdict) {
        case Verdict::kTls:
            return text +
                   " needs TLS, which this build does not have: build with 'make TLS=1', or " +
                   way_out(row, key);
        case Verdict::kRefused:
            return text + " is refused because " + std::string(row.reason) + ": " +
                   way_out(row, key);
        default:
            return text +
                   " asks for a feature that is not built in this version: " + way_out(row, key);
    }
}

}  // namespace mqttd
