#include "tools/bench_report.h"

#include "mqttd/version.h"

#include "tools/bench_client.h"

#include <cstdio>

namespace mqttd::bench {

namespace {

struct Percentile {
    const char* key;
    const char* label;
    double share;
};

constexpr Percentile kPercentiles[] = {
    {"p50",    "p50",    0.5   },
    {"p90",    "p90",    0.9   },
    {"p99",    "p99",    0.99  },
    {"p99_9",  "p99.9",  0.999 },
    {"p99_99", "p99.99", 0.9999},
};

template <class... Args>
std::string format(const char* form, Args... args) {
    char text[256];
    const int n = snprintf(text, sizeof text, form, args...);
    return std::string(text, static_cast<size_t>(std::min<int>(n, sizeof text - 1)));
}

// 12345678 → "12 345 678".
std::string grouped(double value) {
    std::string digits = format("%.0f", value);
    for (size_t at = digits.size(); at > 3; at -= 3) {
        if (digits[at - 4] != '-') digits.insert(at - 3, " ");
    }
    return digits;
}

// Three digits are enough for a person: 0.0512, 4.31, 1 234.
std::string readable(double value) {
    const double size = value < 0 ? -value : value;
    if (size >= 100) return grouped(value);
    if (size >= 10) return format("%.1f", value);
    if (size >= 1 || size == 0) return format("%.2f", value);
    return format("%.4f", value);
}

std::string padded(std::string text, size_t width, bool right) {
    if (text.size() >= width) return text;
    const std::string blanks(width - text.size(), ' ');
    return right ? blanks + text : text + blanks;
}

std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else {
            out += c >= ' ' && c < 127 ? c : '?';
        }
    }
    return out + '"';
}

// The members of one JSON object, separated by commas.
class Members {
  public:
    Members& number(std::string_view key, double value) { return raw(key, format("%.9g", value)); }

    Members& count(std::string_view key, uint64_t value) { return raw(key, std::to_string(value)); }

    Members& text(std::string_view key, std::string_view value) { return raw(key, quoted(value)); }

    Members& raw(std::string_view key, const std::string& value) {
        out_ += (out_.empty() ? "" : ", ") + quoted(key) + ": " + value;
        return *this;
    }

    std::string object() const { return "{" + out_ + "}"; }

  private:
    std::string out_;
};

std::string phase_json(const Phase& phase) {
    Members members;
    members.text("name", phase.name)
        .text("unit", phase.unit)
        .number("seconds", phase.seconds())
        .count("published", phase.published)
        .count("count", phase.count)
        .number("per_second", phase.rate());
    if (phase.accounted()) {
        const Account &before = phase.before, &after = phase.after;
        members.number("broker_cpu_s", phase.cpu_s())
            .number("broker_cpu_us_each", phase.cpu_us_each())
            .number("broker_user_s", static_cast<double>(after.user_ms - before.user_ms) / 1e3)
            .number("broker_system_s",
                    static_cast<double>(after.system_ms - before.system_ms) / 1e3)
            .count("broker_resident_before", before.resident_bytes)
            .count("broker_resident_after", after.resident_bytes);
    }
    return members.object();
}

std::string head_line(const Options& options) {
    constexpr const char* kProtocols[] = {"3.1", "3.1.1", "5.0"};
    return format("%s, MQTT %s, %s port %u",
                  std::string(mode_name(options.mode)).c_str(),
                  kProtocols[options.protocol - 3],
                  options.host.c_str(),
                  static_cast<unsigned>(options.port));
}

// Columns as wide as their widest cell; the first two left, the others right.
std::string columns(const std::vector<std::vector<std::string>>& rows) {
    std::vector<size_t> widths;
    for (const std::vector<std::string>& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], row[i].size());
    }
    std::string out;
    for (const std::vector<std::string>& row : rows) {
        std::string line;
        for (size_t i = 0; i < row.size(); ++i)
            line += (i == 0 ? "  " : "   ") + padded(row[i], widths[i], i >= 2);
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + '\n';
    }
    return out;
}

}  // namespace

Phase begin_phase(const Options& options, std::string name, std::string unit) {
    Phase phase;
    phase.name = std::move(name);
    phase.unit = std::move(unit);
    phase.before = read_account(options.broker_pid);
    phase.begin_ns = now_ns();
    return phase;
}

void end_phase(const Options& options, Phase& phase) {
    phase.end_ns = now_ns();
    phase.after = read_account(options.broker_pid);
}

