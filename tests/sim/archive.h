#pragma once

// Archive: the journal of a durable world, its scribe, and the disk both stand on.
//
//     broker ── ScribeJournal ── ring ── ScribeWork ── FakeDisk ── LogReader ── the next life
//
// All of it is the product's but the disk. What the process around the scribe does happens here:
// it is woken by its event or its time and by nothing else, comes to it soon or late, dies in the
// middle of a write, and another one takes over. The loop hears of it by the loop's event alone, so
// what either side forgets to tell shows.

#include "mqttd/broker.h"
#include "mqttd/time.h"

#include "base/prng.h"
#include "sim/plan.h"
#include "store/log_reader.h"
#include "store/scribe_journal.h"
#include "store/scribe_work.h"
#include "support/arena_memory.h"
#include "support/fake_disk.h"

#include <memory>
#include <optional>
#include <string>

namespace mqttd::sim {

class Archive {
  public:
    // `scarce`: there may be no memory for something that a start finds.
    Archive(const DiskPlan& plan, uint64_t seed, bool scarce);
    ~Archive();
    Archive(const Archive&) = delete;
    Archive& operator=(const Archive&) = delete;

    // A life begins; a broker is to be made with its journal() and given what is read.  Returns
    // what is wrong with what lies on the disk; empty: nothing.
    std::string begin();

    ScribeJournal& journal() { return *journal_; }

    const ScribeJournal& journal() const { return *journal_; }

    uint64_t bytes_to_read() const { return reader_->next_begin() - reader_->oldest(); }

    bool reading() const { return reader_.has_value(); }

    // Hands some of what there is to the broker.  Returns what is wrong.
    std::string read_some(Broker& broker);

    // Time for the scribe, and for the disk to fail or recover.  `calm`: it comes to it at once,
    // and nothing fails.
    void pass(Instant now, bool calm);

    // The life ends, and all that was in memory with it.  `power`: what the disk was not told to
    // sync may be gone, too; else the scribe goes on until the ring is empty, unless it dies as
    // well.
    void cut(bool power);

    // Whether the loop's event was told, as its wait sees it; until it is taken.
    bool told();

    void take_told() {
        (void)told();
        told_ = false;
    }

    // Nothing is left to be done, for scribe or loop.
    bool at_rest() const;

    std::string describe() const;

    // A line per record that a start reads.
    bool loud = false;

  private:
    static void tell(const LogRecord& record);
    void run(Instant now, bool calm);
    void change_weather(bool calm);

    bool chance(uint32_t permille) { return permille != 0 && dice_.below(1000) < permille; }

    const DiskPlan& plan_;
    bool scarce_;
    Prng dice_;
    FakeDisk disk_;
    JournalShape shape_;
    std::optional<ArenaMemory> memory_;  // of desk and ring
    ScribeJob job_;
    std::optional<ScribeJournal> journal_;
    std::optional<LogReader> reader_;
    std::optional<ScribeWork> work_;
    bool told_ = false;
    bool awake_ = false;
    Instant wake_at_ = kNever;
    Instant stalls_until_ = 0;
    uint32_t spell_ = 0;  // steps for which the disk still fails
};

}  // namespace mqttd::sim
