#pragma once

// SmallJournal: a journal on a disk in memory, written by hand through the writer and the scribe.

#include "base/little_endian.h"
#include "broker/durable_records.h"
#include "catch2/catch.hpp"
#include "store/log_reader.h"
#include "store/log_writer.h"
#include "store/scribe.h"
#include "support/fake_disk.h"
#include "tools/check_findings.h"
#include "tools/check_records.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mqttd::check {

template <class T>
std::vector<uint8_t> encoded(const T& value) {
    DurableBody body;
    encode(body, value);
    std::vector<uint8_t> out;
    for (const Bytes part : body.parts())
        out.insert(out.end(), part.begin(), part.end());
    return out;
}

inline std::vector<uint8_t> encoded(uint64_t message, const std::vector<DurableDelivery>& to) {
    std::vector<uint8_t> deliveries;
    for (const DurableDelivery& one : to) {
        const size_t at = deliveries.size();
        deliveries.resize(at + delivery_size(one));
        put_delivery(deliveries.data() + at, one);
    }
    DurableBody body;
    encode_deliveries(body, message, deliveries);
    std::vector<uint8_t> out;
    for (const Bytes part : body.parts())
        out.insert(out.end(), part.begin(), part.end());
    return out;
}

inline DurableMessage message_of(std::string_view topic, std::string_view payload) {
    DurableMessage message;
    message.topic = as_bytes(topic);
    message.payload = as_bytes(payload);
    message.qos = 1;
    return message;
}

inline DurableSession session_of(uint32_t number, std::string_view client_id, uint64_t away = 0) {
    DurableSession session;
    session.number = number;
    session.client_id = as_bytes(client_id);
    session.expiry_s = 1000;
    session.away_since = away;
    return session;
}

inline DurableDelivery delivery_of(uint32_t session, uint32_t number, bool sent = false) {
    DurableDelivery delivery;
    delivery.session = session;
    delivery.number = number;
    delivery.qos = 1;
    delivery.sent = sent;
    return delivery;
}

struct SmallJournal {
    FakeDisk disk;
    JournalShape shape{kFileBytesMin, 77};

    // A new life: reads what there is, as a start does.
    void begin() {
        end();
        LogReader reader(disk);
        REQUIRE(reader.open(shape) == Error::kNone);
        LogRecord record;
        while (reader.next(record)) {
        }
        head_ = std::make_unique<RingHead>();
        memory_.assign(size_t{1} << 20, 0);
        ring_ = {head_.get(), memory_.data(), memory_.size()};
        writer_.emplace(ring_, shape, reader.next_begin(), reader.report().end);
        scribe_.emplace(disk, ring_, shape);
    }

    void end() {
        scribe_.reset();
        writer_.reset();
    }

    Position append(DurableType type, const std::vector<uint8_t>& body, bool joined = false) {
        return writer_->append(static_cast<RecordType>(type), Bytes(body), joined);
    }

    template <class T>
    Position append(DurableType type, const T& value, bool joined = false) {
        return append(type, encoded(value), joined);
    }

    void sync() {
        writer_->hand_over();
        REQUIRE(scribe_->step() == Error::kNone);
    }

    Position tail() const { return writer_->tail(); }

    // Three sessions, a queue, retained messages and what is under way, in two lives.
    void fill() {
        begin();
        append(DurableType::kClock, DurableClock{1000, 5});
        append(DurableType::kSession, session_of(1, "one"));
        append(DurableType::kSession, session_of(2, "two \xff", 900));
        append(DurableType::kSubscribed, DurableSubscription{1, 7, 1, as_bytes("a/+")});
        append(DurableType::kSubscribed, DurableSubscription{2, 0, 2, as_bytes("a/b")});
        sync();
        const Position first = append(DurableType::kMessage, message_of("a/b", "first"));
        append(DurableType::kDeliveries, encoded(first, {delivery_of(1, 1), delivery_of(2, 1)}));
        sync();
        append(DurableType::kSent, DurableSent{1, 1, 10});
        const Position kept = append(DurableType::kRetained, message_of("r/1", "kept"));
        append(DurableType::kDeliveries, encoded(kept, {delivery_of(2, 2)}));
        sync();
        append(DurableType::kRetained, message_of("r/2", "gone soon"));
        append(DurableType::kCleared, std::vector<uint8_t>{'r', '/', '2'});
        sync();
        append(DurableType::kInbound,
               DurableInbound{1, 5, message_of("a/x", std::string(300, 'x'))},
               true);
        append(DurableType::kClock, DurableClock{1001, 6});
        sync();
        begin();
        append(DurableType::kSession, session_of(3, "three"));
        append(DurableType::kSubscribed, DurableSubscription{3, 0, 0, as_bytes("#")});
        sync();
        append(DurableType::kEnded, std::vector<uint8_t>{3, 0, 0, 0});
        const std::string large(3000, 'l');  // over the end of the file
        const Position big = append(DurableType::kMessage, message_of("a/b", large));
        append(DurableType::kDeliveries, encoded(big, {delivery_of(1, 2)}));
        sync();
        append(DurableType::kAway, DurableAway{1, 1000, 1010});
        const std::string last(1500, 'm');
        append(DurableType::kRetained, message_of("r/3", last));
        sync();
        append(DurableType::kClock, DurableClock{1020, 7});
        sync();
        end();
    }

  private:
    std::unique_ptr<RingHead> head_;
    std::vector<uint8_t> memory_;
    Ring ring_;
    std::optional<LogWriter> writer_;
    std::optional<Scribe> scribe_;
};

// All that an examination says.
struct Told {
    Error error = Error::kNone;
    Findings findings;
    State state;
    std::vector<std::string> records;  // as lines of JSON
    std::string lines;                 // of the state, but for what is lost
    Position safe = 0;                 // what was read says that all before this was durable
};

inline std::unique_ptr<Told> examined(Disk& disk) {
    auto told = std::make_unique<Told>();
    Examination how;
    how.payload_most = 4096;
    how.record = [&](const LogRecord& record) {
        told->records.push_back(record_line(record, 4096));
        const bool batch = record.type == RecordType::kBatch && record.body.size() == 8;
        if (batch) told->safe = std::max(told->safe, load_le<uint64_t>(record.body.data()));
    };
    told->error = examine(disk, how, told->findings, told->state);
    each_state_line(told->state, [&](const std::string& line) {
        for (size_t at = 0; at < line.size();) {
            const size_t end = line.find('\n', at) + 1;
            const std::string one = line.substr(at, end - at);
            if (!one.starts_with("{\"kind\":\"lost\"")) told->lines += one;
            at = end;
        }
    });
    return told;
}

}  // namespace mqttd::check
