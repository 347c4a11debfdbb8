#include "server/sampler.h"

#include "io/clock.h"
#include "io/host.h"

#include <algorithm>

namespace mqttd {

namespace {

// So much of one for each of the other, since they were looked at last.
uint64_t average(uint64_t sum, uint64_t sum_before, uint64_t count, uint64_t count_before) {
    return count == count_before ? 0 : (sum - sum_before) / (count - count_before);
}

}  // namespace

Sampler::Sampler(Net& net, const Dirty& dirty, const LogSink& log_sink)
    : net_(net), dirty_(dirty), log_sink_(log_sink), turn_times_(monotonic_us()) {}

void Sampler::set_listeners(const std::vector<ListenerConfig>& listeners) {
    names_.clear();
    for (const ListenerConfig& listener : listeners) {
        const std::string plain =
            listener.unix_path.empty() ? std::to_string(listener.port) : listener.unix_path;
        std::string name = plain;
        for (int n = 2; std::find(names_.begin(), names_.end(), name) != names_.end(); ++n)
            name = plain + "." + std::to_string(n);
        names_.push_back(name);
    }
    listeners_.assign(names_.size(), {});
    for (size_t i = 0; i < names_.size(); ++i)
        listeners_[i].name = names_[i];
}

void Sampler::config_reloaded(int64_t wall_s, const std::string& error) {
    ++config_reloads_;
    config_error_ = error;
    if (error.empty()) {
        config_loaded(wall_s);
    } else {
        ++config_failed_;
    }
}

void Sampler::add_turn(uint64_t began_us, uint64_t ended_us) {
    turn_times_.add_turn(began_us, ended_us);
    const uint64_t events = net_.stats().events;
    events_max_ = std::max(events_max_, events - events_seen_);
    events_seen_ = events;
}

void Sampler::add_writes(uint64_t reading_us, uint64_t written_us, const Stats& stats) {
    const bool all = dirty_.empty() && stats.fanout_jobs_now == 0;
    turn_times_.add_writes(reading_us, written_us, stats.fanouts_qos0, all);
}

void Sampler::sample(HostStats& out) {
    out = net_.stats();
    net_.stats().read_bytes_max = 0;
    net_.stats().write_ranges_max = 0;
    out.read_bytes_avg = average(out.read_bytes, last_.read_bytes, out.reads, last_.reads);
    out.write_ranges_avg = average(out.write_ranges, last_.write_ranges, out.writes, last_.writes);
    out.events_avg = average(out.events, last_.events, out.turns, last_.turns);
    out.events_max = std::max(events_max_, out.events - events_seen_);
    events_max_ = 0;
    last_ = out;
    turn_times_.sample(monotonic_us(), out);
    out.files_used = files_other_ + net_.connections();
    out.files_limit = files_limit_;
    out.resident_bytes = resident_bytes();
    out.cgroup_limit_bytes = cgroup_limit_;
    out.log_lines_dropped = log_sink_.lines_dropped();
    out.listeners = listeners_;
    out.config_reloads = config_reloads_;
    out.config_reloads_failed = config_failed_;
    out.config_loaded_s = config_loaded_s_;
    out.config_error = config_error_;
}

}  // namespace mqttd
