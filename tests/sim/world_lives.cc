// World: how a life of the broker begins, how it ends, and its journal in between.

#include "base/assert.h"
#include "sim/crossing.h"
#include "sim/world.h"

namespace mqttd::sim {

namespace {

constexpr size_t kLeastMemory = size_t{3} << 20;
constexpr uint64_t kFewBytes = 2'000;  // that come to the journal in between

}  // namespace

void World::begin_life() {
    memory_.emplace(plan_.memory != 0 ? plan_.memory : kLeastMemory);
    dirty_.emplace();
    live_before_ = memory_->arena.live();
    if (archive_) {
        const std::string wrong = archive_->begin();
        if (!wrong.empty()) model_.fail(wrong);
    }
    net_ = std::make_unique<Net>(memory_->arena, *dirty_, log_, plan_.net);
    broker_ = std::make_unique<Broker>(memory_->arena,
                                       *this,
                                       *this,
                                       *dirty_,
                                       log_,
                                       options_,
                                       now_,
                                       archive_ ? &archive_->journal() : nullptr);
    net_->bind(*this);
    if (archive_) {
        broker_->begin_turn(now_, wall_s_);
        broker_->begin_restore(archive_->bytes_to_read());
    }
    const Error opened = net_->open();
    ListenOptions options;
    ListenerLimits limits;
    limits.accept_batch = plan_.accept_batch;
    const auto tcp = net_->listen(options, limits);
    options.unix_path = "/sim";
    const auto local = net_->listen(options, limits);
    MQTTD_ASSERT(opened == Error::kNone && tcp.ok() && local.ok());
}

// Between two turns.  What was in memory is gone; of what the clients had been sent a part arrives.
void World::end_life(bool power, Prng& dice) {
    ++(power ? cuts_ : kills_);
    kernel_.lose_server();
    for (Client& client : clients_) {
        client.read_max = ~uint32_t{0};
        client.read();
    }
    for (size_t i = 0; i < drops_before_.size(); ++i)
        drops_before_[i] += broker_->stats().drops[i];
    refused_before_ = refused_before_ || broker_->stats().refused_memory > 0;
    // Nobody ends what was killed: it goes with its memory.
    if (archive_->reading()) (void)broker_->end_restore();
    ::operator delete(broker_.release());
    ::operator delete(net_.release());
    archive_->cut(power);
    for (Client& client : clients_)
        client.lose();
    by_outbox_.clear();
    const Duration away = dice.below(4) == 0 ? dice.below(30'000) : dice.below(2'000);
    model_.set_time(now_, turn_);
    model_.crashed(now_ + away);
    reap();
    advance(away);
    begin_life();
}

uint64_t World::drops(Drop drop) const {
    const auto place = static_cast<size_t>(drop);
    return broker_->stats().drops[place] + drops_before_[place];
}

// As Server::tend_journal.  A start is not the loop: it takes memory as it likes.
void World::tend_journal() {
    const Crossing out(Crossing::kWorld);
    archive_->take_told();
    if (!archive_->reading()) return;
    const std::string wrong = archive_->read_some(*broker_);
    if (!wrong.empty()) model_.fail(wrong);
}

// A disk that is well again is written, and what is of no use any more has gone.
void World::check_journal() {
    const ScribeJournal& journal = archive_->journal();
    const Stats& stats = broker_->stats();
    if (journal.failing()) return model_.fail("the disk is well and the journal still fails");
    if (plan_.refusals || plan_.memory == 0) return;
    // Somewhat more than Core::round_is_due allows.
    const uint64_t lives = stats.paged_bytes + stats.messages_stored_bytes +
                           150 * stats.messages_stored + 120 * stats.sessions_persistent +
                           50 * (stats.queued + stats.inflight_out) +
                           80 * stats.sessions * words_.filters.size();
    const uint64_t most = 2 * lives + plan_.broker.journal_slack_bytes + kFewBytes;
    if (journal.tail() - journal.oldest() > most) {
        model_.fail("the journal keeps " + std::to_string(journal.tail() - journal.oldest()) +
                    " bytes where " + std::to_string(most) + " would do");
    }
}

}  // namespace mqttd::sim
