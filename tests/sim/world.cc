// World: the tap between net and broker, and the turns.

#include "sim/world.h"

#include "base/assert.h"
#include "sim/crossing.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace mqttd::sim {

namespace {

constexpr uint32_t kTurnsPerStep = 64;
constexpr uint32_t kTurnsPerCalmStep = 1'024;
constexpr uint32_t kStepsOverdue = 10;
constexpr Duration kPatience = 10 * kSecond;

Vocabulary make_words() {
    Vocabulary words;
    words.topics = {"a", "b", "a/b", "a/b/c", "a//c", "b/c", "c/d/e/f", "/x", "$own/a"};
    for (const char* filter : {"a",
                               "b",
                               "a/b",
                               "a/+",
                               "a/#",
                               "#",
                               "+",
                               "+/+",
                               "+/b/#",
                               "b/c",
                               "c/d/+/f",
                               "/+",
                               "$own/#",
                               "a//c",
                               "$share/g/a/#",
                               "$share/g/b",
                               "$share/h/a/#",
                               "$share/g/+/c",
                               "$queue/c/#",
                               "$SYS/broker/clients/#"}) {
        words.add_filter(filter);
    }
    return words;
}

// Whether the broker closes a connection while it is busy with another one, so that the session
// notices later.
bool in_passing(Error why) {
    return why == Error::kQuotaExceeded || why == Error::kNoMemory;
}

}  // namespace

World::World(const Plan& plan)
    : plan_(plan),
      options_(plan.broker),
      dice_(plan.seed ^ 0x51a3),
      words_(make_words()),
      messages_(1),
      log_(
          [](void* context, LogKind, std::string_view line) {
              const Crossing out(Crossing::kWorld);
              auto* world = static_cast<World*>(context);
              world->say("log: %.*s", static_cast<int>(line.size()), line.data());
          },
          this,
          ~0u),
      kernel_(dice_, plan.files),
      model_(words_, messages_, plan.rules),
      street_{kernel_,
              model_,
              dice_,
              words_,
              messages_,
              plan.broker.max_inflight_messages,
              now_,
              plan.broker.await_rel_timeout_s != 0,
              plan.bare,
              false,
              0} {
    kernel_.weather = plan.weather;
    if (plan.durable())
        archive_ = std::make_unique<Archive>(plan.disk, plan.seed, plan.rules.scarce);
    begin_life();
    for (uint32_t i = 0; i <= plan.clients; ++i)
        clients_.emplace_back(street_, i);
}

// A world that failed is left as it is: broker and net end only when everybody has gone.
World::~World() {
    (void)broker_.release();
    (void)net_.release();
}

void World::say(const char* format, ...) {
    if (!loud) return;
    std::printf("%9llu.%llu ",
                static_cast<unsigned long long>(now_),
                static_cast<unsigned long long>(turn_));
    va_list arguments;
    va_start(arguments, format);
    std::vprintf(format, arguments);
    va_end(arguments);
    std::putchar('\n');
}

// ---- The tap
// -----------------------------------------------------------------------------------------

void* World::opened(Outbox& outbox, const Arrival& arrival) {
    const Crossing out(Crossing::kWorld);
    const auto found = by_port_.find(arrival.peer.port);
    MQTTD_ASSERT(found != by_port_.end());
    Conn& conn = *found->second;
    {
        const Crossing in(Crossing::kProduct);
        conn.link = broker_->opened(outbox, arrival);
    }
    if (conn.link == nullptr) return nullptr;
    conn.outbox = &outbox;
    conn.last_taken = conn.last_heard = now_;
    by_outbox_[&outbox] = &conn;
    return &conn;
}

Consumed World::hand_on(Conn& conn, Range input) {
    const Crossing in(Crossing::kProduct);
    return broker_->receive(conn.link, input);
}

Consumed World::receive(void* link, Range input) {
    const Crossing out(Crossing::kWorld);
    Conn& conn = *static_cast<Conn*>(link);
    conn.last_heard = now_;
    conn.steps_overdue = 0;
    if (plan_.bare) {
        const uint64_t taken = broker_->stats().packets_received_all;
        const Consumed consumed = hand_on(conn, input);
        uint64_t packets = broker_->stats().packets_received_all - taken;
        for (; packets > 0 && !conn.ops.empty(); --packets)
            conn.ops.pop_front();
        return consumed;
    }
    const Stats before = broker_->stats();
    receiving_ = &conn;
    const Consumed consumed = hand_on(conn, input);
    receiving_ = nullptr;
    const Stats& after = broker_->stats();
    model_.set_jobs(after.fanout_jobs_now > 0);
    take(conn, after.packets_received_all - before.packets_received_all, before);
    const auto closes = std::move(closes_);
    closes_.clear();
    for (const auto& [other, why] : closes) {
        model_.detached(other->session, other, in_passing(why));
    }
    model_.settle_open();
    return consumed;
}

