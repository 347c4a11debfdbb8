#include "store/scribe_process.h"

#include "base/assert.h"
#include "base/little_endian.h"
#include "io/clock.h"
#include "io/disk_folder.h"
#include "io/event.h"
#include "io/file_view.h"
#include "io/random.h"
#include "store/import.h"
#include "store/scribe_work.h"

#include <bit>
#include <new>

namespace mqttd {

namespace {

constexpr Duration kLockRetry = 20;  // ms
constexpr uint32_t kLastTries = 30;  // failures in a row before it gives up when it is alone

// False if the loop went away meanwhile.
bool take_lock(FolderDisk& disk, const ScribeJob& job, int life) {
    while (disk.lock() != Error::kNone) {
        job.desk->lock_owner.store(disk.lock_owner(), std::memory_order_relaxed);
        job.desk->state.store(ScribeState::kWaiting, std::memory_order_release);
        tell_event(job.to_loop);
        // Its predecessor may still be at work; what it is told is not ours to take.
        if (wait_event(-1, life, kLockRetry).alone) return false;
    }
    return true;
}

void tell_state(const ScribeJob& job, ScribeState state, Error error = Error::kNone) {
    job.desk->error.store(static_cast<uint32_t>(error), std::memory_order_relaxed);
    job.desk->state.store(state, std::memory_order_release);
    tell_event(job.to_loop);
}

bool is_alone(void* life) {
    return wait_event(-1, *static_cast<int*>(life), 0).alone;
}

// kServing, or what is to be told instead.
ScribeState import_file(const ScribeJob& job, FolderDisk& disk, int life, Error& error) {
    FileView file;
    error = file.open(job.import_file);
    if (error == Error::kNotFound) return ScribeState::kServing;
    if (error != Error::kNone) return ScribeState::kFileRefused;
    ImportReport& report = job.desk->import;
    report.bytes = file.size();
    report.unreadable = file.size() - file.bytes().size();
    tell_state(job, ScribeState::kImporting);
    ImportOptions options;
    uint8_t id[sizeof options.shape.id];
    error = random_bytes(id);
    if (error != Error::kNone) return ScribeState::kImportFailed;
    options.shape.id = load_le<uint64_t>(id);
    options.now_s = wall_s();
    options.saved_s = file.written_s();
    options.packet_bytes_max = job.packet_bytes_max;
    options.stop = is_alone;
    options.context = &life;
    error = import_mosquitto(file.bytes(), disk, options, report);
    report.ran = true;
    const bool done = error == Error::kNone || report.file_error != MosquittoFileError::kNone;
    return done ? ScribeState::kServing : ScribeState::kImportFailed;
}

// What comes before anybody reads the journal; false: it is not to be used.  A scribe that takes
// over in the middle of a life finds it done.
bool settle_journal(const ScribeJob& job, FolderDisk& disk, int life) {
    ScribeState state = ScribeState::kServing;
    Error error = Error::kNone;
    if (job.desk->file_bytes.load(std::memory_order_acquire) == 0) {
        const Result<bool> ready = ready_for_import(disk);
        error = ready.ok() ? Error::kNone : ready.error();
        if (!ready.ok()) state = ScribeState::kRefused;
        if (ready.ok() && *ready && job.import_file != nullptr) {
            state = import_file(job, disk, life, error);
        }
    }
    if (state == ScribeState::kServing) error = Error::kNone;
    tell_state(job, state, error);
    return state == ScribeState::kServing;
}

void note_sync(void* context, uint64_t us) {
    auto& desk = *static_cast<ScribeDesk*>(context);
    desk.sync_times[SyncTimes::bucket_of(us)].fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

ScribeJob set_desk(void* memory, uint64_t bytes) {
    MQTTD_ASSERT(std::has_single_bit(bytes) && bytes >= 4 * kDeskBytes);
    static_assert(sizeof(ScribeDesk) <= kDeskBytes);
    ScribeJob job;
    job.desk = new (memory) ScribeDesk;
    job.ring.head = &job.desk->ring;
    job.ring.data = static_cast<uint8_t*>(memory) + kDeskBytes;
    job.ring.bytes = bytes / 2;
    job.read_room = job.ring.data + job.ring.bytes;
    job.read_bytes = (bytes / 2 - kDeskBytes) / Journal::kReads;
    return job;
}

int run_scribe(void* context, int life_read_end) {
    const ScribeJob& job = *static_cast<const ScribeJob*>(context);
    ScribeDesk& desk = *job.desk;
    FolderDisk disk;
    const Error opened = disk.open_folder(job.folder);
    if (opened != Error::kNone) {
        tell_state(job, ScribeState::kRefused, opened);
        return 1;
    }
    if (!take_lock(disk, job, life_read_end)) return 0;
    if (!settle_journal(job, disk, life_read_end)) return 1;

    bool alone = false;
    // The loop may have begun, and gone, since we looked: then there may be something to write.
    while (desk.file_bytes.load(std::memory_order_acquire) == 0) {
        const bool gone = wait_event(job.to_scribe, life_read_end, kNever).alone;
        if (gone && desk.file_bytes.load(std::memory_order_acquire) == 0) return 0;
    }
    JournalShape shape;
    shape.file_bytes = desk.file_bytes.load(std::memory_order_relaxed);
    shape.id = desk.journal.load(std::memory_order_relaxed);
    disk.note_syncs(note_sync, &desk);
    ScribeWork work(disk, job, shape);
    while (true) {
        work.step(alone);
        if (alone && (work.at_rest(true) || work.failures() > kLastTries)) {
            return work.failures() > 0 ? 2 : 0;
        }
        // Whoever moves the tail after this sees that we are asleep; whoever did before, we see.
        desk.asleep.store(1);
        const Waited waited = wait_event(job.to_scribe, life_read_end, work.sleep(alone));
        desk.asleep.store(0);
        alone = alone || waited.alone;
    }
}

void tell_scribe(const ScribeJob& job) {
    tell_event(job.to_scribe);
}

void wake_scribe(const ScribeJob& job) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (job.desk->asleep.load() != 0 && job.desk->asleep.exchange(0) != 0) {
        tell_event(job.to_scribe);
    }
}

}  // namespace mqttd
