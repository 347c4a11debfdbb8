#include "store/import.h"

#include "broker/durable_records.h"
#include "store/bulk_writer.h"
#include "store/file_name.h"
#include "store/import_index.h"
#include "store/import_writing.h"

#include <algorithm>
#include <string>
#include <vector>

namespace mqttd {

namespace {

constexpr uint64_t kBodyLeast = 80'000;    // any body but a message's: two texts and numbers
constexpr uint32_t kStepsUnasked = 4'096;  // chunks between looks at `stop`

bool stopped(const ImportOptions& options) {
    return options.stop != nullptr && options.stop(options.context);
}

// False: stopped.
bool walk(Bytes file,
          MosquittoVisitor& visitor,
          const ImportOptions& options,
          ImportReport& report) {
    MosquittoDb db(file);
    for (uint32_t steps = 1; db.step(visitor); ++steps) {
        if (steps % kStepsUnasked == 0 && stopped(options)) return false;
    }
    report.end = db.report().end;
    report.offset = db.report().offset;
    for (size_t i = 0; i < static_cast<size_t>(MosquittoChunk::kCount); ++i)
        report.damaged[i] = db.report().counts[i].skipped;
    return !stopped(options);
}

Error write_journal(Bytes file, Disk& disk, const ImportOptions& options, ImportReport& report) {
    ImportIndex index(options.now_s, options.saved_s);
    ImportIndex::Names names(index, report);
    if (!walk(file, names, options, report)) return Error::kTimedOut;
    names.finish();
    ImportIndex::References references(index, report);
    if (!walk(file, references, options, report)) return Error::kTimedOut;
    references.finish();

    const uint64_t most = uint64_t{options.packet_bytes_max} + ImportIndex::kHeadsMost;
    const uint64_t largest = std::max(std::min(index.largest_body(), most), kBodyLeast);
    BulkWriter writer(disk, options.shape, 0, Journal::cost(largest));
    ImportWriting writing(index, writer, options, report);
    writing.sessions();
    if (!walk(file, writing, options, report)) return Error::kTimedOut;
    // What it says is that all before it is safe.
    const Error written = writer.finish();
    if (written != Error::kNone) return written;
    DurableBody clock;
    encode(clock, DurableClock{static_cast<uint64_t>(std::max<int64_t>(options.now_s, 0)), 0});
    writer.append(static_cast<RecordType>(DurableType::kClock), clock.parts());
    return writer.finish();
}

Error make_marker(Disk& disk) {
    const Result<int> made = disk.open(kImporting, true);
    if (!made) return made.error() == Error::kExists ? Error::kNone : made.error();
    const Error synced = disk.sync(*made);
    disk.close(*made);
    return synced;
}

struct Found {
    std::vector<std::string> files;  // of a journal
    bool journal = false;
    bool importing = false;

    static void visit(void* context, std::string_view name, uint64_t) {
        auto& found = *static_cast<Found*>(context);
        const bool records = parse_name(name).has_value();
        found.journal = found.journal || records;
        found.importing = found.importing || name == kImporting;
        if (records || is_spare(name)) found.files.emplace_back(name);
    }
};

}  // namespace

Result<bool> ready_for_import(Disk& disk) {
    Found found;
    Error error = disk.list(Found::visit, &found);
    if (error != Error::kNone) return error;
    if (!found.importing) return !found.journal;
    for (const std::string& name : found.files) {
        error = disk.remove(name);
        if (error != Error::kNone) return error;
    }
    error = disk.sync_names();
    if (error == Error::kNone) error = disk.remove(kImporting);
    if (error == Error::kNone) error = disk.sync_names();
    if (error != Error::kNone) return error;
    return true;
}

Error import_mosquitto(Bytes file, Disk& disk, const ImportOptions& options, ImportReport& report) {
    report.file_error = MosquittoDb(file).error();
    if (report.file_error != MosquittoFileError::kNone) return Error::kInvalid;
    Error error = make_marker(disk);
    if (error == Error::kNone) error = disk.sync_names();
    if (error == Error::kNone) error = write_journal(file, disk, options, report);
    if (error == Error::kNone) error = disk.remove(kImporting);
    if (error == Error::kNone) error = disk.sync_names();
    return error;
}

}  // namespace mqttd
