#include "tools/check_repair.h"

#include "mqttd/journal.h"

#include "base/little_endian.h"
#include "store/bulk_writer.h"

#include <memory>
#include <optional>
#include <vector>

namespace mqttd::check {

namespace {

struct Body {
    RecordType type = RecordType::kNone;
    std::vector<uint8_t> bytes;
};

// Where a form has its name; nothing for one without.
std::optional<size_t> name_place(RecordType type, Bytes body) {
    constexpr size_t kInboundName = 6;    // behind session and packet identifier
    constexpr size_t kInboundTopic = 24;  // size of the topic
    constexpr size_t kPageBase = 8;       // of the names of what is in it
    switch (static_cast<DurableType>(type)) {
        case DurableType::kMessage:
        case DurableType::kRetained:
            return body.size() >= 8 ? std::optional<size_t>(0) : std::nullopt;
        case DurableType::kInbound:
            // One without a topic is no message and has no name.
            if (body.size() < kInboundTopic + 2) return std::nullopt;
            if (load_le<uint16_t>(body.data() + kInboundTopic) == 0) return std::nullopt;
            return kInboundName;
        case DurableType::kPage:
            return body.size() >= DurablePage::kHeadBytes ? std::optional<size_t>(0) : std::nullopt;
        case DurableType::kPageTaken:
            return body.size() >= DurablePage::kHeadBytes ? std::optional<size_t>(kPageBase)
                                                          : std::nullopt;
        default:
            return std::nullopt;
    }
}

// The copy as it is written, unit by unit.
class Copy {
  public:
    Copy(Disk& disk, const JournalShape& shape, Position begin, uint64_t largest_unit)
        : writer_(disk, shape, begin, largest_unit) {}

    void take(const LogRecord& record) {
        Body body{
            record.type, {record.body.begin(), record.body.end()}
        };
        const std::optional<size_t> name = name_place(record.type, record.body);
        if (name && load_le<uint64_t>(body.bytes.data() + *name) == 0) {
            store_le<uint64_t>(body.bytes.data() + *name, record.position);
        }
        take(std::move(body), record.joined);
    }

    void take(Body body, bool joined) {
        cost_ += Journal::cost(body.bytes.size());
        unit_.push_back(std::move(body));
        if (joined) return;
        if (!writer_.begin_unit(cost_)) return;
        for (size_t i = 0; i < unit_.size(); ++i) {
            const Bytes whole(unit_[i].bytes);
            writer_.append(unit_[i].type, {&whole, 1}, i + 1 < unit_.size());
        }
        bodies_ += unit_.size();
        unit_.clear();
        cost_ = 0;
    }

    // All of it is on the disk, or error() says why not.
    Error finish() { return writer_.finish(); }

    Error error() const { return writer_.error(); }

    uint64_t bodies() const { return bodies_; }

  private:
    BulkWriter writer_;
    std::vector<Body> unit_;
    uint64_t cost_ = 0;
    uint64_t bodies_ = 0;
};

Body body_of(DurableType type, DurableBody& encoded) {
    Body body{static_cast<RecordType>(type), {}};
    for (const Bytes part : encoded.parts())
        body.bytes.insert(body.bytes.end(), part.begin(), part.end());
    return body;
}

uint64_t end_lost(const State& state, Copy& copy) {
    uint64_t ended = 0;
    for (const auto& [number, session] : state.sessions()) {
        for (const auto& [delivery, name] : session.lost_queued) {
            DurableBody body;
            encode(body, DurableDropped{number, delivery});
            copy.take(body_of(DurableType::kDropped, body), false);
        }
        for (const auto& [packet_id, name] : session.lost_under_way) {
            uint8_t id[2];
            store_le<uint16_t>(id, packet_id);
            DurableBody body;
            encode(body, DurableProgress{number, DurableState::kDone, 1, id});
            copy.take(body_of(DurableType::kProgress, body), false);
        }
        ended += session.lost();
    }
    return ended;
}

}  // namespace

Error repair(Disk& from, Disk& to, Repair& repair) {
    const Position stop = repair.running ? end_now(from) : ~Position{0};
    Walk walk(from);
    const Error opened = walk.open();
    if (opened != Error::kNone) return opened;
    walk.stop_at(stop);
    JournalShape shape = walk.shape();
    shape.id = repair.id;
    const auto copy = std::make_unique<Copy>(to, shape, walk.next_begin(), repair.largest_unit);
    State state;
    LogRecord record;
    while (walk.next(record) && copy->error() == Error::kNone) {
        if (record.type < RecordType::kFirstOfBroker) continue;  // the copy has its own
        state.apply(static_cast<uint8_t>(record.type), record.position, record.body);
        copy->take(record);
    }
    repair.bodies = copy->bodies();
    repair.ended = end_lost(state, *copy);
    return copy->finish();
}

}  // namespace mqttd::check
