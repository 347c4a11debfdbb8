#include "store/scribe_journal.h"

#include "base/assert.h"

namespace mqttd {

namespace {

constexpr Duration kIdleHandOver = 200;  // ms that records may wait when nobody waits for them

}  // namespace

void ScribeJournal::open(const JournalShape& shape,
                         Position begin,
                         Position ended,
                         Position oldest) {
    MQTTD_ASSERT(!writer_);
    writer_.emplace(job_.ring, shape, begin, ended);
    oldest_ = oldest;
    handed_ = begin;
    job_.desk->journal.store(shape.id, std::memory_order_relaxed);
    job_.desk->file_bytes.store(shape.file_bytes, std::memory_order_release);
    hand_over();
    tell_scribe(job_);
}

void ScribeJournal::set_rule(const SyncRule& rule) {
    rule_ = rule;
    job_.desk->unsynced.store(rule.mode == SyncRule::Mode::kNone, std::memory_order_relaxed);
}

void ScribeJournal::end_turn(Instant now) {
    if (!writer_ || writer_->tail() == handed_) return;
    if (gathers_ == kNever) gathers_ = now;
    const bool full = hurry_ || writer_->tail() - handed_ > capacity() / 4;
    if (rule_.mode == SyncRule::Mode::kAlways || full || now >= next_deadline()) hand_over();
}

Instant ScribeJournal::next_deadline() const {
    if (gathers_ == kNever) return kNever;
    return gathers_ + (rule_.mode == SyncRule::Mode::kInterval ? rule_.interval : kIdleHandOver);
}

void ScribeJournal::hand_over() {
    gathers_ = kNever;
    hurry_ = false;
    handed_ = writer_->tail();
    if (writer_->hand_over()) wake_scribe(job_);
}

void ScribeJournal::sync_all() {
    if (!writer_) return;
    hand_over();
    job_.desk->sync_to.store(handed_, std::memory_order_release);
    tell_scribe(job_);
}

uint64_t ScribeJournal::take_sync_us_p99() {
    SyncTimes times;
    for (uint32_t i = 0; i < SyncTimes::kBuckets; ++i) {
        const uint32_t count = job_.desk->sync_times[i].load(std::memory_order_relaxed);
        const uint32_t more = count - sync_times_[i];
        if (more > 0) times.add(SyncTimes::bucket_end(i), more);
        sync_times_[i] = count;
    }
    return times.percentile(990);
}

uint64_t ScribeJournal::append(uint8_t type, std::span<const Bytes> parts, bool joined) {
    return writer_->append(static_cast<RecordType>(type), parts, joined);
}

void ScribeJournal::ask(uint32_t read, uint64_t position, uint64_t size) {
    MQTTD_ASSERT(read < kReads && size <= job_.read_bytes);
    ColdRead& asked = job_.desk->reads[read];
    MQTTD_ASSERT(asked.state.load() != ColdRead::kAsked);
    asked.position = position;
    asked.size = size;
    asked.state.store(ColdRead::kAsked);
    if (position >= handed_) hurry_ = true;
    wake_scribe(job_);
}

Journal::Read ScribeJournal::look(uint32_t read, Bytes& body) {
    const ColdRead& asked = job_.desk->reads[read];
    switch (asked.state.load()) {
        case ColdRead::kHere:
            body = Bytes(job_.read_room + read * job_.read_bytes, asked.size);
            return Read::kHere;
        case ColdRead::kLost:
            return Read::kLost;
        default:
            return Read::kWaiting;
    }
}

void ScribeJournal::forget_before(uint64_t position) {
    oldest_ = position;
    job_.ring.head->oldest.store(position, std::memory_order_release);
    wake_scribe(job_);
}

}  // namespace mqttd
