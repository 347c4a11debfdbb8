#include "server/load_config.h"

#include "support/temp_folder.h"

#include <catch2/catch.hpp>

using namespace mqttd;

TEST_CASE("without a file the configuration is the local one") {
    // `mqttd` alone serves this machine.
    const LoadedConfig loaded = load_config(Options{});
    REQUIRE(loaded.ok);
    REQUIRE(loaded.config.local_only);
    REQUIRE(loaded.config.listeners.size() == 1);
}

TEST_CASE("a file that is not there is one clear sentence with its name") {
    // Exit code 3.
    Options options;
    options.config_file = "/no/such/mqttd.conf";
    const LoadedConfig loaded = load_config(options);
    REQUIRE_FALSE(loaded.ok);
    REQUIRE(loaded.errors.size() == 1);
    REQUIRE(loaded.errors[0].starts_with("Error: "));
    REQUIRE(loaded.errors[0].find("/no/such/mqttd.conf") != std::string::npos);
}

TEST_CASE("all errors of a file are reported in one run, with file and line") {
    // Mending a file takes one round.
    const TempFolder folder;
    folder.write("m.conf", "listener 1883\nnonsense 1\nmax_keepalive x\n");
    Options options;
    options.config_file = folder.file("m.conf");
    const LoadedConfig loaded = load_config(options);
    REQUIRE_FALSE(loaded.ok);
    REQUIRE(loaded.errors.size() == 2);
    REQUIRE(loaded.errors[0].find("m.conf:2:") != std::string::npos);
    REQUIRE(loaded.errors[1].find("m.conf:3:") != std::string::npos);
}

TEST_CASE("a memory_limit below the least is raised aloud") {
    // At the least it is as written; one below it is not what was asked for.
    const TempFolder folder;
    Options options;
    options.config_file = folder.file("m.conf");
    folder.write("m.conf", "memory_limit 8388607\n");
    const LoadedConfig raised = load_config(options);
    REQUIRE(raised.ok);
    REQUIRE(raised.warnings.size() == 1);
    REQUIRE(raised.warnings[0].find("8388607 is raised to 8388608") != std::string::npos);
    for (const char* fine : {"memory_limit 8388608\n", "memory_limit 0\n", "memory_limit -1\n"}) {
        folder.write("m.conf", fine);
        REQUIRE(load_config(options).warnings.empty());
    }
}

TEST_CASE("a good file is what it says") {
    // Through the parser and the rules over the whole file.
    const TempFolder folder;
    folder.write("m.conf", "listener 1999 127.0.0.1\nallow_anonymous true\n");
    Options options;
    options.config_file = folder.file("m.conf");
    const LoadedConfig loaded = load_config(options);
    REQUIRE(loaded.ok);
    REQUIRE(loaded.config.listeners[0].port == 1999);
    REQUIRE(loaded.config.allow_anonymous);
    REQUIRE_FALSE(loaded.config.local_only);
}

TEST_CASE("include_dir reads the *.conf files of a directory in order") {
    // Debian's file ends with that line; errors name the file they are in.
    const TempFolder folder;
    folder.write("b.conf", "sys_interval 3\n");
    folder.write("A.conf", "sys_interval 2\n");
    folder.write("c.conf.bak", "nonsense\n");
    folder.write(".d.conf", "nonsense\n");
    const std::string path = folder.file("");
    folder.write("main", "include_dir " + path + "\n");
    Options options;
    options.config_file = folder.file("main");
    const LoadedConfig good = load_config(options);
    REQUIRE(good.ok);
    REQUIRE(good.config.sys_interval_s == 3);
    folder.write("e.conf", "\nnonsense 1\n");
    const LoadedConfig bad = load_config(options);
    REQUIRE_FALSE(bad.ok);
    REQUIRE(bad.errors.size() == 1);
    REQUIRE(bad.errors[0].find("e.conf:2: error: unknown key") != std::string::npos);
    folder.write("main", "\ninclude_dir /no/such/folder\n");
    const LoadedConfig none = load_config(options);
    REQUIRE(none.errors.at(0).find("main:2: error: include_dir /no/such/folder: there is no such "
                                   "directory") != std::string::npos);
}