// The packets that the broker took in one call, for the model.
void World::take(Conn& conn, uint64_t packets, const Stats& before) {
    if (packets > 0) conn.last_taken = now_;
    const Stats& after = broker_->stats();
    for (; packets > 0; --packets) {
        if (conn.ops.empty()) {
            model_.fail("the broker took more packets than were sent");
            return;
        }
        const Op op = std::move(conn.ops.front());
        conn.ops.pop_front();
        // Some PUBLISH among these was refused, since the disk fails; its client may never hear it.
        const auto disk = static_cast<size_t>(Drop::kDisk);
        if (op.type == Type::kPublish && after.drops[disk] != before.drops[disk]) {
            model_.doubt(op.message);
        }
        say("%s takes type %u id %u message %u%s",
            conn.client->id().c_str(),
            static_cast<unsigned>(op.type),
            op.packet_id,
            op.message,
            op.dup ? " dup" : "");
        if (op.type == Type::kConnect) {
            if (after.connects_refused != before.connects_refused) {
                // Refused for lack of memory when the old session had been thrown away already.
                const bool discarded = after.sessions_discarded != before.sessions_discarded;
                if (discarded) model_.discarded(conn.client->index);
                continue;
            }
            const bool resumed = after.sessions_resumed != before.sessions_resumed;
            conn.session = model_.connected(conn.client->index, &conn, *op.connect, resumed);
        } else if (conn.session) {
            model_.took(conn.session, op);
            // Some filter was refused; which, a client that is gone never hears.
            if (op.type == Type::kSubscribe && after.refused_memory != before.refused_memory) {
                for (const FilterPlan& plan : op.filters)
                    model_.not_subscribed(conn.session, plan.filter);
            }
            model_.settle_open();
        }
    }
}

void World::progress(void* link) {
    Conn& conn = *static_cast<Conn*>(link);
    conn.last_heard = now_;
    conn.steps_overdue = 0;
    broker_->progress(conn.link);
}

void World::writable(void* link) {
    broker_->writable(static_cast<Conn*>(link)->link);
}

void World::closed(void* link, Error why) {
    const Crossing out(Crossing::kWorld);
    Conn& conn = *static_cast<Conn*>(link);
    say("%s is gone: %s", conn.client->id().c_str(), error_text(why));
    if (why == Error::kEndOfFile && !conn.wire->inbox.empty()) {
        model_.fail(conn.client->id() + " was given up before its last bytes were read");
    }
    stamp();
    {
        const Crossing in(Crossing::kProduct);
        broker_->closed(conn.link, why);
    }
    model_.set_jobs(broker_->stats().fanout_jobs_now > 0);
    model_.detached(conn.session, &conn);
    model_.settle_open();
    by_outbox_.erase(conn.outbox);
    conn.outbox = nullptr;
    conn.link = nullptr;
}

bool World::budget_left() const {
    return broker_->budget_left();
}

void World::share_rest(uint32_t links) {
    broker_->share_rest(links);
}

void World::resume(Outbox& outbox) {
    net_->resume(outbox);
}

bool World::input_waiting(const Outbox& outbox) const {
    return net_->input_waiting(outbox);
}

// The broker closes a connection: it needs a reason.
void World::close(Outbox& outbox, Error why) {
    const Crossing out(Crossing::kWorld);
    Conn& conn = *by_outbox_.at(&outbox);
    say("%s is closed: %s", conn.client->id().c_str(), error_text(why));
    const uint64_t silent = now_ - conn.last_taken;
    const uint64_t limit = uint64_t{conn.plan->keep_alive_s} * 1'500;
    bool just = false;
    switch (why) {
        case Error::kNone:
        case Error::kEndOfFile:
        case Error::kReset:
        case Error::kTimedOut:
        case Error::kSessionTakenOver:
        case Error::kShuttingDown:
            just = true;
            break;
        case Error::kKeepAliveTimeout:
            just = limit != 0 && silent >= limit;
            break;
        default:
            just = conn.rude || conn.session == nullptr;
    }
    if (!just && !plan_.rules.wary) {
        model_.fail("client " + std::to_string(conn.client->index) +
                    " did nothing wrong and was closed: " + error_text(why));
    }
    conn.closing = true;
    if (receiving_ != nullptr) {
        closes_.emplace_back(&conn, why);
    } else {
        model_.set_jobs(broker_->stats().fanout_jobs_now > 0);
        model_.detached(conn.session, &conn, in_passing(why));
    }
    const Crossing in(Crossing::kProduct);
    net_->close(outbox, why);
}

