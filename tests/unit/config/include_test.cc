#include "config_fixture.h"

#include <catch2/catch.hpp>
#include <string>

namespace mqttd {

using config_test::Parsed;

namespace {

// Parses `text` with these files in the directory it includes.
Parsed parse_with(std::string_view text,
                  std::vector<IncludedFile> files,
                  std::string problem = {}) {
    Parsed parsed;
    parsed.problems = parse_config(text, "test.conf", parsed.config, [&](const std::string& path) {
        CHECK(path == "/etc/m.d");
        return IncludedFiles{files, problem};
    });
    for (ConfigProblem& found : finish_config(parsed.config, {}, "test.conf")) {
        parsed.problems.push_back(std::move(found));
    }
    return parsed;
}

}  // namespace

TEST_CASE("an included file is read at its place", "[config]") {
    // What stands below include_dir comes after it: the last number wins.
    const Parsed parsed = parse_with("sys_interval 1\ninclude_dir /etc/m.d\nmax_keepalive 7\n",
                                     {
                                         {"/etc/m.d/a.conf", "sys_interval 2\n"               },
                                         {"/etc/m.d/b.conf", "sys_interval 3\nmax_keepalive 6"}
    });
    INFO(parsed.text());
    CHECK(parsed.ok());
    CHECK(parsed.config.sys_interval_s == 3);
    CHECK(parsed.config.max_keepalive_s == 7);
    CHECK(parsed.says("/etc/m.d/a.conf:1: warning: sys_interval is already set in line 1 of test"));
    CHECK(parsed.says("/etc/m.d/b.conf:1: warning: sys_interval is already set in line 1 of /etc"));
    CHECK(
        parsed.says("test.conf:3: warning: max_keepalive is already set in line 2 of /etc/m.d/b"));
}

TEST_CASE("a listener block ends with its file, and the main file's goes on", "[config]") {
    // As in mosquitto: a file dropped into conf.d cannot reach into somebody else's block.
    const Parsed parsed = parse_with(
        "listener 1883\ninclude_dir /etc/m.d\nmax_connections 7\n",
        {
            {"a.conf", "listener 1884\nmax_connections 5\n"},
            {"b.conf", "listener 1885\n"                   }
    });
    INFO(parsed.text());
    CHECK(parsed.problems.empty());
    REQUIRE(parsed.config.listeners.size() == 3);
    CHECK(parsed.config.listeners[0].max_connections == 7);
    CHECK(parsed.config.listeners[1].max_connections == 5);
    CHECK(parsed.config.listeners[2].max_connections == -1);

    const Parsed orphan = parse_with("listener 1883 127.0.0.1\ninclude_dir /etc/m.d\n",
                                     {
                                         {"a.conf", "max_qos 1\n"}
    });
    CHECK(orphan.says("a.conf:1: warning: max_qos stands above the first 'listener' line"));
    CHECK(orphan.config.listeners[0].max_qos == 2);

    const Parsed bridge = parse_with("connection x\ninclude_dir /etc/m.d\ntopic #\n",
                                     {
                                         {"a.conf", "address h\n"}
    });
    CHECK(bridge.says("a.conf:1: error: address belongs to a bridge"));
    CHECK_FALSE(bridge.says("test.conf:3"));
}

TEST_CASE("errors name the file they are in", "[config]") {
    // Those of one line, those of the whole, and those of reading; all in one run.
    const Parsed parsed =
        parse_with("nonsense 1\ninclude_dir /etc/m.d\nnonsense 2\nlistener 1883\n",
                   {
                       {"a.conf", "\nbroken 1\nlistener 1883\n"},
                       {"b.conf", "max_keepalive x\n"          }
    },
                   "unable to read c.conf: permission denied");
    INFO(parsed.text());
    CHECK(parsed.says("test.conf:1: error: unknown key"));
    CHECK(parsed.says("test.conf:2: error: include_dir /etc/m.d: unable to read c.conf"));
    CHECK(parsed.says("a.conf:2: error: unknown key 'broken'"));
    CHECK(parsed.says("b.conf:1: error: max_keepalive 'x'"));
    CHECK(parsed.says("test.conf:3: error: unknown key"));
    CHECK(
        parsed.says("test.conf:4: error: port 1883 is already taken by the listener of line 3 of "
                    "a.conf"));
}

TEST_CASE("an included file includes nothing", "[config]") {
    // mosquitto follows the main file's only; a loop cannot arise.
    const Parsed parsed = parse_with("include_dir /etc/m.d\n",
                                     {
                                         {"a.conf", "include_dir /etc/m.d\n"}
    });
    CHECK(parsed.problems.size() == 1);
    CHECK(parsed.says("a.conf:1: warning: include_dir has no effect in an included file"));
    CHECK_FALSE(config_test::parse("include_dir /x\n").ok());
}

TEST_CASE("under per_listener_settings access keys belong to their listener", "[config]") {
    // Many deployed files begin with that line.
    const auto finished = [](const char* text) { return config_test::parse_and_finish(text); };
    const Parsed parsed = finished(
        "per_listener_settings true\nlistener 1883\nallow_anonymous true\n"
        "allow_zero_length_clientid false\nauto_id_prefix x-\n"
        "listener 1884\nauto_id_prefix y-\nlistener 1885\nallow_anonymous false\n");
    INFO(parsed.text());
    CHECK(parsed.problems.empty());
    const std::vector<ListenerConfig>& listeners = parsed.config.listeners;
    REQUIRE(listeners.size() == 3);
    CHECK(listeners[0].allow_anonymous == 1);
    CHECK(listeners[0].allow_zero_length_clientid == 0);
    CHECK(listeners[0].auto_id_prefix == "x-");
    CHECK(listeners[1].allow_anonymous == -1);
    CHECK(listeners[1].allow_zero_length_clientid == -1);
    CHECK(listeners[1].auto_id_prefix == "y-");
    CHECK(listeners[2].allow_anonymous == 0);
    CHECK_FALSE(parsed.config.allow_anonymous);

    // Without it the same keys are everybody's, wherever they stand.
    const Parsed common = finished("listener 1883\nallow_anonymous true\nlistener 1884\n");
    CHECK(common.config.allow_anonymous);
    CHECK(common.config.listeners[0].allow_anonymous == -1);

    CHECK(finished("per_listener_settings true\nallow_anonymous true\nlistener 1883\n")
              .says("test.conf:2: error: allow_anonymous stands above the first listener"));
    CHECK(finished("allow_anonymous true\nper_listener_settings true\nlistener 1883\n")
              .says("test.conf:2: error: per_listener_settings stands below a key"));
    CHECK(finished("per_listener_settings true\nper_listener_settings false\n")
              .says("cannot be switched off again"));
    CHECK(finished("per_listener_settings false\nallow_anonymous true\n").problems.empty());
    CHECK(finished("per_listener_settings true\nlistener 1\nlistener_allow_anonymous true\n")
              .config.listeners[0]
              .allow_anonymous == 1);
}

}  // namespace mqttd
