#include "config/file_parser.h"
#include "config/messages.h"
#include "config/own_syntax.h"
#include "config/table.h"
#include "config/values.h"

#include <string>
#include <utility>

namespace mqttd {

namespace {

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

}  // namespace

void FileParser::set_per_listener(bool wanted) {
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

// PORT, PORT ADDRESS or 0 PATH. That the address is one is finish_config's to check. A wrong line
// starts a block too, so that the keys below it are not blamed for it.
void FileParser::start_listener(const ConfigKey& row, std::string_view rest) {
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

void FileParser::add_log_dest(const ConfigKey& row, std::string_view rest) {
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

void FileParser::add_log_type(std::string_view word) {
    if (!std::exchange(log_type_is_set_, true)) {
        out_.log_types = 0;
    }
    add_bits(out_.log_types, find_word(kLogTypeBits, word)->bits);
}

// Rules above the first listener are the default of all; a listener's own take their place.
void FileParser::add_address_rule(const ConfigKey& row, std::string_view rest) {
    AddressRule rule;
    const std::string problem = read_address_rule(rest, rule);
    if (!problem.empty()) {
        return error(printable(key_) + " '" + printable(rest) + "' " + problem);
    }
    std::vector<AddressRule>& rules = target_listener(row.scope).access;
    Place& first = seen(row.name);
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

void FileParser::add_topic_rank(std::string_view rest) {
    TopicRank rank;
    const std::string problem = read_topic_rank(rest, rank);
    if (!problem.empty()) {
        return error(printable(key_) + " '" + printable(rest) + "' " + problem);
    }
    seen("queue_priority") = {line_, file_};
    if (out_.queue_priorities.size() == kTopicRanksMax) {
        return error("there are too many queue_priority lines: mqttd takes " +
                     std::to_string(kTopicRanksMax));
    }
    out_.queue_priorities.push_back(std::move(rank));
}

// Each file begins without a current listener or bridge; after the last one this file's go on.
void FileParser::include(std::string_view path) {
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

// What only the whole file can tell, at the line that would have to change.
void FileParser::check_queues() {
    const uint32_t low = seen("queue_low_watermark").line;
    if (out_.queue_low_permille >= out_.queue_high_permille) {
        go_back_to(low != 0 ? "queue_low_watermark" : "queue_high_watermark");
        error(
            "queue_low_watermark is not below queue_high_watermark: the alarm must end lower than "
            "it begins");
    }
    if (!out_.queue_priorities.empty() && out_.queue_order == QueueOrder::kSimple) {
        go_back_to("queue_priority");
        warn(
            "queue_priority has no effect because queue_type is simple: write 'queue_type "
            "priority'");
    }
}

void FileParser::go_back_to(std::string_view name) {
    key_ = name;
    line_ = seen(name).line;
    file_ = seen(name).file;
}

}  // namespace mqttd
