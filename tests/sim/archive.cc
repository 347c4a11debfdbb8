#include "sim/archive.h"

#include "base/assert.h"
#include "io/event.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>

namespace mqttd::sim {

namespace {

constexpr uint32_t kCalmRounds = 1'000;  // of the scribe in one step: until it sleeps
constexpr uint32_t kBurst = 4;
constexpr uint32_t kSliceRecords = 16;  // that a start reads in one turn, at most
constexpr uint32_t kLastCalls = 24;     // of a scribe that dies
constexpr uint32_t kLastRounds = 30;    // of one that is alone, if the disk fails

}  // namespace

Archive::Archive(const DiskPlan& plan, uint64_t seed, bool scarce)
    : plan_(plan), scarce_(scarce), dice_(seed ^ 0xd15c), disk_(seed ^ 0xfa4e) {
    const Result<int> to_scribe = open_event();
    const Result<int> to_loop = open_event();
    MQTTD_ASSERT(to_scribe.ok() && to_loop.ok());
    job_.to_scribe = *to_scribe;
    job_.to_loop = *to_loop;
    shape_.file_bytes = plan.file_bytes;
    shape_.id = seed;
}

Archive::~Archive() {
    ::close(job_.to_scribe);
    ::close(job_.to_loop);
}

std::string Archive::begin() {
    work_.reset();
    reader_.reset();
    journal_.reset();
    const int to_scribe = job_.to_scribe;
    const int to_loop = job_.to_loop;
    (void)take_event(to_scribe);
    (void)take_event(to_loop);
    told_ = false;
    memory_.emplace(2 * plan_.ring);
    job_ = set_desk(memory_->base(), 2 * plan_.ring);
    job_.to_scribe = to_scribe;
    job_.to_loop = to_loop;
    journal_.emplace(job_);
    journal_->set_rule(plan_.rule);
    reader_.emplace(disk_);
    const Error opened = reader_->open(shape_);
    return opened == Error::kNone ? "" : std::string("the journal: ") + error_text(opened);
}

// Its type, position, and the first numbers of its body.
void Archive::tell(const LogRecord& record) {
    std::printf("              record %u%s at %llu, %zu bytes:",
                static_cast<unsigned>(record.type),
                record.joined ? "+" : "",
                static_cast<unsigned long long>(record.position),
                record.body.size());
    for (size_t i = 0; i < std::min<size_t>(record.body.size(), 32); ++i)
        std::printf("%s%02x", i % 4 == 0 ? " " : "", record.body[i]);
    std::putchar('\n');
}

// As Persistence::read_some.
std::string Archive::read_some(Broker& broker) {
    LogRecord record;
    for (uint32_t left = 1 + dice_.below(kSliceRecords); left > 0; --left) {
        if (reader_->next(record)) {
            if (loud) tell(record);
            if (record.type >= RecordType::kFirstOfBroker) {
                broker.restore(static_cast<uint8_t>(record.type), record.position, record.body);
            }
            continue;
        }
        const Error secured = reader_->secure();
        if (secured != Error::kNone) return std::string("secure: ") + error_text(secured);
        const LogReport& read = reader_->report();
        journal_->open(shape_, reader_->next_begin(), read.end, reader_->oldest());
        const RestoreReport restored = broker.end_restore();
        const uint64_t damaged = read.damaged;
        reader_.reset();
        work_.emplace(disk_, job_, shape_);
        awake_ = true;
        if (damaged > 0 || restored.unreadable > 0 || (restored.lost_messages > 0 && !scarce_)) {
            return "a start found " + std::to_string(damaged) + " damaged places, " +
                   std::to_string(restored.unreadable) + " unreadable bodies and " +
                   std::to_string(restored.lost_messages) + " messages without a body";
        }
        return {};
    }
    return {};
}

// --- the scribe's time ---------------------------------------------------------------------------

void Archive::pass(Instant now, bool calm) {
    if (!work_) return;  // while a start reads nothing fails
    change_weather(calm);
    if (chance(plan_.stall)) stalls_until_ = now + dice_.below(dice_.below(4) == 0 ? 5'000 : 300);
    if (!calm && now < stalls_until_) return;
    const uint32_t rounds = calm ? kCalmRounds : 1 + dice_.below(kBurst);
    for (uint32_t i = 0; i < rounds; ++i) {
        awake_ = take_event(job_.to_scribe) || awake_ || now >= wake_at_;
        if (!awake_ || (!calm && !chance(plan_.pace))) break;
        run(now, calm);
    }
}

// What run_scribe does from one sleep to the next.
void Archive::run(Instant now, bool calm) {
    job_.desk->asleep.store(0);
    const bool dies = !calm && chance(plan_.deaths);
    if (dies) {
        const uint32_t error = job_.desk->ring.error.load();
        disk_.calls_left = 1 + dice_.below(kLastCalls);
        work_->step(false);
        // What it would have said if it had lived.
        if (disk_.died()) job_.desk->ring.error.store(error);
        work_.reset();
        disk_.calls_left = ~uint64_t{0};
        work_.emplace(disk_, job_, shape_);
        awake_ = true;
        return;
    }
    work_->step(false);
    job_.desk->asleep.store(1);
    const Duration sleep = work_->sleep(false);
    awake_ = false;
    wake_at_ = sleep == kNever ? kNever : now + sleep;
}

void Archive::cut(bool power) {
    reader_.reset();
    const bool dies = power || dice_.below(2) == 0;
    if (work_ && !(dies && dice_.below(4) == 0)) {
        // Mostly before its first write is safe.
        if (dies) disk_.calls_left = 1 + dice_.below(dice_.below(2) == 0 ? 3 : kLastCalls);
        for (uint32_t i = 0; i < kLastRounds && !disk_.died() && !work_->at_rest(true); ++i)
            work_->step(true);
    }
    work_.reset();
    journal_.reset();
    disk_.calls_left = disk_.room = ~uint64_t{0};
    disk_.faults = {};
    spell_ = 0;
    awake_ = told_ = false;
    wake_at_ = kNever;
    stalls_until_ = 0;
    if (power) disk_.power_cut();
}

void Archive::change_weather(bool calm) {
    if (spell_ > 0 && !calm) {
        --spell_;
    } else if (!calm && chance(plan_.spells)) {
        spell_ = 1 + dice_.below(dice_.below(4) == 0 ? 400 : 40);
        disk_.faults = plan_.faults;
        if (plan_.full) disk_.room = dice_.below(2 * plan_.file_bytes) + disk_.used();
    } else {
        spell_ = 0;
    }
    if (spell_ > 0) return;
    disk_.faults = {};
    disk_.room = ~uint64_t{0};
}

bool Archive::told() {
    told_ = take_event(job_.to_loop) || told_;
    return told_;
}

bool Archive::at_rest() const {
    return !reading() && journal_->all_durable() && work_->at_rest(false);
}

std::string Archive::describe() const {
    char text[200];
    std::snprintf(text,
                  sizeof text,
                  "journal %s, from %llu, durable %llu, to %llu%s%s",
                  reading() ? "being read" : "open",
                  static_cast<unsigned long long>(journal_->oldest()),
                  static_cast<unsigned long long>(journal_->durable()),
                  static_cast<unsigned long long>(journal_->tail()),
                  journal_->failing() ? ", failing" : "",
                  awake_ ? ", scribe awake" : "");
    return text;
}

}  // namespace mqttd::sim
