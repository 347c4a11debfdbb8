// FileParser: the loop behind parse_config (parser.h), for its two source files only.
//
// parser.cc cuts lines, finds rows and judges values; parser_own.cc has the keys that are more than
// one value in one field: listener, log_dest, log_type, listener_access, queue_priority,
// include_dir, per_listener_settings. What is remembered from line to line is all here.
#pragma once

#include "config/parser.h"
#include "config/table.h"

#include <deque>
#include <string>
#include <utility>

namespace mqttd {

class FileParser {
  public:
    FileParser(std::string_view file_name, Config& out, const ReadFolder& read_folder)
        : file_(file_name), out_(out), read_folder_(read_folder), seen_(config_keys().size()) {}

    std::vector<ConfigProblem> run(std::string_view text) {
        parse_text(text);
        check_queues();
        return std::move(problems_);
    }

  private:
    static constexpr size_t kNoListener = static_cast<size_t>(-1);

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
    void check_queues();
    Place& seen(std::string_view name);
    void go_back_to(std::string_view name);
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

}  // namespace mqttd
