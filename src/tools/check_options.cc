#include "tools/check_options.h"

#include <optional>

namespace mqttd::check {

namespace {

constexpr uint64_t kPayloadMost = uint64_t{256} << 20;

struct Row {
    std::string_view short_name;
    std::string_view long_name;
    std::string_view argument;  // what it takes; empty: nothing
    std::optional<Mode> mode;
};

constexpr Row kRows[] = {
    {"",   "--stats",   "",    Mode::kStats },
    {"",   "--json",    "",    Mode::kJson  },
    {"",   "--state",   "",    Mode::kState },
    {"",   "--repair",  "OUT", Mode::kRepair},
    {"",   "--payload", "N",   std::nullopt },
    {"-h", "--help",    "",    std::nullopt },
    {"",   "--version", "",    std::nullopt },
};

std::string quoted(std::string_view word) {
    std::string out = "'";
    for (const char c : word)
        out += c >= ' ' && c < 127 ? c : '?';
    return out + '\'';
}

std::optional<uint64_t> parse_count(std::string_view word) {
    if (word.empty() || word.size() > 12) return std::nullopt;
    uint64_t value = 0;
    for (const char c : word) {
        if (c < '0' || c > '9') return std::nullopt;
        value = value * 10 + static_cast<uint64_t>(c - '0');
    }
    return value;
}

class Parser {
  public:
    // Returns whether the word after this one was its argument.
    bool take(std::string_view word, const char* after) {
        if (only_folders_ || word.size() < 2 || word[0] != '-') {
            take_folder(word);
            return false;
        }
        if (word == "--") {
            only_folders_ = true;
            return false;
        }
        const size_t equals = word.find('=');
        const std::string_view name = word.substr(0, equals);
        for (const Row& row : kRows) {
            if (name != row.long_name && (row.short_name.empty() || name != row.short_name)) {
                continue;
            }
            const bool attached = equals != std::string_view::npos;
            if (row.argument.empty()) {
                if (attached) problem(std::string(name) + " takes no value");
                apply(row, {});
                return false;
            }
            if (!attached && after == nullptr) {
                problem(std::string(name) + " needs an argument: give " +
                        std::string(row.argument));
                return false;
            }
            apply(row, attached ? word.substr(equals + 1) : std::string_view(after));
            return !attached;
        }
        problem("unknown option " + quoted(word) + ": 'mqttcheck --help' lists them all");
        return false;
    }

    ParsedOptions finish() {
        const Options& options = parsed_.options;
        if (options.help || options.version) return std::move(parsed_);
        if (options.folder.empty()) problem("which journal? give the directory that holds it");
        const bool shows = options.mode == Mode::kJson || options.mode == Mode::kState;
        if (payload_given_ && !shows) problem("--payload is for --json and --state");
        return std::move(parsed_);
    }

  private:
    void problem(std::string text) { parsed_.problems.push_back(std::move(text)); }

    void take_folder(std::string_view word) {
        std::string& folder = parsed_.options.folder;
        if (word.empty()) return problem("an empty word names no directory");
        if (!folder.empty()) return problem(quoted(word) + " is a second directory: give one");
        folder = std::string(word);
    }

    void apply(const Row& row, std::string_view value) {
        Options& options = parsed_.options;
        if (row.mode) {
            if (mode_given_ && options.mode != *row.mode) {
                return problem(std::string(row.long_name) + " is a second task: give one");
            }
            mode_given_ = true;
            options.mode = *row.mode;
            if (row.mode == Mode::kRepair) options.out = std::string(value);
            if (row.mode == Mode::kRepair && value.empty())
                problem("--repair '' names no directory");
            return;
        }
        if (row.long_name == "--help") options.help = true;
        if (row.long_name == "--version") options.version = true;
        if (row.long_name != "--payload") return;
        payload_given_ = true;
        const std::optional<uint64_t> count = parse_count(value);
        if (!count || *count > kPayloadMost) {
            return problem("--payload " + quoted(value) + " is out of range: give 0 to " +
                           std::to_string(kPayloadMost));
        }
        options.payload_most = *count;
    }

    ParsedOptions parsed_;
    bool mode_given_ = false;
    bool payload_given_ = false;
    bool only_folders_ = false;
};

}  // namespace

ParsedOptions parse_options(std::span<const char* const> words) {
    Parser parser;
    for (size_t i = 0; i < words.size(); ++i) {
        const char* after = i + 1 < words.size() ? words[i + 1] : nullptr;
        if (parser.take(words[i], after)) ++i;
    }
    return parser.finish();
}

std::string_view usage_text() {
    return R"(mqttcheck, which reads a journal of mqttd and says what is in it

usage: mqttcheck [options] DIRECTORY

DIRECTORY is the journal's own, mqttd.journal, or the persistence_location that holds it. Nothing in
it is changed. A broker may be running there: what is said is what it was at a moment.

  (no option)     verify: read everything, and say what there is and what is missing
  --stats         the same, and: bytes by type of record, live and dead; the 20 longest queues
  --json          one line of JSON for each record, as it lies there
  --state         one line of JSON for each thing that the records come to: sessions, their
                  subscriptions and messages, retained messages
  --payload N     bytes of a payload that --json and --state show (64)
  --repair OUT    write all that is whole to a journal of its own in OUT, a new or empty directory.
                  To start mqttd on it OUT must be called mqttd.journal and belong to its account
                  (run by root, it gets the owner of DIRECTORY)
  -h, --help      print this text
  --version       print the version

A torn tail is no damage: the broker ended while it wrote, and nothing in it had been acknowledged.
What was lost of the last thing that was ever written cannot be told from one.

Exit codes: 0 sound (--repair: the copy is written and is sound), 1 damaged: something that was
acknowledged is lost, 2 wrong usage, 3 it cannot be read, or the copy not be written.
)";
}

}  // namespace mqttd::check
