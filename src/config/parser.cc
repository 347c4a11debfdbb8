#include "config/parser.h"

#include "config/messages.h"
#include "config/own_syntax.h"
#include "config/row_value.h"
#include "config/table.h"
#include "config/values.h"

#include <deque>
#include <string>
#include <utility>

namespace mqttd {

namespace {

constexpr size_t kNoListener = static_cast<size_t>(-1);

struct WordBits {
    std::string_view word;
    uint32_t bits;
};

// `none` clears what the lines above have gathered.
constexpr WordBits kLogTypeBits[] = {
    {"none",        0              },
    {"all",         kLogAll        },
    {"error",       kLogError      },
    {"warning",     kLogWarning    },
    {"notice",      kLogNotice     },
    {"information", kLogInformation},
    {"debug",       kLogDebug      },
    {"subscribe",   kLogSubscribe  },
    {"unsubscribe", kLogUnsubscribe},
    {"websockets",  kLogWebsockets },
    {"internal",    kLogInternal   },
};

constexpr WordBits kLogDestBits[] = {
    {"none",   0           },
    {"stdout", kLogToStdout},
    {"stderr", kLogToStderr},
    {"syslog", kLogToSyslog},
    {"file",   kLogToFile  },
};

template <size_t n>
constexpr const WordBits* find_word(const WordBits (&list)[n], std::string_view word) {
    for (const WordBits& entry : list) {
        if (entry.word == word) {
            return &entry;
        }
    }
    return nullptr;
}

void add_bits(uint32_t& sum, uint32_t bits) {
    sum = bits == 0 ? 0 : sum | bits;
}

class Parser {
  public:
    Parser(std::string_view file_name, Config& out, const ReadFolder& read_folder)
        : file_(file_name), out_(out), read_folder_(read_folder), seen_(config_keys().size()) {}

    std::vector<ConfigProblem> run(std::string_view text) {
        parse_text(text);
        return std::move(problems_);
    }

  private:
    // Where a line is.
    struct Place {
        uint32_t line = 0;  // 0 = nowhere
        std::string_view file;
    };

    void parse_text(std::string_view text);
    void parse_line(std::string_view line);
    bool scope_is_open(const ConfigKey& row);
    void take_value(const ConfigKey& row, std::string_view rest);
    void judge(const ConfigKey& row, const ConfigValue& value);
    bool is_repeated(const ConfigKey& row);
    ListenerConfig& target_listener(Scope scope);
    void use_default_listener();
    void forget_lines_of(Scope scope);

    void start_listener(const ConfigKey& row, std::string_view rest);
    void add_log_dest(const ConfigKey& row, std::string_view rest);
    void add_log_type(std::string_view word);
    void add_address_rule(const ConfigKey& row, std::string_view rest);
    void add_topic_rank(std::string_view rest);
    void include(std::string_view path);
    void set_per_listener(bool wanted);
    bool belongs_here(const ConfigKey& row) const;
    bool is_default(const ConfigKey& row, const ConfigValue& value) const;
    void store(const ConfigKey& row, const ConfigValue& value);

    void report(Severity severity, std::string message);

    void error(std::string message) { report(Severity::kError, std::move(message)); }

    void warn(std::string message) { report(Severity::kWarning, std::move(message)); }