uint32_t World::flush(Outbox& outbox) {
    return net_->flush(outbox);
}

Peer World::peer(const Outbox& outbox) const {
    return net_->peer(outbox);
}

void World::sample(HostStats& out) {
    out = net_->stats();
}

// ---- Turns
// -------------------------------------------------------------------------------------------

// As Server::sleep_time decides it.
bool World::turn_is_due() const {
    if (archive_ &&
        (archive_->told() || archive_->reading() || archive_->journal().next_deadline() <= now_)) {
        return true;
    }
    return kernel_.edges_waiting() || !net_->idle() || !broker_->idle() ||
           std::min(net_->next_deadline(), broker_->next_deadline()) <= now_;
}

// In the order of Server::turn.
void World::turn() {
    ++turn_;
    const Crossing in(Crossing::kProduct);
    net_->collect(0);
    {
        const Crossing out(Crossing::kWorld);
        model_.set_time(now_, turn_);
    }
    broker_->begin_turn(now_, wall_s_, net_->ready_links());
    net_->begin_turn(now_);
    net_->accept();
    if (archive_) tend_journal();
    net_->serve_ready();
    broker_->tick();
    if (archive_) archive_->journal().end_turn(now_);
    net_->flush();
    net_->reap();
    const Crossing out(Crossing::kWorld);
    model_.set_jobs(broker_->stats().fanout_jobs_now > 0);
    model_.set_behind(!broker_->idle());
    stamp();
}

void World::turns() {
    // In the end a step suffices for what a crowd says at the same time to stay alive.
    const uint32_t most = calm_ ? kTurnsPerCalmStep : kTurnsPerStep;
    for (uint32_t i = 0; i < most && turn_is_due() && !failed(); ++i)
        turn();
}

void World::stamp() {
    if (plan_.bare) return;
    for (const auto& [outbox, conn] : by_outbox_) {
        const uint64_t bytes = outbox->appended();
        if (!conn->stamps.empty() && conn->stamps.back().bytes == bytes) continue;
        conn->stamps.push_back({bytes, turn_, now_});
    }
}

void World::advance(Duration ms) {
    now_ += ms;
    // A start goes by the wall alone: there it must not fall behind.
    const Duration since = plan_.disk.cuts ? wall_rest_ + ms : ms;
    wall_s_ += static_cast<int64_t>(since / 1000);
    wall_rest_ = since % 1000;
    street_.now = now_;
}

void World::step() {
    for (Client& client : clients_) {
        client.keep_alive();
        for (Conn& conn : client.conns)
            kernel_.move(*conn.wire);
    }
    if (archive_) archive_->pass(now_, calm_);
    turns();
    if (archive_) archive_->pass(now_, calm_);
    if (!turn_is_due()) {  // or there is more to do first
        for (const auto& [outbox, conn] : by_outbox_)
            check_silence(*conn);
    }
    for (Client& client : clients_) {
        client.read_max =
            plan_.slow_readers != 0 && !calm_ && dice_.below(1000) < plan_.slow_readers
                ? 1 + dice_.below(20)
                : ~uint32_t{0};
        client.read();
    }
    reap();
}

// Who says nothing for one and a half times its Keep Alive is closed, not much later.
//   [MQTT-3.1.2-24]
void World::check_silence(Conn& conn) {
    const uint64_t limit = uint64_t{conn.plan->keep_alive_s} * 1'500;
    if (limit == 0 || !conn.session || conn.closing || !conn.wire->inbox.empty()) return;
    if (now_ - conn.last_heard <= limit + kLate) return;
    // It is looked at once more, and an outbox that drains is a sign of life.
    if (conn.wire->taken != conn.taken_then) conn.steps_overdue = 0;
    conn.taken_then = conn.wire->taken;
    if (conn.steps_overdue++ == 0) conn.overdue_since = now_;
    if (conn.steps_overdue > kStepsOverdue && now_ - conn.overdue_since > limit + kPatience) {
        model_.fail(conn.client->id() + " says nothing and is not closed");
    }
}

// Connections with which both sides are done.
void World::reap() {
    for (Client& client : clients_) {
        for (auto at = client.conns.begin(); at != client.conns.end();) {
            Conn& conn = *at;
            if (conn.abandoned && conn.wire->server_gone) conn.wire->client_gone = true;
            if (!conn.wire->closed() || conn.link != nullptr) {
                ++at;
                continue;
            }
            by_port_.erase(static_cast<uint16_t>(conn.wire->id));
            kernel_.release(*conn.wire);
            if (client.conn == &conn) client.conn = nullptr;
            at = client.conns.erase(at);
        }
    }
}

}  // namespace mqttd::sim
