#include "store/scribe_process.h"

#include "base/assert.h"
#include "io/disk_folder.h"
#include "io/event.h"
#include "store/scribe.h"

#include <bit>
#include <new>

namespace mqttd {

namespace {

constexpr Duration kLockRetry = 20;    // ms
constexpr Duration kWriteRetry = 100;  // ms, after a failure
constexpr uint32_t kLastTries = 30;    // failures in a row before it gives up when it is alone

// False if the loop went away meanwhile.
bool take_lock(FolderDisk& disk, const ScribeJob& job, int life) {
    while (disk.lock() != Error::kNone) {
        job.desk->lock_owner.store(disk.lock_owner(), std::memory_order_relaxed);
        job.desk->state.store(ScribeState::kWaiting, std::memory_order_release);
        tell_event(job.to_loop);
        // Its predecessor may still be at work; what it is told is not ours to take.
        if (wait_event(-1, life, kLockRetry).alone) return false;
    }
    job.desk->state.store(ScribeState::kServing, std::memory_order_release);
    tell_event(job.to_loop);
    return true;
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
    return job;
}

int run_scribe(void* context, int life_read_end) {
    const ScribeJob& job = *static_cast<const ScribeJob*>(context);
    ScribeDesk& desk = *job.desk;
    FolderDisk disk;
    const Error opened = disk.open_folder(job.folder);
    if (opened != Error::kNone) {
        desk.error.store(static_cast<uint32_t>(opened), std::memory_order_relaxed);
        desk.state.store(ScribeState::kRefused, std::memory_order_release);
        tell_event(job.to_loop);
        return 1;
    }
    if (!take_lock(disk, job, life_read_end)) return 0;

    bool alone = false;
    // The loop may have begun, and gone, since we looked: then there may be something to write.
    while (desk.file_bytes.load(std::memory_order_acquire) == 0) {
        const bool gone = wait_event(job.to_scribe, life_read_end, kNever).alone;
        if (gone && desk.file_bytes.load(std::memory_order_acquire) == 0) return 0;
    }
    JournalShape shape;
    shape.file_bytes = desk.file_bytes.load(std::memory_order_relaxed);
    shape.id = desk.journal.load(std::memory_order_relaxed);
    Scribe scribe(disk, job.ring, shape);
    RingHead& ring = desk.ring;
    uint32_t failures = 0;
    Position tidied = 0;
    while (true) {
        const Position before = ring.durable.load(std::memory_order_relaxed);
        const bool syncs = desk.unsynced.load(std::memory_order_relaxed) == 0;
        const Position sync_to = desk.sync_to.load(std::memory_order_acquire);
        const bool failed = scribe.step(syncs, sync_to) != Error::kNone;
        failures = failed ? failures + 1 : 0;
        if (failed || ring.durable.load(std::memory_order_relaxed) != before) {
            tell_event(job.to_loop);
        }
        const Position oldest = ring.oldest.load(std::memory_order_acquire);
        if (oldest != tidied && scribe.tidy() == Error::kNone) tidied = oldest;
        const auto at_rest = [&] {
            return ring.tail.load() == ring.durable.load() && ring.oldest.load() == tidied;
        };
        if (alone && (at_rest() || failures > kLastTries)) return failures > 0 ? 2 : 0;
        // Whoever moves the tail after this sees that we are asleep; whoever did before, we see.
        desk.asleep.store(1);
        Duration most = kNever;
        if (!at_rest()) most = failed ? kWriteRetry : 0;
        if (alone) most = failed ? kWriteRetry : 0;
        const Waited waited = wait_event(job.to_scribe, life_read_end, most);
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
