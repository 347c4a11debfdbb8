// The scheduler: when a tick comes, what it reads, how much a turn publishes.  The texts are in
// sys_texts.cc.

#include "broker/sys_topics.h"

#include "base/assert.h"
#include "broker/core.h"
#include "broker/sys_slow.h"

#include <cmath>
#include <cstring>

namespace mqttd {

namespace {

constexpr uint32_t kLoadValues = SysLoads::kLoads * SysLoads::kSpans;
constexpr uint32_t kTakenAwayPerTurn = 64;

constexpr uint32_t kMemoryAlarmPercent = 80;
constexpr uint32_t kFilesAlarmPercent = 90;
constexpr uint32_t kAlarmOverPercent = 5;  // so much below it an alarm is over

}  // namespace

SysTopics::SysTopics(Core& core)
    : core_(core),
      next_tick_(core.now_),
      last_tick_(core.now_),
      alarms_(core.arena_, core.retained_, core.key_) {}

SysTopics::~SysTopics() {
    core_.retained_.stop(away_);
    if (listeners_ != nullptr) core_.arena_.release(listeners_);
}

void SysTopics::publish_all() {
    next_tick_ = core_.now_;
    do {
        core_.units_ = core_.options_.turn_units;
        run();
    } while (busy());
    core_.units_ = core_.options_.turn_units;
}

void SysTopics::run() {
    if (ending_) {
        take_away();
        return;
    }
    if (alarms_.waiting()) alarms_.run(*this, core_.log_);
    if (!busy_) {
        if (core_.now_ < next_tick_) return;
        begin_tick();
    }
    const uint32_t rows = kTextRows + static_cast<uint32_t>(sys_rows().size()) + kLoadValues +
                          kPoolValues + listener_room_ * kSysListenerRows;
    for (uint32_t published = 0; row_ < rows; ++row_) {
        if (published >= (core_.units_ > 0 ? kPerTurn : kPerTurnMin)) return;
        if (!publish_row(row_)) continue;
        core_.spend(kPublishUnits);
        ++published;
    }
    busy_ = false;
}

void SysTopics::begin_tick() {
    core_.host_.sample(host_);
    drift_ms_ = begun_ ? core_.now_ - next_tick_ : 0;
    make_room_for_listeners();
    const SysView view = look();
    const std::span<const SysRow> rows = sys_rows();
    for (size_t row = 0; row < rows.size(); ++row)
        now_[row] = rows[row].value(view);
    uint64_t counters[SysLoads::kLoads];
    for (uint32_t load = 0; load < SysLoads::kLoads; ++load)
        counters[load] = sys_load_rows()[load].value(view);
    if (begun_) {
        loads_.step(counters, static_cast<double>(core_.now_ - last_tick_) / 1000.0);
    } else {
        loads_.begin(counters);
    }
    judge_alarms();
    alarms_.try_again();
    last_tick_ = core_.now_;
    plan_next(true);
    row_ = 0;
    busy_ = begun_ = true;
}

// The next multiple of the interval by the wall clock.  A clock that is slewed may be a moment
// behind the one we sleep by: the multiple that seems to come right after a tick was meant by it.
void SysTopics::plan_next(bool after_tick) {
    const int64_t interval = core_.options_.sys_interval_s;
    const int64_t into = (core_.wall_s_ % interval + interval) % interval;
    int64_t rest = interval - into;
    if (after_tick && begun_ && rest * 4 < interval) rest += interval;
    next_tick_ = core_.now_ + static_cast<Duration>(rest) * kSecond;
}

void SysTopics::interval_changed() {
    if (core_.options_.sys_interval_s == 0) {
        if (ending_) return;
        ending_ = true;
        busy_ = false;
        next_tick_ = kNever;
        alarms_.forget();
        return;
    }
    if (ending_) {
        core_.retained_.stop(away_);
        ending_ = over_ = false;
        forget_published();
        next_tick_ = core_.now_;
    } else if (begun_) {
        plan_next(false);
    }
}

void SysTopics::forget_published() {
    for (Published& value : values_)
        value.known = false;
    for (Published& value : pools_)
        value.known = false;
    for (uint32_t i = 0; i < listener_room_ * kSysListenerRows; ++i)
        listeners_[i].known = false;
    std::memset(loads_known_, 0, sizeof loads_known_);
}

// What is retained below `$SYS` is ours alone.
void SysTopics::take_away() {
    RetainedStore& retained = core_.retained_;
    if (over_ || (next_tick_ != kNever && core_.now_ < next_tick_)) return;
    if (away_.filter == nullptr &&
        !retained.start(away_, as_bytes("$SYS/#"), core_.next_retained_sequence_)) {
        next_tick_ = core_.now_ + kSecond;  // no memory for the cursor: tried again then
        return;
    }
    next_tick_ = kNever;
    uint32_t steps = kTakenAwayPerTurn;
    while (RetainedNode* node = retained.next(away_, steps)) {
        auto& message = static_cast<Message&>(*node->message);
        message.hold();
        retained.clear(*node);
        core_.messages_.drop(message);
        message.Segment::drop(core_.arena_);
        core_.spend(1);
    }
    if (!away_.done) return;
    retained.stop(away_);
    own_messages_ = own_bytes_ = 0;
    over_ = true;
}

// Memory and descriptors; what else may go wrong raises its alarm where it happens.
void SysTopics::judge_alarms() {
    const Arena& arena = core_.arena_;
    judge_alarm("memory_high",
                "memory",
                arena.pages_used() * Arena::kPageBytes,
                arena.pages_total() * Arena::kPageBytes,
                kMemoryAlarmPercent);
    judge_alarm("fd_high", "descriptors", host_.files_used, host_.files_limit, kFilesAlarmPercent);
}

void SysTopics::judge_alarm(
    std::string_view id, std::string_view what, uint64_t used, uint64_t most, uint32_t percent) {
    if (used * 100 > most * percent) {
        SysTextOf<256> summary;
        summary.number(used).add(" of ").number(most).add(" in use, more than ");
        summary.number(percent).add(" %");
        SysTextOf<80> title;
        title.add("nearly out of ").add(what);
        SysTextOf<640> json;
        SysAlarms::write(json, id, title.text(), summary.text(), core_.wall_s_);
        alarms_.raise_alarm(id, json.text());
    } else if (used * 100 <= most * (percent - kAlarmOverPercent)) {
        alarms_.clear_alarm(id);
    }
}

SysView SysTopics::look() const {
    const Stats& stats = core_.stats_;
    const SysSlow slow(core_.slow_, core_.options_, core_.now_ms());
    SysView view{.stats = stats, .host = host_, .arena = core_.arena_};
    view.subscriptions = core_.subscriptions_.subscriptions();
    view.shared = core_.subscriptions_.shared_subscriptions();
    view.filters = core_.subscriptions_.filters();
    view.retained = core_.retained_.messages() - own_messages_;
    view.retained_bytes = core_.retained_bytes_ - own_bytes_;
    view.stored = stats.messages_stored - own_messages_;
    view.stored_bytes = stats.messages_stored_bytes - own_bytes_;
    view.unsent_links = core_.dirty_.size() + core_.slow_.size();
    view.unsent_bytes = slow.unsent_bytes();
    view.blocked = core_.slow_.size();
    view.slow = slow.count();
    view.drift_ms = drift_ms_;
    return view;
}

// Refused: then the listeners are not shown, until the next tick tries again.
void SysTopics::make_room_for_listeners() {
    const auto wanted = static_cast<uint32_t>(host_.listeners.size());
    if (wanted == listener_room_) return;
    if (listeners_ != nullptr) core_.arena_.release(listeners_);
    listener_room_ = 0;
    listeners_ = nullptr;
    if (wanted == 0) return;
    void* memory = core_.arena_.allocate(wanted * kSysListenerRows * sizeof(Published));
    if (memory == nullptr) return;
    listeners_ = static_cast<Published*>(memory);
    for (uint32_t i = 0; i < wanted * kSysListenerRows; ++i)
        new (&listeners_[i]) Published;
    listener_room_ = wanted;
}

// --- One value ---------------------------------------------------------------------------------

bool SysTopics::publish_row(uint32_t row) {
    if (row < kTextRows) return publish_text(kTexts[row]);
    row -= kTextRows;
    const auto values = static_cast<uint32_t>(sys_rows().size());
    if (row < values) return publish_value(row);
    row -= values;
    if (row < kLoadValues) return publish_load(row / SysLoads::kSpans, row % SysLoads::kSpans);
    row -= kLoadValues;
    if (row < kPoolValues) return publish_pool(row / kSysPoolRows, row % kSysPoolRows);
    row -= kPoolValues;
    return publish_listener(row / kSysListenerRows, row % kSysListenerRows);
}

// Compared with what is retained: a text has no other memory.
bool SysTopics::publish_text(const TextRow& row) {
    SysTextOf<kTopicMax> topic;
    topic.add("$SYS/broker/").add(row.name);
    SysTextOf<kTextMax> text;
    (this->*row.write)(text);
    const RetainedNode* node = core_.retained_.find(as_bytes(topic.text()));
    if (node != nullptr && node->message) {
        auto& message = static_cast<Message&>(*node->message);
        if (as_text(bytes_of(message.payload())) == text.text()) return false;
    }
    publish(topic.text(), text.text());
    return true;
}

bool SysTopics::publish_number(std::string_view topic, uint64_t value, Published& last) {
    SysTextOf<24> text;
    text.number(value);
    last.value = value;
    last.known = publish(topic, text.text());
    return true;
}

bool SysTopics::publish_value(uint32_t row) {
    Published& last = values_[row];
    if (last.known && last.value == now_[row]) return false;
    SysTextOf<kTopicMax> topic;
    topic.add("$SYS/broker/").add(sys_rows()[row].name);
    return publish_number(topic.text(), now_[row], last);
}

bool SysTopics::publish_load(uint32_t load, uint32_t span) {
    const double value = loads_.average(load, span);
    double& last = loads_sent_[load][span];
    bool& known = loads_known_[load][span];
    if (known && std::fabs(value - last) < SysLoads::kStep) return false;
    SysTextOf<kTopicMax> topic;
    topic.add("$SYS/broker/").add(sys_load_rows()[load].name).add("/").add(kSysSpanNames[span]);
    SysTextOf<40> text;
    text.decimal(value);
    last = value;
    known = publish(topic.text(), text.text());
    return true;
}

bool SysTopics::publish_pool(uint32_t pool, uint32_t row) {
    const Arena::ClassStats stats = core_.arena_.class_stats(pool);
    const SysPoolRow& what = sys_pool_rows()[row];
    const uint64_t value = stats.*what.value;
    Published& last = pools_[pool * kSysPoolRows + row];
    if (last.known && last.value == value) return false;
    SysTextOf<kTopicMax> topic;
    topic.add("$SYS/broker/pool/").number(stats.size).add("/").add(what.name);
    return publish_number(topic.text(), value, last);
}

bool SysTopics::publish_listener(uint32_t listener, uint32_t row) {
    const ListenerHostStats& stats = host_.listeners[listener];
    const SysListenerRow& what = sys_listener_rows()[row];
    const uint64_t value = stats.*what.value;
    Published& last = listeners_[listener * kSysListenerRows + row];
    if (last.known && last.value == value) return false;
    SysTextOf<kTopicMax> topic;
    topic.add("$SYS/broker/listener/").level(stats.name).add("/").add(what.name);
    return publish_number(topic.text(), value, last);
}

bool SysTopics::publish(std::string_view topic, std::string_view payload) {
    const auto size = static_cast<uint32_t>(payload.size());
    Segment* segment = core_.scratch(size);
    if (segment == nullptr) return false;
    if (size > 0) std::memcpy(segment->end(), payload.data(), size);
    Publication publication;
    publication.topic = as_bytes(topic);
    publication.payload = {segment, segment->used, segment->used + size};
    publication.qos = core_.options_.sys_qos;
    publication.retain = true;
    publication.system = true;
    segment->used += size;
    const uint64_t messages = core_.retained_.messages();
    const uint64_t bytes = core_.retained_bytes_;
    const uint64_t sequence = core_.next_retained_sequence_;
    segment->hold();  // matching and fan-out may take a fresh scratch segment
    core_.publish(publication, nullptr);
    segment->drop(core_.arena_);
    own_messages_ += core_.retained_.messages() - messages;
    own_bytes_ += core_.retained_bytes_ - bytes;
    ++core_.stats_.sys_published;
    const RetainedNode* node = core_.retained_.find(publication.topic);
    const bool kept = node != nullptr && node->message;
    return size == 0 ? !kept : kept && node->sequence >= sequence;
}

// --- What the core offers ----------------------------------------------------------------------

void Core::run_sys() {
    if (sys_ == nullptr) return;
    sys_->run();
    if (!sys_->over()) return;
    arena_.destroy(sys_);
    sys_ = nullptr;
}

void Core::reconfigure_sys() {
    if (sys_ != nullptr) {
        sys_->interval_changed();
    } else if (options_.sys_interval_s != 0) {
        sys_ = arena_.make<SysTopics>(Arena::Use::kReserve, *this);
        if (sys_ == nullptr) {
            log_.write(LogKind::kError, "Error: there is no memory for the topics below $SYS.");
        }
    }
}

bool Core::raise_alarm(std::string_view id, std::string_view json) {
    SysAlarms* alarms = sys_ != nullptr ? sys_->alarms() : nullptr;
    return alarms != nullptr && alarms->raise_alarm(id, json);
}

bool Core::clear_alarm(std::string_view id) {
    SysAlarms* alarms = sys_ != nullptr ? sys_->alarms() : nullptr;
    return alarms == nullptr || alarms->clear_alarm(id);
}

}  // namespace mqttd
