#include "server/persistence.h"

#include "io/clock.h"
#include "io/event.h"
#include "io/file.h"
#include "io/folder.h"
#include "io/process.h"
#include "io/random.h"
#include "server/import_lines.h"

#include <algorithm>
#include <bit>
#include <cstdio>

namespace mqttd {

namespace {

constexpr uint64_t kRingLeast = uint64_t{8} << 20;
constexpr Duration kLockPatience = 3 * kSecond;  // for the scribe of a broker that just ended
constexpr Duration kAskAgain = 500;              // ms between scribes that end at once
constexpr uint64_t kSliceUs = 3'000;             // of reading, in one turn
constexpr uint32_t kSliceRecords = 64;           // between looks at the clock
constexpr uint32_t kScribe = 0;                  // the keeper's only helper

// The largest packet has to fit beside the part that is kept for what cannot wait.
uint64_t ring_bytes(const Config& config) {
    return std::bit_ceil(std::max<uint64_t>(kRingLeast, uint64_t{4} * config.max_packet_size));
}

std::string location_of(const Config& config) {
    if (const char* place = environment("MOSQUITTO_PERSISTENCE_LOCATION")) return place;
    return config.persistence_location.empty() ? "." : config.persistence_location;
}

SyncRule rule_of(const Config& config) {
    switch (config.sync_when) {
        case SyncWhen::kInterval:
            return {SyncRule::Mode::kInterval, config.sync_interval_ms};
        case SyncWhen::kNone:
            return {SyncRule::Mode::kNone, 0};
        default:
            return {};
    }
}

// In the keeper, before it makes anybody: they are whom the broker will be.
bool settle(void* context) {
    const auto& account = *static_cast<const std::optional<Account>*>(context);
    return !account || !is_root() || become(*account).empty();
}

unsigned long long number(uint64_t value) {
    return value;
}

}  // namespace

Persistence::~Persistence() {
    keeper_.reset();
    if (memory_.base != nullptr) release_memory(memory_);
}

std::string Persistence::prepare(const std::optional<Account>& account) {
    account_ = account;
    std::string location = location_of(config_);
    if (!location.ends_with('/')) location += '/';
    folder_ = location + "mqttd.journal";
    import_file_ = location + config_.persistence_file;
    const Error made = make_folder(folder_.c_str(), account ? &*account : nullptr);
    if (made != Error::kNone && made != Error::kExists) {
        return "Unable to make the directory of the journal, " + folder_ + ": " +
               folder_error_text(made) + ".";
    }
    const uint64_t bytes = 2 * ring_bytes(config_);
    const Result<Region> memory = share_memory(bytes);
    const Result<int> to_scribe = open_event();
    const Result<int> to_loop = open_event();
    if (!memory || !to_scribe || !to_loop) return "Unable to get memory for the journal.";
    memory_ = *memory;
    job_ = set_desk(memory_.base, bytes);
    job_.folder = folder_.c_str();
    if (!config_.persistence_file.empty()) job_.import_file = import_file_.c_str();
    job_.packet_bytes_max = config_.max_packet_size;
    job_.to_scribe = *to_scribe;
    job_.to_loop = *to_loop;
    journal_ = std::make_unique<ScribeJournal>(job_);
    use(config_);
    const Keeper::Helper scribe{"mqttd-scribe", run_scribe, &job_};
    keeper_ = std::make_unique<Keeper>(&scribe, 1);
    const Error started = keeper_->start(settle, &account_);
    if (started != Error::kNone) {
        return std::string("Unable to fork for the journal: ") + error_text(started) + ".";
    }
    keeper_->ask_for(kScribe);
    return {};
}

std::string Persistence::take_folder() {
    Instant until = boot_ms() + kLockPatience;
    ScribeState told = ScribeState::kNone;
    while (true) {
        const ScribeState state = job_.desk->state.load(std::memory_order_acquire);
        if (state == ScribeState::kServing) {
            report_import();
            return {};
        }
        const std::string refused = refusal(state);
        if (!refused.empty()) return refused;
        const int owner = job_.desk->lock_owner.load(std::memory_order_relaxed);
        const Instant now = boot_ms();
        // However long that takes.
        if (state == ScribeState::kImporting) until = now + kLockPatience;
        if (now >= until || keeper_->gone()) {
            if (state != ScribeState::kWaiting) return "The scribe of the journal did not start.";
            return "The journal in " + folder_ + " is in use by another broker (process " +
                   std::to_string(owner) + ").";
        }
        if (state == ScribeState::kWaiting && told != state) {
            log_.write(LogKind::kNotice,
                       "Waiting for process %d, which writes the journal in %s.",
                       owner,
                       folder_.c_str());
        }
        told = state;
        (void)wait_event(job_.to_loop, -1, std::min<Duration>(until - now, 100));
        Keeper::Ended ended;
        while (keeper_->take(ended)) {
            // Another one would only end again.
            const ScribeState last = job_.desk->state.load(std::memory_order_acquire);
            if (last == ScribeState::kImporting) return import_ended(ended);
            const std::string reason = refusal(last);
            if (!reason.empty()) return reason;
            keeper_->ask_for(kScribe);
        }
    }
}

// Why there is no start, as a sentence; empty: there is no reason so far.
std::string Persistence::refusal(ScribeState state) const {
    const auto error = static_cast<Error>(job_.desk->error.load());
    switch (state) {
        case ScribeState::kRefused:
            return "Unable to use the directory of the journal, " + folder_ + ": " +
                   folder_error_text(error) + ".";
        case ScribeState::kFileRefused:
            return "Unable to read " + import_file_ + ", to import it: " +
                   (error == Error::kInvalid ? "it is not a file" : file_error_text(error)) +
                   ". To start without what it holds, give another persistence_file.";
        case ScribeState::kImportFailed:
            return "Unable to import " + import_file_ + " into " + folder_ + ": " +
                   error_text(error) + ". The next start begins it anew.";
        default:
            return {};
    }
}

std::string Persistence::import_ended(const Keeper::Ended& ended) const {
    return "The import of " + import_file_ + " ended (" + (ended.killed ? "signal " : "status ") +
           std::to_string(ended.status) +
           "). The next start begins it anew; to start without what it holds, give another "
           "persistence_file.";
}

void Persistence::report_import() const {
    const ImportReport& report = job_.desk->import;
    if (!report.ran) return;
    for (const ImportLine& line : import_lines(report, import_file_, folder_)) {
        log_.write(line.kind, "%s", line.text.c_str());
    }
}

std::string Persistence::open() {
    const Error opened = disk_.open_folder(folder_);
    if (opened != Error::kNone) {
        return "Unable to read the journal in " + folder_ + ": " + folder_error_text(opened) + ".";
    }
    uint8_t id[sizeof shape_.id];
    if (random_bytes(id) != Error::kNone) return "Unable to get random bytes from the kernel.";
    std::copy_n(id, sizeof id, reinterpret_cast<uint8_t*>(&shape_.id));
    reader_ = std::make_unique<LogReader>(disk_);
    const Error read = reader_->open(shape_);
    reading_since_ = boot_ms();
    if (read == Error::kUnsupportedVersion) {
        return "The journal in " + folder_ +
               " is of another version of its format: start the mqttd that wrote it, or give "
               "another persistence_location.";
    }
    if (read == Error::kInvalid) {
        return "The directory " + folder_ +
               " holds files of more than one journal: take those of the others away.";
    }
    if (read != Error::kNone) {
        return "Unable to read the journal in " + folder_ + ": " + error_text(read) + ".";
    }
    return {};
}

std::string Persistence::watch(Net& net) {
    const bool watched = net.watch(job_.to_loop, kScribeId) == Error::kNone &&
                         net.watch(keeper_->descriptor(), kKeeperId) == Error::kNone;
    return watched ? "" : "Unable to watch the scribe of the journal.";
}

void Persistence::use(const Config& config) {
    config_ = config;
    journal_->set_rule(rule_of(config));
    journal_->set_bytes_max(config.persistence_max_bytes);
}

void Persistence::look(Net& net, Broker& broker, Instant now, int64_t wall_s) {
    wall_s_ = wall_s;
    if (net.take_watched(kScribeId)) take_event(job_.to_loop);
    if (net.take_watched(kKeeperId)) {
        Keeper::Ended ended;
        while (keeper_->take(ended)) {
            ++scribes_lost_;
            log_.write(LogKind::kError,
                       "Error: the scribe of the journal ended (%s %d); another one takes over.",
                       ended.killed ? "signal" : "status",
                       ended.status);
            if (ended.killed) {
                keeper_->ask_for(kScribe);
            } else {
                ask_again_at_ = now + kAskAgain;
            }
        }
        if (keeper_->gone()) {
            log_.write(LogKind::kError, "Error: the keeper ended; another one takes over.");
            net.unwatch(keeper_->descriptor());
            const int keep[] = {job_.to_scribe, job_.to_loop};
            const Error started = keeper_->start_again(settle, &account_, keep);
            if (started == Error::kNone) {
                (void)net.watch(keeper_->descriptor(), kKeeperId);
            }
            ask_again_at_ = now;
        }
    }
    if (now >= ask_again_at_) {
        ask_again_at_ = kNever;
        keeper_->ask_for(kScribe);
    }
    if (journal_->is_open()) watch_disk(broker);
}

// Says once that the disk fails, and once that it does not any more.
void Persistence::watch_disk(Broker& broker) {
    constexpr const char* kAlarm = "journal";
    const bool failing = journal_->failing();
    if (failing == failing_) return;
    if (!failing) {
        if (!broker.clear_alarm(kAlarm)) return;
        failing_ = false;
        log_.write(LogKind::kNotice, "The journal in %s is written again.", folder_.c_str());
        return;
    }
    const Error error = journal_->error();
    const char* why =
        error != Error::kNone ? error_text(error) : "persistence_max_bytes is reached";
    char json[512];
    std::snprintf(json,
                  sizeof json,
                  "{\"id\":\"%s\",\"severity\":\"critical\",\"title\":\"the journal cannot be "
                  "written\",\"summary\":\"%s\",\"ts\":%lld}",
                  kAlarm,
                  why,
                  static_cast<long long>(wall_s_));
    (void)broker.raise_alarm(kAlarm, json);
    failing_ = true;
    log_.write(LogKind::kError,
               "Error: the journal in %s cannot be written (%s). What would have to be kept is "
               "refused or waits.",
               folder_.c_str(),
               why);
}

bool Persistence::read_some(Broker& broker, Instant now) {
    const uint64_t until = monotonic_us() + kSliceUs;
    LogRecord record;
    do {
        for (uint32_t i = 0; i < kSliceRecords; ++i) {
            if (reader_->next(record)) {
                if (record.type >= RecordType::kFirstOfBroker) {
                    broker.restore(static_cast<uint8_t>(record.type), record.position, record.body);
                }
                continue;
            }
            // What is not known to be safe is made so before anybody builds on it.
            const Error secured = reader_->secure();
            if (secured != Error::kNone) {
                log_.write(LogKind::kError,
                           "Error: the end of the journal in %s cannot be made safe (%s).",
                           folder_.c_str(),
                           error_text(secured));
            }
            const LogReport& read = reader_->report();
            journal_->open(shape_, reader_->next_begin(), read.end, reader_->oldest());
            report(broker.end_restore(), now);
            reader_.reset();
            autosave_at_ = now + config_.autosave_interval_s * kSecond;
            return false;
        }
    } while (monotonic_us() < until);
    return true;
}

void Persistence::sample(HostStats& out) {
    out.persist_state = reading() ? "reading" : failing_ ? "failing" : "serving";
    out.persist_bytes = journal_->tail() - journal_->oldest();
    out.persist_lag = journal_->tail() - journal_->durable();
    out.persist_syncs = journal_->syncs();
    out.persist_sync_us_p99 = journal_->take_sync_us_p99();
    out.persist_save_ms = save_ms_;
    out.persist_written = journal_->written_bytes();
    out.persist_saved_s = all_safe_s_;
    out.persist_restored_messages = restored_messages_;
    out.persist_restore_ms = restore_ms_;
    out.persist_scribes_lost = scribes_lost_;
}

void Persistence::report(const RestoreReport& restored, Instant now) {
    const LogReport& read = reader_->report();
    restored_messages_ = restored.retained + restored.queued + restored.under_way;
    restore_ms_ = now - reading_since_;
    log_.write(LogKind::kInformation,
               "Journal %s read in %llu ms: %llu sessions, %llu subscriptions, %llu retained "
               "messages, %llu queued and %llu under way.",
               folder_.c_str(),
               number(now - reading_since_),
               number(restored.sessions),
               number(restored.subscriptions),
               number(restored.retained),
               number(restored.queued),
               number(restored.under_way));
    if (read.damaged > 0 || restored.unreadable > 0 || restored.lost_messages > 0) {
        log_.write(LogKind::kError,
                   "Error: the journal was damaged in %llu places (%llu bytes); %llu records and "
                   "%llu messages were lost.",
                   number(read.damaged),
                   number(read.damaged_bytes),
                   number(restored.unreadable),
                   number(restored.lost_messages));
    }
    if (restored.no_memory > 0) {
        log_.write(
            LogKind::kError,
            "Error: memory_limit had no room for %llu things of the journal. They stay in it, "
            "and it only grows: give more memory and start again.",
            number(restored.no_memory));
    }
}

void Persistence::end_turn(Instant now) {
    journal_->end_turn(now);
    if (journal_->is_open() && journal_->all_durable()) {
        all_safe_s_ = static_cast<uint64_t>(std::max<int64_t>(wall_s_, 0));
    }
    if (save_to_ != 0 && journal_->durable() >= save_to_) {
        save_ms_ = now - save_began_;
        save_to_ = 0;
    }
    if (config_.autosave_interval_s == 0 || !journal_->is_open()) return;
    // A change is a few dozen bytes of the journal and more.
    constexpr uint64_t kChangeBytes = 64;
    const bool due =
        config_.autosave_on_changes
            ? journal_->tail() - saved_ > kChangeBytes * uint64_t{config_.autosave_interval_s}
            : now >= autosave_at_;
    if (!due) return;
    autosave_at_ = now + config_.autosave_interval_s * kSecond;
    saved_ = journal_->tail();
    if (!journal_->holds_answers()) sync_all(now);
}

Instant Persistence::next_deadline() const {
    const bool by_time = config_.autosave_interval_s != 0 && !config_.autosave_on_changes;
    const bool saves = by_time && journal_->is_open() && !journal_->holds_answers();
    return std::min({journal_->next_deadline(), ask_again_at_, saves ? autosave_at_ : kNever});
}

void Persistence::sync_all(Instant now) {
    if (save_to_ == 0) save_began_ = now;
    save_to_ = journal_->tail();
    journal_->sync_all();
}

}  // namespace mqttd
