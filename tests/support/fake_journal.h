#pragma once

// FakeJournal: a Journal in memory that says when it syncs, and what is left after a power cut.
//
//     FakeJournal journal;
//     { World world(journal); ... }      // a life
//     journal.cut();                     // what was not durable is gone
//     World again(journal);              // the next one begins with what is left

#include "mqttd/journal.h"

#include "base/assert.h"

#include <deque>
#include <vector>

namespace mqttd {

class FakeJournal final : public Journal {
  public:
    explicit FakeJournal(uint64_t capacity = uint64_t{8} << 20) : capacity_(capacity) {}

    struct Record {
        uint8_t type = 0;
        bool joined = false;
        uint64_t position = 0;
        uint64_t end = 0;
        std::vector<uint8_t> body;
    };

    // The wall clock of the life before this one, so that time goes on.
    int64_t wall_s = 0;

    // How often it syncs by itself: at the end of each turn, or never.
    void sync_each_turn(bool on) { each_turn_ = on; }

    // What is forgotten stays, as on a disk where nobody has come to remove it.
    void keep_forgotten() { keeps_ = true; }

    void hold_answers(bool on) { holds_ = on; }

    void end_turn() {
        MQTTD_ASSERT(records_.empty() || !records_.back().joined);
        if (each_turn_) sync();
    }

    void sync() {
        if (durable_ != tail_) ++syncs_;
        durable_ = tail_;
    }

    // Only up to here, which is in the middle of things.
    void sync_to(uint64_t position) { durable_ = position; }

    // The power fails: what is not durable is gone, and units of which something is.
    void cut() { cut_at(durable_); }

    void cut_at(uint64_t position) {
        while (!records_.empty() && records_.back().end > position)
            records_.pop_back();
        while (!records_.empty() && records_.back().joined)
            records_.pop_back();
        tail_ = durable_ = records_.empty() ? oldest_ : records_.back().end;
    }

    // What another one wrote, in its order and at its places; it is durable.
    void put(uint8_t type, bool joined, uint64_t position, Bytes body) {
        MQTTD_ASSERT(position >= tail_);
        const uint64_t end = position + (16 + body.size() + 7) / 8 * 8;
        records_.push_back({
            type, joined, position, end, {body.begin(), body.end()}
        });
        tail_ = durable_ = end;
    }

    template <class Visit>
    void visit(Visit visit) const {
        for (const Record& record : records_)
            visit(record.type, record.position, Bytes(record.body));
    }

    const std::deque<Record>& records() const { return records_; }

    uint64_t appended() const { return appended_; }

    uint64_t syncs() const { return syncs_; }

    uint64_t kept_bytes() const { return tail_ - oldest_; }

    // Journal
    uint64_t room() const override { return capacity_ - (tail_ - durable_); }

    uint64_t capacity() const override { return capacity_; }

    uint64_t append(uint8_t type, std::span<const Bytes> parts, bool joined) override {
        Record record;
        record.type = type;
        record.joined = joined;
        record.position = tail_;
        for (const Bytes part : parts)
            record.body.insert(record.body.end(), part.begin(), part.end());
        MQTTD_ASSERT(cost(record.body.size()) <= room());
        tail_ += (16 + record.body.size() + 7) / 8 * 8;
        record.end = tail_;
        records_.push_back(std::move(record));
        ++appended_;
        return records_.back().position;
    }

    uint64_t tail() const override { return tail_; }

    uint64_t durable() const override { return durable_; }

    void forget_before(uint64_t position) override {
        MQTTD_ASSERT(position <= durable_);
        while (!keeps_ && !records_.empty() && records_.front().end <= position)
            records_.pop_front();
        oldest_ = position;
    }

    uint64_t oldest() const override { return oldest_; }

    // What was asked for comes when this is called, or at once.
    void hold_reads(bool hold) { holds_reads_ = hold; }

    // The body at this position is damaged.
    void damage(uint64_t position) { damaged_ = position; }

    uint64_t reads() const { return reads_; }

    uint64_t read_most() const override { return capacity_ / 4; }

    void ask(uint32_t read, uint64_t position, uint64_t size) override {
        MQTTD_ASSERT(read < kReads && position >= oldest_ && position < tail_);
        asked_[read] = {position, size};
        ++reads_;
    }

    Read look(uint32_t read, Bytes& body) override {
        if (holds_reads_) return Read::kWaiting;
        const auto [position, size] = asked_[read];
        if (position == damaged_) return Read::kLost;
        for (const Record& record : records_) {
            if (record.position != position) continue;
            MQTTD_ASSERT(record.body.size() == size);
            body = Bytes(record.body);
            return Read::kHere;
        }
        MQTTD_ASSERT(false);
        return Read::kLost;
    }

    bool holds_answers() const override { return holds_; }

    bool failing() const override { return failing_; }

    void fail(bool failing) { failing_ = failing; }

  private:
    uint64_t capacity_;
    std::deque<Record> records_;
    uint64_t oldest_ = 64;  // 0 is no name
    uint64_t tail_ = 64;
    uint64_t durable_ = 64;
    uint64_t appended_ = 0;
    uint64_t syncs_ = 0;

    struct Asked {
        uint64_t position = 0;
        uint64_t size = 0;
    };

    Asked asked_[kReads];
    uint64_t reads_ = 0;
    uint64_t damaged_ = 0;
    bool holds_reads_ = false;
    bool keeps_ = false;
    bool failing_ = false;
    bool each_turn_ = true;
    bool holds_ = true;
};

}  // namespace mqttd
