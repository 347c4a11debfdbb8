#include "server/sampler.h"

#include "io/clock.h"
#include "io/host.h"

#include <algorithm>

namespace mqttd {

Sampler::Sampler(Net& net, const LogSink& log_sink)
    : net_(net), log_sink_(log_sink), turn_times_(monotonic_us()) {}

void Sampler::sample(HostStats& out) {
    out = net_.stats();
    net_.stats().read_bytes_max = 0;
    net_.stats().write_ranges_max = 0;
    turn_times_.sample(monotonic_us(), out);
    out.files_used = files_other_ + net_.connections();
    out.files_limit = files_limit_;
    out.resident_bytes = resident_bytes();
    if (reloads_ != nullptr) {
        out.config_reloads = reloads_->reloads;
        out.config_reloads_failed = reloads_->failed;
        out.config_loaded_s = static_cast<uint64_t>(std::max<int64_t>(reloads_->loaded_s, 0));
    }
    out.log_lines_dropped = log_sink_.lines_dropped();
}

}  // namespace mqttd
