#pragma once

// ScribeJournal: the core's journal, as a ring that a scribe empties.
//
// Closed until a start has read what there is: nothing can be appended then. What gathered in a
// turn is handed over at its end, or, when answers do not wait for it, every so often.

#include "mqttd/journal.h"
#include "mqttd/time.h"

#include "store/log_writer.h"
#include "store/scribe_process.h"

#include <optional>

namespace mqttd {

// When what gathered is synced.
struct SyncRule {
    enum class Mode : uint8_t { kAlways, kInterval, kNone };

    Mode mode = Mode::kAlways;
    Duration interval = kSecond;  // kInterval: at least so often
};

class ScribeJournal final : public Journal {
  public:
    explicit ScribeJournal(const ScribeJob& job) : job_(job) {}

    // The journal was read; the next life begins at `begin`, the last one ended at `ended`, and
    // `oldest` is where the oldest file begins.
    void open(const JournalShape& shape, Position begin, Position ended, Position oldest);

    bool is_open() const { return writer_.has_value(); }

    void set_rule(const SyncRule& rule);

    // At the end of each turn: hands over what is due.
    void end_turn(Instant now);

    // Everything that gathered so far is to be synced, whatever the rule.
    void sync_all();

    // When end_turn has something to do; kNever: when more is appended.
    Instant next_deadline() const;

    bool all_durable() const { return !writer_ || writer_->durable() == writer_->tail(); }

    // Error of the scribe's last try.
    Error error() const { return static_cast<Error>(job_.ring.head->error.load()); }

    uint64_t syncs() const { return job_.ring.head->syncs.load(std::memory_order_relaxed); }

    // Below what 99 of 100 syncs stayed since the last time it was asked, in microseconds; 0: there
    // was none.
    uint64_t take_sync_us_p99();

    uint64_t written_bytes() const {
        return job_.ring.head->written_bytes.load(std::memory_order_relaxed);
    }

    // Journal
    uint64_t room() const override { return writer_ ? writer_->room() : 0; }

    uint64_t capacity() const override { return job_.ring.bytes; }

    uint64_t append(uint8_t type, std::span<const Bytes> parts, bool joined) override;

    uint64_t tail() const override { return writer_ ? writer_->tail() : 0; }

    uint64_t durable() const override { return writer_ ? writer_->durable() : 0; }

    uint64_t read_most() const override { return job_.read_bytes; }

    void ask(uint32_t read, uint64_t position, uint64_t size) override;
    Read look(uint32_t read, Bytes& body) override;

    void forget_before(uint64_t position) override;

    uint64_t oldest() const override { return oldest_; }

    bool holds_answers() const override { return rule_.mode == SyncRule::Mode::kAlways; }

    bool failing() const override {
        return error() != Error::kNone || (bytes_max_ != 0 && tail() - oldest_ > bytes_max_);
    }

    // Longer than this it is as if the disk were full; 0 = no limit.
    void set_bytes_max(uint64_t bytes) { bytes_max_ = bytes; }

  private:
    void hand_over();

    ScribeJob job_;
    std::optional<LogWriter> writer_;
    SyncRule rule_;
    uint64_t bytes_max_ = 0;
    Position oldest_ = 0;
    uint32_t sync_times_[SyncTimes::kBuckets] = {};  // as of the last time
    Position handed_ = 0;                            // up to here the scribe knows
    bool hurry_ = false;        // somebody waits for what has not been handed over
    Instant gathers_ = kNever;  // since when something waits to be handed over
};

}  // namespace mqttd
