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
        std::string name = listener.name;
        for (int n = 2; std::find(names_.begin(), names_.end(), name) != names_.end(); ++n)
            name = listener.name + "." + std::to_string(n);
        names_.push_back(name);
    }
    listeners_.assign(names_.size(), {});
    for (size_t i = 0; i < names_.size(); ++i)
        listeners_[i].name = names_[i];
}

void Sampler::add_writes(uint64_t reading_us, uint64_t written_us, const Stats& stats) {
    const bool all = dirty_.empty() && stats.fanout_jobs_now == 0;
    turn_times_.add_writes(reading_us, written_us, stats.fanouts_qos0, all);
}

void Sampler::sample(HostStats& out) {
    out = net_.stats();
    out.write_again = net_.counters().write_again;
    out.write_ranges_p99 = net_.counters().write_ranges.quantile(990);
    out.events_max = net_.counters().events_max;
    net_.start_interval();
    out.read_bytes_avg = average(out.read_bytes, last_.read_bytes, out.reads, last_.reads);
    out.write_ranges_avg = average(out.write_ranges, last_.write_ranges, out.writes, last_.writes);
    out.events_avg = average(out.events, last_.events, out.turns, last_.turns);
    last_ = out;
    turn_times_.sample(monotonic_us(), out);
    out.files_used = files_other_ + net_.connections();
    out.files_limit = files_limit_;
    out.resident_bytes = resident_bytes();
    out.cgroup_limit_bytes = cgroup_limit_;
    if (persistence_ != nullptr) persistence_->sample(out);
    if (reloads_ != nullptr) {
        out.config_reloads = reloads_->reloads;
        out.config_reloads_failed = reloads_->failed;
        out.config_loaded_s = static_cast<uint64_t>(std::max<int64_t>(reloads_->loaded_s, 0));
        out.config_error = reloads_->error;
    }
    out.log_lines_dropped = log_sink_.lines_dropped();
    sample_listeners();
    out.listeners = listeners_;
}

void Sampler::sample_listeners() {
    for (size_t i = 0; i < listeners_.size(); ++i) {
        const ListenerStats from = net_.listener_stats(static_cast<uint16_t>(i));
        ListenerHostStats& to = listeners_[i];
        to.connections = from.connections;
        to.maximum = from.maximum;
        to.accepted = from.accepted;
        to.refused_max = from.refused_max;
        to.refused_access = from.refused_access;
        to.refused_rate = from.refused_rate;
        to.rate_paused = from.rate_paused;
        to.bytes_received = from.bytes_received;
        to.bytes_sent = from.bytes_sent;
        to.handshake_timeout = from.handshake_timeout;
    }
}

}  // namespace mqttd
