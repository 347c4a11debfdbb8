#include "tools/bench_options.h"

#include "tools/bench_check.h"

#include <algorithm>
#include <optional>

namespace mqttd::bench {

namespace {

// ---- The tables ----

constexpr uint32_t bit(Mode mode) {
    return 1u << static_cast<uint32_t>(mode);
}

constexpr uint32_t kAll = 0xffffffff;
constexpr uint32_t kTraffic = bit(Mode::kThroughput) | bit(Mode::kLatency) | bit(Mode::kGrowth);
constexpr uint32_t kStored = bit(Mode::kBacklog) | bit(Mode::kRetained);
constexpr uint32_t kCrowd = bit(Mode::kConnect) | bit(Mode::kReconnect) | bit(Mode::kIdle);

struct ModeRow {
    Mode mode;
    std::string_view name;
    std::string_view help;
};

// clang-format off
constexpr ModeRow kModes[] = {
    {Mode::kThroughput, "throughput", "messages a second, publishers to subscribers (the default)"},
    {Mode::kLatency,    "latency",    "how long a message takes at a fixed --rate, from its scheduled time"},
    {Mode::kGrowth,     "growth",     "throughput without and with --bystanders and --other-filters"},
    {Mode::kConnect,    "connect",    "connect, CONNACK, DISCONNECT, close: how often a second"},
    {Mode::kReconnect,  "reconnect",  "durable clients that all come back at once"},
    {Mode::kIdle,       "idle",       "opens clients with a subscription each, then only holds them"},
    {Mode::kBacklog,    "backlog",    "messages stored for an absent client, then fetched by it"},
    {Mode::kRetained,   "retained",   "retained messages stored, replayed to a new subscriber, removed"},
};

constexpr std::string_view kLayouts[] = {"shared", "pairs", "wildcard", "group"};

using Count = uint64_t Options::*;
using Text = std::string Options::*;
using Flag = bool Options::*;

struct Row {
    std::string_view short_name;  // may be empty
    std::string_view long_name;
    std::string_view argument;    // empty = a flag
    uint32_t modes;
    std::string_view help;        // a line with only help is a heading
    Count count = nullptr;
    uint64_t least = 0;
    uint64_t most = 0;
    Text text = nullptr;
    Flag flag = nullptr;
};

constexpr uint64_t kMillion = 1'000'000;
constexpr uint64_t kStreamsMax = 20 * kMillion;
constexpr uint64_t kVast = uint64_t{1} << 40;

constexpr Row kRows[] = {
    {"",   "",                "",        kAll,     "Where"},
    {"-H", "--host",          "ADDRESS", kAll,     "numeric IPv4 or IPv6 address, or localhost (127.0.0.1)", nullptr, 0, 0, &Options::host},
    {"-p", "--port",          "PORT",    kAll,     "port (1883)", &Options::port, 1, 65535},
    {"-V", "--protocol",      "VERSION", kAll,     "3.1, 3.1.1 or 5.0 (3.1.1)", &Options::protocol},
    {"-u", "--user",          "NAME",    kAll,     "user name", nullptr, 0, 0, &Options::user},
    {"",   "--password",      "WORD",    kAll,     "password", nullptr, 0, 0, &Options::password},
    {"",   "--prefix",        "WORD",    kAll,     "begins client ids and topics (mb and the process id)", nullptr, 0, 0, &Options::prefix},
    {"",   "",                "",        kTraffic, "What is sent"},
    {"-P", "--publishers",    "N",       kTraffic | bit(Mode::kBacklog), "publishers (1)", &Options::publishers, 1, 100'000},
    {"-S", "--subscribers",   "N",       kTraffic, "subscribers (1)", &Options::subscribers, 1, 100'000},
    {"-l", "--layout",        "NAME",    kTraffic, "shared: one topic for all (the default); pairs: publisher and subscriber i use topic i; wildcard: each message matches one of --filters filters; group: one topic, the subscribers in --groups shared groups", &Options::layout},
    {"",   "--filters",       "N",       kTraffic, "wildcard: filters 'PREFIX/+/N/#', over all subscribers (1000)", &Options::filters, 1, kMillion},
    {"",   "--groups",        "N",       kTraffic, "group: how many shared groups (1)", &Options::groups, 1, 100'000},
    {"-q", "--qos",           "QOS",     kTraffic | kStored, "0, 1 or 2, publishing and subscribing (0; backlog 1)", &Options::qos, 0, 2},
    {"-s", "--payload",       "BYTES",   kTraffic | kStored, "payload, at least 8; 16 where times are taken (64)", &Options::payload, 8, 16 * kMillion},
    {"-w", "--window",        "N",       kTraffic | kStored, "QoS 1 and 2: unacknowledged messages of a publisher (256)", &Options::window, 1, 65535},
    {"-i", "--inflight",      "N",       kTraffic, "messages of one publisher that are not delivered yet; 0 = as many as give large batches without making a broker drop (0)", &Options::inflight, 0, kMillion},
    {"-r", "--rate",          "N",       bit(Mode::kLatency), "messages a second of all publishers (1000)", &Options::rate, 1, 10 * kMillion},
    {"",   "--bystanders",    "N",       kTraffic, "idle clients with a subscription of their own (0; growth 1000)", &Options::bystanders, 0, kMillion},
    {"",   "--other-filters", "N",       kTraffic, "wildcard filters of one more client that match nothing (0)", &Options::other_filters, 0, kMillion},
    {"",   "--spin",          "",        bit(Mode::kThroughput) | bit(Mode::kGrowth), "keep the core busy while nothing arrives: no broker pays for waking it", nullptr, 0, 0, nullptr, &Options::spin},
    {"",   "--sleep",         "",        bit(Mode::kLatency), "sleep between messages instead of keeping the core busy", nullptr, 0, 0, nullptr, &Options::sleep},
    {"",   "",                "",        kAll,     "How long"},
    {"-t", "--seconds",       "N",       kTraffic | bit(Mode::kConnect) | bit(Mode::kIdle), "how long a phase is measured (5)", &Options::seconds, 0, 1'000'000},
    {"-n", "--messages",      "N",       kTraffic | kStored, "publish this many instead (backlog, retained: 100k)", &Options::messages, 1, kVast},
    {"",   "--warmup",        "MS",      kTraffic, "the same traffic before, unmeasured (500)", &Options::warmup_ms, 0, 600'000},
    {"",   "--patience",      "N",       kAll,     "seconds without a message until what is due counts as lost (3)", &Options::patience_s, 1, 3600},
    {"",   "",                "",        kCrowd,   "Clients"},
    {"-N", "--clients",       "N",       kCrowd & ~bit(Mode::kConnect), "idle, reconnect: how many (1000)", &Options::clients, 1, 10 * kMillion},
    {"-j", "--parallel",      "N",       kAll,     "connections that are being opened at a time (64)", &Options::parallel, 1, 10'000},
    {"",   "",                "",        kAll,     "What is said"},
    {"-b", "--broker-pid",    "PID",     kAll,     "the broker's process: its processor time and memory are reported, with those of its children", &Options::broker_pid, 1, uint64_t{1} << 22},
    {"",   "--json",          "",        kAll,     "one JSON object instead of the table", nullptr, 0, 0, nullptr, &Options::json},
    {"",   "--quiet",         "",        kAll,     "no progress line on the terminal", nullptr, 0, 0, nullptr, &Options::quiet},
    {"-h", "--help",          "",        kAll,     "print this text", nullptr, 0, 0, nullptr, &Options::help},
    {"",   "--version",       "",        kAll,     "print the version", nullptr, 0, 0, nullptr, &Options::version},
};

// clang-format on

const Row* find_row(std::string_view word) {
    for (const Row& row : kRows) {
        if (row.long_name.empty()) continue;
        if (word == row.long_name || (!row.short_name.empty() && word == row.short_name)) {
            return &row;
        }
    }
    return nullptr;
}

// ---- Values ----

std::string quoted(std::string_view word) {
    std::string out = "'";
    for (const char c : word)
        out += c >= ' ' && c < 127 ? c : '?';
    return out + '\'';
}

// "12", "12k" or "12m". Nothing if it is anything else, or too large to count.
std::optional<uint64_t> parse_count(std::string_view word) {
    uint64_t unit = 1;
    if (word.ends_with('k')) unit = 1000;
    if (word.ends_with('m')) unit = 1'000'000;
    if (unit > 1) word.remove_suffix(1);
    if (word.empty() || word.size() > 12) return std::nullopt;
    uint64_t value = 0;
    for (const char c : word) {
        if (c < '0' || c > '9') return std::nullopt;
        value = value * 10 + static_cast<uint64_t>(c - '0');
    }
    return value * unit;
}

std::string name_list(uint32_t modes) {
    std::string out;
    for (const ModeRow& row : kModes) {
        if ((modes & bit(row.mode)) == 0) continue;
        out += (out.empty() ? "" : ", ") + std::string(row.name);
    }
    return out;
}

std::string apply_protocol(Options& options, std::string_view word) {
    constexpr std::string_view kNames[] = {"3.1", "3.1.1", "5.0"};
    for (uint64_t i = 0; i < 3; ++i) {
        if (word == kNames[i] || (i == 2 && word == "5")) {
            options.protocol = i + 3;
            return {};
        }
    }
    return "--protocol " + quoted(word) + " is none: give 3.1, 3.1.1 or 5.0";
}

std::string apply_layout(Options& options, std::string_view word) {
    for (uint64_t i = 0; i < std::size(kLayouts); ++i) {
        if (word != kLayouts[i]) continue;
        options.layout = i;
        return {};
    }
    return "--layout " + quoted(word) + " is none: give shared, pairs, wildcard or group";
}

// Returns the problem, if there is one.
std::string apply(Options& options, const Row& row, std::string_view word) {
    const std::string name(row.long_name);
    if (row.flag != nullptr) {
        options.*row.flag = true;
        return {};
    }
    if (row.text != nullptr) {
        if (word.empty() || word.size() > 255) {
            return name + ' ' + quoted(word) + " must have 1 to 255 characters";
        }
        options.*row.text = std::string(word);
        return {};
    }
    if (row.count == &Options::protocol) return apply_protocol(options, word);
    if (row.count == &Options::layout) return apply_layout(options, word);
    const std::optional<uint64_t> value = parse_count(word);
    if (!value || *value < row.least || *value > row.most) {
        return name + ' ' + quoted(word) + " is out of range: give a number from " +
               std::to_string(row.least) + " to " + std::to_string(row.most);
    }
    options.*row.count = *value;
    return {};
}

// ---- Words ----

struct Parser {
    ParsedOptions parsed;
    std::vector<const Row*> given;
    bool has_mode = false;

    void problem(std::string text) {
        if (!text.empty()) parsed.problems.push_back(std::move(text));
    }

    void take_mode(std::string_view word) {
        for (const ModeRow& row : kModes) {
            if (word != row.name) continue;
            if (has_mode) {
                problem(quoted(word) + " is a second mode: give one");
            }
            has_mode = true;
            parsed.options.mode = row.mode;
            return;
        }
        problem(quoted(word) + " is no mode: " + name_list(kAll) + " are");
    }

    // Returns whether the word after this one was its argument.
    bool take(std::string_view word, const char* after) {
        if (!word.starts_with('-')) {
            take_mode(word);
            return false;
        }
        std::string_view name = word, argument;
        bool attached = false;
        if (const size_t equals = word.find('='); word.starts_with("--")) {
            if (equals != std::string_view::npos) {
                name = word.substr(0, equals);
                argument = word.substr(equals + 1);
                attached = true;
            }
        } else if (word.size() > 2) {
            name = word.substr(0, 2);
            argument = word.substr(2);
            attached = true;
        }
        const Row* row = find_row(name);
        if (row == nullptr) {
            problem("unknown option " + quoted(name) + ": 'mqttbench --help' lists them all");
            return false;
        }
        given.push_back(row);
        const std::string shown(row->long_name);
        if (row->argument.empty()) {
            problem(attached ? shown + " takes no value: remove " + quoted(argument)
                             : apply(parsed.options, *row, {}));
            return false;
        }
        if (!attached && after == nullptr) {
            problem(shown + " needs an argument: give " + std::string(row->argument));
            return false;
        }
        problem(apply(parsed.options, *row, attached ? argument : std::string_view(after)));
        return !attached;
    }

    bool was_given(Count count) const {
        for (const Row* row : given) {
            if (row->count == count) return true;
        }
        return false;
    }

    // What only shows when every word is known.
    void finish() {
        Options& options = parsed.options;
        const uint32_t mode = bit(options.mode);
        for (const Row* row : given) {
            if ((row->modes & mode) != 0) continue;
            problem(std::string(row->long_name) + " says nothing in mode " +
                    std::string(mode_name(options.mode)) + ": it is for " + name_list(row->modes));
        }
        if (options.mode == Mode::kBacklog && !was_given(&Options::qos)) options.qos = 1;
        if (options.mode == Mode::kBacklog && options.qos == 0) {
            problem("--qos 0 is not kept for an absent client: mode backlog takes 1 or 2");
        }
        if (options.mode == Mode::kGrowth && options.other_filters == 0 &&
            !was_given(&Options::bystanders)) {
            options.bystanders = 1000;
        }
        if ((kStored & mode) != 0 && options.messages == 0) options.messages = 100'000;
        if (options.mode == Mode::kLatency && options.payload < Mark::kBytes) {
            problem("--payload " + std::to_string(options.payload) +
                    " has no room for a time: mode latency takes 16 or more");
        }
        if ((kTraffic & mode) != 0) check_traffic();
    }

    void check_traffic() {
        const Options& options = parsed.options;
        if (options.seconds == 0 && options.messages == 0) {
            problem("--seconds 0 measures nothing: give 1 or more, or --messages");
        }
        if (options.shape() != Layout::kPairs &&
            options.publishers * options.subscribers > kStreamsMax) {
            problem("each subscriber keeps account of each publisher: " +
                    std::to_string(options.publishers) + " times " +
                    std::to_string(options.subscribers) + " is more than " +
                    std::to_string(kStreamsMax) + "; only --layout pairs has fewer");
        }
        if (options.shape() == Layout::kWildcard && options.filters < options.subscribers) {
            problem("--filters " + std::to_string(options.filters) + " are too few: each of the " +
                    std::to_string(options.subscribers) + " subscribers needs one");
        }
        if (options.shape() == Layout::kGroup && options.groups > options.subscribers) {
            problem("--groups " + std::to_string(options.groups) + " are too many: there are " +
                    std::to_string(options.subscribers) + " subscribers");
        }
    }
};

// Breaks a help text into lines and indents all but the first.
std::string wrapped(std::string_view text, size_t indent) {
    constexpr size_t kWidth = 100;
    std::string out;
    size_t column = indent;
    while (!text.empty()) {
        const size_t end = std::min(text.find(' '), text.size());
        if (column + 1 + end > kWidth && column > indent) {
            out += '\n' + std::string(indent, ' ');
            column = indent;
        } else if (column > indent) {
            out += ' ';
            ++column;
        }
        out += text.substr(0, end);
        column += end;
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

}  // namespace

std::string_view mode_name(Mode mode) {
    return kModes[static_cast<size_t>(mode)].name;
}

ParsedOptions parse_options(std::span<const char* const> words) {
    Parser parser;
    for (size_t i = 0; i < words.size(); ++i) {
        const char* after = i + 1 < words.size() ? words[i + 1] : nullptr;
        if (parser.take(words[i], after)) ++i;
    }
    parser.finish();
    return std::move(parser.parsed);
}

std::string usage_text() {
    constexpr size_t kColumn = 28;
    std::string text =
        "mqttbench, a load generator for MQTT brokers\n\nusage: mqttbench [MODE] [options]\n\n"
        "Modes\n";
    const auto line = [&](std::string left, std::string_view help) {
        left.resize(left.size() < kColumn ? kColumn : left.size() + 1, ' ');
        text += left + wrapped(help, kColumn) + '\n';
    };
    for (const ModeRow& row : kModes)
        line("  " + std::string(row.name), row.help);
    uint32_t section = kAll;
    for (const Row& row : kRows) {
        if (row.long_name.empty()) {
            section = row.modes;
            text += '\n' + std::string(row.help);
            text += (section == kAll ? "" : " (" + name_list(section) + ')') + '\n';
            continue;
        }
        std::string left = "  ";
        left += row.short_name.empty() ? "    " : std::string(row.short_name) + ", ";
        left += row.long_name;
        left += row.argument.empty() ? "" : " " + std::string(row.argument);
        std::string modes;  // where they are not the section's
        if (row.modes != section) {
            modes =
                " [" + (row.modes == kAll ? std::string("all modes") : name_list(row.modes)) + ']';
        }
        line(left, std::string(row.help) + modes);
    }
    return text +
           "\nCounts may be written 20k or 3m. Every payload carries its publisher, a sequence "
           "number and a time;\neach subscriber checks them for loss, copies and order.\n\n"
           "Examples\n"
           "  mqttbench -b $(pidof mqttd)                  one to one, QoS 0, as fast as it goes\n"
           "  mqttbench -S 1000 -i 100                     fan-out to a thousand\n"
           "  mqttbench -P 500 -S 500 -l pairs -q 1        five hundred pairs at QoS 1\n"
           "  mqttbench latency -r 10k -t 10               percentiles at 10 000 messages a "
           "second\n"
           "  mqttbench idle -N 50k -t 60 -b PID           memory of fifty thousand idle "
           "clients\n\n"
           "Exit codes: 0 done, 1 could not be done, 2 wrong usage, 3 messages were lost, doubled "
           "or disordered.\n";
}

}  // namespace mqttd::bench
