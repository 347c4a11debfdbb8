#include "store/scribe_work.h"

#include "io/event.h"

namespace mqttd {

namespace {

constexpr Duration kWriteRetry = 100;  // ms, after a failure
constexpr uint32_t kFilesAtOnce = 1;   // that are removed between writing

}  // namespace

void ScribeWork::step(bool alone) {
    ScribeDesk& desk = *job_.desk;
    RingHead& ring = desk.ring;
    const Position before = ring.durable.load(std::memory_order_relaxed);
    const bool syncs = desk.unsynced.load(std::memory_order_relaxed) == 0;
    const Position sync_to = desk.sync_to.load(std::memory_order_acquire);
    const bool failed = scribe_.step(syncs, sync_to) != Error::kNone;
    failures_ = failed ? failures_ + 1 : 0;
    if (failed || ring.durable.load(std::memory_order_relaxed) != before) {
        tell_event(job_.to_loop);
    }
    if (failed) reader_.close();  // its file will get another part
    if (!alone && serve_reads()) tell_event(job_.to_loop);
    const Position oldest = ring.oldest.load(std::memory_order_acquire);
    const Error removed = oldest != tidied_ ? scribe_.tidy(kFilesAtOnce) : Error::kNone;
    if (removed == Error::kNone) tidied_ = oldest;
    retries_ = failed || (removed != Error::kNone && removed != Error::kWouldBlock);
}

bool ScribeWork::at_rest(bool alone) const {
    const RingHead& ring = job_.desk->ring;
    bool asked = false;
    for (uint32_t i = 0; i < Journal::kReads; ++i)
        asked = asked || may_read(i);
    return ring.tail.load() == ring.durable.load() && ring.oldest.load() == tidied_ &&
           (!asked || alone);
}

Duration ScribeWork::sleep(bool alone) const {
    if (alone) return failures_ > 0 ? kWriteRetry : 0;
    if (at_rest(false)) return kNever;
    return retries_ ? kWriteRetry : 0;
}

bool ScribeWork::may_read(uint32_t i) const {
    const ColdRead& read = job_.desk->reads[i];
    if (read.state.load() != ColdRead::kAsked) return false;
    if (read.size > job_.read_bytes) return true;  // it is lost
    // A write that failed may have ended in the middle of it.
    return reader_.end_of(read.position, read.size) <= job_.desk->ring.durable.load();
}

// What the loop asked for and has been written.  True if anything was.
bool ScribeWork::serve_reads() {
    bool any = false;
    for (uint32_t i = 0; i < Journal::kReads; ++i) {
        if (!may_read(i)) continue;
        ColdRead& read = job_.desk->reads[i];
        uint8_t* into = job_.read_room + i * job_.read_bytes;
        const bool here = read.size <= job_.read_bytes &&
                          reader_.read(read.position, {into, read.size}) == Error::kNone;
        read.state.store(here ? ColdRead::kHere : ColdRead::kLost);
        any = true;
    }
    return any;
}

}  // namespace mqttd
