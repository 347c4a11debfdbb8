#include "server/reload_plan.h"

#include "config/finish.h"
#include "config/parser.h"
#include "config/table.h"

#include <catch2/catch.hpp>
#include <string>

using namespace mqttd;

namespace {

Config config_of(std::string_view text) {
    Config config;
    REQUIRE_FALSE(has_errors(parse_config(text, "test.conf", config)));
    REQUIRE_FALSE(has_errors(finish_config(config, Options{}, "test.conf")));
    return config;
}

std::string lines_of(const ReloadPlan& plan) {
    std::string text;
    for (const std::string& line : plan.needs_restart)
        text += line + '\n';
    return text;
}

ReloadPlan plan(std::string_view running, std::string_view fresh) {
    return plan_reload(config_of(running), config_of(fresh));
}

}  // namespace

TEST_CASE("the same file changes nothing and says nothing", "[reload]") {
    // logrotate sends SIGHUP every night.
    for (const char* text : {"", "listener 1883\n", "listener 0 /tmp/x\nlistener 1884 ::1\n"}) {
        const ReloadPlan same = plan(text, text);
        CHECK(same.config == config_of(text));
        CHECK(same.needs_restart.empty());
    }
}

TEST_CASE("what can change is taken over", "[reload]") {
    // Limits, switches, the log, and what belongs to one listener.
    const ReloadPlan changed =
        plan("listener 1883\nmax_connections 5\n",
             "max_queued_messages 7\nsys_interval 3\nlog_type debug\nlog_dest stdout\n"
             "queue_type priority\nqueue_priority a 1\nallow_anonymous true\n"
             "listener 1883\nmax_connections 6\nmax_qos 1\nlistener_access deny all\n");
    INFO(lines_of(changed));
    CHECK(changed.needs_restart.empty());
    CHECK(changed.config.max_queued_messages == 7);
    CHECK(changed.config.sys_interval_s == 3);
    CHECK(changed.config.log_types == kLogDebug);
    CHECK(changed.config.log_dests == kLogToStdout);
    CHECK(changed.config.queue_priorities.size() == 1);
    CHECK(changed.config.allow_anonymous);
    CHECK(changed.config.listeners[0].max_connections == 6);
    CHECK(changed.config.listeners[0].max_qos == 1);
    CHECK(changed.config.listeners[0].access.size() == 1);
}

TEST_CASE("what needs a restart keeps its value and is named", "[reload]") {
    // One line per key; the values that the table does not mark as reloadable.
    const ReloadPlan changed =
        plan("listener 1883\nlistener 0 /tmp/x\n",
             "memory_limit 9000000\nuser x\npid_file /p\nlistener 1883\nbacklog 7\nmount_point m/\n"
             "bind_interface lo\nset_tcp_nodelay false\nlistener 0 /tmp/x\nunix_mode 0600\n");
    INFO(lines_of(changed));
    CHECK(changed.needs_restart.size() == 8);
    CHECK(changed.config.memory_limit_bytes == -1);
    CHECK(changed.config.user.empty());
    CHECK(changed.config.pid_file.empty());
    CHECK(changed.config.listeners[0].backlog == 1024);
    CHECK(changed.config.listeners[0].mount_point.empty());
    CHECK(changed.config.listeners[0].bind_interface.empty());
    CHECK(changed.config.listeners[0].nodelay);
    CHECK(changed.config.listeners[1].unix_mode == 0660);
    const std::string text = lines_of(changed);
    CHECK(text.find("backlog of listener 1883 has changed: that needs a restart") !=
          std::string::npos);
    CHECK(text.find("unix_mode of listener 0 /tmp/x has changed") != std::string::npos);
}

TEST_CASE("listeners stay in number and order", "[reload]") {
    // Net and the core know them by index.
    const ReloadPlan changed = plan(
        "allow_anonymous true\nauto_id_prefix old-\nlistener 1883\nlistener 1884\nlistener 1885\n",
        "allow_anonymous false\nlistener 1886\nlistener 1885\nmax_qos 0\nlistener 1883\n");
    INFO(lines_of(changed));
    REQUIRE(changed.config.listeners.size() == 3);
    CHECK(changed.config.listeners[0].port == 1883);
    CHECK(changed.config.listeners[1].port == 1884);
    CHECK(changed.config.listeners[2].port == 1885);
    CHECK(changed.config.listeners[2].max_qos == 0);
    CHECK(changed.needs_restart.size() == 2);
    CHECK(lines_of(changed).find("listener 1884 is gone from the file") != std::string::npos);
    CHECK(lines_of(changed).find("listener 1886 is new") != std::string::npos);
    // The one without a block goes on as it was, whatever the new file says of the others.
    CHECK(changed.config.listeners[0].allow_anonymous == -1);
    CHECK(changed.config.listeners[1].allow_anonymous == 1);
    CHECK(changed.config.listeners[1].auto_id_prefix == "old-");
}

TEST_CASE("$SYS can be switched on and off while running", "[reload][sys]") {
    // The core makes its values, or takes them away, when it is told.
    for (const auto& [before, after] : {
             std::pair{"10", "1"},
             std::pair{"0",  "5"},
             std::pair{"5",  "0"}
    }) {
        const ReloadPlan changed =
            plan(std::string("sys_interval ") + before, std::string("sys_interval ") + after);
        CHECK(changed.config.sys_interval_s == static_cast<uint32_t>(std::stoi(after)));
        CHECK(changed.needs_restart.empty());
    }
}

TEST_CASE("every fixed key is put back", "[reload]") {
    // Whatever the table marks as not reloadable; a new such key needs no line here.
    size_t fixed = 0;
    for (const ConfigKey& row : config_keys()) {
        if (row.verdict != Verdict::kBuilt || row.store == nullptr || (row.flags & kReload) != 0 ||
            row.scope == Scope::kDefaultListener) {
            continue;
        }
        ++fixed;
        Config fresh = config_of("listener 1883\n");
        ListenerConfig& listener = fresh.listeners[0];
        const bool flag = row.kind == Kind::kBool;
        row.store(fresh,
                  listener,
                  {flag                      ? 1 - row.load(fresh, listener).number
                   : row.kind == Kind::kWord ? 2
                                             : 77,
                   "text"});
        const ReloadPlan kept = plan_reload(config_of("listener 1883\n"), fresh);
        INFO(row.name << ": " << lines_of(kept));
        CHECK(kept.needs_restart.size() == 1);
        CHECK(kept.config == config_of("listener 1883\n"));
    }
    CHECK(fixed >= 12);
}
