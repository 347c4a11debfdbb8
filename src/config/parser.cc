#include "config/parser.h"

#include "config/file_parser.h"
#include "config/messages.h"
#include "config/row_value.h"
#include "config/table.h"
#include "config/values.h"

#include <string>
#include <utility>

namespace mqttd {

void FileParser::parse_text(std::string_view text) {
    line_ = 0;
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (text.starts_with(kByteOrderMark)) {
        text.remove_prefix(kByteOrderMark.size());
    }
    while (!text.empty() && errors_ <= kProblemsMax) {
        const size_t end = text.find('\n');
        ++line_;
        parse_line(text.substr(0, end));
        text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    }
}

void FileParser::parse_line(std::string_view line) {
    while (line.ends_with('\r')) {
        line.remove_suffix(1);
    }
    if (line.starts_with('#')) {
        return;
    }
    std::string_view rest = line;
    key_ = take_word(rest);
    if (key_.empty()) {
        return;
    }
    if (line.find('\0') != std::string_view::npos) {
        return error("the line holds a NUL byte: is this a text file?");
    }
    if (key_.starts_with('#')) {
        return error("a comment must begin in the first column: remove the blanks before '#'");
    }
    const ConfigKey* found = find_config_key(key_);
    if (found == nullptr) {
        return error(unknown_key(key_));
    }
    const ConfigKey& row = resolve_alias(*found);
    if (row.verdict == Verdict::kIgnored) {
        return warn(ignored_key(row, key_));
    }
    if (!scope_is_open(row)) {
        return;
    }
    if (rest.empty()) {
        return error(empty_value(row, key_));
    }
    take_value(row, rest);
}

// A bridge key needs a bridge. That `connection` itself is not built is not the bridge key's fault.
bool FileParser::scope_is_open(const ConfigKey& row) {
    if (row.name == "connection") {
        in_bridge_ = true;
        forget_lines_of(Scope::kBridge);
    }
    if (row.scope == Scope::kBridge && !in_bridge_) {
        error(printable(key_) + " belongs to a bridge: put it below a 'connection' line");
        return false;
    }
    return true;
}

// Kind and bounds are checked whatever the verdict; what then happens is the verdict's.
void FileParser::take_value(const ConfigKey& row, std::string_view rest) {
    if (row.kind == Kind::kListener) {
        return start_listener(row, rest);
    }
    if (row.kind == Kind::kLogDest) {
        return add_log_dest(row, rest);
    }
    if (row.kind == Kind::kAddressRule) {
        return add_address_rule(row, rest);
    }
    if (row.kind == Kind::kTopicRank) {
        return add_topic_rank(rest);
    }
    if (row.kind == Kind::kIncludeDir) {
        return include(rest);
    }
    const Reading reading = read_row_value(row, rest);
    if (reading.error == ReadError::kWrongKind) {
        return error(wrong_kind(row, key_, reading.word));
    }
    if (reading.error == ReadError::kOutOfRange) {
        return error(out_of_range(row, key_, reading.word));
    }
    if (!reading.trailing.empty()) {
        // `memory_limit 3 GB` must not become 3 bytes; behind a word or a '#' nothing is lost.
        if (is_number(row.kind) && !reading.trailing.starts_with('#')) {
            return error(trailing_words(row, key_, reading.word, reading.trailing));
        }
        warn(trailing_text(key_, reading.word, reading.trailing));
    }
    judge(row, reading.value);
}

void FileParser::judge(const ConfigKey& row, const ConfigValue& value) {
    const bool served = row.verdict == Verdict::kBuilt || row.verdict == Verdict::kInert;
    if (!served && !is_off_value(row, value)) {
        return error(not_served(row, key_, value.text));
    }
    if (is_repeated(row)) {
        return;
    }
    if (row.kind == Kind::kLogTypes) {
        return add_log_type(value.text);
    }
    if (row.verdict == Verdict::kBuilt) {
        store(row, value);
    }
}

bool FileParser::belongs_here(const ConfigKey& row) const {
    return out_.per_listener_settings && row.store_here != nullptr;
}

// Nothing asked for: a `max_connections -1` above all listeners makes none.
bool FileParser::is_default(const ConfigKey& row, const ConfigValue& value) const {
    const ConfigValue fresh = row.load(out_, out_.listener_defaults);
    return is_text(row.kind) ? fresh.text == value.text : fresh.number == value.number;
}

void FileParser::store(const ConfigKey& row, const ConfigValue& value) {
    if (row.name == "per_listener_settings") {
        return set_per_listener(value.number != 0);
    }
    moved_key_seen_ = moved_key_seen_ || row.store_here != nullptr;
    if (row.scope == Scope::kListener && listener_ == kNoListener && is_default(row, value)) {
        return;
    }
    if (!belongs_here(row)) {
        return row.store(out_, target_listener(row.scope), value);
    }
    // mosquitto 2.0 gives the value to a listener nobody wrote, 2.1 refuses it.
    if (listener_ == kNoListener) {
        return error(printable(key_) +
                     " stands above the first listener, but per_listener_settings is true: put it "
                     "below the listener it is for");
    }
    row.store_here(out_, out_.listeners[listener_], value);
}

// True if the line must not count. Of most text the first line would count in mosquitto and of
// everything else the last one does, so only the former is an error; the latter is worth a word.
bool FileParser::is_repeated(const ConfigKey& row) {
    if ((row.flags & kRepeatable) != 0) {
        return false;
    }
    Place& first = seen(row.name);
    if (first.line == 0) {
        first = {line_, file_};
        return false;
    }
    const std::string place = "line " + std::to_string(first.line) +
                              (first.file == file_ ? "" : " of " + std::string(first.file));
    if (!is_text(row.kind) || (row.flags & kLastWins) != 0) {
        warn(repeated_value(key_, place));
        first = {line_, file_};
        return false;
    }
    error(printable(key_) + " is already set in " + place + ": keep one of the two");
    return true;
}

// The listener a value belongs to. For a global key it does not matter.
ListenerConfig& FileParser::target_listener(Scope scope) {
    if (scope == Scope::kDefaultListener) {
        use_default_listener();
    }
    if (scope == Scope::kListener && listener_ == kNoListener) {
        use_default_listener();
        warn(printable(key_) +
             " stands above the first 'listener' line, so it made a listener on "
             "port 1883 that is open to the network: put it below its listener");
    }
    return listener_ == kNoListener ? out_.listener_defaults : out_.listeners[listener_];
}

void FileParser::use_default_listener() {
    if (default_listener_ == kNoListener) {
        default_listener_ = out_.listeners.size();
        out_.listeners.push_back(out_.listener_defaults);
        out_.listeners.back().line = line_;
        out_.listeners.back().file = included_ ? std::string(file_) : std::string();
    }
    listener_ = default_listener_;
}

// Where the value of a row was set.
FileParser::Place& FileParser::seen(std::string_view name) {
    return seen_[static_cast<size_t>(find_config_key(name) - config_keys().data())];
}

void FileParser::forget_lines_of(Scope scope) {
    const std::span<const ConfigKey> rows = config_keys();
    for (size_t i = 0; i < rows.size(); ++i) {
        const bool forget =
            rows[i].scope == scope || (scope == Scope::kListener &&
                                       (rows[i].scope == Scope::kEither || belongs_here(rows[i])));
        if (forget) {
            seen_[i] = Place{};
        }
    }
}

void FileParser::report(Severity severity, std::string message) {
    uint32_t& count = severity == Severity::kError ? errors_ : warnings_;
    if (++count > kProblemsMax) {
        if (severity == Severity::kWarning) {
            return;
        }
        message = "there are more errors: the rest of the file was not read";
    }
    problems_.push_back({severity, std::string(file_), line_, printable(key_), std::move(message)});
}

std::vector<ConfigProblem> parse_config(std::string_view text,
                                        std::string_view file_name,
                                        Config& out,
                                        const ReadFolder& read_folder) {
    return FileParser(file_name, out, read_folder).run(text);
}

}  // namespace mqttd
