#include "server/startup.h"

#include "mqttd/broker.h"
#include "mqttd/version.h"

#include "base/arena.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/host.h"
#include "io/log_sink.h"
#include "io/memory.h"
#include "io/process.h"
#include "io/random.h"
#include "io/signals.h"
#include "net/net.h"
#include "server/active.h"
#include "server/persistence.h"
#include "server/reloader.h"
#include "server/server.h"
#include "server/settings.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

namespace mqttd {

namespace {

constexpr int kFine = 0;
constexpr int kNoStart = 1;

// Net's table has a place for each descriptor, so their number is bounded by the arena, too.
constexpr uint64_t kFilesMost = uint64_t{4} << 20;
constexpr uint64_t kArenaBytesPerFile = 512;

class Startup {
  public:
    Startup(const Options& options, const LoadedConfig& loaded)
        : options_(options), config_(loaded.config), loaded_(loaded) {}

    int run();

  private:
    bool open_log();
    bool reserve_arena();
    void report_machine(const MachineLimits& machine);
    bool make_hash_key(BrokerOptions& options);
    bool open_net(Net& net, const std::vector<ListenerLimits>& limits);
    int watch_signals(Net& net);
    bool listen_all(Net& net, const std::vector<ListenerLimits>& limits);
    bool listen_at(Net& net,
                   const ListenerConfig& listener,
                   const ListenerLimits& limits,
                   const BindAddress* at);
    bool go_background();
    bool write_pid_file();
    bool find_user();
    bool give_up_root();
    bool prepare_journal();
    bool open_journal(Net& net);
    std::optional<std::string> user_to_become() const;
    bool fail(const std::string& text);

