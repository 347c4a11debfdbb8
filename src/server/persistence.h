#pragma once

// Persistence: the journal's processes, its start, and its place in the loop.
//
//     prepare      before heap and listeners: shared memory, keeper, the folder
//     take_folder  waits for the scribe's lock on it; another broker there is refused by name.
//                  Where there is no journal yet the scribe imports a mosquitto.db first
//     open         looks at the files; then the loop reads them in slices while CONNECTs wait
//     end_turn     what a turn gathered goes to the scribe
//
// A scribe that dies is made again and goes on from what was durable; so is the keeper, by the loop
// itself. Neither ends the broker: until there is one again, links that need the journal wait.

#include "mqttd/broker.h"

#include "base/log.h"
#include "config/config.h"
#include "io/account.h"
#include "io/disk_folder.h"
#include "io/keeper.h"
#include "io/memory.h"
#include "net/net.h"
#include "store/log_reader.h"
#include "store/scribe_journal.h"

#include <memory>
#include <optional>
#include <string>

namespace mqttd {

class Persistence {
  public:
    static constexpr uint32_t kScribeId = 1;  // for Net::watch: it wrote something
    static constexpr uint32_t kKeeperId = 2;  // a helper ended

    Persistence(const Config& config, const Log& log) : config_(config), log_(log) {}

    ~Persistence();
    Persistence(const Persistence&) = delete;
    Persistence& operator=(const Persistence&) = delete;

    // Each returns what is wrong, as a clause for the operator; empty: nothing.
    std::string prepare(const std::optional<Account>& account);
    std::string take_folder();
    std::string open();
    std::string watch(Net& net);

    Journal& journal() { return *journal_; }

    // --- in the loop ---

    // What the helpers had to tell.  `now`: the broker's clock.
    void look(Net& net, Broker& broker, Instant now, int64_t wall_s);

    // Reads some of the journal into the broker; false when it is through.
    bool read_some(Broker& broker, Instant now);

    uint64_t bytes_to_read() const { return reader_->next_begin() - reader_->oldest(); }

    bool reading() const { return reader_ != nullptr; }

    void end_turn(Instant now);

    Instant next_deadline() const;

    void use(const Config& config);
    void sync_all(Instant now);

    // Whether everything is written, as far as that is going to be before the end.
    bool all_written() const { return journal_->all_durable(); }

    void sample(HostStats& out);

  private:
    std::string refusal(ScribeState state) const;
    std::string import_ended(const Keeper::Ended& ended) const;
    void report_import() const;
    void watch_disk(Broker& broker);
    void report(const RestoreReport& restored, Instant now);

    Config config_;
    const Log& log_;
    std::string folder_;
    std::string import_file_;
    std::optional<Account> account_;
    Region memory_;
    ScribeJob job_;
    std::unique_ptr<Keeper> keeper_;
    std::unique_ptr<ScribeJournal> journal_;
    JournalShape shape_;
    FolderDisk disk_;
    std::unique_ptr<LogReader> reader_;
    Instant reading_since_ = 0;
    Instant ask_again_at_ = kNever;  // for a scribe
    Instant autosave_at_ = kNever;
    uint64_t saved_ = 0;    // tail at the last autosave
    uint64_t save_to_ = 0;  // a save is under way: up to here, since:
    Instant save_began_ = 0;
    uint64_t save_ms_ = 0;  // what the last one took
    bool failing_ = false;
    int64_t wall_s_ = 0;
    uint64_t restored_messages_ = 0;
    uint64_t restore_ms_ = 0;
    uint64_t scribes_lost_ = 0;
    uint64_t all_safe_s_ = 0;  // wall clock when everything was
};

}  // namespace mqttd
