#include "server/reload_plan.h"

#include "config/table.h"

#include <algorithm>

namespace mqttd {

namespace {

std::string describe(const ListenerConfig& listener) {
    if (!listener.unix_path.empty()) return "listener 0 " + listener.unix_path;
    return "listener " + std::to_string(listener.port) +
           (listener.host.empty() ? "" : " " + listener.host);
}

bool same_place(const ListenerConfig& a, const ListenerConfig& b) {
    return a.port == b.port && a.host == b.host && a.unix_path == b.unix_path;
}

// A listener that stays without a block in the file: what it took from the whole file is made its
// own, so that it goes on as it was.
ListenerConfig pinned(ListenerConfig listener, const Config& config) {
    if (listener.allow_anonymous < 0) listener.allow_anonymous = config.allow_anonymous ? 1 : 0;
    if (listener.allow_zero_length_clientid < 0) {
        listener.allow_zero_length_clientid = config.allow_zero_length_clientid ? 1 : 0;
    }
    if (listener.auto_id_prefix.empty()) listener.auto_id_prefix = config.auto_id_prefix;
    return listener;
}

bool is_of_listener(const ConfigKey& row) {
    return row.scope == Scope::kListener || row.scope == Scope::kEither;
}

// Rows that hold one value each and may not change it.  What makes a listener what it is (port,
// bind_address) is compared above.
bool is_fixed(const ConfigKey& row) {
    return row.verdict == Verdict::kBuilt && row.store != nullptr && (row.flags & kReload) == 0 &&
           row.scope != Scope::kDefaultListener;
}

class Planner {
  public:
    Planner(const Config& running, const Config& fresh) : running_(running), plan_{fresh, {}} {}

    ReloadPlan run() {
        match_listeners();
        for (const ConfigKey& row : config_keys()) {
            if (!is_fixed(row)) continue;
            if (!is_of_listener(row)) keep_value(row);
            for (size_t i = 0; is_of_listener(row) && i < running_.listeners.size(); ++i) {
                keep_value(row, i);
            }
        }
        plan_.config.local_only = running_.local_only;
        return std::move(plan_);
    }

  private:
    void match_listeners() {
        std::vector<ListenerConfig> fresh = std::move(plan_.config.listeners);
        plan_.config.listeners.clear();
        for (const ListenerConfig& old : running_.listeners) {
            const auto found =
                std::find_if(fresh.begin(), fresh.end(), [&old](const ListenerConfig& listener) {
                    return same_place(old, listener);
                });
            if (found != fresh.end()) {
                plan_.config.listeners.push_back(*found);
                fresh.erase(found);
                continue;
            }
            plan_.config.listeners.push_back(pinned(old, running_));
            wait(describe(old) + " is gone from the file", "it is served as before");
        }
        for (const ListenerConfig& listener : fresh) {
            wait(describe(listener) + " is new", "it is not opened yet");
        }
    }

    void keep_value(const ConfigKey& row) {
        const ConfigValue old = row.load(running_, running_.listener_defaults);
        const ConfigValue now = row.load(plan_.config, plan_.config.listener_defaults);
        if (old.number == now.number && old.text == now.text) return;
        row.store(plan_.config, plan_.config.listener_defaults, old);
        wait(std::string(row.name) + " has changed", "the old value stays");
    }

    void keep_value(const ConfigKey& row, size_t index) {
        const ListenerConfig& before = running_.listeners[index];
        ListenerConfig& listener = plan_.config.listeners[index];
        const ConfigValue old = row.load(running_, before);
        const ConfigValue now = row.load(plan_.config, listener);
        if (old.number == now.number && old.text == now.text) return;
        row.store(plan_.config, listener, old);
        wait(std::string(row.name) + " of " + describe(before) + " has changed",
             "the old value stays");
    }

    void wait(const std::string& what, const char* meanwhile) {
        plan_.needs_restart.push_back(what + ": that needs a restart, " + meanwhile + ".");
    }

    const Config& running_;
    ReloadPlan plan_;
};

}  // namespace

ReloadPlan plan_reload(const Config& running, const Config& fresh) {
    return Planner(running, fresh).run();
}

}  // namespace mqttd