std::string Report::table(const Options& options) const {
    std::string out = head_line(options) + "\n\n";
    bool accounted = false;
    for (const Phase& phase : phases_)
        accounted |= phase.accounted();
    std::vector<std::vector<std::string>> rows{
        {"phase", "of", "count", "seconds", "a second"}
    };
    if (accounted) {
        rows[0].insert(rows[0].end(), {"broker CPU s", "us each", "memory KiB"});
    }
    for (const Phase& phase : phases_) {
        rows.push_back({phase.name,
                        phase.unit,
                        grouped(static_cast<double>(phase.count)),
                        readable(phase.seconds()),
                        phase.steady ? "-" : readable(phase.rate())});
        if (phase.accounted()) {
            rows.back().insert(rows.back().end(),
                               {readable(phase.cpu_s()),
                                phase.steady ? "-" : readable(phase.cpu_us_each()),
                                grouped(phase.resident_change() / 1024)});
        }
    }
    out += columns(rows) + '\n';
    for (const Fact& fact : facts_)
        out += "  " + padded(fact.label, 36, false) + readable(fact.value) + ' ' + fact.unit + '\n';
    if (latency_.values() > 0) {
        out += "  latency, us:";
        for (const Percentile& p : kPercentiles) {
            out += format("  %s ", p.label) +
                   readable(static_cast<double>(latency_.percentile(p.share)) / 1e3);
        }
        out += "  max " + readable(static_cast<double>(latency_.max()) / 1e3) + "  (" +
               std::to_string(latency_.values()) + " samples)\n";
    }
    if (checked_ && faults_.any()) {
        out += format("  FAULTS: %llu lost, %llu doubled, %llu out of order, %llu foreign\n",
                      static_cast<unsigned long long>(faults_.lost),
                      static_cast<unsigned long long>(faults_.duplicates),
                      static_cast<unsigned long long>(faults_.disordered),
                      static_cast<unsigned long long>(faults_.foreign));
    } else if (checked_) {
        out += "  nothing lost, doubled or out of order\n";
    }
    return out;
}

std::string Report::json(const Options& options) const {
    constexpr const char* kProtocols[] = {"3.1", "3.1.1", "5.0"};
    Members root;
    root.text("program", "mqttbench")
        .text("version", kVersion)
        .text("mode", mode_name(options.mode))
        .text("host", options.host)
        .count("port", options.port)
        .text("protocol", kProtocols[options.protocol - 3])
        .count("publishers", options.publishers)
        .count("subscribers", options.subscribers)
        .count("qos", options.qos)
        .count("payload", options.payload);
    std::string phases;
    for (const Phase& phase : phases_)
        phases += (phases.empty() ? "" : ", ") + phase_json(phase);
    root.raw("phases", "[" + phases + "]");
    Members facts;
    for (const Fact& fact : facts_)
        facts.number(fact.key, fact.value);
    root.raw("facts", facts.object());
    if (latency_.values() > 0) {
        Members latency;
        latency.count("samples", latency_.values());
        for (const Percentile& p : kPercentiles)
            latency.number(p.key, static_cast<double>(latency_.percentile(p.share)) / 1e3);
        latency.number("max", static_cast<double>(latency_.max()) / 1e3);
        root.raw("latency_us", latency.object());
    }
    if (checked_) {
        root.count("lost", faults_.lost)
            .count("duplicates", faults_.duplicates)
            .count("disordered", faults_.disordered)
            .count("foreign", faults_.foreign);
    }
    return root.object() + '\n';
}

// ---- Progress ----

Progress::Progress(const Options& options)
    : enabled_(!options.quiet && isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
    if (enabled_ && shown_ns_ != 0) fputs("\r\033[K", stderr);
}

void Progress::show(uint64_t now, std::string_view what, uint64_t count) {
    constexpr uint64_t kPeriod = 200'000'000;
    if (!enabled_ || now - shown_ns_ < kPeriod) return;
    const double seconds = static_cast<double>(now - shown_ns_) / 1e9;
    const double fresh = count >= shown_count_ ? static_cast<double>(count - shown_count_) : 0;
    fprintf(stderr,
            "\r\033[K%.*s: %s",
            static_cast<int>(what.size()),
            what.data(),
            grouped(static_cast<double>(count)).c_str());
    if (shown_ns_ != 0) fprintf(stderr, ", %s a second", readable(fresh / seconds).c_str());
    fflush(stderr);
    shown_ns_ = now;
    shown_count_ = count;
}

}  // namespace mqttd::bench