    std::string_view file_;
    Config& out_;
    std::vector<ConfigProblem> problems_;
    const ReadFolder& read_folder_;
    std::deque<std::string> names_;  // of included files; `seen_` borrows them
    std::vector<Place> seen_;        // per row: where its value was set
    std::string_view key_;           // of the line at hand, as written
    uint32_t line_ = 0;
    uint32_t errors_ = 0;
    uint32_t warnings_ = 0;
    size_t listener_ = kNoListener;          // the current one, an index of out_.listeners
    size_t default_listener_ = kNoListener;  // the one that no `listener` line made
    bool in_bridge_ = false;
    bool included_ = false;        // the line is in a file that include_dir named
    bool moved_key_seen_ = false;  // one that per_listener_settings would have moved
    bool log_dest_is_set_ = false;
    bool log_type_is_set_ = false;
    bool log_file_is_set_ = false;
};

void Parser::parse_text(std::string_view text) {
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

void Parser::parse_line(std::string_view line) {
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
bool Parser::scope_is_open(const ConfigKey& row) {
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
void Parser::take_value(const ConfigKey& row, std::string_view rest) {
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

void Parser::judge(const ConfigKey& row, const ConfigValue& value) {
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

bool Parser::belongs_here(const ConfigKey& row) const {
    return out_.per_listener_settings && row.store_here != nullptr;
}

// Nothing asked for: a `max_connections -1` above all listeners makes none.
bool Parser::is_default(const ConfigKey& row, const ConfigValue& value) const {
    const ConfigValue fresh = row.load(out_, out_.listener_defaults);
    return is_text(row.kind) ? fresh.text == value.text : fresh.number == value.number;
}

void Parser::store(const ConfigKey& row, const ConfigValue& value) {
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

void Parser::set_per_listener(bool wanted) {
    if (out_.per_listener_settings && !wanted) {
        return error("per_listener_settings cannot be switched off again: remove one of the lines");
    }
    if (wanted && !out_.per_listener_settings && moved_key_seen_) {
        return error(
            "per_listener_settings stands below a key that it changes: put it above "
            "allow_anonymous, allow_zero_length_clientid and auto_id_prefix");
    }
    out_.per_listener_settings = wanted;
}

// True if the line must not count. Of most text the first line would count in mosquitto and of
// everything else the last one does, so only the former is an error; the latter is worth a word.
bool Parser::is_repeated(const ConfigKey& row) {
    if ((row.flags & kRepeatable) != 0) {
        return false;
    }
    Place& first = seen_[static_cast<size_t>(&row - config_keys().data())];
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
ListenerConfig& Parser::target_listener(Scope scope) {
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

void Parser::use_default_listener() {
    if (default_listener_ == kNoListener) {
        default_listener_ = out_.listeners.size();
        out_.listeners.push_back(out_.listener_defaults);
        out_.listeners.back().line = line_;
        out_.listeners.back().file = included_ ? std::string(file_) : std::string();
    }
    listener_ = default_listener_;
}

void Parser::forget_lines_of(Scope scope) {
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

// PORT, PORT ADDRESS or 0 PATH. That the address is one is finish_config's to check. A wrong line
// starts a block too, so that the keys below it are not blamed for it.
void Parser::start_listener(const ConfigKey& row, std::string_view rest) {
    const std::string_view port_word = take_word(rest);
    const std::string_view where = rest.starts_with('#') ? std::string_view() : take_word(rest);
    const Number port = parse_number(port_word);
    if (port.error == NumberError::kNotANumber) {
        error(wrong_kind(row, key_, port_word));
    } else if (port.error == NumberError::kTooLarge || port.value < 0 || port.value > 65535) {
        error("listener port " + printable(port_word) +
              " is out of range: give 1 to 65535, or 0 and the path of a Unix socket");
    } else if (port.value == 0 && where.empty()) {
        error("listener 0 has no path: write 'listener 0 PATH' for a Unix socket");
    } else if (!is_utf8_text(where)) {
        error("listener address '" + printable(where) + "' is not valid UTF-8");
    } else if (!rest.empty()) {
        warn(trailing_text(key_, where.empty() ? port_word : where, rest));
    }
    if (out_.listeners.size() >= kListenersMax) {
        return error("there are too many listeners: mqttd serves at most " +
                     std::to_string(kListenersMax));
    }
    ListenerConfig listener = out_.listener_defaults;
    listener.line = line_;
    listener.file = included_ ? std::string(file_) : std::string();
    listener.port = static_cast<uint16_t>(port.value);
    (port.value == 0 ? listener.unix_path : listener.host) = std::string(where);
    listener_ = out_.listeners.size();
    out_.listeners.push_back(std::move(listener));
    forget_lines_of(Scope::kListener);
}

void Parser::add_log_dest(const ConfigKey& row, std::string_view rest) {
    const std::string_view word = take_word(rest);
    if (word == "dlt") {
        return warn("log_dest dlt has no effect: mqttd does not speak to the DLT daemon");
    }
    if (word == "android") {
        return error("log_dest android is refused because mqttd has no Android log: " +
                     describe_values(row));
    }
    if (word == "topic") {
        return error(not_served({}, key_, word));
    }
    const WordBits* dest = find_word(kLogDestBits, word);
    if (dest == nullptr) {
        return error(wrong_kind(row, key_, word));
    }
    if (dest->bits == kLogToFile) {
        if (rest.empty() || rest.size() > 65535 || !is_utf8_text(rest)) {
            return error("log_dest file has no usable path: write 'log_dest file PATH'");
        }
        if (log_file_is_set_) {
            return error("log_dest file is already set: mqttd writes one log file");
        }
        log_file_is_set_ = true;
        out_.log_file = std::string(rest);
    } else if (!rest.empty()) {
        warn(trailing_text(key_, word, rest));
    }
    if (!std::exchange(log_dest_is_set_, true)) {
        out_.log_dests = 0;  // the first line takes the place of the default
    }
    add_bits(out_.log_dests, dest->bits);
}

void Parser::add_log_type(std::string_view word) {
    if (!std::exchange(log_type_is_set_, true)) {
        out_.log_types = 0;
    }
    add_bits(out_.log_types, find_word(kLogTypeBits, word)->bits);
}

// Rules above the first listener are the default of all; a listener's own take their place.
void Parser::add_address_rule(const ConfigKey& row, std::string_view rest) {
    AddressRule rule;
    const std::string problem = read_address_rule(rest, rule);
    if (!problem.empty()) {
        return error(printable(key_) + " '" + printable(rest) + "' " + problem);
    }
    std::vector<AddressRule>& rules = target_listener(row.scope).access;
    Place& first = seen_[static_cast<size_t>(&row - config_keys().data())];
    if (first.line == 0) {
        rules.clear();
    }
    first = {line_, file_};
    if (rules.size() == kAddressRulesMax) {
        return error("there are too many listener_access lines: a listener can have " +
                     std::to_string(kAddressRulesMax));
    }
    rules.push_back(rule);
}

void Parser::add_topic_rank(std::string_view rest) {
    TopicRank rank;
    const std::string problem = read_topic_rank(rest, rank);
    if (!problem.empty()) {
        return error(printable(key_) + " '" + printable(rest) + "' " + problem);
    }
    if (out_.queue_priorities.size() == kTopicRanksMax) {
        return error("there are too many queue_priority lines: mqttd takes " +
                     std::to_string(kTopicRanksMax));
    }
    out_.queue_priorities.push_back(std::move(rank));
}

// Each file begins without a current listener or bridge; after the last one this file's go on.
void Parser::include(std::string_view path) {
    if (included_) {
        return warn("include_dir has no effect in an included file: put it into the main file");
    }
    if (path.size() > 65535 || !is_utf8_text(path)) {
        return error("include_dir has no usable path");
    }
    if (!read_folder_) {
        return error("include_dir cannot be followed here");
    }
    const IncludedFiles folder = read_folder_(std::string(path));
    if (!folder.problem.empty()) {
        error("include_dir " + printable(path) + ": " + folder.problem);
    }
    const std::string_view main_file = file_;
    const uint32_t main_line = line_;
    const size_t main_listener = listener_;
    const bool main_bridge = in_bridge_;
    included_ = true;
    for (const IncludedFile& file : folder.files) {
        names_.push_back(file.name);
        file_ = names_.back();
        listener_ = kNoListener;
        in_bridge_ = false;
        forget_lines_of(Scope::kListener);
        forget_lines_of(Scope::kBridge);
        parse_text(file.text);
    }
    included_ = false;
    file_ = main_file;
    line_ = main_line;
    listener_ = main_listener;
    in_bridge_ = main_bridge;
    forget_lines_of(Scope::kListener);
    forget_lines_of(Scope::kBridge);
}

void Parser::report(Severity severity, std::string message) {
    uint32_t& count = severity == Severity::kError ? errors_ : warnings_;
    if (++count > kProblemsMax) {
        if (severity == Severity::kWarning) {
            return;
        }
        message = "there are more errors: the rest of the file was not read";
    }
    problems_.push_back({severity, std::string(file_), line_, printable(key_), std::move(message)});
}

}  // namespace

std::vector<ConfigProblem> parse_config(std::string_view text,
                                        std::string_view file_name,
                                        Config& out,
                                        const ReadFolder& read_folder) {
    return Parser(file_name, out, read_folder).run(text);
}

}  // namespace mqttd