    const Options& options_;
    const Config& config_;
    const LoadedConfig& loaded_;
    LogSink log_sink_;
    Log log_;
    Region region_;
    Daemon daemon_;
    PidFile pid_file_;
    std::optional<Account> account_;  // whom root becomes
    std::unique_ptr<Persistence> persistence_;
};

int Startup::run() {
    if (options_.daemon) close_inherited_files();
    if (!open_log() || !go_background() || !find_user()) return kNoStart;
    if (config_.persistence && !prepare_journal()) return kNoStart;
    if (!reserve_arena()) return kNoStart;

    MachineLimits machine;
    machine.files = raise_file_limit(std::min(kFilesMost, region_.bytes / kArenaBytesPerFile));
    auto active = std::make_unique<Active>(config_);
    BrokerOptions broker_options = active->broker();
    if (!make_hash_key(broker_options)) return kNoStart;

    Arena arena(region_.base, region_.bytes);
    Dirty dirty;
    const NetOptions options = net_options(config_, machine.files, files_open());
    machine.clients = clients_allowed(options);
    Net net(arena, dirty, log_, options);
    Sampler sampler(net, dirty, log_sink_);
    Journal* journal = persistence_ ? &persistence_->journal() : nullptr;
    Broker broker(arena, net, sampler, dirty, log_, broker_options, boot_ms(), journal);
    net.bind(broker);
    Reloader reloader({options_, broker, net, log_sink_, log_}, std::move(active), wall_s());
    sampler.watch(reloader.counts());
    if (persistence_) sampler.watch(*persistence_);
    if (!open_net(net, reloader.limits())) return kNoStart;
    if (!write_pid_file() || !give_up_root()) return kNoStart;
    const int signals = watch_signals(net);
    if (signals < 0 || (persistence_ && !open_journal(net))) return kNoStart;

    report_machine(machine);
    sampler.set_files(machine.files, files_open());
    sampler.set_cgroup_limit(memory_cgroup_limit());
    sampler.set_listeners(config_.listeners);
    broker.begin_turn(boot_ms(), wall_s());
    broker.publish_sys();
    if (persistence_) broker.begin_restore(persistence_->bytes_to_read());

    log_.write(LogKind::kInformation, "mqttd version %s running", kVersion);
    log_sink_.flush();
    daemon_.running();
    if (options_.daemon) log_sink_.restart_streams();

    Server({net, broker, sampler, log_sink_, log_, reloader, signals, persistence_.get()}).run();

    pid_file_.remove();
    log_sink_.flush();
    return kFine;
}

// The journal's processes come before listeners and heap: they hold neither.
bool Startup::prepare_journal() {
    persistence_ = std::make_unique<Persistence>(config_, log_);
    std::string problem = persistence_->prepare(account_);
    if (problem.empty()) problem = persistence_->take_folder();
    return problem.empty() || fail(problem);
}

bool Startup::open_journal(Net& net) {
    std::string problem = persistence_->open();
    if (problem.empty()) problem = persistence_->watch(net);
    return problem.empty() || fail(problem);
}

bool Startup::make_hash_key(BrokerOptions& options) {
    uint8_t key[sizeof options.hash_key];
    if (random_bytes(key) != Error::kNone) {
        return fail("Unable to get random bytes from the kernel.");
    }
    std::memcpy(options.hash_key, key, sizeof key);
    return true;
}

bool Startup::open_net(Net& net, const std::vector<ListenerLimits>& limits) {
    if (net.open() != Error::kNone) {
        return fail(std::string("Unable to open the event loop: ") + net.detail() + ".");
    }
    return listen_all(net, limits);
}

// The descriptor, or -1.
int Startup::watch_signals(Net& net) {
    const Result<int> signals = open_signals();
    if (signals.ok() && net.watch(*signals, Server::kSignalsId) == Error::kNone) return *signals;
    fail("Unable to receive signals.");
    return -1;
}

// What the operator must read, wherever the log goes.
bool Startup::fail(const std::string& text) {
    log_.write(LogKind::kError, "Error: %s", text.c_str());
    log_sink_.flush();
    const bool heard = (config_.log_dests & (kLogToStderr | kLogToStdout)) != 0;
    if (!heard || !log_.wants(LogKind::kError)) print(Stream::kErr, "Error: " + text + "\n");
    return false;
}

bool Startup::open_log() {
    log_ = Log(&LogSink::take, &log_sink_, log_kinds(config_.log_types));
    const Error error = log_sink_.open(log_sink_options(config_));
    log_sink_.set_time(wall_s());
    if (error != Error::kNone) {
        return fail("Unable to open the log file " + config_.log_file + ": " +
                    file_error_text(error) + ".");
    }
    log_.write(LogKind::kInformation, "mqttd version %s starting", kVersion);
    for (const std::string& line : loaded_.warnings) {
        log_.write(LogKind::kWarning, "%s", line.c_str());
    }
    if (!options_.config_file.empty()) {
        log_.write(LogKind::kInformation, "Config loaded from %s.", options_.config_file.c_str());
    } else {
        log_.write(LogKind::kInformation, "Using default config.");
    }
    log_sink_.flush();
    const char* mask = environment("UMASK_SET");
    if (mask != nullptr && !set_file_mask(mask)) {
        return fail("UMASK_SET is not an octal number up to 777.");
    }
    return true;
}

bool Startup::reserve_arena() {
    const uint64_t wanted = arena_bytes(config_.memory_limit_bytes, memory_available());
    const Result<Region> region = reserve_memory(wanted, kArenaLeast);
    if (!region.ok()) return fail("Unable to reserve memory: the kernel refused 8 MiB.");
    region_ = *region;
    constexpr unsigned kMiB = 20;
    log_.write(LogKind::kInformation,
               "Memory is limited to %llu MiB.",
               static_cast<unsigned long long>(region_.bytes >> kMiB));
    if (region_.bytes < wanted) {
        log_.write(LogKind::kWarning,
                   "Warning: the kernel did not let mqttd reserve the %llu MiB it would use.",
                   static_cast<unsigned long long>(wanted >> kMiB));
    }
    return true;
}

void Startup::report_machine(const MachineLimits& files) {
    MachineLimits machine = files;
    const KernelLimits kernel = kernel_limits();
    machine.somaxconn = kernel.somaxconn;
    machine.file_max = kernel.file_max;
    machine.local_ports =
        kernel.port_last > kernel.port_first ? kernel.port_last - kernel.port_first + 1 : 0;
    log_.write(LogKind::kInformation,
               "RLIMIT_NOFILE is %llu: that allows %llu clients at once.",
               static_cast<unsigned long long>(machine.files),
               static_cast<unsigned long long>(machine.clients));
    for (const std::string& line : tight_limits(config_, machine)) {
        log_.write(LogKind::kNotice, "%s", line.c_str());
    }
}

bool Startup::listen_all(Net& net, const std::vector<ListenerLimits>& limits) {
    if (config_.local_only) {
        log_.write(LogKind::kNotice,
                   "Starting in local only mode: only clients on this machine can connect. "
                   "A listener in a configuration file lets others in.");
    }
    uint16_t index = 0;
    for (const ListenerConfig& listener : config_.listeners) {
        if (!listener.unix_path.empty()) {
            if (!listen_at(net, listener, limits[index], nullptr)) return false;
        }
        for (const BindAddress& address : bind_addresses(listener)) {
            if (!listen_at(net, listener, limits[index], &address)) return false;
        }
        ++index;
    }
    return true;
}

// One socket of a listener; `at` is null for a Unix socket.
bool Startup::listen_at(Net& net,
                        const ListenerConfig& listener,
                        const ListenerLimits& limits,
                        const BindAddress* at) {
    ListenOptions options = listen_options(listener);
    std::string place = "path " + listener.unix_path;
    const char* family = "unix";
    if (at != nullptr) {
        options.address = at->host;
        family = at->host.find(':') != std::string::npos ? "ipv6" : "ipv4";
        place = "port " + std::to_string(listener.port);
    }
    log_.write(LogKind::kInformation, "Opening %s listen socket on %s.", family, place.c_str());
    const Result<uint16_t> bound = net.listen(options, limits);
    log_sink_.flush();
    if (bound.ok()) return true;
    const std::string what = "Unable to listen on " + (at != nullptr ? at->host + " " : "") +
                             place + ": " + net.detail() + ".";
    if (at != nullptr && !at->required && bound.error() == Error::kInvalid) {
        log_.write(LogKind::kNotice, "%s Going on without it.", what.c_str());
        return true;
    }
    return fail(what);
}

bool Startup::go_background() {
    if (!options_.daemon) return true;
    if (is_process_one()) {
        log_.write(LogKind::kWarning,
                   "Warning: -d has no effect in process 1, whose end would end the container.");
    }
    const Error error = daemon_.start();
    return error == Error::kNone || fail(std::string("Unable to fork: ") + error_text(error) + ".");
}

bool Startup::write_pid_file() {
    if (config_.pid_file.empty()) return true;
    const std::string problem = pid_file_.open(config_.pid_file);
    return problem.empty() ||
           fail("Unable to use the pid file " + config_.pid_file + ": " + problem + ".");
}

// mosquitto's order: what the file says, then `mosquitto`, then `nobody`; PUID and PGID of the
// environment, which containers set, beat the last two.
std::optional<std::string> Startup::user_to_become() const {
    if (!config_.user.empty()) return config_.user;
    const char* uid = environment("PUID");
    const char* gid = environment("PGID");
    if (uid != nullptr) return std::string(uid) + (gid != nullptr ? std::string(":") + gid : "");
    for (const char* name : {"mosquitto", "nobody"}) {
        if (system_account(name).ok()) return name;
    }
    return std::nullopt;
}

// Whom root is to become; nobody, if we are not root or are to stay it.
bool Startup::find_user() {
    if (!is_root() && !config_.user.empty()) {
        log_.write(LogKind::kNotice,
                   "user %s has no effect: mqttd was not started as root and stays who it is.",
                   config_.user.c_str());
    }
    if (!is_root() || config_.user == "root") return true;
    const std::optional<std::string> user = user_to_become();
    if (!user) {
        log_.write(LogKind::kWarning,
                   "Warning: running as root, because there is no user mosquitto or nobody. "
                   "Set 'user' in the configuration file.");
        return true;
    }
    const Result<Account> account = system_account(*user);
    if (!account.ok()) {
        return fail("Unable to become user '" + *user + "': there is no such user in /etc/passwd.");
    }
    account_ = *account;
    return true;
}

bool Startup::give_up_root() {
    allow_no_new_privileges();
    if (!account_) return true;
    log_sink_.give_file_to(account_->uid, account_->gid);
    const std::string problem = become(*account_);
    if (!problem.empty()) {
        return fail("Unable to become user '" + account_->name + "': " + problem + ".");
    }
    log_.write(LogKind::kInformation, "Running as user %s.", account_->name.c_str());
    return true;
}

}  // namespace

int serve(const Options& options, const LoadedConfig& loaded) {
    return Startup(options, loaded).run();
}

}  // namespace mqttd
