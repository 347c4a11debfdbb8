#include "server/import_lines.h"

#include <iterator>

namespace mqttd {

namespace {

constexpr const char* kLeftText[] = {
    "messages that have expired",
    "messages larger than max_packet_size",
    "retained messages below $SYS, which are mosquitto's own",
    "messages that it names but does not hold: they had expired, or are damaged",
    "subscriptions and messages of sessions that it does not hold",
    "things that do not fit together: said twice, or in a state that cannot be",
};
static_assert(std::size(kLeftText) == static_cast<size_t>(ImportLeft::kCount));

std::string counted(uint64_t count, const char* one, const char* many) {
    return std::to_string(count) + ' ' + (count == 1 ? one : many);
}

std::string gone_text(const ImportGone& gone, const char* how) {
    return counted(gone.sessions, "session", "sessions") + ' ' + how + " (with " +
           counted(gone.subscriptions, "subscription", "subscriptions") + " and " +
           counted(gone.messages, "message", "messages") + ")";
}

std::string damage_text(const ImportReport& report) {
    std::string text;
    for (size_t i = 0; i < static_cast<size_t>(MosquittoChunk::kCount); ++i) {
        if (report.damaged[i] == 0) continue;
        text += (text.empty() ? "" : ", ") + std::to_string(report.damaged[i]) + " of its " +
                mosquitto_chunk_text(static_cast<MosquittoChunk>(i));
    }
    return text;
}

}  // namespace

std::vector<ImportLine> import_lines(const ImportReport& report,
                                     const std::string& file,
                                     const std::string& folder) {
    std::vector<ImportLine> lines;
    const auto say = [&](LogKind kind, const std::string& text) { lines.push_back({kind, text}); };
    if (report.file_error != MosquittoFileError::kNone) {
        say(LogKind::kError,
            "Error: " + file + ' ' + mosquitto_file_error_text(report.file_error) +
                ". Nothing of it is imported. To try again, stop mqttd, remove " + folder +
                " and start it.");
        return lines;
    }
    say(LogKind::kNotice,
        "Imported " + file + ": " + counted(report.sessions, "session", "sessions") + ", " +
            counted(report.subscriptions, "subscription", "subscriptions") + ", " +
            counted(report.retained, "retained message", "retained messages") + ", " +
            std::to_string(report.queued) + " queued, " + std::to_string(report.under_way) +
            " under way and " + std::to_string(report.inbound) + " coming in.");
    const std::string from = "Not imported from " + file + ": ";
    if (report.ended.sessions > 0) {
        say(LogKind::kNotice, from + gone_text(report.ended, "ended with the connection") + '.');
    }
    if (report.expired.sessions > 0) {
        say(LogKind::kNotice, from + gone_text(report.expired, "expired while away") + '.');
    }
    for (size_t i = 0; i < static_cast<size_t>(ImportLeft::kCount); ++i) {
        if (report.left[i] == 0) continue;
        const auto why = static_cast<ImportLeft>(i);
        const bool expected = why == ImportLeft::kStatus || why == ImportLeft::kExpired;
        say(expected ? LogKind::kNotice : LogKind::kWarning,
            (expected ? "" : "Warning: ") + from + std::to_string(report.left[i]) + ' ' +
                kLeftText[i] + '.');
    }
    if (report.damaged_chunks() > 0) {
        say(LogKind::kWarning,
            "Warning: " + file + " is damaged: lost are " + damage_text(report) + '.');
    }
    const uint64_t read = report.bytes - report.unreadable;
    if (report.offset < read) {
        say(LogKind::kWarning,
            "Warning: " + file + " is damaged: of its last " +
                std::to_string(read - report.offset) + " bytes nothing could be read" +
                (report.end == MosquittoEnd::kCut ? ", it was cut off there." : "."));
    }
    if (report.unreadable > 0) {
        say(LogKind::kError,
            "Error: the disk does not give the last " + std::to_string(report.unreadable) +
                " bytes of " + file + '.');
    }
    return lines;
}

}  // namespace mqttd
