// Broker: the public face of Core; construction, turns, shutdown.

#include "mqttd/broker.h"

#include "base/assert.h"
#include "broker/core.h"
#include "broker/paging.h"
#include "broker/recorder.h"
#include "broker/restore.h"
#include "broker/round.h"
#include "broker/sys_topics.h"

#include <algorithm>
#include <new>

namespace mqttd {

Core::Core(Arena& arena,
           Transport& transport,
           Host& host,
           Dirty& dirty,
           const Log& log,
           const BrokerOptions& options,
           Instant now,
           Journal* journal)
    : arena_(arena),
      transport_(transport),
      host_(host),
      dirty_(dirty),
      log_(log),
      options_(options),
      key_{options.hash_key[0], options.hash_key[1]},
      messages_(arena, stats_),
      subscriptions_(arena, key_),
      retained_(arena, key_),
      timers_(arena.make<TimerWheel>(Arena::Use::kReserve, now)),
      sessions_(arena),
      now_(now),
      started_(now) {
    MQTTD_ASSERT(options.max_inflight_messages >= 1 &&
                 options.max_inflight_messages <= InflightWindow::kIds);
    matched_ = static_cast<FilterNode**>(
        arena.allocate(limits::kMatchedFilters * sizeof(FilterNode*), Arena::Use::kReserve));
    scratch_ = Segment::make(arena, limits::kScratchBytes, Arena::Use::kReserve);
    MQTTD_ASSERT(timers_ != nullptr && matched_ != nullptr && scratch_ != nullptr);
    scratch_->shared = true;
    units_ = options.turn_units;
    visit_units_ = options.visit_units;
    if (journal != nullptr) {
        recorder_ = arena_.make<Recorder>(Arena::Use::kReserve, *journal);
        round_ = arena_.make<Round>(Arena::Use::kReserve);
        paging_ = arena_.make<Paging>(Arena::Use::kReserve, *this, *journal);
        MQTTD_ASSERT(recorder_ != nullptr && round_ != nullptr && paging_ != nullptr);
        messages_.record(*recorder_);
    }
    if (options.sys_interval_s != 0) {
        sys_ = arena.make<SysTopics>(Arena::Use::kReserve, *this);
        MQTTD_ASSERT(sys_ != nullptr);
    }
}

// The server ends with its process; tests, which look at the books, take everything apart.
Core::~Core() {
    MQTTD_ASSERT(links_.empty() && memory_waiters_.empty() && paused_.empty());
    MQTTD_ASSERT(journal_waiters_.empty() && parked_.empty() && held_.empty());
    stop_recording();
    units_ = int64_t{1} << 62;
    while (sessions_.size() > 0) {  // removing moves elements about: not all are met at once
        for (uint64_t bucket = 0;
             sessions_.visit_bucket(bucket, [&](Session& session) { end_session(session); });) {
        }
    }
    while (!fanouts_.empty())  // the wills of the last ones, too
        run_fanout_job(*fanouts_.front());
    while (!teardown_.empty())
        tear_down(*teardown_.pop_front());
    while (Session* session = unburied_.pop_front()) {
        session->queue_alarm = false;
        bury(*session);
    }
    retained_.stop(sweep_);
    RetainedCursor all;
    retained_.start_all(all);
    while (!all.done) {
        uint32_t steps = 1'000;
        RetainedNode* node = retained_.next(all, steps);
        if (node != nullptr) forget_retained(*node);
    }
    retained_.stop(all);
    if (sys_ != nullptr) arena_.destroy(sys_);
    if (recorder_ != nullptr) {
        arena_.destroy(paging_);
        arena_.destroy(round_);
        arena_.destroy(recorder_);
    }
    scratch_->drop(arena_);
    arena_.release(matched_);
    arena_.destroy(timers_);
}

void Core::begin_turn(Instant now, int64_t wall_s, uint32_t ready_links) {
    MQTTD_ASSERT(now >= now_);
    now_ = now;
    wall_s_ = wall_s;
    units_ = options_.turn_units;
    share_units(ready_links);
    if (recorder_ != nullptr) recorder_->set_time(now_s(), wall_s);
    if (scratch_->refs == 1) scratch_->used = 0;
}

// What is left of the turn's units, in visits of so many links.
void Core::share_units(uint32_t links) {
    const auto share = static_cast<uint32_t>(std::max<int64_t>(units_, 0) / std::max(links, 1u));
    const uint32_t least = std::min(limits::kVisitUnitsMin, options_.visit_units);
    visit_units_ = std::clamp(share, least, options_.visit_units);
}

// Room in the segment that holds this turn's own encodings; nullptr if the arena refused.
Segment* Core::scratch(uint32_t bytes) {
    if (scratch_->room() >= bytes) return scratch_;
    if (scratch_->refs == 1) {
        scratch_->used = 0;
        if (scratch_->room() >= bytes) return scratch_;
    }
    Segment* fresh = Segment::make(arena_, std::max(bytes, limits::kScratchBytes));
    if (fresh == nullptr) return nullptr;
    fresh->shared = true;
    scratch_->drop(arena_);
    scratch_ = fresh;
    return scratch_;
}

void Core::publish_sys() {
    if (sys_ != nullptr) sys_->publish_all();
}

void Core::reconfigure(const BrokerOptions& options) {
    MQTTD_ASSERT(options.max_inflight_messages >= 1 &&
                 options.max_inflight_messages <= InflightWindow::kIds);
    const bool listeners_stay = options.listeners.size() == options_.listeners.size();
    MQTTD_ASSERT(listeners_stay);
    // Who is away already has a deadline by the old value.
    rearming_ = rearming_ ||
                options.persistent_client_expiration_s != options_.persistent_client_expiration_s;
    rearm_bucket_ = 0;
    options_ = options;
    options_.hash_key[0] = options_.hash_key[1] = 0;  // key_ has been taken from them
    reconfigure_sys();
}

// First every will goes out, of present sessions and of absent ones whose will still waits, to
// those who are still there; then the links are closed.  In slices; true when all have been told.
// What clients publish is not taken from now on: it is not acknowledged, and comes again.
bool Core::shut_down() {
    constexpr uint32_t kPerCall = 1'024;
    shutting_down_ = true;
    stats_.paused_publishers -= paused_.size();
    for (LinkList* list : {&paused_, &memory_waiters_, &journal_waiters_, &parked_}) {
        while (Link* link = list->pop_front()) {
            link->waiting = false;
            links_.push_back(*link);
        }
    }
    if (!send_all_wills()) return false;
    if (!fanouts_.empty()) return false;  // they still need their receivers
    for (uint32_t n = std::min(links_.size(), kPerCall); n > 0; --n) {
        Link& link = *links_.pop_front();
        links_.push_back(link);
        end_link(link, Error::kShuttingDown, true);
    }
    return closing_links_ == stats_.links;
}

// Goes through the table of sessions; a call costs a turn's units, whatever is left of them.  No
// session is made meanwhile, so every one is met.  True when all wills are out.
bool Core::send_all_wills() {
    const int64_t stop = units_ - int64_t{options_.turn_units};
    while (!wills_sent_ && units_ > stop) {
        spend(1);
        const auto visit = [&](Session& session) { publish_will(session); };
        wills_sent_ = !sessions_.visit_bucket(wills_bucket_, visit);
    }
    return wills_sent_;
}

void Core::dump(const Log& log) const {
    const auto number = [](uint64_t value) { return static_cast<unsigned long long>(value); };
    log.write(LogKind::kNotice,
              "Links %llu, clients %llu, sessions %llu (%llu persistent).",
              number(stats_.links),
              number(stats_.clients_connected),
              number(stats_.sessions),
              number(stats_.sessions_persistent));
    log.write(LogKind::kNotice,
              "Subscriptions %llu to %llu filters (%llu with wildcards), retained %llu.",
              number(subscriptions_.subscriptions()),
              number(subscriptions_.filters()),
              number(subscriptions_.wildcard_filters()),
              number(retained_.messages()));
    log.write(LogKind::kNotice,
              "Memory %llu of %llu pages of 64 KiB, %llu requests refused.",
              number(arena_.pages_used()),
              number(arena_.pages_total()),
              number(arena_.refused()));
    for (uint32_t i = 0; i < Arena::kClassCount; ++i) {
        const Arena::ClassStats pool = arena_.class_stats(i);
        if (pool.high == 0) continue;
        log.write(LogKind::kNotice,
                  "Pool of %u bytes: %llu in use, %llu free, %llu at most.",
                  pool.size,
                  number(pool.in_use),
                  number(pool.free),
                  number(pool.high));
    }
}

// --- Broker ------------------------------------------------------------------------------------

Broker::Broker(Arena& arena,
               Transport& transport,
               Host& host,
               Dirty& dirty,
               const Log& log,
               const BrokerOptions& options,
               Instant now,
               Journal* journal)
    : arena_(arena),
      core_(arena.make<Core>(
          Arena::Use::kReserve, arena, transport, host, dirty, log, options, now, journal)) {
    MQTTD_ASSERT(core_ != nullptr);
}

Broker::~Broker() {
    restore_.reset();
    arena_.destroy(core_);
}

void Broker::begin_turn(Instant now, int64_t wall_s, uint32_t ready_links) {
    core_->begin_turn(now, wall_s, ready_links);
}

void Broker::tick() {
    core_->tick();
}

bool Broker::idle() const {
    return core_->idle();
}

Instant Broker::next_deadline() const {
    return core_->next_deadline();
}

void Broker::publish_sys() {
    core_->publish_sys();
}

bool Broker::raise_alarm(std::string_view id, std::string_view json) {
    return core_->raise_alarm(id, json);
}

bool Broker::clear_alarm(std::string_view id) {
    return core_->clear_alarm(id);
}

bool Broker::shut_down() {
    return core_->shut_down();
}

void Broker::reconfigure(const BrokerOptions& options) {
    core_->reconfigure(options);
}

void Broker::dump(const Log& log) const {
    core_->dump(log);
}

const Stats& Broker::stats() const {
    return core_->stats();
}

void* Broker::opened(Outbox& outbox, const Arrival& arrival) {
    return core_->opened(outbox, arrival);
}

Consumed Broker::receive(void* link, Range input) {
    return core_->receive(*static_cast<Link*>(link), input);
}

void Broker::progress(void* link) {
    core_->heard(*static_cast<Link*>(link));
}

void Broker::writable(void* link) {
    core_->writable(*static_cast<Link*>(link));
}

void Broker::closed(void* link, Error why) {
    core_->closed(*static_cast<Link*>(link), why);
}

bool Broker::budget_left() const {
    return core_->budget_left();
}

void Broker::share_rest(uint32_t links) {
    core_->share_units(links);
}

}  // namespace mqttd
