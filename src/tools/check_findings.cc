#include "tools/check_findings.h"

#include "mqttd/journal.h"

#include "tools/check_records.h"

#include <algorithm>

namespace mqttd::check {

namespace {

constexpr size_t kSessionsShown = 20;
constexpr size_t kDamagesShown = 50;

std::string line(std::string left, const std::string& right) {
    constexpr size_t kColumn = 17;
    left.resize(std::max(left.size() + 1, kColumn), ' ');
    return "  " + left + right + '\n';
}

std::string padded(const std::string& text, size_t width) {
    return std::string(width > text.size() ? width - text.size() : 0, ' ') + text;
}

// What comes from a client, for a terminal: nothing in it may move the cursor.
std::string shown(const std::string& text, size_t most) {
    JsonLine line;
    line.text("t", as_bytes(text));
    const std::string quoted = line.take();
    const size_t begin = quoted.find(':') + 1;
    std::string out = quoted.substr(begin, quoted.size() - begin - 2);
    if (out.size() > most) out = out.substr(0, most) + "...";
    return out;
}

Error examine_once(Disk& disk, const Examination& how, Findings& findings, State& state) {
    findings = {};
    state = State(how.payload_most);
    const Position stop = how.running ? end_now(disk) : ~Position{0};
    Walk walk(disk);
    const Error opened = walk.open();
    if (opened != Error::kNone) return opened;
    walk.stop_at(stop);
    size_t told = 0;
    const auto tell_damage = [&] {
        for (; how.damage && told < walk.damages().size(); ++told)
            how.damage(walk.damages()[told], walk.place_of(walk.damages()[told].from));
    };
    LogRecord record;
    while (walk.next(record)) {
        tell_damage();
        const bool own = record.type < RecordType::kFirstOfBroker;
        const bool readable =
            own ? type_name(static_cast<uint8_t>(record.type)) != "unknown" &&
                      record.body.size() == 8
                : state.apply(static_cast<uint8_t>(record.type), record.position, record.body);
        findings.take(record, readable);
        if (how.record) how.record(record);
    }
    tell_damage();
    findings.finish(walk, state);
    return Error::kNone;
}

}  // namespace

Error examine(Disk& disk, const Examination& how, Findings& findings, State& state) {
    constexpr int kTries = 5;
    for (int tries = 1;; ++tries) {
        const uint64_t oldest = oldest_number_now(disk);
        const Error error = examine_once(disk, how, findings, state);
        const bool moved = how.running && oldest_number_now(disk) != oldest;
        const bool again = error == Error::kNone && moved && !findings.sound() && !how.record;
        if (!again || tries == kTries) return error;
    }
}

std::string grouped(uint64_t number) {
    const std::string digits = std::to_string(number);
    std::string text;
    for (size_t i = 0; i < digits.size(); ++i) {
        if (i > 0 && (digits.size() - i) % 3 == 0) text += ' ';
        text += digits[i];
    }
    return text;
}

std::string counted(uint64_t number, const char* one, const char* many) {
    return grouped(number) + ' ' + (number == 1 ? one : many);
}

void Findings::take(const LogRecord& record, bool readable) {
    ++records;
    body_bytes += record.body.size();
    TypeCount& type = types[static_cast<uint8_t>(record.type)];
    ++type.count;
    type.bytes += record.body.size();
    // The begin of the first one may lie in a file that is gone.
    if (record.type == RecordType::kStart || records == 1) ++lives;
    unit_ += Journal::cost(record.body.size());
    largest_unit = std::max(largest_unit, unit_);
    if (!record.joined) unit_ = 0;
    if (readable) return;
    if (unreadable++ == 0) first_unreadable_at_ = record.position;
}

void Findings::finish(const Walk& walk, const State& state) {
    files = walk.report().files;
    file_bytes = walk.file_bytes();
    oldest = walk.oldest();
    end = walk.report().end;
    torn = walk.report().torn;
    damages = walk.damages();
    for (const Damage& damage : damages)
        places.push_back(walk.place_of(damage.from));
    if (unreadable > 0) first_unreadable = walk.place_of(first_unreadable_at_);
    totals = state.totals();
}

std::string Findings::summary(const std::string& path) const {
    std::string out = "Journal " + path + ": " + (sound() ? "sound.\n" : "damaged.\n");
    out += line("files",
                grouped(files) + ", " + grouped(file_bytes) + " bytes, positions " +
                    std::to_string(oldest) + " to " + std::to_string(end));
    out += line("lives",
                grouped(lives) + ", " + counted(torn, "torn tail", "torn tails") +
                    (torn > 0 ? " (nothing that was acknowledged)" : ""));
    std::string by_type;
    for (size_t i = 0; i < types.size(); ++i) {
        if (types[i].count == 0) continue;
        by_type +=
            (by_type.empty() ? ": " : ", ") + std::string(type_name(static_cast<uint8_t>(i)));
        by_type += ' ' + grouped(types[i].count);
    }
    out += line("records", grouped(records) + by_type);
    out +=
        line("sessions",
             grouped(totals.sessions) + ": " + grouped(totals.connected) +
                 " connected at the end, " + grouped(totals.sessions - totals.connected) + " away");
    out += line("subscriptions", grouped(totals.subscriptions));
    out += line("retained", grouped(totals.retained));
    out += line("queued", grouped(totals.queued));
    out += line("under way", grouped(totals.under_way));
    out += line("inbound", grouped(totals.inbound));
    if (sound()) return out;
    out += "Lost\n";
    for (size_t i = 0; i < std::min(damages.size(), kDamagesShown); ++i) {
        const Damage& damage = damages[i];
        out += "  " + counted(damage.bytes, "byte", "bytes") + " at position " +
               std::to_string(damage.from) + " (" + places[i] + "), " +
               (damage.at_end ? "to the end"
                              : "the next record is at " + std::to_string(damage.until)) +
               '\n';
    }
    if (damages.size() > kDamagesShown) {
        out += "  and at " + grouped(damages.size() - kDamagesShown) + " more places\n";
    }
    if (unreadable > 0) {
        out += "  " + counted(unreadable, "record verifies", "records verify") +
               " and cannot be read, the first at " + first_unreadable + '\n';
    }
    if (totals.lost > 0) {
        out += "  " + counted(totals.lost, "delivery", "deliveries") +
               " of messages that are not there\n";
    }
    return out;
}

std::string Findings::statistics(const State& state) const {
    const uint64_t live = std::min(totals.live_bytes, body_bytes);
    std::string out = "Bytes of bodies: " + grouped(body_bytes) + ", live " + grouped(live) +
                      ", dead " + grouped(body_bytes - live) + "\n\n";
    out += "type                   records             bytes\n";
    for (size_t i = 0; i < types.size(); ++i) {
        if (types[i].count == 0) continue;
        std::string name(type_name(static_cast<uint8_t>(i)));
        name.resize(16, ' ');
        out +=
            name + padded(grouped(types[i].count), 14) + padded(grouped(types[i].bytes), 18) + '\n';
    }
    std::vector<const KeptSession*> largest;
    for (const auto& [number, session] : state.sessions())
        largest.push_back(&session);
    std::stable_sort(largest.begin(), largest.end(), [](const auto* a, const auto* b) {
        return a->queued.size() > b->queued.size();
    });
    if (largest.size() > kSessionsShown) largest.resize(kSessionsShown);
    if (largest.empty()) return out;
    out += "\n  subscriptions        queued     under way     payload bytes  session\n";
    for (const KeptSession* session : largest) {
        out += padded(grouped(session->subscriptions.size()), 15) +
               padded(grouped(session->queued.size()), 14) +
               padded(grouped(session->under_way.size()), 14) +
               padded(grouped(session->waiting_bytes()), 18) + "  " +
               shown(session->client_id, 60) + (session->connected() ? "" : ", away") + '\n';
    }
    return out;
}

}  // namespace mqttd::check
