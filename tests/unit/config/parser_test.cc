#include "config/parser.h"

#include "config/table.h"
#include "config_fixture.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

namespace mqttd {

using config_test::parse;
using config_test::Parsed;

TEST_CASE("an empty file is every default", "[config]") {
    // Nothing, blank lines and comments alone say nothing.
    for (const char* text : {"",
                             "\n",
                             "\r\n\r\n",
                             "   \n\t\n",
                             "# only\n#comments",
                             "#",
                             "\xef\xbb\xbf",
                             "\xef\xbb\xbf# comment\n"}) {
        const Parsed parsed = parse(text);
        INFO(parsed.text());
        CHECK(parsed.problems.empty());
        CHECK(parsed.config == Config{});
    }
}

TEST_CASE("DOS line ends, tabs, indents and a missing last newline do not matter", "[config]") {
    // Files come from every editor.
    for (const char* text : {"max_keepalive 60\nsys_interval 5",
                             "max_keepalive 60\r\nsys_interval 5\r\n",
                             "max_keepalive\t60\n\tsys_interval\t 5 \t\n",
                             "  max_keepalive   60  \n sys_interval 5\n",
                             "\xef\xbb\xbfmax_keepalive 60\nsys_interval 5\r"}) {
        const Parsed parsed = parse(text);
        INFO(parsed.text());
        CHECK(parsed.problems.empty());
        CHECK(parsed.config.max_keepalive_s == 60);
        CHECK(parsed.config.sys_interval_s == 5);
    }
}

TEST_CASE("a comment begins in the first column", "[config]") {
    // As in mosquitto an indented '#' is no comment, but here the message says so.
    const Parsed parsed = parse("  # note\n");
    CHECK_FALSE(parsed.ok());
    CHECK(parsed.says("test.conf:1: error: a comment must begin in the first column"));
    CHECK(parse("#max_keepalive nonsense\n").problems.empty());
}

TEST_CASE("'#' inside text belongs to the text", "[config]") {
    // Paths and formats may contain one; mosquitto keeps it too.
    const Parsed parsed = parse("pid_file /run/a #b.pid\nlog_timestamp_format %H # %M\n");
    CHECK(parsed.problems.empty());
    CHECK(parsed.config.pid_file == "/run/a #b.pid");
    CHECK(parsed.config.log_timestamp_format == "%H # %M");
}

TEST_CASE("a comment behind a number or bool is dropped with a warning", "[config]") {
    // mosquitto stops reading there, so such files exist and must load.
    const Parsed parsed = parse("allow_anonymous true # for now\nmax_keepalive 60 # seconds\n");
    CHECK(parsed.ok());
    CHECK(parsed.problems.size() == 2);
    CHECK(parsed.says("test.conf:1: warning: allow_anonymous is 'true', and '# for now'"));
    CHECK(parsed.config.allow_anonymous);
    CHECK(parsed.config.max_keepalive_s == 60);
}

TEST_CASE("words behind a number are an error", "[config]") {
    // `memory_limit 3 GB` would be three bytes.
    CHECK(parse("memory_limit 3 GB\n")
              .says("test.conf:1: error: memory_limit is '3', and 'GB' behind it means nothing"));
    CHECK_FALSE(parse("max_keepalive 60 seconds\n").ok());
    CHECK_FALSE(parse("persistent_client_expiration 2d 3h\n").ok());
    CHECK_FALSE(parse("listener 0 /a\nunix_mode 0660 x\n").ok());
    CHECK(parse("allow_anonymous true maybe\n").ok());
}

TEST_CASE("numbers may be hexadecimal or octal", "[config]") {
    // strtol with base 0 has always read them so.
    const Parsed parsed = parse("max_keepalive 0x10\nsys_interval 010\nmax_queued_messages +5\n");
    CHECK(parsed.problems.empty());
    CHECK(parsed.config.max_keepalive_s == 16);
    CHECK(parsed.config.sys_interval_s == 8);
    CHECK(parsed.config.max_queued_messages == 5);
    CHECK(parse("sys_interval 08\n").says("sys_interval '08' is not a number"));
}

TEST_CASE("a repeated number or bool is the last one, repeated text is an error", "[config]") {
    // mosquitto's rule; the message names the first line.
    const Parsed last =
        parse("sys_interval 5\nsys_interval 6\nlog_timestamp false\nlog_timestamp true\n");
    CHECK(last.ok());
    CHECK(last.problems.size() == 2);
    CHECK(last.says("test.conf:2: warning: sys_interval is already set in line 1: this line"));
    CHECK(last.config.sys_interval_s == 6);
    CHECK(last.config.log_timestamp);

    const Parsed twice = parse("pid_file /a\n\npid_file /b\n");
    CHECK(twice.says("test.conf:3: error: pid_file is already set in line 1"));
    CHECK_FALSE(parse("auto_id_prefix a\nauto_id_prefix a\n").ok());
    CHECK_FALSE(parse("log_timestamp_format a\nlog_timestamp_format a\n").ok());
    CHECK_FALSE(parse("bind_address ::1\nbind_address ::1\n").ok());
    CHECK_FALSE(parse("persistence_location /a\npersistence_location /a\n").ok());
    CHECK_FALSE(parse("connection a\nclientid x\nremote_clientid y\n").says("listener"));

    const Parsed user = parse("user a\nuser b\n");  // mosquitto clears this one first
    CHECK(user.ok());
    CHECK(user.problems.size() == 1);
    CHECK(user.config.user == "b");
    CHECK(parse("backlog 5\nlistener 1\nbacklog 6\nlistener 2\nbacklog 7\n").problems.empty());
    CHECK(parse("sys_interval 5\nsys_interval 6\nsys_interval 7\n").says("set in line 2"));
}

TEST_CASE("bridge text may repeat in the next bridge but not in the same", "[config]") {
    // Each `connection` starts afresh; aliases are the same key.
    const Parsed two = parse("connection a\naddress h\nconnection b\naddress h\n");
    CHECK(two.problems.size() == 2);  // one for each connection, none for the addresses
    const Parsed same = parse("connection a\nclientid x\nremote_clientid y\n");
    CHECK(same.says("test.conf:3: error: remote_clientid is already set in line 2"));
    CHECK(parse("connection a\ntopic x\ntopic y\n").problems.size() == 1);
    CHECK(parse("address h\n").says("put it below a 'connection' line"));
}

TEST_CASE("listener keys belong to the last listener", "[config]") {
    // Order is the only structure the file has.
    const Parsed parsed = parse(
        "listener 1883\nmax_connections 10\nlistener 1884 127.0.0.1\nmax_clients 20\nbacklog 5\n"
        "listener 0 /run/mqttd.sock\nunix_mode 0600\n");
    INFO(parsed.text());
    CHECK(parsed.problems.empty());
    REQUIRE(parsed.config.listeners.size() == 3);
    const auto& [first, second, third] = std::tie(
        parsed.config.listeners[0], parsed.config.listeners[1], parsed.config.listeners[2]);
    CHECK((first.port == 1883 && first.host.empty() && first.max_connections == 10));
    CHECK((first.backlog == 1024 && first.line == 1));
    CHECK((second.port == 1884 && second.host == "127.0.0.1" && second.max_connections == 20));
    CHECK((second.backlog == 5 && second.line == 3));
    CHECK((third.port == 0 && third.host.empty() && third.unix_path == "/run/mqttd.sock"));
    CHECK((third.unix_mode == 0600 && third.max_connections == -1));
}

TEST_CASE("socket options above the first listener are the default of all", "[config]") {
    // So a file with ten listeners says it once.
    const Parsed parsed = parse(
        "set_tcp_nodelay false\nconnect_timeout 20\nbacklog 7\nlistener 1\nlistener 2\nbacklog 9\n"
        "set_tcp_nodelay true\n");
    CHECK(parsed.problems.empty());
    REQUIRE(parsed.config.listeners.size() == 2);
    CHECK_FALSE(parsed.config.listeners[0].nodelay);
    CHECK(parsed.config.listeners[0].connect_timeout_s == 20);
    CHECK(parsed.config.listeners[0].backlog == 7);
    CHECK(parsed.config.listeners[1].nodelay);
    CHECK(parsed.config.listeners[1].connect_timeout_s == 20);
    CHECK(parsed.config.listeners[1].backlog == 9);
}

TEST_CASE("a listener key without a listener makes the default one, aloud", "[config]") {
    // mosquitto does it too; it opens a port, so it is not done in silence.
    const Parsed parsed = parse("max_connections 10\n");
    CHECK(parsed.ok());
    CHECK(parsed.says("test.conf:1: warning: max_connections stands above the first 'listener'"));
    REQUIRE(parsed.config.listeners.size() == 1);
    CHECK(parsed.config.listeners[0].port == 1883);
    CHECK(parsed.config.listeners[0].max_connections == 10);
    // At its default it asks for nothing: old example files begin with `max_connections -1`.
    CHECK(
        parse("max_connections -1\nmax_qos 2\nuse_username_as_clientid false\n").problems.empty());
    CHECK(parse("max_connections -1\nlistener 1883\n").config.listeners.size() == 1);
    CHECK(parse("max_qos 1\n").config.listeners.size() == 1);
}

TEST_CASE("port and bind_address shape the default listener", "[config]") {
    // The way files of mosquitto 1.x are written.
    for (const char* text : {"port 1884\nbind_address 127.0.0.1\nmax_connections 3\n",
                             "bind_address 127.0.0.1\nport 1884\nmax_connections 3\n"}) {
        const Parsed parsed = parse(text);
        INFO(parsed.text());
        CHECK(parsed.problems.empty());
        REQUIRE(parsed.config.listeners.size() == 1);
        CHECK(parsed.config.listeners[0].port == 1884);
        CHECK(parsed.config.listeners[0].host == "127.0.0.1");
        CHECK(parsed.config.listeners[0].max_connections == 3);
    }
    const Parsed both = parse("listener 1\nport 2\nmax_connections 4\n");
    REQUIRE(both.config.listeners.size() == 2);
    CHECK(both.config.listeners[0].max_connections == -1);
    CHECK(both.config.listeners[1].max_connections == 4);
}

TEST_CASE("a listener line is a port and an address, or 0 and a path", "[config]") {
    // Each way to get it wrong has its own sentence, and only one.
    CHECK(parse("listener\n").says("listener has no value: give PORT, PORT ADDRESS or 0 PATH"));
    CHECK(parse("listener x\n").says("listener 'x' is not a number"));
    CHECK(parse("listener 65536\n").says("listener port 65536 is out of range"));
    CHECK(parse("listener -1\n").says("listener port -1 is out of range"));
    CHECK(parse("listener 0\n").says("listener 0 has no path"));
    CHECK(parse("listener 0 # x\n").says("listener 0 has no path"));
    CHECK(parse("listener 1 \xff\n").says("is not valid UTF-8"));
    CHECK(parse("listener 99999\nmax_connections 5\n").problems.size() == 1);
    CHECK(parse("listener 65535 ::1\n").problems.empty());
    CHECK(parse("listener 1883 # all\n").ok());
    CHECK(parse("listener 1883 # all\n").config.listeners[0].host.empty());
    CHECK(parse("listener 1883 ::1 more\n").says("'more' behind it is ignored"));
}

TEST_CASE("log destinations and types add up, and none takes back", "[config]") {
    // The first line replaces the default, as in mosquitto.
    CHECK(parse("log_dest stdout\n").config.log_dests == kLogToStdout);
    CHECK(parse("log_dest stdout\nlog_dest syslog\n").config.log_dests ==
          (kLogToStdout | kLogToSyslog));
    CHECK(parse("log_dest stdout\nlog_dest none\n").config.log_dests == 0);
    CHECK(parse("log_dest none\nlog_dest stderr\n").config.log_dests == kLogToStderr);
    const Parsed file = parse("log_dest file /var/log/a b.log\n");
    CHECK(file.config.log_dests == kLogToFile);
    CHECK(file.config.log_file == "/var/log/a b.log");
    CHECK(file.problems.empty());

    CHECK(parse("log_type error\n").config.log_types == kLogError);
    CHECK(parse("log_type error\nlog_type debug\n").config.log_types == (kLogError | kLogDebug));
    CHECK(parse("log_type all\n").config.log_types == kLogAll);
    CHECK(parse("log_type all\nlog_type none\n").config.log_types == 0);
    CHECK(parse("log_type none\nlog_type notice\n").config.log_types == kLogNotice);
}

TEST_CASE("every word the log_type row knows has its bits", "[config]") {
    // The parser's table and the row are two lists; a word missing in one would crash or vanish.
    std::string_view words = find_config_key("log_type")->words;
    uint32_t sum = 0;
    while (!words.empty()) {
        const size_t end = words.find(' ');
        const std::string word(words.substr(0, end));
        const Parsed parsed = parse("log_type " + word);
        INFO(word << parsed.text());
        CHECK(parsed.problems.empty());
        sum |= word == "all" ? 0 : parsed.config.log_types;
        words = end == std::string_view::npos ? "" : words.substr(end + 1);
    }
    CHECK(sum == kLogAll);
}

TEST_CASE("log destinations that are not served say so", "[config]") {
    // dlt is harmless to leave out, android and topic are not what was asked for.
    const Parsed dlt = parse("log_dest dlt\n");
    CHECK(dlt.ok());
    CHECK(dlt.says("log_dest dlt has no effect"));
    CHECK(dlt.config.log_dests == kLogToStderr);
    CHECK(parse("log_dest android\n").says("refused"));
    CHECK(parse("log_dest topic\n").says("not built in this version"));
    CHECK(parse("log_dest file\n").says("log_dest file has no usable path"));
    CHECK(parse("log_dest file /a\nlog_dest file /b\n").says("one log file"));
    CHECK(parse("log_dest elsewhere\n").says("log_dest 'elsewhere' is not known"));
}

TEST_CASE("allow_anonymous remembers that it was written", "[config]") {
    // Its default depends on whether there is a listener, so silence differs from `false`.
    CHECK_FALSE(parse("").config.allow_anonymous_is_set);
    CHECK(parse("allow_anonymous false\n").config.allow_anonymous_is_set);
    CHECK(parse("allow_anonymous 1\n").config.allow_anonymous);
}

TEST_CASE("an unknown key is an error with the nearest name", "[config]") {
    // Ignoring it would start a broker that is not the one that was described.
    const Parsed parsed = parse("\nmax_inflght_messages 10\n");
    CHECK_FALSE(parsed.ok());
    CHECK(
        parsed.says("test.conf:2: error: unknown key 'max_inflght_messages': did you mean "
                    "'max_inflight_messages'?"));
    CHECK(parse("Port 1883\n").says("did you mean 'port'?"));
    CHECK(parse("something_else_entirely 1\n").says("--print-config"));
    CHECK(parse("plugin_opt_ x\n").says("unknown key"));
}

TEST_CASE("a key without a value is an error that says what is missing", "[config]") {
    // Also for text; a lone key is a line somebody has not finished.
    for (const char* key : {"max_keepalive",
                            "pid_file",
                            "allow_anonymous",
                            "log_dest",
                            "log_type",
                            "acl_file",
                            "persistence"}) {
        const Parsed parsed = parse(key);
        INFO(parsed.text());
        CHECK(parsed.problems.size() == 1);
        CHECK(parsed.says(std::string(key) + " has no value"));
    }
    CHECK(parse("dhparamfile\n").ok());  // warned about and never read
}

TEST_CASE("all errors of a file come in one run, in order", "[config]") {
    // One round of mending instead of one per error.
    const Parsed parsed = parse(
        "foo 1\nmax_keepalive 70000\nallow_anonymous yes\nlog_type loud\n"
        "sys_interval 5\npid_file\nconnection x\n");
    INFO(parsed.text());
    REQUIRE(parsed.problems.size() == 6);
    const uint32_t kLines[] = {1, 2, 3, 4, 6, 7};
    for (size_t i = 0; i < 6; ++i) {
        CHECK(parsed.problems[i].line == kLines[i]);
        CHECK(parsed.problems[i].severity == Severity::kError);
        CHECK(parsed.problems[i].file == "test.conf");
    }
    CHECK(parsed.config.sys_interval_s == 5);
}

TEST_CASE("expired_after counts hours as the emqttd seed does", "[config]") {
    // 48 in the seed is two days.
    CHECK(parse("expired_after 48\n").config.persistent_client_expiration_s == 2 * 86400);
    CHECK(parse("persistent_client_expiration 2d\n").config.persistent_client_expiration_s ==
          2 * 86400);
    CHECK(parse("persistent_client_expiration 2\n").says("give a number and its unit"));
}

TEST_CASE("the values of the emqttd seed load where they are built", "[config]") {
    // The pressure test's configuration, in mqttd's words.
    const Parsed parsed = parse(
        "max_clientid_len 1024\nmax_packet_size 65536\nconnect_timeout 20\nmax_inflight 100\n"
        "unack_retry_interval 60\nawait_rel_timeout 20\nmax_awaiting_rel 0\n"
        "session_stats_interval 0\nexpired_after 48\nmax_length 100\nqueue_qos0 true\n"
        "sys_interval 60\nretain_max_age 0\nretain_max_messages 100000\nmax_playload_size 65536\n"
        "listener 1883\naccept_batch 64\nmax_clients 1000000\nbacklog 1024\nlistener_access allow "
        "all\n"
        "allow_anonymous true\n");
    INFO(parsed.text());
    CHECK(parsed.problems.empty());
    const Config& config = parsed.config;
    CHECK(config.max_packet_size == 65536);
    CHECK(config.max_inflight_messages == 100);
    CHECK(config.unack_retry_interval_s == 60);
    CHECK(config.await_rel_timeout_s == 20);
    CHECK(config.max_awaiting_rel == 0);
    CHECK(config.persistent_client_expiration_s == 172800);
    CHECK(config.max_queued_messages == 100);
    CHECK(config.queue_qos0_messages);
    CHECK(config.sys_interval_s == 60);
    CHECK(config.retain_max_messages == 100000);
    CHECK(config.retain_max_payload_bytes == 65536);
    CHECK(config.listeners.at(0).max_connections == 1000000);
    CHECK(config.listeners.at(0).connect_timeout_s == 20);
}

TEST_CASE("the mosquitto seed's file loads", "[config]") {
    // It changes one key and leaves the rest as installed.
    const Parsed parsed = parse("# mosquitto.conf of 1.0.3\nuser nobody\n");
    CHECK(parsed.problems.empty());
    CHECK(parsed.config.user == "nobody");
}

TEST_CASE("Debian's mosquitto.conf is answered with one line per key", "[config]") {
    // What is inert while its feature is missing adds no noise.
    const Parsed parsed = parse(
        "# Place your local configuration in /etc/mosquitto/conf.d/\n\n"
        "pid_file /run/mosquitto/mosquitto.pid\n\npersistence true\n"
        "persistence_location /var/lib/mosquitto/\n\n"
        "log_dest file /var/log/mosquitto/mosquitto.log\n\ninclude_dir /etc/mosquitto/conf.d\n");
    REQUIRE(parsed.problems.size() == 1);
    CHECK(parsed.problems[0].key == "include_dir");
    CHECK(parsed.config.persistence);
    CHECK(parsed.config.persistence_location == "/var/lib/mosquitto/");
}

TEST_CASE("text has a length", "[config]") {
    // 65535 bytes is all an MQTT string can carry; a generated id must leave room.
    CHECK(parse("pid_file " + std::string(65535, 'a')).ok());
    CHECK(parse("pid_file " + std::string(65536, 'a')).says("is too long"));
    CHECK(parse("auto_id_prefix " + std::string(50, 'a')).ok());
    CHECK(parse("auto_id_prefix " + std::string(51, 'a')).says("is too long"));
    CHECK(parse("pid_file " + std::string(1 << 20, 'a')).text().size() < 400);
}

TEST_CASE("hostile text gets a bounded, printable answer", "[config]") {
    // The file may be anything: a core dump, a picture, a log of gigabytes.
    using namespace std::string_literals;
    CHECK(parse("pid_file a\0b\n"s).says("NUL byte"));
    CHECK(parse("\0\0\0\n"s).says("NUL byte"));
    CHECK(parse(std::string(1 << 20, 'x')).problems.size() == 1);
    CHECK(parse("#" + std::string(1 << 20, '\0')).problems.empty());
    CHECK(parse("max_keepalive " + std::string(1 << 20, '9')).problems.size() == 1);

    std::string many;
    for (int i = 0; i < 100000; ++i) {
        many += "nonsense\n";
    }
    const Parsed errors = parse(many);
    CHECK(errors.problems.size() == kProblemsMax + 1);
    CHECK(errors.says("there are more errors: the rest of the file was not read"));

    std::string warnings;
    for (int i = 0; i < 1000; ++i) {
        warnings += "dhparamfile x\n";
    }
    const Parsed warned = parse(warnings + "max_keepalive 5\n");
    CHECK(warned.problems.size() == kProblemsMax);
    CHECK(warned.ok());
    CHECK(warned.config.max_keepalive_s == 5);  // warnings never stop the reading

    std::string listeners;
    for (int i = 0; i < 1000; ++i) {
        listeners += "listener 1883\n";
    }
    const Parsed crowd = parse(listeners);
    CHECK_FALSE(crowd.ok());
    CHECK(crowd.config.listeners.size() == kListenersMax);
}

TEST_CASE("random bytes never do more than give problems", "[config]") {
    // Lines are put together from real keys, values and noise, so that they reach every branch.
    const unsigned seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const std::span<const ConfigKey> rows = config_keys();
    const char* kPieces[] = {" ",
                             "\t",
                             "\n",
                             "\r\n",
                             "true",
                             "0",
                             "-1",
                             "99999999999999999999",
                             "0x",
                             "#",
                             "file",
                             "1883",
                             "::",
                             "localhost",
                             "\xff",
                             "\xc3\xbc",
                             "12d",
                             "0.5",
                             ","};
    for (int round = 0; round < 3000; ++round) {
        std::string text;
        for (auto pieces = random() % 40; pieces > 0; --pieces) {
            switch (random() % 4) {
                case 0:
                    text += '\n';
                    text += rows[random() % rows.size()].name;
                    text += ' ';
                    break;
                case 1:
                    text += static_cast<char>(random());
                    break;
                default:
                    text += kPieces[random() % std::size(kPieces)];
                    break;
            }
        }
        const Parsed parsed = config_test::parse_and_finish(text);
        for (const ConfigProblem& problem : parsed.problems) {
            for (const char c : format_problem(problem)) {
                REQUIRE((c >= ' ' && c <= '~'));
            }
        }
    }
}

}  // namespace mqttd
