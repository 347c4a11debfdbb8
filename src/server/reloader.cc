#include "server/reloader.h"

#include "io/file.h"
#include "server/load_config.h"
#include "server/reload_plan.h"
#include "server/settings.h"

#include <utility>

namespace mqttd {

void Reloader::reload(int64_t wall_s) {
    const Log& log = parts_.log;
    if (parts_.options.config_file.empty()) {
        log.write(LogKind::kNotice, "Told to reload: there is no configuration file.");
        return;
    }
    const LoadedConfig loaded = load_config(parts_.options);
    for (const std::string& line : loaded.errors)
        log.write(LogKind::kError, "%s", line.c_str());
    for (const std::string& line : loaded.warnings)
        log.write(LogKind::kWarning, "%s", line.c_str());
    if (!loaded.ok) return refuse(loaded.errors.front());

    ReloadPlan plan = plan_reload(config(), loaded.config);
    if (!use_log(plan.config)) return refuse("the log file could not be opened");
    use(std::make_unique<Active>(std::move(plan.config)));
    for (const std::string& line : plan.needs_restart)
        log.write(LogKind::kNotice, "%s", line.c_str());
    log.write(
        LogKind::kNotice, "Configuration reloaded from %s.", parts_.options.config_file.c_str());
    ++counts_.reloads;
    counts_.loaded_s = wall_s;
    counts_.error.clear();
}

void Reloader::refuse(std::string why) {
    ++counts_.failed;
    counts_.error = std::move(why);
    parts_.log.write(LogKind::kError,
                     "Error: the configuration was not reloaded; the old one stays in force.");
}

// The only step that can still fail; false if it did, and then the log goes on as it was.
bool Reloader::use_log(const Config& config) {
    const Error error = parts_.log_sink.reconfigure(log_sink_options(config));
    if (error != Error::kNone) {
        parts_.log.write(LogKind::kError,
                         "Error: Unable to open the log file %s: %s.",
                         config.log_file.c_str(),
                         file_error_text(error));
        return false;
    }
    parts_.log = Log(&LogSink::take, &parts_.log_sink, log_kinds(config.log_types));
    return true;
}

void Reloader::use(std::unique_ptr<Active> next) {
    parts_.broker.reconfigure(next->broker());
    parts_.net.set_max_connections(next->config().global_max_connections);
    // Of a listener that could not be opened (the IPv6 half without IPv6) net knows nothing.
    for (const ListenerLimits& limits : next->limits())
        static_cast<void>(parts_.net.set_limits(limits));
    active_ = std::move(next);  // nothing borrows from the old one any more
}

}  // namespace mqttd
