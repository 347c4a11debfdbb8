#include "support/journal_world.h"

#include "base/little_endian.h"

#include <algorithm>

namespace mqttd {

namespace {

constexpr uint64_t kRingBytes = 256 * 1024;

// What a record read back says about itself.
uint64_t number_in(Bytes body) {
    return body.size() >= 8 ? load_le<uint64_t>(body.data()) : 0;
}

}  // namespace

JournalWorld::JournalWorld(uint64_t seed, bool faults)
    : disk(seed ^ 0x9e3779b97f4a7c15u), dice_(seed), faults_(faults), memory_(kRingBytes) {
    shape.file_bytes = kFileBytesMin << dice_.below(5);
    shape.id = seed;
    ring_ = {&head_, memory_.data(), memory_.size()};
}

std::vector<uint8_t> JournalWorld::random_body(uint64_t number, uint32_t place) {
    const uint32_t kind = dice_.below(20);
    const uint32_t size = kind == 0  ? dice_.below(100'000)
                          : kind < 4 ? dice_.below(shape.file_bytes)
                                     : dice_.below(200);
    std::vector<uint8_t> body(size + 12);
    store_le<uint64_t>(body.data(), number);
    store_le<uint32_t>(body.data() + 8, place);
    for (size_t i = 12; i < body.size(); ++i)
        body[i] = static_cast<uint8_t>(i * 7 + number);
    return body;
}

void JournalWorld::append_unit(LogWriter& writer) {
    const uint32_t count = dice_.below(4) == 0 ? 2 + dice_.below(3) : 1;
    Unit unit;
    unit.number = next_number_;
    uint64_t cost = 0;
    for (uint32_t i = 0; i < count; ++i) {
        unit.bodies.push_back(random_body(unit.number, i));
        // Each piece may cost a file's end and the next one's head more than the last cost said.
        cost += writer.cost(unit.bodies.back().size()) + shape.file_bytes / 2;
    }
    if (cost > writer.room()) return;
    for (uint32_t i = 0; i < count; ++i) {
        unit.positions.push_back(
            writer.append(RecordType::kFirstOfBroker, Bytes(unit.bodies[i]), i + 1 < count));
        bytes_appended += unit.bodies[i].size();
    }
    unit.end = writer.tail();
    ++next_number_;
    log_.push_back(std::move(unit));
}

std::string JournalWorld::read_all(bool exact, Position& begin, Position& end) {
    LogReader reader(disk);
    JournalShape found = shape;
    const Error opened = reader.open(found);
    if (opened != Error::kNone) return std::string("open: ") + error_text(opened);
    if (found.id != shape.id || found.file_bytes != shape.file_bytes) return "another shape";
    LogRecord record;
    size_t next = log_.size();  // place in the model of the next unit; none yet
    size_t first = log_.size();
    size_t in_unit = 0;
    uint64_t last = 0;
    while (reader.next(record)) {
        if (record.type == RecordType::kStart || record.type == RecordType::kBatch) continue;
        const uint64_t number = number_in(record.body);
        if (in_unit == 0 && number <= last) return "out of order";
        if (in_unit == 0) {
            const auto at = std::find_if(
                log_.begin(), log_.end(), [&](const Unit& unit) { return unit.number == number; });
            if (at == log_.end()) return "a unit nobody appended: " + std::to_string(number);
            const auto place = static_cast<size_t>(at - log_.begin());
            if (first == log_.size()) first = place;
            if (exact && next != log_.size() && place != next) {
                return "units are missing: " + std::to_string(log_[next].number) + " to " +
                       std::to_string(number - 1);
            }
            next = place;
        }
        last = number;
        const Unit& unit = log_[next];
        if (number != unit.number || in_unit >= unit.bodies.size()) return "a wrong body";
        if (!std::equal(record.body.begin(),
                        record.body.end(),
                        unit.bodies[in_unit].begin(),
                        unit.bodies[in_unit].end())) {
            return "a body has changed";
        }
        if (record.position != unit.positions[in_unit]) return "another position";
        if (record.joined != (in_unit + 1 < unit.bodies.size())) return "half a unit";
        ++in_unit;
        if (record.joined) continue;
        in_unit = 0;
        ++next;
        ++units_read;
        if (next == log_.size()) first = std::min(first, next - 1);
    }
    if (in_unit != 0) return "the last unit is cut";
    report = reader.report();
    const size_t count = last == 0 ? 0 : next;
    if (exact && safe_ > needed_) {
        if (count < safe_) return "what was safe is missing at the end";
        if (first > needed_) return "what is needed is missing at the begin";
    }
    if (exact && report.damaged != 0) return "damage where there is none";
    begin = reader.next_begin();
    end = report.end;
    if (exact) {
        const Error error = reader.secure();
        if (error != Error::kNone) return std::string("secure: ") + error_text(error);
        if (last != 0) {
            log_.resize(count);
        } else {
            log_.resize(std::min(log_.size(), needed_));
        }
        safe_ = log_.size();
        needed_ = std::min(needed_, safe_);
    }
    return {};
}

std::string JournalWorld::live(uint32_t steps, bool power_cut) {
    disk.faults = {};
    Position begin = 0;
    Position ended = 0;
    const std::string wrong = read_all(true, begin, ended);
    if (!wrong.empty()) return wrong;
    ring_.head->error.store(0);
    ring_.head->oldest.store(needed_ < log_.size() ? log_[needed_].positions[0] : ended);
    LogWriter writer(ring_, shape, begin, std::min(ended, begin));
    auto scribe = std::make_unique<Scribe>(disk, ring_, shape);
    if (faults_ && dice_.below(2) == 0) {
        disk.faults.write = 10 + dice_.below(40);
        disk.faults.sync = 10 + dice_.below(40);
        disk.faults.names = dice_.below(3) == 0 ? 20 : 0;
    }
    disk.room = faults_ && dice_.below(4) == 0 ? uint64_t{shape.file_bytes} * (2 + dice_.below(20))
                                               : ~uint64_t{0};
    for (uint32_t step = 0; step < steps; ++step) {
        switch (dice_.below(10)) {
            case 0:
            case 1:
            case 2:
            case 3:
                append_unit(writer);
                break;
            case 4:
            case 5:
                writer.hand_over();
                break;
            case 6:
            case 7:
                if (scribe->step() == Error::kNone && writer.durable() > writer.tail()) {
                    return "more is durable than was appended";
                }
                break;
            case 8: {
                // Something becomes of no use, but only what is safe.
                const size_t most = dice_.below(8) == 0 ? log_.size() : needed_ + 3;
                const Position durable = writer.durable();
                while (needed_ < std::min(most, log_.size()) && log_[needed_].end <= durable)
                    ++needed_;
                if (needed_ < log_.size()) {
                    ring_.head->oldest.store(std::min(log_[needed_].positions[0], durable));
                }
                (void)scribe->tidy();
                break;
            }
            default:
                if (dice_.below(10) == 0) scribe = std::make_unique<Scribe>(disk, ring_, shape);
        }
        const Position durable = writer.durable();
        while (safe_ < log_.size() && log_[safe_].end <= durable)
            ++safe_;
    }
    scribe.reset();
    disk.faults = {};
    disk.room = ~uint64_t{0};
    if (power_cut) disk.power_cut();
    return {};
}

}  // namespace mqttd
