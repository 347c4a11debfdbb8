#pragma once

// What a run has to say: phases, single facts, latencies and faults; a table for people, JSON for
// programs.
//
// A phase is a stretch of time with a count of what was done in it and the broker's account at both
// ends, so every mode's processor time per message comes out of the same subtraction. Nothing is
// printed before the end but the progress line, which goes to the terminal's standard error and is
// erased.

#include "tools/bench_account.h"
#include "tools/bench_check.h"
#include "tools/bench_histogram.h"
#include "tools/bench_options.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd::bench {

struct Phase {
    std::string name;
    std::string unit;  // what `count` counts, in the plural: "deliveries"
    uint64_t begin_ns = 0;
    uint64_t end_ns = 0;
    uint64_t published = 0;
    uint64_t count = 0;
    bool steady = false;  // nothing is done in it: no rate, no cost each
    Account before;
    Account after;

    double seconds() const { return static_cast<double>(end_ns - begin_ns) / 1e9; }

    double rate() const {
        return !steady && seconds() > 0 ? static_cast<double>(count) / seconds() : 0;
    }

    bool accounted() const { return before.known && after.known; }

    double cpu_s() const { return static_cast<double>(after.cpu_ns - before.cpu_ns) / 1e9; }

    double cpu_us_each() const {
        return !steady && count > 0 ? cpu_s() * 1e6 / static_cast<double>(count) : 0;
    }

    double resident_change() const {
        return static_cast<double>(after.resident_bytes) -
               static_cast<double>(before.resident_bytes);
    }
};

// A phase that begins now.
Phase begin_phase(const Options& options, std::string name, std::string unit);
void end_phase(const Options& options, Phase& phase);

class Report {
  public:
    void add(Phase phase) { phases_.push_back(std::move(phase)); }

    // A single number: the key is JSON's, the label and the unit are the table's.
    void fact(std::string key, std::string label, double value, std::string unit) {
        facts_.push_back({std::move(key), std::move(label), value, std::move(unit)});
    }

    void latency(const Histogram& nanoseconds) { latency_ = nanoseconds; }

    void faults(const Faults& faults) {
        faults_ = faults;
        checked_ = true;
    }

    bool faulty() const { return faults_.any(); }

    std::string table(const Options& options) const;
    std::string json(const Options& options) const;

  private:
    struct Fact {
        std::string key, label;
        double value;
        std::string unit;
    };

    std::vector<Phase> phases_;
    std::vector<Fact> facts_;
    Histogram latency_;
    Faults faults_;
    bool checked_ = false;
};

// One line on the terminal that is overwritten, five times a second at most.
class Progress {
  public:
    explicit Progress(const Options& options);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // `count` of `what`; the rate since the last line is shown beside it.
    void show(uint64_t now, std::string_view what, uint64_t count);

  private:
    bool enabled_;
    uint64_t shown_ns_ = 0;
    uint64_t shown_count_ = 0;
};

}  // namespace mqttd::bench
