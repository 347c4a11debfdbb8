#include "config/table.h"

#include "config/table_checks.h"
#include "config/table_makers.h"

namespace mqttd {

namespace {

using namespace config_rows;
using enum Section;
using LC = ListenerConfig;

constexpr std::string_view kNoPlugins = "mqttd is one static program and loads no shared objects";
constexpr std::string_view kNoEngines =
    "mqttd loads no OpenSSL engines; keep the key in a PEM file";
constexpr std::string_view kNoPsk = "mqttd does not do TLS-PSK; use certificates";

// A row is a line of facts and a sentence; the formatter would give each argument its own line.
// clang-format off
constexpr ConfigKey kKeys[] = {
    // ---- Listeners ----
    own_syntax(kListeners, Kind::kListener, "listener", {}, {}, "PORT [ADDRESS] | 0 PATH",
        "Starts a listener block: a port and, if wanted, one numeric address or 'localhost'; or "
        "0 and the path of a Unix socket. Without any listener mqttd serves this machine only."),
    in_scope(Scope::kDefaultListener, number<&LC::port>(kListeners, "port", 1, 65535, "1883", {},
        "Port of the default listener, an older way to write 'listener'.")),
    in_scope(Scope::kDefaultListener, text<&LC::host>(kListeners, "bind_address", {}, "ADDRESS",
        "Address of the default listener, an older way to write 'listener'. Every address if "
        "unset.")),
    in_scope(Scope::kListener, number<&LC::max_connections>(kListeners, "max_connections", -1,
        kIntMax, "-1", "sockets",
        "Most connections of this listener; -1 = no cap.")),
    alias(kListeners, "max_clients", "max_connections"),
    number<&LC::connect_timeout_s>(kListeners, "connect_timeout", 1, 65535, "10", "seconds",
        "A connection whose CONNECT has not come by then is closed."),
    needs_restart(number<&LC::backlog>(kListeners, "backlog", 1, 65535, "1024", "connections",
        "Connections that may wait for accept; the kernel cuts it to net.core.somaxconn.")),
    number<&LC::accept_batch>(kListeners, "accept_batch", 1, 4096, "64", "connections",
        "Most connections accepted in one turn of the loop."),
    needs_restart(number<&LC::recbuf_bytes>(kListeners, "recbuf", 0, kIntMax, "0", "bytes",
        "Receive buffer of each socket; 0 = the kernel decides.")),
    needs_restart(number<&LC::sndbuf_bytes>(kListeners, "sndbuf", 0, kIntMax, "0", "bytes",
        "Send buffer of each socket; 0 = the kernel decides.")),
    needs_restart(flag<&LC::nodelay>(kListeners, "set_tcp_nodelay", "true",
        "Send small packets at once (TCP_NODELAY). mosquitto's default is false; mqttd gathers "
        "writes itself and needs no delay.")),
    needs_restart(flag<&LC::defer_accept>(kListeners, "tcp_defer_accept", "true",
        "Let the kernel hold a connection back until its first bytes come.")),
    needs_restart(number<&LC::tcp_user_timeout_ms>(kListeners, "tcp_user_timeout", 0, kIntMax, "20000",
        "milliseconds",
        "Bounds how long a closing connection waits for its last bytes to be taken; 0 = the kernel "
        "decides.")),
    needs_restart(number<&LC::unix_mode>(kListeners, "unix_mode", 0, 0777, "0660", {},
        "Permission bits of a Unix socket's file.", Kind::kOctal)),
    in_scope(Scope::kListener, word<&LC::protocol_levels>(kListeners, "accept_protocol_versions",
        "3 4 5", "3 4 5",
        "Protocol levels this listener serves: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0.",
        Kind::kWords)),
    needs_restart(in_scope(Scope::kListener, text<&LC::bind_interface>(kListeners,
        "bind_interface", {}, "DEVICE",
        "Network device this listener is bound to.", 15))),
    needs_restart(in_scope(Scope::kListener, word<&LC::domain>(kListeners, "socket_domain",
        "any ipv4 ipv6", "any",
        "Address family this listener is restricted to."))),
    in_scope(Scope::kListener, flag<&LC::allow_anonymous>(kListeners, "listener_allow_anonymous",
        {},
        "allow_anonymous of this listener alone.")),
    in_scope(Scope::kListener, text<&LC::auto_id_prefix>(kListeners, "listener_auto_id_prefix",
        {}, "PREFIX",
        "auto_id_prefix of this listener alone.", 50)),
    in_scope(Scope::kListener, flag<&LC::use_username_as_clientid>(kListeners,
        "use_username_as_clientid", "false",
        "The user name takes the place of the client id; a client without one is refused.")),
    in_scope(Scope::kListener, number<&LC::max_qos>(kListeners, "max_qos", 0, 2, "2", {},
        "Highest QoS a client of this listener may publish with.")),
    alias(kListeners, "maximum_qos", "max_qos"),
    in_scope(Scope::kListener, number<&LC::max_topic_alias>(kListeners, "max_topic_alias", 0,
        65535, "10", "aliases",
        "Topic aliases a 5.0 client may define.")),
    in_scope(Scope::kListener, number<&LC::max_topic_alias_broker>(kListeners,
        "max_topic_alias_broker", 0, 65535, "10", "aliases",
        "Topic aliases mqttd may define towards a 5.0 client.")),
    with_flags(kLastWins, in_scope(Scope::kListener, topic_name<&LC::mount_point>(kListeners,
        "mount_point", "PREFIX",
        "Put in front of every topic of this listener's clients, and taken off what is sent to "
        "them."))),
    carried_by(store_rate_limit, load_rate_limit, number<&LC::rate_bytes_s>(kListeners,
        "rate_limit", 0, kIntMax << 32, "off", {},
        "How fast each connection is read: BURST KB at once, then RATE KB a second. Above that it "
        "is not read for a while; nothing is lost.", Kind::kRateLimit)),
    number<&LC::client_rate_bytes_s>(kListeners, "max_client_rate", 0, kIntMax, "off", {},
        "The same with a burst of one second: 65536, 64K or 64KB/s. With both keys the smaller "
        "rate counts.", Kind::kRate),
    in_scope(Scope::kEither, own_syntax(kListeners, Kind::kAddressRule, "listener_access", {}, {},
        "allow|deny NETWORK",
        "Who may connect, by address. The first line that matches decides, and who matches none "
        "may. Lines above the first listener hold for every listener without lines of its own.")),
    flag<&Config::per_listener_settings>(kListeners, "per_listener_settings", "false",
        "allow_anonymous, allow_zero_length_clientid and auto_id_prefix belong to the listener "
        "above them; stands above all of these."),
    coming_int(kListeners, Scope::kListener, "enable_proxy_protocol", 1, 2, {}, {},
        "Version of the PROXY header that each connection opens with."),
    coming(kListeners, Scope::kListener, Kind::kBool, "proxy_protocol_v2_require_tls", "false",
        "The PROXY header must say that the client came over TLS."),
    coming_word(kListeners, Scope::kListener, "protocol", "mqtt websockets http_api auto", "mqtt",
        "What is spoken on this listener."),
    switched_by("protocol", coming(kListeners, Scope::kListener, Kind::kText, "http_dir", {},
        "Directory of static files for an http_api listener.")),
    with_flags(kRepeatable, switched_by("protocol", coming(kListeners, Scope::kListener,
        Kind::kText, "websockets_origin", {},
        "Origin a WebSocket client may come from."))),

    // ---- Access ----
    or_here<&LC::allow_anonymous>(stored_by(store_allow_anonymous, flag<&Config::allow_anonymous>(
        kAccess, "allow_anonymous", {},
        "Clients without a user name may connect. If unset: true while no listener is written "
        "(this machine only), else false."))),
    or_here<&LC::allow_zero_length_clientid>(flag<&Config::allow_zero_length_clientid>(kAccess,
        "allow_zero_length_clientid", "true",
        "A client with an empty id gets a generated one.")),
    or_here<&LC::auto_id_prefix>(text<&Config::auto_id_prefix>(kAccess, "auto_id_prefix", "auto-",
        "PREFIX",
        "How generated client ids begin.", 50)),
    with_flags(kLastWins | kReload, text<&Config::clientid_prefixes>(kAccess, "clientid_prefixes",
        {}, "PREFIX",
        "Only client ids that begin like this may connect.")),
    number<&Config::max_clientid_len>(kAccess, "max_clientid_len", 23, 65535, "1024", "bytes",
        "Longest client id."),
    number<&Config::global_max_connections>(kAccess, "global_max_connections", -1, kIntMax, "-1",
        "sockets",
        "Most connections of all listeners; -1 = no cap."),
    number<&Config::global_max_clients>(kAccess, "global_max_clients", -1, kIntMax, "-1",
        "sessions",
        "Most sessions, connected or not; -1 = no cap."),
    number<&Config::max_keepalive_s>(kAccess, "max_keepalive", 0, 65535, "0", "seconds",
        "Longest keep-alive a client may ask for; 0 = any."),
    with_flags(kLastWins, coming(kAccess, Scope::kGlobal, Kind::kText, "acl_file", {},
        "File of rules: who may read and write which topics.")),
    switched_by("acl_file", coming_word(kAccess, Scope::kGlobal, "acl_syntax",
        "mosquitto emqttd", {},
        "Syntax of acl_file.")),
    switched_by("acl_file", coming_word(kAccess, Scope::kGlobal, "acl_nomatch", "allow deny", {},
        "What acl_file decides when no rule matches.")),
    switched_by("acl_file", coming(kAccess, Scope::kGlobal, Kind::kBool, "acl_check_subscribe", {},
        "acl_file is asked at SUBSCRIBE too.")),
    switched_by("acl_file", coming(kAccess, Scope::kGlobal, Kind::kBool, "check_retain_source", {},
        "A retained message needs a publisher that may still write.")),
    with_flags(kLastWins, coming(kAccess, Scope::kGlobal, Kind::kText, "password_file", {},
        "File of user names and password hashes.")),
    coming(kAccess, Scope::kGlobal, Kind::kText, "clientid_file", {}, "File of known client ids."),
    coming(kAccess, Scope::kGlobal, Kind::kText, "auth_chain", {},
        "Sources that are asked who a client is, in order."),
    coming(kAccess, Scope::kGlobal, Kind::kText, "auth_command", {},
        "Helper program that decides who may connect."),
    coming(kAccess, Scope::kGlobal, Kind::kBool, "deny_special_chars", "false",
        "Refuse client ids and user names with +, # or /."),
    coming(kAccess, Scope::kGlobal, Kind::kBool, "enable_control_api", "false",
        "Serve $CONTROL/broker/v1."),

    // ---- Sizes ----
    number<&Config::max_packet_size>(kSizes, "max_packet_size", 20, kPacketMax, "2000000", "bytes",
        "Longest packet; whoever sends a longer one is cut off."),
    number<&Config::message_size_limit_bytes>(kSizes, "message_size_limit", 0, kPayloadMax, "0",
        "bytes",
        "A longer payload is acknowledged but not passed on; 0 = no limit."),
    number<&Config::max_topic_len>(kSizes, "max_topic_len", 1, 65535, "65535", "bytes",
        "Longest topic name or filter."),
    number<&Config::max_topic_levels>(kSizes, "max_topic_levels", 1, 1000, "200", "levels",
        "Most levels of a topic name or filter."),
    number<&Config::packet_buffer_size_bytes>(kSizes, "packet_buffer_size", 0, 65535, "4096",
        "bytes",
        "Only a hint: mqttd reads into one large buffer that all connections share."),
    alias(kSizes, "websockets_headers_size", "packet_buffer_size"),

    // ---- Windows and queues of one client ----
    number<&Config::max_inflight_messages>(kQueues, "max_inflight_messages", 0, 65535, "20",
        "messages",
        "QoS 1 and 2 messages sent and not yet acknowledged; 1 keeps strict order, 0 = 65535."),
    alias(kQueues, "max_inflight", "max_inflight_messages"),
    number<&Config::max_inflight_bytes>(kQueues, "max_inflight_bytes", 0, int64_t{1} << 40, "0",
        "bytes",
        "Payload bytes sent and not yet acknowledged; one message may always go; 0 = no limit."),
    number<&Config::max_queued_messages>(kQueues, "max_queued_messages", 0, kIntMax, "1000",
        "messages",
        "Messages that may wait behind the window; 0 = no limit."),
    alias(kQueues, "max_length", "max_queued_messages"),
    number<&Config::max_queued_bytes>(kQueues, "max_queued_bytes", 0, int64_t{1} << 40, "0",
        "bytes",
        "Payload bytes that may wait behind the window; 0 = no limit."),
    word<&Config::queue_full>(kQueues, "queue_full", "drop_new drop_old disconnect refuse",
        "drop_new",
        "What gives way when a queue is full: the new message; the oldest of the lowest priority; "
        "the receiver's connection; or the new message, and its 5.0 publisher is told if nobody "
        "at all took it."),
    number<&Config::queue_low_permille>(kQueues, "queue_low_watermark", 0, 1000, "0.2", {},
        "Share of the two limits below which the alarm about a queue ends.", Kind::kShare),
    number<&Config::queue_high_permille>(kQueues, "queue_high_watermark", 0, 1000, "0.6", {},
        "Share of the two limits above which the alarm begins; more than the low one. Messages of "
        "the broker itself do not count.",
        Kind::kShare),
    word<&Config::queue_order>(kQueues, "queue_type", "simple priority", "simple",
        "Order of a queue: as the messages came, or by queue_priority first."),
    own_syntax(kQueues, Kind::kTopicRank, "queue_priority", {}, {}, "TOPIC N",
        "With queue_type priority: messages to topics that match the filter TOPIC go before those "
        "of lower priority. 0 = as all that is not named; the first line that matches counts."),
    flag<&Config::queue_qos0_messages>(kQueues, "queue_qos0_messages", "false",
        "QoS 0 messages wait for absent clients too."),
    alias(kQueues, "queue_qos0", "queue_qos0_messages"),
    number<&Config::max_outbox_bytes>(kQueues, "outbox_bytes_max", 4096, int64_t{1} << 26,
        "262144", "bytes",
        "Unsent bytes past which a connection is written at once, in mid-turn; if the kernel does "
        "not take them its further messages wait in the queue."),
    number<&Config::unack_retry_interval_s>(kQueues, "unack_retry_interval", 0, 65535, "0",
        "seconds",
        "Send an unacknowledged message again after so long, to 3.x clients; 0 = at reconnect "
        "only."),
    number<&Config::await_rel_timeout_s>(kQueues, "await_rel_timeout", 1, 65535, "300", "seconds",
        "A QoS 2 message whose PUBREL or PUBCOMP has not come by then is given up; repeating the "
        "PUBREL starts the time again."),
    number<&Config::max_awaiting_rel>(kQueues, "max_awaiting_rel", 0, 65535, "100", "messages",
        "QoS 2 messages of one client that wait for PUBREL; 0 = no limit."),
    flag<&Config::allow_duplicate_messages>(kQueues, "allow_duplicate_messages", "true",
        "A client gets one copy for each of its subscriptions that match; false: one copy in "
        "all."),
    number<&Config::persistent_client_expiration_s>(kQueues, "persistent_client_expiration", 1,
        kCenturyS, {}, "NUMBER and s, h, d, w, m or y",
        "A session whose client stays away so long is dropped (m = 30 days, y = "
        "365 days). Never if unset.", Kind::kDuration),
    stored_by(store_hours, number<&Config::persistent_client_expiration_s>(kQueues,
        "expired_after", 0, kCenturyS / 3600, {}, "hours",
        "persistent_client_expiration in hours, as in emqttd up to 0.17 (later "
        "ones count minutes); 0 = never.", Kind::kHours)),
    flag<&Config::upgrade_outgoing_qos>(kQueues, "upgrade_outgoing_qos", "false",
        "Deliver at the subscription's QoS, even if it is higher than the message's."),
    word<&Config::slow_consumer>(kQueues, "slow_consumer", "drop pause disconnect", "drop",
        "What a client that takes nothing more causes: its QoS 0 messages are dropped and the "
        "others wait; or publishers all of whose receivers are so are not read meanwhile; or it "
        "is disconnected after slow_consumer_ms."),
    number<&Config::slow_consumer_ms>(kQueues, "slow_consumer_ms", 1, kIntMax, "10000",
        "milliseconds",
        "A client that takes nothing for so long is slow."),

    // ---- Subscriptions ----
    number<&Config::max_subscriptions>(kSubscriptions, "max_subscriptions", 0, kIntMax, "0",
        "subscriptions",
        "Most subscriptions of one client; 0 = no limit."),
    word<&Config::shared_strategy>(kSubscriptions, "shared_strategy",
        "round_robin sticky hash least_queued", "round_robin",
        "Which member of a $share group gets a message: the next one, always the same one, one "
        "by the publisher's id, or the one with fewer messages waiting."),
    flag<&Config::wildcard_subscription_available>(kSubscriptions,
        "wildcard_subscription_available", "true",
        "Subscriptions may hold + and #."),
    flag<&Config::shared_subscription_available>(kSubscriptions, "shared_subscription_available",
        "true",
        "Subscriptions may begin with $share."),
    flag<&Config::subscription_identifiers_available>(kSubscriptions,
        "subscription_identifiers_available", "true",
        "5.0 subscriptions may carry an identifier."),

    // ---- Retained messages ----
    flag<&Config::retain_available>(kRetained, "retain_available", "true",
        "Keep retained messages; false: publishing one ends the connection."),
    number<&Config::retain_max_messages>(kRetained, "retain_max_messages", 0, kIntMax, "0",
        "messages",
        "Most retained messages; 0 = no limit."),
    number<&Config::retain_max_payload_bytes>(kRetained, "retain_max_payload", 0, kPayloadMax,
        "0", "bytes",
        "A message this long or longer is not retained; 0 = no limit."),
    alias(kRetained, "max_playload_size", "retain_max_payload"),
    number<&Config::retain_max_age_s>(kRetained, "retain_max_age", 0, kIntMax, "0", "seconds",
        "Lifetime of a retained message; 0 = for ever."),
    carried_by(store_minutes, load_minutes, number<&Config::retain_sweep_period_s>(kRetained,
        "retain_expiry_interval", 1, 10000000, "1", "minutes",
        "Period of the sweep for expired ones; not a lifetime.", Kind::kMinutes)),

    // ---- The process ----
    needs_restart(number<&Config::memory_limit_bytes>(kProcess, "memory_limit", -1,
        std::numeric_limits<int64_t>::max(), "-1", "bytes",
        "Ceiling of mqttd's own memory; 0 = none, -1 = 80 % of the machine's memory or of the "
        "control group's limit, whichever is smaller.")),
    number<&Config::busy_poll_us>(kProcess, "busy_poll", 0, 1000000, "0", "microseconds",
        "Look for input so long, again and again, before sleeping; 0 = sleep at once. Saves the "
        "time it takes to wake up, and takes a whole core as long as input keeps coming."),
    number<&Config::sys_interval_s>(kProcess, "sys_interval", 0, 65535, "10", "seconds",
        "Period of the $SYS messages; 0 = none."),
    number<&Config::sys_qos>(kProcess, "sys_qos", 0, 2, "0", {},
        "Highest QoS at which $SYS messages are delivered."),
    with_flags(kLastWins, text<&Config::user>(kProcess, "user", {}, "NAME",
        "Account to change to when started as root, once the sockets are bound; root = stay. If "
        "unset: mosquitto, then nobody.")),
    with_flags(0, text<&Config::pid_file>(kProcess, "pid_file", {}, "PATH",
        "File that holds the process id while mqttd runs.")),
    own_syntax(kProcess, Kind::kIncludeDir, "include_dir", {}, {}, "DIRECTORY",
        "Directory whose *.conf files are read at this place, in alphabetical order. A listener "
        "block ends with its file. Only for the main file."),
    coming_int(kProcess, Scope::kGlobal, "workers", 1, 1024, "1", "processes",
        "Brokers that share the ports."),
    coming_int(kProcess, Scope::kGlobal, "alarm_loop_ms", 0, kIntMax, "0", "milliseconds",
        "A turn of the loop that takes longer raises an alarm."),
    coming_int(kProcess, Scope::kGlobal, "alarm_heap_bytes", 0, kIntMax, "0", "bytes",
        "Memory of one client past which an alarm is raised."),
    coming(kProcess, Scope::kGlobal, Kind::kText, "alarm_slow_consumer", "off|false|0",
        "A client that cannot keep up raises an alarm."),

    // ---- Logging ----
    own_syntax(kLogging, Kind::kLogDest, "log_dest", "none stdout stderr syslog file", "stderr",
        "none | stdout | stderr | syslog | file PATH",
        "Where log lines go; several lines add up, 'none' takes back those above it."),
    own_syntax(kLogging, Kind::kLogTypes, "log_type", kLogTypeWords,
        "error warning notice information", {},
        "Which log lines are written; several lines add up, 'none' takes back those above it."),
    flag<&Config::log_timestamp>(kLogging, "log_timestamp", "true",
        "Each log line begins with the time."),
    text<&Config::log_timestamp_format>(kLogging, "log_timestamp_format", {}, "FORMAT",
        "Time in log lines, as for strftime, in local time. Unix seconds if unset."),
    number<&Config::log_facility>(kLogging, "log_facility", 0, 7, {}, {},
        "Syslog facility, local0 to local7. daemon if unset."),
    flag<&Config::connection_messages>(kLogging, "connection_messages", "true",
        "Log each connect and disconnect."),
    coming_word(kLogging, Scope::kGlobal, "log_style", "mqttd mosquitto", "mqttd",
        "Wording of log lines."),
    coming_int(kLogging, Scope::kGlobal, "log_rotate_size", 0, kIntMax, "0", "bytes",
        "Size at which a new log file is begun."),
    switched_by("log_rotate_size", coming_int(kLogging, Scope::kGlobal, "log_rotate_count", 0,
        kIntMax, {}, "files",
        "Old log files to keep.")),
    coming(kLogging, Scope::kGlobal, Kind::kBool, "log_rotate_daily", "false",
        "A new log file is begun at midnight."),
    ignored(kLogging, "websockets_log_level", "libwebsockets is not used."),

    // ---- Persistence ----
    needs_restart(shipped_as("true", flag<&Config::persistence>(kPersistence, "persistence", "false",
        "Sessions, queues and retained messages survive a restart and a power cut. The default is "
        "mosquitto's: false."))),
    alias(kPersistence, "retained_persistence", "persistence"),
    needs_restart(text<&Config::persistence_location>(kPersistence, "persistence_location", {},
        "DIRECTORY",
        "Directory that exists; the journal becomes a directory mqttd.journal in it. Without it: "
        "MOSQUITTO_PERSISTENCE_LOCATION of the environment, else the working directory.")),
    needs_restart(text<&Config::persistence_file>(kPersistence, "persistence_file", "mosquitto.db",
        "FILE",
        "A mosquitto database (of 1.6 or later) in persistence_location: what it holds is taken over "
        "once, by a start that finds no journal yet. It is only read.")),
    text<&Config::sync>(kPersistence, "sync", "always", "always, interval TIME or none",
        "When an acknowledgement leaves: always = when what it says is on the disk; else at once, "
        "with a sync every TIME (100ms, 2s), or none but the kernel's."),
    number<&Config::persistence_max_bytes>(kPersistence, "persistence_max_bytes", 0,
        std::numeric_limits<int64_t>::max(), "0", "bytes",
        "When the journal is longer than this it is as if the disk were full; 0 = no limit. It is "
        "never much longer than three times what lives, and 64 MiB."),
    number<&Config::disk_wait_s>(kPersistence, "disk_wait", 0, 86400, "10", "seconds",
        "While the disk fails, 5.0 clients are told 0x97 for what would have to be kept; others "
        "wait so long and are closed, so that they come back and repeat. 0 = for ever."),
    number<&Config::autosave_interval_s>(kPersistence, "autosave_interval", 0, kIntMax, "1800",
        "seconds",
        "Everything gathered is synced at least so often, whatever 'sync' says; 0 = only at the "
        "end and when asked (SIGUSR1). With 'sync always' nothing is ever left to do."),
    flag<&Config::autosave_on_changes>(kPersistence, "autosave_on_changes", "false",
        "autosave_interval counts changes instead of seconds."),

    // ---- TLS ----
    tls(Scope::kListener, Kind::kText, "cafile", {}, "Authorities of client certificates."),
    tls(Scope::kListener, Kind::kText, "capath", {}, "Directory of hashed authorities."),
    tls(Scope::kListener, Kind::kText, "certfile", {}, "Certificate chain of the server."),
    tls(Scope::kListener, Kind::kText, "keyfile", {}, "Private key of the server."),
    tls(Scope::kListener, Kind::kText, "ciphers", {}, "Ciphers of TLS 1.2."),
    tls(Scope::kListener, Kind::kText, "ciphers_tls1.3", {}, "Suites of TLS 1.3."),
    tls(Scope::kListener, Kind::kText, "crlfile", {}, "Revoked client certificates."),
    tls(Scope::kListener, Kind::kBool, "disable_client_cert_date_checks", "false",
        "Accept client certificates outside their dates."),
    tls(Scope::kListener, Kind::kBool, "require_certificate", "false",
        "Clients must show a certificate."),
    tls(Scope::kListener, Kind::kText, "tls_version", {}, "Lowest version of TLS."),
    tls(Scope::kListener, Kind::kBool, "use_identity_as_username", "false",
        "The certificate's common name becomes the user name."),
    tls(Scope::kListener, Kind::kBool, "use_subject_as_username", "false",
        "The certificate's subject becomes the user name."),
    tls(Scope::kGlobal, Kind::kText, "psk_file", {}, "Identities and keys of TLS-PSK."),
    refused(kTls, "psk_hint", kNoPsk, Scope::kListener),
    refused(kTls, "tls_engine", kNoEngines, Scope::kListener),
    refused(kTls, "tls_engine_kpass_sha1", kNoEngines, Scope::kListener),
    [] {
        ConfigKey key = refused(kTls, "tls_keyform", kNoEngines, Scope::kListener);
        key.kind = Kind::kWord;
        key.words = "pem engine";
        key.off = "pem";
        key.doc = "Where the private key lives.";
        return key;
    }(),
    ignored(kTls, "dhparamfile", "No longer needed by any TLS."),

    // ---- Bridges ----
    with_flags(kRepeatable, coming(kBridges, Scope::kGlobal, Kind::kText, "connection", {},
        "Starts a bridge block: its name.")),
    bridge(Kind::kText, "address", "Addresses of the other broker, as HOST[:PORT]."),
    alias(kBridges, "addresses", "address"),
    bridge(Kind::kText, "topic",
        "What is shared: way, QoS and prefixes.", kRepeatable),
    bridge(Kind::kText, "topic_suffix", "Suffix of the topics on the other side."),
    bridge(Kind::kBool, "bridge_attempt_unsubscribe", "Unsubscribe from out-only topics."),
    bridge(Kind::kText, "bridge_bind_address", "Local address of the connection."),
    bridge_int("bridge_max_packet_size", 0, kIntMax, "bytes", "Longest packet sent; 0 = any."),
    bridge_int("bridge_max_topic_alias", 0, 65535, "aliases", "Aliases the remote may define."),
    bridge(Kind::kBool, "bridge_outgoing_retain", "Pass the retain flag on."),
    bridge_word("bridge_protocol_version", "mqttv31 mqttv311 mqttv50", "Protocol spoken."),
    bridge_int("bridge_receive_maximum", 1, 65535, "messages", "Receive Maximum sent."),
    bridge_word("bridge_reload_type", "lazy immediate", "When changed settings take hold."),
    bridge_int("bridge_session_expiry_interval", 0, 4294967295, "seconds", "Session expiry sent."),
    bridge(Kind::kText, "bridge_tcp_keepalive", "TCP keep-alive: idle, interval, count."),
    bridge_int("bridge_tcp_user_timeout", 0, kIntMax, "milliseconds", "TCP_USER_TIMEOUT."),
    bridge(Kind::kBool, "cleansession", "The remote forgets the session when it ends."),
    bridge(Kind::kBool, "local_cleansession", "This side forgets the session when it ends."),
    bridge(Kind::kText, "remote_clientid", "Client id towards the remote."),
    alias(kBridges, "clientid", "remote_clientid"),
    bridge(Kind::kText, "local_clientid", "Client id on this side."),
    bridge(Kind::kText, "local_username", "User name on this side."),
    bridge(Kind::kText, "local_password", "Password on this side."),
    bridge(Kind::kText, "remote_username", "User name towards the remote."),
    alias(kBridges, "username", "remote_username"),
    bridge(Kind::kText, "remote_password", "Password towards the remote."),
    alias(kBridges, "password", "remote_password"),
    bridge_int("keepalive_interval", 5, 65535, "seconds", "MQTT keep-alive."),
    bridge_int("idle_timeout", 1, kIntMax, "seconds",
        "A lazy bridge stops after so much silence."),
    bridge_int("threshold", 1, kIntMax, "messages", "Waiting messages that wake a lazy bridge."),
    bridge_word("start_type", "automatic lazy once", "When the bridge connects."),
    bridge(Kind::kText, "restart_timeout", "Delay before a reconnect: N, or BASE CAP [STABLE]."),
    bridge(Kind::kBool, "round_robin", "All addresses are equal, not a first one and spares."),
    bridge(Kind::kBool, "notifications", "Publish the state of the bridge, retained."),
    bridge(Kind::kBool, "notifications_local_only", "Publish it on this side only."),
    bridge(Kind::kText, "notification_topic", "Topic of the state."),
    bridge(Kind::kBool, "try_private", "Tell the remote that this is a bridge."),
    tls(Scope::kBridge, Kind::kText, "bridge_cafile", {}, "Authorities of the remote."),
    tls(Scope::kBridge, Kind::kText, "bridge_capath", {}, "Directory of hashed authorities."),
    tls(Scope::kBridge, Kind::kText, "bridge_certfile", {}, "Certificate of this client."),
    tls(Scope::kBridge, Kind::kText, "bridge_keyfile", {}, "Private key of this client."),
    tls(Scope::kBridge, Kind::kText, "bridge_alpn", {}, "Protocol named in the handshake."),
    tls(Scope::kBridge, Kind::kText, "bridge_ciphers", {}, "Ciphers of TLS 1.2."),
    tls(Scope::kBridge, Kind::kText, "bridge_ciphers_tls1.3", {}, "Suites of TLS 1.3."),
    tls(Scope::kBridge, Kind::kBool, "bridge_insecure", "false", "Skip the host name check."),
    tls(Scope::kBridge, Kind::kBool, "bridge_require_ocsp", "false", "Insist on stapled OCSP."),
    tls(Scope::kBridge, Kind::kBool, "bridge_tls_use_os_certs", "false", "Trust the system's CAs."),
    tls(Scope::kBridge, Kind::kText, "bridge_tls_version", {}, "Version of TLS."),
    refused(kBridges, "bridge_identity", kNoPsk, Scope::kBridge),
    refused(kBridges, "bridge_psk", kNoPsk, Scope::kBridge),

    // ---- Plugins ----
    refused(kPlugins, "plugin", kNoPlugins),
    refused(kPlugins, "global_plugin", kNoPlugins),
    refused(kPlugins, "plugin_load", kNoPlugins),
    refused(kPlugins, "plugin_use", kNoPlugins),
    refused(kPlugins, "plugin_opt_*", kNoPlugins, Scope::kPlugin),
    refused(kPlugins, "auth_plugin", kNoPlugins),
    refused(kPlugins, "auth_opt_*", kNoPlugins, Scope::kPlugin),
    alias(kPlugins, "auth_plugin_deny_special_chars", "deny_special_chars"),

    // ---- Words of emqttd and of older mosquittos ----
    coming(kEmqttd, Scope::kGlobal, Kind::kText, "presence", "off|false|0",
        "Publish a message when a client connects or disconnects."),
    switched_by("presence", coming_int(kEmqttd, Scope::kGlobal, "presence_qos", 0, 2, {}, {},
        "QoS of these messages.")),
    with_flags(kRepeatable, coming(kEmqttd, Scope::kGlobal, Kind::kText, "auto_subscribe", {},
        "TOPIC and QoS every client is subscribed to.")),
    coming(kEmqttd, Scope::kGlobal, Kind::kText, "rewrite_file", {}, "Rules that rename topics."),
    coming_int(kEmqttd, Scope::kGlobal, "session_stats_interval", 0, kIntMax, "0", "seconds",
        "Period of per-session statistics."),
    coming(kEmqttd, Scope::kGlobal, Kind::kBool, "emqttd_compat", "false",
        "Read shared words in emqttd's sense."),
    ignored(kEmqttd, "retry_interval",
        "Gone; 3.x clients have unack_retry_interval."),
    ignored(kEmqttd, "pool_size", "mqttd is one loop."),
    ignored(kEmqttd, "long_gc", "There is no garbage collector."),
    ignored(kEmqttd, "busy_dist_port", "There are no Erlang ports."),
    refused(kEmqttd, "plugins_dir", kNoPlugins),
    refused(kEmqttd, "loaded_file", kNoPlugins),
};
// clang-format on

static_assert(names_are_unique(kKeys));
static_assert(sections_are_in_order(kKeys));
static_assert(targets_are_rows(kKeys));
static_assert(defaults_are_legal(kKeys));
static_assert(rows_are_complete(kKeys));

}  // namespace

std::span<const ConfigKey> config_keys() {
    return kKeys;
}

}  // namespace mqttd
